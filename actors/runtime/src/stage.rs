//! What an actor of a group is: a [`Stage`] with a mailbox, or a [`Worker`] that loops by itself.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use snowmelt_leases::Fence;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cores::Cores;
use crate::failure::Failure;
use crate::fault::FaultHook;
use crate::group::GroupId;
use crate::observe::{Activity, Stats};
use crate::port::Weighted;

/// How long one call to an outside system may take unless a group says otherwise.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// An outside system did not answer in time. What became of the call is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {} ms", .after.as_millis())]
pub struct NoAnswer {
    /// How long it was waited for.
    pub after: Duration,
}

/// An actor with a mailbox. It handles one message at a time, in order.
#[async_trait(?Send)]
pub trait Stage: 'static {
    /// What its mailbox holds.
    type Input: Weighted + Send + 'static;

    /// Handles one message. While it runs nothing else of this actor does.
    ///
    /// # Errors
    /// Any failure tears the group down; it starts again from the last checkpoint.
    async fn handle(&mut self, input: Self::Input, cx: &StageContext) -> Result<(), Failure>;

    /// When the actor wants [`Stage::tick`] called if no message comes first, by [`Clock::monotonic_ms`]: a wall clock that
    /// is set back must not keep a batch waiting. Asked after every message and tick.
    fn wake_at_ms(&self) -> Option<u64> {
        None
    }

    /// Called when the time given by [`Stage::wake_at_ms`] has come.
    ///
    /// # Errors
    /// As [`Stage::handle`].
    async fn tick(&mut self, _cx: &StageContext) -> Result<(), Failure> {
        Ok(())
    }

    /// All senders have closed and everything before was handled: send on what is still held, close the own ports.
    ///
    /// # Errors
    /// As [`Stage::handle`].
    async fn drain(self: Box<Self>, cx: &StageContext) -> Result<(), Failure>;
}

/// What a [`Worker`] wants after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Be called again at once.
    Continue,
    /// Nothing more to do: close the own ports in [`Worker::finish`].
    Done,
}

/// An actor that loops by itself.
#[async_trait(?Send)]
pub trait Worker: 'static {
    /// One turn of the loop. Waits are to be wrapped in [`StageContext::outside`] or [`StageContext::rest`].
    ///
    /// # Errors
    /// Any failure tears the group down.
    async fn step(&mut self, cx: &StageContext) -> Result<Step, Failure>;

    /// The last step is done: close the own ports.
    ///
    /// # Errors
    /// As [`Worker::step`].
    async fn finish(self: Box<Self>, cx: &StageContext) -> Result<(), Failure>;
}

/// A switch that makes a group's reader stop reading, and go on. Clones are the same switch.
#[derive(Debug, Clone)]
pub struct Pause(Arc<watch::Sender<bool>>);

impl Default for Pause {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Pause {
    /// Stops reading, or lets it go on.
    pub fn set(&self, paused: bool) {
        self.0.send_replace(paused);
    }

    /// Whether reading is stopped.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    async fn becomes(&self, paused: bool) {
        // The sender lives as long as `self`: waiting for it can't fail.
        if self.0.subscribe().wait_for(|set| *set == paused).await.is_err() {
            std::future::pending().await
        }
    }
}

/// What the runtime lends to an actor.
#[derive(Clone)]
pub struct StageContext {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub group: GroupId,
    pub actor: String,
    pub clock: Clock,
    pub cores: Cores,
    pub stats: Arc<Stats>,
    pub draining: CancellationToken,
    pub killed: CancellationToken,
    pub pause: Pause,
    pub call_timeout: Duration,
    pub faults: Option<Arc<dyn FaultHook>>,
    pub fence: Fence,
}

impl StageContext {
    /// A context outside any group, for load tests and unit tests of single actors.
    pub fn detached(actor: &str, clock: Clock, cores: Cores) -> Self {
        Self {
            inner: Arc::new(Inner {
                group: GroupId { pipeline: "detached".to_owned(), shard: "none".to_owned() },
                actor: actor.to_owned(),
                clock,
                cores,
                stats: Arc::new(Stats::default()),
                draining: CancellationToken::new(),
                killed: CancellationToken::new(),
                pause: Pause::default(),
                call_timeout: CALL_TIMEOUT,
                faults: None,
                fence: Fence::open(),
            }),
        }
    }

