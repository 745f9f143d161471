//! Acknowledgements: which batches are durable, and up to where a shard's checkpoint may move.
//!
//! The reader opens a [`Ticket`] in its group's [`Ledger`] for each batch it reads and sends the [`Ack`] along. Whoever makes
//! records of the batch durable resolves its part; parts are made by [`Ack::split`]. When the last part is gone, the
//! ledger knows the outcome. A part that is dropped without a word counts as failed: silence is never success.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The place of one batch in its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// 0, 1, 2 … in the order of reading.
    pub number: u64,
    /// The position of the batch's last record, as the lease store writes it.
    pub position: String,
    /// How many records the batch holds.
    pub records: usize,
}

/// One part of the responsibility for a batch (or for several, after [`Ack::merge`]).
#[derive(Debug)]
#[must_use = "an acknowledgement that is dropped fails its batch"]
pub struct Ack {
    roots: Vec<Arc<Root>>,
}

#[derive(Debug)]
struct Root {
    ticket: u64,
    failed: AtomicBool,
    ledger: Ledger,
}

impl Drop for Root {
    fn drop(&mut self) {
        self.ledger.resolve(self.ticket, *self.failed.get_mut());
    }
}

impl Ack {
    /// An acknowledgement that nobody waits for: for records that come from no shard (load tests, tools).
    pub const fn untracked() -> Self {
        Self { roots: Vec::new() }
    }

    /// This part is durable.
    pub fn delivered(mut self) {
        self.roots.clear();
    }

    /// This part can't be made durable; the batch fails as a whole.
    pub fn failed(self) {
        drop(self);
    }

    /// Another part of the same responsibility: the batch is durable only when both are.
    pub fn split(&self) -> Self {
        Self { roots: self.roots.clone() }
    }

    /// One acknowledgement for all of `acks`.
    pub fn merge(acks: impl IntoIterator<Item = Self>) -> Self {
        let mut roots = Vec::new();
        for mut ack in acks {
            roots.append(&mut ack.roots);
        }
        Self { roots }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        for root in &self.roots {
            root.failed.store(true, Ordering::Release);
        }
    }
}

/// The order of a shard's batches and what became of them. Clones share the same ledger.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Tickets not yet passed by the durable position, in order; `true` once delivered.
    open: VecDeque<(Ticket, bool)>,
    durable: Option<Ticket>,
    durable_records: u64,
    failed: Option<u64>,
    sealed: bool,
    ended: bool,
}

/// What a ledger knows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The last batch below which, itself included, everything is durable.
    pub durable: Option<Ticket>,
    /// Records in all durable batches so far.
    pub durable_records: u64,
    /// Batches read and not yet passed by the durable position.
    pub pending: usize,
    /// The first batch that is not durable yet.
    pub first_open: Option<Ticket>,
    /// The last batch that was read and not yet passed by the durable position.
    pub last_open: Option<Ticket>,
    /// A batch that failed, if any: the position can never pass it.
    pub failed: Option<u64>,
    /// The reader will open no more tickets.
    pub sealed: bool,
    /// The shard itself has ended (it was split or merged and is read to its end).
    pub ended: bool,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the next ticket. Order of calls is the order of the shard.
    pub fn open(&self, position: String, records: usize) -> Ack {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.open.push_back((Ticket { number, position, records }, false));
        drop(state);
        let root = Root { ticket: number, failed: AtomicBool::new(false), ledger: self.clone() };
        Ack { roots: vec![Arc::new(root)] }
    }

    /// No more tickets will be opened; `ended` tells that the shard itself is at its end.
    pub fn seal(&self, ended: bool) {
        let mut state = self.lock();
        state.sealed = true;
        state.ended = ended;
        drop(state);
        self.shared.changed.notify_one();
    }

    /// What is known now.
    pub fn progress(&self) -> Progress {
        let state = self.lock();
        Progress {
            durable: state.durable.clone(),
            durable_records: state.durable_records,
            pending: state.open.len(),
            first_open: state.open.front().map(|(ticket, _)| ticket.clone()),
            last_open: state.open.back().map(|(ticket, _)| ticket.clone()),
            failed: state.failed,
            sealed: state.sealed,
            ended: state.ended,
        }
    }

    /// Resolves when something changed since the last call returned. For one waiter: the checkpointer.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// Resolves when everything read is durable, or something failed. For one waiter: the reader.
    pub async fn settled(&self) {
        loop {
            {
                let state = self.lock();
                if state.open.is_empty() || state.failed.is_some() {
                    return;
                }
            }
            self.shared.settled.notified().await;
        }
    }

    fn resolve(&self, number: u64, failed: bool) {
        let mut state = self.lock();
        if failed {
            state.failed.get_or_insert(number);
        } else {
            let first = state.open.front().map_or(number, |(ticket, _)| ticket.number);
            let index = usize::try_from(number - first).unwrap_or(usize::MAX);
            if let Some((_, delivered)) = state.open.get_mut(index) {
                *delivered = true;
            }
            while state.open.front().is_some_and(|(_, delivered)| *delivered) {
                if let Some((ticket, _)) = state.open.pop_front() {
                    state.durable_records += ticket.records as u64;
                    state.durable = Some(ticket);
                }
            }
        }
        drop(state);
        self.shared.changed.notify_one();
        self.shared.settled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durable(ledger: &Ledger) -> Option<u64> {
        ledger.progress().durable.map(|ticket| ticket.number)
    }

    #[test]
    fn the_position_moves_only_to_the_highest_contiguous_durable_batch() {
        let ledger = Ledger::new();
        let (a, b, c) = (ledger.open("a".into(), 1), ledger.open("b".into(), 2), ledger.open("c".into(), 3));
        c.delivered();
        assert_eq!(durable(&ledger), None);
        a.delivered();
        assert_eq!(durable(&ledger), Some(0));
        b.delivered();
        assert_eq!(durable(&ledger), Some(2));
        assert_eq!(ledger.progress().durable_records, 6);
        assert_eq!(ledger.progress().pending, 0);
    }

    #[test]
    fn checkpoint_waits_for_the_slowest_child() {
        let ledger = Ledger::new();
        let ack = ledger.open("a".into(), 1);
        let (good, bad) = (ack.split(), ack.split());
        ack.delivered();
        good.delivered();
        assert_eq!(durable(&ledger), None);
        bad.delivered();
        assert_eq!(durable(&ledger), Some(0));
    }

    #[test]
    fn a_dropped_part_fails_its_batch_whatever_the_others_say() {
        let ledger = Ledger::new();
        let ack = ledger.open("a".into(), 1);
        let lost = ack.split();
        drop(lost);
        ack.delivered();
        assert_eq!(durable(&ledger), None);
        assert_eq!(ledger.progress().failed, Some(0));
    }

    #[test]
    fn merged_acknowledgements_resolve_all_their_batches() {
        let ledger = Ledger::new();
        let merged = Ack::merge([ledger.open("a".into(), 1), ledger.open("b".into(), 1)]);
        assert_eq!(durable(&ledger), None);
        merged.delivered();
        assert_eq!(durable(&ledger), Some(1));
    }
}
