//! The actor after the one that is measured: takes everything, as slowly as asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use snowmelt_runtime::{Backoff, Batch, Failure, Stage, StageContext};

use super::Faults;

/// Takes batches and acknowledges them.
pub struct Gate<T> {
    faults: Arc<Faults>,
    backoff: Backoff,
    records: std::marker::PhantomData<fn(T)>,
}

impl<T> Gate<T> {
    /// A gate that behaves as `faults` says; what it refuses it tries again, as a writer would.
    pub fn new(faults: Arc<Faults>) -> Self {
        let backoff =
            Backoff::new(Duration::from_millis(50), Duration::from_secs(1)).at_least(Duration::from_millis(5));
        Self { faults, backoff, records: std::marker::PhantomData }
    }
}

#[async_trait(?Send)]
impl<T: Send + 'static> Stage for Gate<T> {
    type Input = Batch<T>;

    async fn handle(&mut self, input: Self::Input, cx: &StageContext) -> Result<(), Failure> {
        while cx.outside(self.faults.call(input.items.len())).await.is_err() {
            cx.outside(cx.clock().sleep(self.backoff.next_wait())).await;
        }
        self.backoff.reset();
        input.ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        Ok(())
    }
}
