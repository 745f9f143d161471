//! The live tree, as an operator sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use snowmelt_runtime::observe::{Observed, Snapshot};
use snowmelt_runtime::{Failure, GroupId};

/// What a shard's group is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GroupState {
    /// It is being built.
    Starting,
    /// Its actors run.
    Running,
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
    /// It failed too often; its parent decides.
    GaveUp,
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
    /// How often it failed.
    pub restarts: u64,
    /// The last failure: when (milliseconds since the epoch), which actor, why.
    pub last_failure: Option<(i64, String, Failure)>,
    /// Its actors, the last of the chain first.
    pub actors: Vec<Observed>,
}

/// All groups of a node. Clones share the same tree.
#[derive(Debug, Clone, Default)]
pub struct Tree(Arc<Mutex<BTreeMap<GroupId, GroupStatus>>>);

/// A group as JSON for `/status`.
#[derive(Debug, Serialize)]
pub struct GroupReport {
    /// Pipeline and shard.
    #[serde(flatten)]
    pub id: GroupId,
    /// What it is doing.
    #[serde(flatten)]
    pub state: GroupState,
    /// How often it was built.
    pub generation: u64,
    /// How often it failed.
    pub restarts: u64,
    /// The last failure.
    pub last_failure: Option<FailureReport>,
    /// The actor that keeps the others waiting, if any does.
    pub bottleneck: Option<String>,
    /// Its actors in the order of the chain.
    pub actors: Vec<ActorReport>,
}

/// A failure as JSON.
#[derive(Debug, Serialize)]
pub struct FailureReport {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Which actor.
    pub actor: String,
    /// Why.
    pub failure: Failure,
}

/// An actor as JSON.
#[derive(Debug, Serialize)]
pub struct ActorReport {
    /// Its name.
    pub actor: String,
    /// Its counters.
    #[serde(flatten)]
    pub counters: Snapshot,
    /// Bytes in its mailbox, the batch being handled included.
    pub mailbox_bytes: Option<usize>,
    /// The mailbox's bound in bytes.
    pub mailbox_limit_bytes: Option<usize>,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn update(&self, id: &GroupId, change: impl FnOnce(&mut GroupStatus)) {
        let mut groups = self.lock();
        let status = groups.entry(id.clone()).or_insert_with(|| GroupStatus {
            id: id.clone(),
            state: GroupState::Starting,
            generation: 0,
            restarts: 0,
            last_failure: None,
            actors: Vec::new(),
        });
        change(status);
    }

    /// A copy of all groups, by pipeline and shard.
    pub fn groups(&self) -> Vec<GroupStatus> {
        self.lock().values().cloned().collect()
    }

    /// All groups as JSON.
    pub fn report(&self) -> Vec<GroupReport> {
        self.groups().into_iter().map(GroupReport::from).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GroupId, GroupStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<GroupStatus> for GroupReport {
    fn from(status: GroupStatus) -> Self {
        let actors: Vec<ActorReport> = status
            .actors
            .iter()
            .rev()
            .map(|observed| ActorReport {
                actor: observed.actor.clone(),
                counters: observed.stats.snapshot(),
                mailbox_bytes: observed.mailbox.as_ref().map(|mailbox| mailbox.bytes_held()),
                mailbox_limit_bytes: observed.mailbox.as_ref().map(|mailbox| mailbox.limits().bytes),
            })
            .collect();
        Self {
            id: status.id,
            state: status.state,
            generation: status.generation,
            restarts: status.restarts,
            last_failure: status.last_failure.map(|(at_ms, actor, failure)| FailureReport { at_ms, actor, failure }),
            bottleneck: bottleneck(&actors),
            actors,
        }
    }
}

/// The actor with the fullest mailbox, when it is more than half full: what comes before it waits for it.
fn bottleneck(actors: &[ActorReport]) -> Option<String> {
    actors
        .iter()
        .filter_map(|actor| Some((actor, actor.mailbox_bytes? as f64 / actor.mailbox_limit_bytes? as f64)))
        .filter(|(_, fill)| *fill > 0.5)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(actor, _)| actor.actor.clone())
}
