//! A group: the actors of one shard, built together, killed together, drained together.

use std::fmt;
use std::sync::Arc;

use actix::{Actor, ArbiterHandle};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cores::Cores;
use crate::failure::Failure;
use crate::observe::{Observed, Stats};
use crate::port::{MailboxLimits, Port};
pub use crate::shell::Exit;
use crate::shell::{Exits, Loop, Shell};
use crate::stage::{Inner, Stage, StageContext, Worker};

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
}

/// Builds the actors of one group, the last of the chain first.
pub struct GroupBuilder {
    context: GroupContext,
    killed: CancellationToken,
    draining: CancellationToken,
    exits: Exits,
    ends: mpsc::Receiver<(String, Exit)>,
    actors: Vec<Observed>,
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
        }
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

    /// The actor that has been busy without progress for longer than `heartbeat_ms`, if any.
    pub fn hung(&self, heartbeat_ms: u64) -> Option<(String, Failure)> {
        let now = self.clock.monotonic_ms();
        self.actors.iter().find_map(|observed| {
            let stuck_ms = observed.stats.stuck_for(now).filter(|stuck| *stuck > heartbeat_ms)?;
            Some((observed.actor.clone(), Failure::Hang { stuck_ms }))
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group that nobody holds any more must not go on unsupervised.
        self.killed.cancel();
    }
}
