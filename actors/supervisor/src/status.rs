//! The live tree: what supervisors write down and everybody reads. What is made of it for operators stands in [`crate::report`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use snowmelt_runtime::observe::Observed;
use snowmelt_runtime::{Failure, GroupId, Ledger};

/// What a shard's group is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GroupState {
    /// It is being built.
    Starting,
    /// Its actors run.
    Running,
    /// Its actors run, but an operator told it not to read.
    Paused,
    /// It failed and waits before it is built again.
    BackingOff {
        /// When, in milliseconds since the epoch.
        until_ms: i64,
    },
    /// It stops reading and finishes what was read.
    Draining,
    /// It drained on request and stays down.
    Stopped,
    /// The shard was read to its end.
    Ended,
    /// Another owner took the shard's lease.
    LeaseLost,
    /// It failed too often; its parent decides.
    GaveUp,
}

impl GroupState {
    /// Whether the group has actors that live.
    pub const fn has_actors(&self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Draining)
    }
}

/// A failure, when it happened and whose it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mishap {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Which actor.
    pub actor: String,
    /// Why.
    pub failure: Failure,
}

/// Counters of an actor over all generations of its group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records handled.
    pub records: u64,
    /// Payload bytes handled.
    pub bytes: u64,
    /// Batches handled.
    pub batches: u64,
    /// Microseconds spent waiting for room downstream.
    pub room_micros: u64,
    /// Microseconds spent waiting for outside systems.
    pub outside_micros: u64,
}

impl Totals {
    /// These and those of `observed`.
    pub(crate) fn and(self, observed: &Observed) -> Self {
        let more = observed.stats.snapshot();
        Self {
            records: self.records + more.records,
            bytes: self.bytes + more.bytes,
            batches: self.batches + more.batches,
            room_micros: self.room_micros + more.waiting_for_room_micros,
            outside_micros: self.outside_micros + more.waiting_outside_micros,
        }
    }
}

/// One group's line in the tree.
#[derive(Debug, Clone)]
pub struct GroupStatus {
    /// Pipeline and shard.
    pub id: GroupId,
    /// What it is doing.
    pub state: GroupState,
    /// How often it was built.
    pub generation: u64,
    /// How often it failed. What an operator asks for is no failure.
    pub restarts: u64,
    /// The last failure.
    pub last_failure: Option<Mishap>,
    /// Its actors, the last of the chain first; those of the last generation while it is down.
    pub actors: Vec<Observed>,
    /// What is read and not yet durable, if its reader told of a ledger.
    pub ledger: Option<Ledger>,
    /// Without progress for this long while there is work it counts as stuck.
    pub heartbeat: Duration,
    past: BTreeMap<String, Totals>,
}

impl GroupStatus {
    fn new(id: GroupId) -> Self {
        Self {
            id,
            state: GroupState::Starting,
            generation: 0,
            restarts: 0,
            last_failure: None,
            actors: Vec::new(),
            ledger: None,
            heartbeat: Duration::MAX,
            past: BTreeMap::new(),
        }
    }

    /// The actors of a new generation; what those before have counted is kept.
    pub(crate) fn replace_actors(&mut self, actors: Vec<Observed>, ledger: Option<Ledger>) {
        for observed in std::mem::replace(&mut self.actors, actors) {
            let totals = self.past.entry(observed.actor.clone()).or_default();
            *totals = totals.and(&observed);
        }
        self.ledger = ledger;
    }

    /// An actor's counters over all generations.
    pub fn totals(&self, observed: &Observed) -> Totals {
        self.past.get(&observed.actor).copied().unwrap_or_default().and(observed)
    }
}

/// One pipeline's line in the tree.
#[derive(Debug, Clone, Default)]
pub struct PipelineStatus {
    /// Whether its shards could be listed since it started.
    pub listed: bool,
    /// Why they could not be listed the last time, if so: when, in milliseconds since the epoch, and why.
    pub unlisted: Option<(i64, Failure)>,
    /// How often one of its shards gave up.
    pub restarts: u64,
    /// It gave up.
    pub gave_up: bool,
}

/// All pipelines and groups of a node. Clones share the same tree.
#[derive(Debug, Clone, Default)]
pub struct Tree(Arc<Mutex<Branches>>);

#[derive(Debug, Default)]
struct Branches {
    pipelines: BTreeMap<String, PipelineStatus>,
    groups: BTreeMap<GroupId, GroupStatus>,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn update(&self, id: &GroupId, change: impl FnOnce(&mut GroupStatus)) {
        let mut branches = self.lock();
        let status = branches.groups.entry(id.clone()).or_insert_with(|| GroupStatus::new(id.clone()));
        change(status);
    }

    pub(crate) fn update_pipeline(&self, name: &str, change: impl FnOnce(&mut PipelineStatus)) {
        change(self.lock().pipelines.entry(name.to_owned()).or_default());
    }

    /// A copy of all groups, by pipeline and shard.
    pub fn groups(&self) -> Vec<GroupStatus> {
        self.lock().groups.values().cloned().collect()
    }

    /// A copy of all pipelines, by name.
    pub fn pipelines(&self) -> Vec<(String, PipelineStatus)> {
        self.lock().pipelines.iter().map(|(name, status)| (name.clone(), status.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Branches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
