//! Simulated fleets: thousands of seeded ones on virtual time, with our rules as they are, beside workers that choose as the
//! Kinesis Client Library 1.x and 2.x do.
//!
//! Each fleet has workers whose clocks run at different speeds, a table with the conditional writes of the specification, and a
//! stream that splits and merges. Workers crash and come back, stop (SIGSTOP), are cut off, join and leave; two of one name run;
//! answers get lost, writes land after their senders gave up, scans are slow or throttled; groups fall silent; a leader of the
//! KCL 3 hands leases over. After every step is checked:
//!
//! * the fence: never two of our workers may write what they have of one shard;
//! * a stored position never moves back, and never covers what was not delivered;
//! * no record of a shard is left out, and none is delivered before its parents' all are;
//! * no row is left alone for longer than 3 F + 2 S + 3 T while one of ours with room reaches the table ([`checks::ORPHANED_MS`]);
//! * no row is deleted before its children have positions of their own and its parents' rows are gone;
//! * no lease of a group that is silent for N + 1 failover times is renewed; none under hand-off is stolen;
//! * once nothing changes any more, stealing ends within 16 F + (target + 6) periods, for good, and then every worker has the
//!   target or one less.
//!
//! `SNOWMELT_FLEETS` is how many fleets there are; `SNOWMELT_FLEET` runs one seed again and says what happens in it.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod checks;
mod kcl;
mod stream;
mod table;
mod worker;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use world::{Report, World};

/// Takes a few seconds without optimisation.
const FLEETS: u64 = 400;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn fleets_keep_their_promises() {
    if let Some(seed) = number("SNOWMELT_FLEET") {
        let report = World::new(seed, true).run();
        assert_eq!(report.broken, None);
        return;
    }
    let fleets = number("SNOWMELT_FLEETS").unwrap_or(FLEETS);
    let next = AtomicU64::new(0);
    let all = Mutex::new((Report::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(2) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= fleets {
                        return;
                    }
                    let report = World::new(seed, false).run();
                    let mut all = all.lock().unwrap();
                    all.0.steals += report.steals;
                    all.0.takes += report.takes;
                    all.0.longest_orphaned_ms = all.0.longest_orphaned_ms.max(report.longest_orphaned_ms);
                    all.0.settled_in_ms = all.0.settled_in_ms.max(report.settled_in_ms);
                    all.1.extend(report.broken.map(|broken| format!("seed {seed}, {broken}")));
                }
            });
        }
    });
    let (report, mut broken) = all.into_inner().unwrap();
    println!(
        "{fleets} fleets: {} takes, {} of them steals; a row alone for {} ms at most; settled within {} ms",
        report.takes, report.steals, report.longest_orphaned_ms, report.settled_in_ms
    );
    broken.sort();
    let shown = broken.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        broken.is_empty(),
        "{} of {fleets} fleets (run one again with SNOWMELT_FLEET=<seed>):\n{shown}",
        broken.len()
    );
}
