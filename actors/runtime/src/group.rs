//! A group: the actors of one shard, built together, killed together, drained together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, ArbiterHandle};
use snowmelt_leases::Fence;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ack::{Ledger, Progress};
use crate::clock::Clock;
use crate::cores::Cores;
use crate::failure::Failure;
use crate::fault::FaultHook;
use crate::observe::{Observed, Stats};
use crate::port::{MailboxLimits, Port};
pub use crate::shell::Exit;
use crate::shell::{Exits, Loop, Shell};
use crate::stage::{CALL_TIMEOUT, Inner, Pause, Stage, StageContext, Worker};

/// Most actors of one group: a shard has about six.
const MAX_ACTORS: usize = 64;

/// Which group: a pipeline's name and a shard's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct GroupId {
    /// The pipeline (application).
    pub pipeline: String,
    /// The shard.
    pub shard: String,
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pipeline, self.shard)
    }
}

/// What a group is built with.
#[derive(Clone)]
pub struct GroupContext {
    /// Which group.
    pub id: GroupId,
    /// Where its time comes from.
    pub clock: Clock,
    /// Where its CPU work runs.
    pub cores: Cores,
    /// The event loop that its actors share.
    pub arbiter: ArbiterHandle,
    /// Whether it may read. The supervisor's switch, so that a group that is built while it is set reads nothing at all.
    pub pause: Pause,
}

/// Builds the actors of one group, the last of the chain first.
pub struct GroupBuilder {
    context: GroupContext,
    killed: CancellationToken,
    draining: CancellationToken,
    exits: Exits,
    ends: mpsc::Receiver<(String, Exit)>,
    actors: Vec<Observed>,
    call_timeout: Duration,
    faults: Option<Arc<dyn FaultHook>>,
    ledger: Option<Ledger>,
    fence: Fence,
}

impl GroupBuilder {
    /// An empty group.
    pub fn new(context: GroupContext) -> Self {
        let (exits, ends) = mpsc::channel(MAX_ACTORS);
        Self {
            context,
            killed: CancellationToken::new(),
            draining: CancellationToken::new(),
            exits,
            ends,
            actors: Vec::new(),
            call_timeout: CALL_TIMEOUT,
            faults: None,
            ledger: None,
            fence: Fence::open(),
        }
    }

    /// How long one call to an outside system may take, for the actors added after this.
    pub const fn set_call_timeout(&mut self, limit: Duration) {
        self.call_timeout = limit;
    }

    /// Faults on purpose in the actors added after this.
    pub fn set_faults(&mut self, hook: Arc<dyn FaultHook>) {
        self.faults = Some(hook);
    }

    /// Until when the group's lease holds, for the actors added after this.
    pub fn set_fence(&mut self, fence: Fence) {
        self.fence = fence;
    }

    /// The ledger of the group's reader, so that its supervisor can see where it died.
    pub fn set_ledger(&mut self, ledger: Ledger) {
        self.ledger = Some(ledger);
    }

    /// The clock, cores and identity of the group.
    pub const fn context(&self) -> &GroupContext {
        &self.context
    }

    /// Starts an actor with a mailbox and returns the port to it. `build` runs on the group's event loop.
    pub fn stage<S: Stage>(
        &mut self,
        name: &str,
        limits: MailboxLimits,
        build: impl FnOnce() -> S + Send + 'static,
    ) -> Port<S::Input> {
        let (cx, stats) = self.actor_context(name);
        let exits = self.exits.clone();
        let address = Shell::start_in_arbiter(&self.context.arbiter, move |ctx| {
            // The bound is the port's; actix's own must never be what a sender meets.
            ctx.set_mailbox_capacity(0);
            Shell::new(build(), cx, exits)
        });
        let port = Port::new(address.recipient(), limits);
        self.actors.push(Observed { actor: name.to_owned(), stats, mailbox: Some(port.view()) });
        port
    }

    /// Starts an actor that loops by itself. `build` runs on the group's event loop.
    pub fn worker<W: Worker>(&mut self, name: &str, build: impl FnOnce() -> W + Send + 'static) {
        let (cx, stats) = self.actor_context(name);
        let exits = self.exits.clone();
        Loop::start_in_arbiter(&self.context.arbiter, move |_| Loop::new(build(), cx, exits));
        self.actors.push(Observed { actor: name.to_owned(), stats, mailbox: None });
    }

