//! What can be seen of an actor while it runs: counters that cost an atomic add a batch, and the names of our metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// The names of the metrics that every actor emits, with labels `pipeline`, `shard` and `actor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Records an actor has handled.
    Records,
    /// Payload bytes an actor has handled.
    Bytes,
    /// Batches an actor has handled.
    Batches,
    /// Time an actor waited for room in the mailbox after it: the bottleneck is the first that does not wait.
    WaitingForRoom,
    /// Time an actor waited for an outside system.
    WaitingOutside,
    /// Bytes in an actor's mailbox now.
    MailboxBytes,
    /// Times a group was built again after a failure.
    Restarts,
    /// How far a shard's reading is behind its newest record at most.
    LagMillis,
    /// How full an actor's mailbox is, 0 to 1, by what is nearer to its bound.
    MailboxFill,
    /// Whether a group makes progress.
    Ready,
    /// Batches that a group has read and that are not durable yet.
    PendingBatches,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Records,
        Self::Bytes,
        Self::Batches,
        Self::WaitingForRoom,
        Self::WaitingOutside,
        Self::MailboxBytes,
        Self::Restarts,
        Self::LagMillis,
        Self::MailboxFill,
        Self::Ready,
        Self::PendingBatches,
    ];

    /// Whether it only grows.
    pub fn is_counter(self) -> bool {
        self.name().ends_with("_total")
    }

    /// What it says, for whoever looks at it.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Records => "Records an actor has handled",
            Self::Bytes => "Payload bytes an actor has handled",
            Self::Batches => "Batches an actor has handled",
            Self::WaitingForRoom => "Microseconds an actor waited for room in the mailbox after it",
            Self::WaitingOutside => "Microseconds an actor waited for outside systems",
            Self::MailboxBytes => "Bytes in an actor's mailbox, what is being handled included",
            Self::Restarts => "Failures after which a shard's group was built again",
            Self::LagMillis => "How far reading a shard is behind its newest record at most, in milliseconds",
            Self::MailboxFill => "How full an actor's mailbox is, 0 to 1",
            Self::Ready => "1 while a shard's group makes progress or has nothing to do, else 0",
            Self::PendingBatches => "Batches that a shard's group has read and that are not durable yet",
        }
    }

    /// The metric's name as exporters see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "snowmelt_actor_records_total",
            Self::Bytes => "snowmelt_actor_bytes_total",
            Self::Batches => "snowmelt_actor_batches_total",
            Self::WaitingForRoom => "snowmelt_actor_waiting_for_room_micros_total",
            Self::WaitingOutside => "snowmelt_actor_waiting_outside_micros_total",
            Self::MailboxBytes => "snowmelt_actor_mailbox_bytes",
            Self::Restarts => "snowmelt_group_restarts_total",
            Self::LagMillis => "snowmelt_shard_lag_millis",
            Self::MailboxFill => "snowmelt_actor_mailbox_fill_ratio",
            Self::Ready => "snowmelt_group_ready",
            Self::PendingBatches => "snowmelt_group_pending_batches",
        }
    }
}

/// What an actor is doing at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Nothing is queued for it.
    Idle = 0,
    /// It works; without progress for a heartbeat it counts as hung.
    Busy = 1,
    /// The mailbox after it is full.
    WaitingForRoom = 2,
    /// An outside system (a stream, a store, a database) has not answered yet.
    WaitingOutside = 3,
}

/// Counters of one actor. Written by the actor, read by anybody.
#[derive(Debug, Default)]
pub struct Stats {
    records: AtomicU64,
    bytes: AtomicU64,
    batches: AtomicU64,
    room_micros: AtomicU64,
    outside_micros: AtomicU64,
    activity: AtomicU8,
    /// [`crate::Clock::monotonic_ms`] of the last change of activity.
    since_ms: AtomicU64,
    /// How far the last page was behind; readers only.
    lag_ms: AtomicU64,
    /// When that was, plus one; 0 before the first page.
    read_at_ms: AtomicU64,
}

