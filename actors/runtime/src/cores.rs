//! CPU work off the event loops: a pool with a thread a core, shared by all shards, order kept by the caller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rayon::ThreadPool;
use tokio::sync::oneshot;

use crate::failure::Failure;

/// The pool of the machine's cores. Clones share it.
#[derive(Clone)]
pub struct Cores {
    pool: Arc<ThreadPool>,
}

impl Cores {
    /// A pool of `threads` threads; 0 means one a core.
    ///
    /// # Errors
    /// When the threads can't be started.
    pub fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("core-{index}"))
            .build()?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// How many threads the pool has.
    pub fn count(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work` on the pool and waits for its result without blocking the event loop.
    ///
    /// # Errors
    /// A panic in `work` comes back as [`Failure::Panic`]; the pool goes on.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let (sender, receiver) = oneshot::channel();
        self.pool.spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Failure::from_panic(&*panic));
            // The waiting actor may have been torn down meanwhile: then nobody wants the result.
            sender.send(result).unwrap_or_else(drop);
        });
        receiver.await.unwrap_or_else(|_| Err(Failure::message("the pool of cores is gone")))
    }

    /// Runs `work` on each part, all parts side by side, and gives the results in the order of the parts.
    ///
    /// # Errors
    /// The first failure in the order of the parts; the others still run to their end.
    pub async fn map<I, T>(
        &self,
        parts: Vec<I>,
        work: impl Fn(I) -> T + Send + Sync + Clone + 'static,
    ) -> Result<Vec<T>, Failure>
    where
        I: Send + 'static,
        T: Send + 'static,
    {
        let running: Vec<_> = parts
            .into_iter()
            .map(|part| {
                let work = work.clone();
                self.run(move || work(part))
            })
            .collect();
        // `run` submits only when polled: join them all so that they run side by side.
        futures_util::future::join_all(running).await.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn results_come_in_the_order_of_the_parts() {
        let cores = Cores::new(2).unwrap();
        let squares = cores.map((0..100_u64).collect(), |n| n * n).await.unwrap();
        assert_eq!(squares, (0..100).map(|n| n * n).collect::<Vec<u64>>());
    }

    #[tokio::test]
    async fn a_panic_comes_back_as_a_failure_and_the_pool_goes_on() {
        let cores = Cores::new(1).unwrap();
        let failed = cores.run(|| panic!("poison")).await;
        assert_eq!(failed, Err::<(), _>(Failure::Panic { message: "poison".to_owned() }));
        assert_eq!(cores.run(|| 7).await, Ok(7));
    }
}