    /// The finished group.
    pub fn finish(self) -> Group {
        let remaining = self.actors.len();
        Group {
            id: self.context.id,
            clock: self.context.clock,
            actors: self.actors,
            killed: self.killed,
            draining: self.draining,
            ends: self.ends,
            remaining,
            ledger: self.ledger,
            pulse: Pulse {
                arbiter: self.context.arbiter,
                asked: 0,
                answered: Arc::new(AtomicU64::new(0)),
                since_ms: 0,
            },
        }
    }

    fn actor_context(&self, name: &str) -> (StageContext, Arc<Stats>) {
        let stats = Arc::new(Stats::default());
        let inner = Inner {
            group: self.context.id.clone(),
            actor: name.to_owned(),
            clock: self.context.clock.clone(),
            cores: self.context.cores.clone(),
            stats: Arc::clone(&stats),
            draining: self.draining.clone(),
            killed: self.killed.clone(),
            pause: self.context.pause.clone(),
            call_timeout: self.call_timeout,
            faults: self.faults.clone(),
            fence: self.fence.clone(),
        };
        (StageContext { inner: Arc::new(inner) }, stats)
    }
}

/// A running group.
pub struct Group {
    id: GroupId,
    clock: Clock,
    actors: Vec<Observed>,
    killed: CancellationToken,
    draining: CancellationToken,
    ends: mpsc::Receiver<(String, Exit)>,
    remaining: usize,
    ledger: Option<Ledger>,
    pulse: Pulse,
}

/// Whether the group's event loop still turns: an actor that blocks it stops every group on it.
struct Pulse {
    arbiter: ArbiterHandle,
    asked: u64,
    answered: Arc<AtomicU64>,
    since_ms: u64,
}

impl Pulse {
    /// How long the last question has been without an answer; asks anew when there is one.
    fn silent_for(&mut self, now_ms: u64) -> u64 {
        if self.answered.load(Ordering::Acquire) == self.asked {
            self.asked += 1;
            self.since_ms = now_ms;
            let (asked, answered) = (self.asked, Arc::clone(&self.answered));
            self.arbiter.spawn_fn(move || answered.store(asked, Ordering::Release));
        }
        now_ms.saturating_sub(self.since_ms)
    }
}

/// How a group ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEnd {
    /// Every actor drained; all that was read is durable.
    Drained,
    /// An actor failed; the whole group is torn down.
    Failed {
        /// Which actor.
        actor: String,
        /// Why.
        failure: Failure,
    },
}

impl Group {
    /// Which group this is.
    pub const fn id(&self) -> &GroupId {
        &self.id
    }

    /// Its actors, the last of the chain first.
    pub fn actors(&self) -> &[Observed] {
        &self.actors
    }

    /// A switch that tears the group down when cancelled.
    pub fn kill_switch(&self) -> CancellationToken {
        self.killed.clone()
    }

    /// Asks the group to stop reading, finish what was read, checkpoint and end.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// A handle that asks for draining when cancelled.
    pub fn drain_switch(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Waits for the group's end: all actors drained, or the first failure.
    pub async fn ended(&mut self) -> GroupEnd {
        while self.remaining > 0 {
            match self.ends.recv().await {
                Some((_, Exit::Drained)) => self.remaining -= 1,
                Some((actor, Exit::Failed(failure))) => {
                    self.killed.cancel();
                    return GroupEnd::Failed { actor, failure };
                }
                None => {
                    self.killed.cancel();
                    let failure = Failure::message("its actors ended without a word");
                    return GroupEnd::Failed { actor: "group".to_owned(), failure };
                }
            }
        }
        GroupEnd::Drained
    }

    /// The actor that has been busy without progress for longer than `heartbeat_ms`, or the event loop itself, if any.
    /// To be asked several times a heartbeat.
    pub fn hung(&mut self, heartbeat_ms: u64) -> Option<(String, Failure)> {
        let now = self.clock.monotonic_ms();
        let hung = self.actors.iter().find_map(|observed| {
            let stuck_ms = observed.stats.stuck_for(now).filter(|stuck| *stuck > heartbeat_ms)?;
            Some((observed.actor.clone(), Failure::Hang { stuck_ms }))
        });
        let silent_ms = self.pulse.silent_for(now);
        hung.or_else(|| {
            (silent_ms > heartbeat_ms).then(|| ("event loop".to_owned(), Failure::Hang { stuck_ms: silent_ms }))
        })
    }

    /// The ledger of its reader, if it told of one.
    pub const fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// How far its reader and its sinks are, if the group has a ledger.
    pub fn progress(&self) -> Option<Progress> {
        self.ledger.as_ref().map(Ledger::progress)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group that nobody holds any more must not go on unsupervised.
        self.killed.cancel();
    }
}