/// What a reader knew of its place in the shard when it last got an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// How far the page was behind the newest record, in milliseconds.
    pub lag_ms: u64,
    /// When the page came, in the clock's monotonic milliseconds.
    pub at_ms: u64,
}

impl Reading {
    /// Pages come at least this often, if need be empty ones: a reader that got none for longer is held up.
    const USUAL_WAIT_MS: u64 = 2_000;

    /// How far reading is behind at most now. What a reader that is held up does not know yet counts as there.
    pub const fn lag_at(&self, now_ms: u64) -> u64 {
        let age = now_ms.saturating_sub(self.at_ms);
        if self.lag_ms > 0 || age > Self::USUAL_WAIT_MS { self.lag_ms.saturating_add(age) } else { 0 }
    }
}

/// A copy of an actor's counters.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// Records handled.
    pub records: u64,
    /// Payload bytes handled.
    pub bytes: u64,
    /// Batches handled.
    pub batches: u64,
    /// Microseconds spent waiting for room downstream.
    pub waiting_for_room_micros: u64,
    /// Microseconds spent waiting for outside systems.
    pub waiting_outside_micros: u64,
    /// What it is doing.
    pub activity: Activity,
    /// Since when, in the clock's monotonic milliseconds.
    pub since_ms: u64,
    /// Where a reader is; `None` for every other actor, and before the first page.
    pub reading: Option<Reading>,
}

impl Stats {
    /// Counts a batch that was handled.
    pub fn handled(&self, records: usize, bytes: usize) {
        self.records.fetch_add(records as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds time spent waiting for room downstream.
    pub fn waited_for_room(&self, micros: u64) {
        self.room_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Adds time spent waiting for an outside system.
    pub fn waited_outside(&self, micros: u64) {
        self.outside_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Notes that a page came which was `lag_ms` behind the newest record.
    pub fn read(&self, lag_ms: u64, now_ms: u64) {
        self.lag_ms.store(lag_ms, Ordering::Relaxed);
        self.read_at_ms.store(now_ms.saturating_add(1), Ordering::Relaxed);
    }

    /// Says what the actor does from now on, and returns what it did before.
    pub fn set_activity(&self, activity: Activity, now_ms: u64) -> Activity {
        self.since_ms.store(now_ms, Ordering::Relaxed);
        decode(self.activity.swap(activity as u8, Ordering::Relaxed))
    }

    /// A copy of all counters.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            waiting_for_room_micros: self.room_micros.load(Ordering::Relaxed),
            waiting_outside_micros: self.outside_micros.load(Ordering::Relaxed),
            activity: decode(self.activity.load(Ordering::Relaxed)),
            since_ms: self.since_ms.load(Ordering::Relaxed),
            reading: self.reading(),
        }
    }

    fn reading(&self) -> Option<Reading> {
        let at_ms = self.read_at_ms.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Reading { lag_ms: self.lag_ms.load(Ordering::Relaxed), at_ms })
    }

    /// How long the actor has been busy without a sign of progress, in milliseconds; `None` while it rests or waits.
    pub fn stuck_for(&self, now_ms: u64) -> Option<u64> {
        let busy = self.activity.load(Ordering::Relaxed) == Activity::Busy as u8;
        busy.then(|| now_ms.saturating_sub(self.since_ms.load(Ordering::Relaxed)))
    }
}

const fn decode(activity: u8) -> Activity {
    match activity {
        1 => Activity::Busy,
        2 => Activity::WaitingForRoom,
        3 => Activity::WaitingOutside,
        _ => Activity::Idle,
    }
}

/// One actor of a group, as seen from outside.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The actor's role, with its number where a group has several of a kind.
    pub actor: String,
    /// Its counters.
    pub stats: Arc<Stats>,
    /// Its mailbox; `None` for an actor that loops by itself.
    pub mailbox: Option<crate::port::MailboxView>,
}