    /// To be asked before a write that others see: an error when the group's lease does not hold for `margin` more, since
    /// another worker may then be writing the same.
    ///
    /// # Errors
    /// [`Failure::LeaseLost`].
    pub fn check_lease(&self, margin: Duration) -> Result<(), Failure> {
        if self.inner.fence.holds_for(margin) {
            return Ok(());
        }
        let message = format!(
            "{} no longer holds the lease of its shard, or not for {} ms more; nothing was written",
            self.inner.group,
            margin.as_millis()
        );
        Err(Failure::LeaseLost { message })
    }

    /// The pipeline and shard that the actor works for.
    pub fn group(&self) -> &GroupId {
        &self.inner.group
    }

    /// The actor's name within its group.
    pub fn actor(&self) -> &str {
        &self.inner.actor
    }

    /// The clock to take time from.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The pool for CPU work.
    pub fn cores(&self) -> &Cores {
        &self.inner.cores
    }

    /// The actor's counters.
    pub fn stats(&self) -> &Stats {
        &self.inner.stats
    }

    /// True once the group was asked to drain.
    pub fn is_draining(&self) -> bool {
        self.inner.draining.is_cancelled()
    }

    /// Resolves when the group is asked to drain.
    pub async fn drain_requested(&self) {
        self.inner.draining.cancelled().await;
    }

    /// True while the group is not to read.
    pub fn is_paused(&self) -> bool {
        self.inner.pause.is_set()
    }

    /// Resolves when the group is to read nothing for a while.
    pub async fn pause_requested(&self) {
        self.inner.pause.becomes(true).await;
    }

    /// Resolves when the group may read again.
    pub async fn pause_lifted(&self) {
        self.inner.pause.becomes(false).await;
    }

    /// Waits for an outside system: "I am alive, only waiting", so that no heartbeat takes the wait for a hang.
    /// The time is counted.
    pub async fn outside<F: Future>(&self, future: F) -> F::Output {
        let before = self.inner.stats.set_activity(Activity::WaitingOutside, self.inner.clock.monotonic_ms());
        let started = Instant::now();
        let output = future.await;
        self.inner.stats.waited_outside(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.inner.stats.set_activity(before, self.inner.clock.monotonic_ms());
        output
    }

    /// One call to an outside system, as [`StageContext::outside`], given up after the group's limit and `patience` on top
    /// of it: a system that never answers must not hold a shard for ever.
    ///
    /// # Errors
    /// When there was no answer; the call's future is dropped then.
    pub async fn call<F: Future>(&self, patience: Duration, future: F) -> Result<F::Output, NoAnswer> {
        self.outside(self.in_time(patience, future)).await
    }

    /// [`StageContext::call`] for calls side by side: whoever waits for all of them says that it waits.
    ///
    /// # Errors
    /// As [`StageContext::call`].
    pub async fn in_time<F: Future>(&self, patience: Duration, future: F) -> Result<F::Output, NoAnswer> {
        let after = self.inner.call_timeout.saturating_add(patience);
        tokio::select! {
            biased;
            output = future => Ok(output),
            () = self.inner.clock.sleep(after) => Err(NoAnswer { after }),
        }
    }

    /// Waits with nothing to do: idle, not hung.
    pub async fn rest<F: Future>(&self, future: F) -> F::Output {
        let before = self.inner.stats.set_activity(Activity::Idle, self.inner.clock.monotonic_ms());
        let output = future.await;
        self.inner.stats.set_activity(before, self.inner.clock.monotonic_ms());
        output
    }

    /// Sleeps on the context's clock, as a wait for an outside system; cut short by a request to drain.
    /// Returns false when it was cut short.
    pub async fn back_off(&self, wait: Duration) -> bool {
        self.outside(async {
            tokio::select! {
                () = self.inner.clock.sleep(wait) => true,
                () = self.inner.draining.cancelled() => false,
            }
        })
        .await
    }
}
