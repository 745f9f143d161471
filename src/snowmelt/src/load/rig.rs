//! A rig: the actor under test, what feeds it and what stands behind it, ready to be run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use snowmelt_runtime::group::GroupEnd;
use snowmelt_runtime::observe::{Observed, Stats};
use snowmelt_runtime::{Batch, GroupBuilder, Ledger, Port};

use super::pace::{Pace, Sent};

/// Sends the load; runs on a thread of its own, so that its CPU can be told from the actor's.
pub type Generator = Box<dyn FnOnce() -> LocalBoxFuture<'static, Result<(), String>> + Send>;

/// Counts something besides the records that were fed.
pub struct Outputs {
    /// What is counted.
    pub what: &'static str,
    /// How many so far.
    pub count: Box<dyn Fn() -> u64>,
}

/// Everything of one run.
pub struct Rig {
    /// The actors, the last of the chain first.
    pub actors: Vec<Observed>,
    /// Resolves when all that was sent is done, or with what failed.
    pub ended: LocalBoxFuture<'static, Result<(), String>>,
    /// Tells which batches are durable, unless the rig tells the tracker itself.
    pub ledger: Option<Ledger>,
    /// Sends the load, unless the actor fetches it; taken when the run begins.
    pub generator: Option<Generator>,
    /// Whether a generator feeds the first actor.
    pub is_fed: bool,
    /// What else is counted.
    pub outputs: Option<Outputs>,
    /// Records that were refused for good.
    pub refused: Option<Arc<AtomicU64>>,
}

impl Rig {
    /// A rig of one group of actors.
    pub fn of_group(builder: GroupBuilder, ledger: Option<Ledger>, generator: Option<Generator>) -> Self {
        let mut group = builder.finish();
        let actors = group.actors().to_vec();
        let ended = async move {
            match group.ended().await {
                GroupEnd::Drained => Ok(()),
                GroupEnd::Failed { actor, failure } => Err(format!("{actor}: {failure}")),
            }
        };
        Self {
            actors,
            ended: ended.boxed_local(),
            ledger,
            is_fed: generator.is_some(),
            generator,
            outputs: None,
            refused: None,
        }
    }

    /// Also counts the records that these actors have handled.
    pub fn counting(mut self, what: &'static str, names: &[&str]) -> Self {
        let stats: Vec<Arc<Stats>> = self
            .actors
            .iter()
            .filter(|observed| names.contains(&observed.actor.as_str()))
            .map(|observed| Arc::clone(&observed.stats))
            .collect();
        let count = move || stats.iter().map(|stats| stats.snapshot().records).sum();
        self.outputs = Some(Outputs { what, count: Box::new(count) });
        self
    }
}

/// Sends batches into a mailbox, each with an acknowledgement of `ledger`. `deal` gives records and their bytes.
pub fn feed<T: Send + 'static>(
    mut pace: Pace,
    ledger: Ledger,
    port: Port<Batch<T>>,
    mut deal: impl FnMut(usize) -> (Vec<T>, usize) + Send + 'static,
) -> Generator {
    Box::new(move || {
        async move {
            let shared = pace.shared().clone();
            while let Some(turn) = pace.next().await {
                let (items, bytes) = deal(turn.records);
                let records = items.len() as u64;
                let number = shared.tracker.sent(Sent { due: turn.due, records, bytes: bytes as u64 });
                let ack = ledger.open(number.to_string(), items.len());
                let waiting = Instant::now();
                tokio::select! {
                    sent = port.send_from_outside(Batch::new(items, bytes, ack)) => sent.map_err(|failure| failure.to_string())?,
                    () = shared.stop.cancelled() => break,
                }
                shared.waited.fetch_add(waiting.elapsed().as_micros() as u64, Ordering::Relaxed);
                shared.cpu.tell();
            }
            port.close().map_err(|failure| failure.to_string())
        }
        .boxed_local()
    })
}
