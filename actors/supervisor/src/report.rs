//! What an operator gets to see: the tree as JSON, with rates, reasons and the bottleneck. Written by the node, read by
//! `snowmelt status` and `snowmelt top`.

use serde::{Deserialize, Serialize};
use snowmelt_runtime::Failure;
use snowmelt_runtime::observe::Activity;

use crate::status::{GroupState, Mishap};

/// A pipeline and its groups.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PipelineReport {
    /// Its name.
    pub pipeline: String,
    /// True when all its groups make progress.
    pub ready: bool,
    /// Why it is not ready, one line each; its groups' reasons are theirs.
    pub reasons: Vec<String>,
    /// How often one of its shards gave up.
    pub restarts: u64,
    /// Records read in a second, over all groups.
    pub records_per_s: f64,
    /// Its groups, by shard.
    pub groups: Vec<GroupReport>,
}

/// A group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupReport {
    /// The pipeline.
    pub pipeline: String,
    /// The shard.
    pub shard: String,
    /// What it is doing.
    pub state: Phase,
    /// While it backs off: when it is built again, in milliseconds since the epoch.
    pub until_ms: Option<i64>,
    /// True when it makes progress, or has nothing to do.
    pub ready: bool,
    /// Why it is not ready, one line each.
    pub reasons: Vec<String>,
    /// How often it was built.
    pub generation: u64,
    /// How often it failed.
    pub restarts: u64,
    /// The last failure.
    pub last_failure: Option<FailureReport>,
    /// How far reading is behind the newest record at most, in milliseconds; unknown before the first page.
    pub lag_ms: Option<u64>,
    /// Batches read and not yet durable.
    pub pending_batches: usize,
    /// Records read in a second.
    pub records_per_s: f64,
    /// Payload bytes read in a second.
    pub bytes_per_s: f64,
    /// Who keeps the others waiting.
    pub bottleneck: Option<Bottleneck>,
    /// Its actors in the order of the chain.
    pub actors: Vec<ActorReport>,
}

/// The actor that keeps the others waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// Its name.
    pub actor: String,
    /// What it does instead.
    pub reason: String,
}

/// A failure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FailureReport {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Which actor.
    pub actor: String,
    /// `error`, `panic`, `hang`, `unacknowledged` or `lease_lost`.
    pub kind: String,
    /// Why.
    pub message: String,
}

/// An actor. Counters are sums over all generations of its group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ActorReport {
    /// Its name.
    pub actor: String,
    /// What it is doing.
    pub activity: Activity,
    /// For how long, in milliseconds.
    pub activity_ms: u64,
    /// Records handled.
    pub records: u64,
    /// Payload bytes handled.
    pub bytes: u64,
    /// Batches handled.
    pub batches: u64,
    /// Records handled in a second.
    pub records_per_s: f64,
    /// Payload bytes handled in a second.
    pub bytes_per_s: f64,
    /// Share of the last seconds spent waiting for room downstream, 0 to 1.
    pub waiting_for_room: f64,
    /// Share of the last seconds spent waiting for outside systems, 0 to 1.
    pub waiting_outside: f64,
    /// All time spent waiting for room downstream, in microseconds.
    pub waiting_for_room_micros: u64,
    /// All time spent waiting for outside systems, in microseconds.
    pub waiting_outside_micros: u64,
    /// Its mailbox, if it has one.
    pub mailbox: Option<MailboxReport>,
}

/// A mailbox's fill; what is being handled counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxReport {
    /// Bytes held now.
    pub bytes: usize,
    /// Most bytes.
    pub limit_bytes: usize,
    /// Batches held now.
    pub batches: usize,
    /// Most batches.
    pub limit_batches: usize,
}

impl MailboxReport {
    /// How full it is, 0 to 1, by what is nearer to its bound.
    pub fn fill(&self) -> f64 {
        let share = |held: usize, limit: usize| held as f64 / limit.max(1) as f64;
        share(self.bytes, self.limit_bytes).max(share(self.batches, self.limit_batches))
    }
}

/// What a group is doing, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is being built.
    Starting,
    /// Its actors run.
    Running,
    /// Its actors run and read nothing.
    Paused,
    /// It waits before it is built again.
    BackingOff,
    /// It finishes what was read.
    Draining,
    /// It is down on request.
    Stopped,
    /// Its shard was read to its end.
    Ended,
    /// Another owner has its shard.
    LeaseLost,
    /// It failed too often.
    GaveUp,
}

impl Phase {
    /// The word for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::BackingOff => "backing off",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
            Self::LeaseLost => "lease lost",
            Self::GaveUp => "gave up",
        }
    }
}

impl From<&GroupState> for Phase {
    fn from(state: &GroupState) -> Self {
        match state {
            GroupState::Starting => Self::Starting,
            GroupState::Running => Self::Running,
            GroupState::Paused => Self::Paused,
            GroupState::BackingOff { .. } => Self::BackingOff,
            GroupState::Draining => Self::Draining,
            GroupState::Stopped => Self::Stopped,
            GroupState::Ended => Self::Ended,
            GroupState::LeaseLost => Self::LeaseLost,
            GroupState::GaveUp => Self::GaveUp,
        }
    }
}

impl From<&Mishap> for FailureReport {
    fn from(mishap: &Mishap) -> Self {
        let kind = match &mishap.failure {
            Failure::Error { .. } => "error",
            Failure::Panic { .. } => "panic",
            Failure::Hang { .. } => "hang",
            Failure::Unacknowledged { .. } => "unacknowledged",
            Failure::Outage { .. } => "outage",
            Failure::LeaseLost { .. } => "lease_lost",
        };
        Self {
            at_ms: mishap.at_ms,
            actor: mishap.actor.clone(),
            kind: kind.to_owned(),
            message: mishap.failure.to_string(),
        }
    }
}
