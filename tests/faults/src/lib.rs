//! The embedded pipeline in this process, with faults put in wherever it meets the world and wherever its actors take turns.
//!
//! [`World`] is one pipeline over stores of its own: raw ─► enrich ─► enriched ─► objects and tables, two shards each.
//! [`Faults`] makes actors fail, [`Weather`] makes stores fail. [`proof`] counts what came out. [`schedule`] draws both from a
//! seed.

pub mod backing;
pub mod event;
pub mod plan;
pub mod postgres;
pub mod proof;
pub mod schedule;
pub mod stores;
pub mod world;

pub use backing::Backing;
pub use plan::{Faults, Strike};
pub use proof::Verdict;
pub use schedule::Schedule;
pub use stores::{Call, Storm, Trouble, Weather};
pub use world::{Life, World};

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `work` on an actor system of its own, on a thread of its own, and gives its result.
///
/// # Panics
/// As `work` does.
pub fn on_own_system<T: Send + 'static>(work: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || actix_rt::System::new().block_on(work()));
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs all cases, some side by side, and gives what failed.
pub fn all<C: Clone + Send + Sync + 'static>(
    cases: &[C],
    name: impl Fn(&C) -> String + Sync,
    run: fn(C) -> anyhow::Result<()>,
) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let own = case.clone();
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(own)))
                        .unwrap_or_else(|_| Err(anyhow::anyhow!("panicked")));
                    if let Err(error) = outcome {
                        let line = format!("{}: {error:#}", name(case));
                        eprintln!("FAILED {line}");
                        failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
