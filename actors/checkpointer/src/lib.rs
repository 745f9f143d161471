//! Moves a shard's checkpoint to the highest position below which everything is durable.
//!
//! Beside the position it stores what the group's sinks declare that they are about to write, at once, since they wait for it.
//!
//! It owns the shard's lease: renews it while the group runs, stores positions in order and at most so often, and at the end
//! stores the last one, marks a shard that was read to its end as ended, and gives the lease up.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use snowmelt_leases::{Lease, LeaseError, LeaseStore, Pending, Position, ShardInfo};
use snowmelt_runtime::ack::Progress;
use snowmelt_runtime::{Backoff, Failure, Intents, Ledger, NoAnswer, StageContext, Step, Worker};

/// How often what is written.
#[derive(Debug, Clone, Copy)]
pub struct CheckpointOptions {
    /// Least time between two checkpoints.
    pub every: Duration,
    /// Time between two renewals of the lease; how long a group whose lease is lost goes on at most.
    pub renew_every: Duration,
    /// Failed writes in a row past which the group fails.
    pub max_attempts: u32,
}

impl Default for CheckpointOptions {
    fn default() -> Self {
        Self { every: Duration::from_secs(1), renew_every: Duration::from_secs(1), max_attempts: 10 }
    }
}

/// The checkpointer of one shard.
pub struct Checkpointer {
    store: Arc<dyn LeaseStore>,
    lease: Lease,
    children: Vec<ShardInfo>,
    ledger: Ledger,
    intents: Intents,
    options: CheckpointOptions,
    stored: Option<u64>,
    renewed_ms: u64,
    written_ms: u64,
    backoff: Backoff,
}

impl Checkpointer {
    /// A checkpointer that holds `lease`; `children` are the shards that follow this one, if it is closed.
    pub fn new(
        store: Arc<dyn LeaseStore>,
        lease: Lease,
        children: Vec<ShardInfo>,
        ledger: Ledger,
        options: CheckpointOptions,
    ) -> Self {
        let backoff =
            Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).at_least(Duration::from_millis(20));
        let intents = Intents::default();
        Self { store, lease, children, ledger, intents, options, stored: None, renewed_ms: 0, written_ms: 0, backoff }
    }

    /// The same checkpointer, which also stores what sinks declare.
    #[must_use]
    pub fn with_intents(mut self, intents: Intents) -> Self {
        self.intents = intents;
        self
    }

    /// Stores the durable position if it moved, and what sinks have declared.
    async fn store(&mut self, progress: &Progress, cx: &StageContext) -> Result<(), Failure> {
        let moved = progress.durable.as_ref().filter(|ticket| Some(ticket.number) != self.stored);
        if moved.is_none() && !self.intents.is_waiting() {
            return Ok(());
        }
        let position = match &progress.durable {
            Some(ticket) => Position::at(&ticket.position),
            None => self.lease.checkpoint.clone(),
        };
        let sequence = match &position {
            Position::At { .. } => Some(position.to_string()),
            _ => None,
        };
        // After the progress was read: a sink that is durable there has said so here before.
        let declared = self.intents.declared(sequence.as_deref());
        let pending = declared.beyond.map(|(furthest, state)| Pending { position: Position::at(furthest), state });
        let write = self.store.checkpoint(&mut self.lease, &position, pending.as_ref());
        let written = cx.call(Duration::ZERO, write).await;
        if self.accept(written, cx).await? {
            self.intents.stored(declared.version);
            self.stored = progress.durable.as_ref().map(|ticket| ticket.number);
            self.written_ms = cx.clock().monotonic_ms();
            self.renewed_ms = self.written_ms;
            tracing::debug!(group = %cx.group(), %position, "checkpoint");
        }
        Ok(())
    }

    async fn renew(&mut self, cx: &StageContext) -> Result<(), Failure> {
        let now = cx.clock().monotonic_ms();
        if now.saturating_sub(self.renewed_ms) < as_ms(self.options.renew_every) {
            return Ok(());
        }
        let renewed = cx.call(Duration::ZERO, self.store.renew(&mut self.lease, cx.clock().now_ms())).await;
        if self.accept(renewed, cx).await? {
            self.renewed_ms = now;
        }
        Ok(())
    }

    /// True when the write is done; false when it is to be tried again later.
    async fn accept(
        &mut self,
        result: Result<Result<(), LeaseError>, NoAnswer>,
        cx: &StageContext,
    ) -> Result<bool, Failure> {
        let again = self.backoff.attempts() < self.options.max_attempts;
        match result {
            Ok(Ok(())) => {
                self.backoff.reset();
                Ok(true)
            }
            Ok(Err(error @ LeaseError::Lost { .. })) => Err(Failure::LeaseLost { message: error.to_string() }),
            Ok(Err(error)) if error.is_retriable() && again => {
                self.back_off(&error, cx).await;
                Ok(false)
            }
            Err(error) if again => {
                self.back_off(&error, cx).await;
                Ok(false)
            }
            Ok(Err(error)) => Err(Failure::error(error)),
            Err(error) => Err(Failure::error(error)),
        }
    }

    async fn back_off(&mut self, error: &dyn std::error::Error, cx: &StageContext) {
        let wait = self.backoff.next_wait();
        tracing::warn!(group = %cx.group(), error = %error, attempt = self.backoff.attempts(), "lease table, trying again");
        cx.outside(cx.clock().sleep(wait)).await;
    }

    async fn wait(&self, cx: &StageContext) {
        // A checkpoint for every batch must not make this a busy loop.
        let wait = self.options.every.min(self.options.renew_every).max(Duration::from_millis(50));
        cx.rest(async {
            tokio::select! {
                () = self.ledger.changed() => {}
                () = self.intents.changed() => {}
                () = cx.clock().sleep(wait) => {}
            }
        })
        .await;
    }
}

#[async_trait(?Send)]
impl Worker for Checkpointer {
    async fn step(&mut self, cx: &StageContext) -> Result<Step, Failure> {
        let progress = self.ledger.progress();
        if let Some(ticket) = progress.failed {
            return Err(Failure::Unacknowledged { ticket });
        }
        let last = progress.sealed && progress.pending == 0;
        let due = cx.clock().monotonic_ms().saturating_sub(self.written_ms) >= as_ms(self.options.every);
        if last || due || self.intents.is_waiting() {
            self.store(&progress, cx).await?;
        }
        self.renew(cx).await?;
        if last && self.stored == progress.durable.as_ref().map(|ticket| ticket.number) {
            return Ok(Step::Done);
        }
        self.wait(cx).await;
        Ok(Step::Continue)
    }

    async fn finish(mut self: Box<Self>, cx: &StageContext) -> Result<(), Failure> {
        if self.ledger.progress().ended {
            loop {
                let children = std::mem::take(&mut self.children);
                let ended = cx.call(Duration::ZERO, self.store.end_shard(&mut self.lease, &children)).await;
                self.children = children;
                if self.accept(ended, cx).await? {
                    break;
                }
            }
        }
        // A lease that can't be given up expires by itself: the work is done and stored.
        match cx.call(Duration::ZERO, self.store.release(self.lease.clone())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(group = %cx.group(), %error, "the lease was not released"),
            Err(error) => tracing::warn!(group = %cx.group(), %error, "the lease was not released"),
        }
        Ok(())
    }
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
