//! What sinks are about to make durable under a name, noted before they do it.
//!
//! A sink that names what it writes by its records (an object by the first and the last of them) can overwrite what it wrote
//! before a crash only if it cuts its batches at the same places again. So it declares each cut before it writes, and writes
//! when the shard's checkpointer has stored the declaration beside the checkpoint. A group that starts after a crash finds
//! the cut that was open and writes it again, whole, before anything else.
//!
//! With several sinks the checkpoint may come to lie within what one of them has written already. Then the stored state also
//! says how far that sink is done, so that it leaves out what it has.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::ack::{Ack, Ledger};
use crate::failure::Failure;
use crate::isolate::compare;

/// The records that one write of a sink holds, and the time that it uses for its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Position of the first record.
    pub first: String,
    /// Position of the last record.
    pub last: String,
    /// The sink's time, milliseconds since the epoch.
    pub at_ms: i64,
}

/// What is stored of one sink.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    /// Everything up to here is durable, where that is beyond the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<String>,
    /// What it is about to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<Cut>,
}

/// The declarations of all sinks of one group. Clones share them.
#[derive(Debug, Clone)]
pub struct Intents {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sinks: Mutex<BTreeMap<String, Sink>>,
    declared: Notify,
    /// Declarations made, and the last of them that is stored.
    versions: watch::Sender<(u64, u64)>,
}

#[derive(Debug, Default)]
struct Sink {
    before: Stored,
    cut: Option<Cut>,
    ledger: Ledger,
}

/// What there is to store beside a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The last declaration in it, for [`Intents::stored`].
    pub version: u64,
    /// The furthest position and the text of the state; none when the checkpoint says it all.
    pub beyond: Option<(String, String)>,
}

impl Default for Intents {
    fn default() -> Self {
        Self::after(None)
    }
}

impl Intents {
    /// The declarations of a group that starts with this stored state. A state that nobody of ours wrote says nothing.
    pub fn after(state: Option<&str>) -> Self {
        let stored: BTreeMap<String, Stored> =
            state.and_then(|state| serde_json::from_str(state).ok()).unwrap_or_default();
        let sinks = stored.into_iter().map(|(name, before)| (name, Sink { before, ..Sink::default() })).collect();
        let shared = Shared { sinks: Mutex::new(sinks), declared: Notify::new(), versions: watch::Sender::new((0, 0)) };
        Self { shared: Arc::new(shared) }
    }

    /// The part of one sink, by a name that it has in every life of its group.
    pub fn sink(&self, name: &str) -> SinkIntents {
        self.lock().entry(name.to_owned()).or_default();
        SinkIntents { intents: self.clone(), name: name.to_owned() }
    }

    /// The first record of what an earlier life of the group was about to write.
    pub fn earliest(&self) -> Option<String> {
        let sinks = self.lock();
        let firsts = sinks.values().filter_map(|sink| Some(sink.before.cut.as_ref()?.first.clone()));
        firsts.min_by(|a, b| compare(a, b))
    }

    /// What there is to store beside the checkpoint `position` (none yet: nothing is done).
    pub fn declared(&self, position: Option<&str>) -> Declared {
        // The version first: a declaration that comes between is stored, and stored again.
        let version = self.shared.versions.borrow().0;
        let passed = |other: &str| position.is_some_and(|position| compare(other, position) != Ordering::Greater);
        let mut furthest: Option<String> = None;
        let mut stored = BTreeMap::new();
        for (name, sink) in self.lock().iter() {
            let own = sink.ledger.progress().durable.map(|ticket| ticket.position);
            let done = own.or_else(|| sink.before.done.clone()).filter(|done| !passed(done));
            let is_done = |last: &str| done.as_deref().is_some_and(|done| compare(last, done) != Ordering::Greater);
            let cut = sink.cut.as_ref().or(sink.before.cut.as_ref()).filter(|cut| !passed(&cut.last));
            let cut = cut.filter(|cut| !is_done(&cut.last)).cloned();
            for beyond in done.iter().chain(cut.as_ref().map(|cut| &cut.last)) {
                if furthest.as_deref().is_none_or(|furthest| compare(furthest, beyond) == Ordering::Less) {
                    furthest = Some(beyond.clone());
                }
            }
            if done.is_some() || cut.is_some() {
                stored.insert(name.clone(), Stored { done, cut });
            }
        }
        // Texts and numbers in maps with text keys: always JSON.
        let beyond = furthest.map(|position| (position, serde_json::to_string(&stored).unwrap_or_default()));
        Declared { version, beyond }
    }

    /// Declarations up to this one are stored: their sinks may write.
    pub fn stored(&self, version: u64) {
        self.shared.versions.send_modify(|(_, stored)| *stored = (*stored).max(version));
    }

    /// Whether a declaration waits to be stored.
    pub fn is_waiting(&self) -> bool {
        let (made, stored) = *self.shared.versions.borrow();
        made > stored
    }

    /// Resolves when there was a declaration since the last call returned. For one waiter: the checkpointer.
    pub async fn changed(&self) {
        self.shared.declared.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Sink>> {
        self.shared.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One sink's part of its group's declarations. Clones share it.
#[derive(Debug, Clone)]
pub struct SinkIntents {
    intents: Intents,
    name: String,
}

impl SinkIntents {
    /// For a sink outside any group (load tests, tools): everything counts as stored at once.
    pub fn untracked() -> Self {
        let intents = Intents::default();
        intents.stored(u64::MAX);
        intents.sink("untracked")
    }

    /// What an earlier life of the group was about to write and may have written.
    pub fn unfinished(&self) -> Option<Cut> {
        self.read(|sink| sink.before.cut.clone())
    }

    /// Everything up to here is durable, where an earlier life of the group has stored that.
    pub fn done_before(&self) -> Option<String> {
        self.read(|sink| sink.before.done.clone())
    }

    /// The time of the cut from `first` to `last`: the one it was declared with before, else `now_ms`.
    pub fn time_of(&self, first: &str, last: &str, now_ms: i64) -> i64 {
        let before = self.unfinished().filter(|cut| cut.first == first && cut.last == last);
        before.map_or(now_ms, |cut| cut.at_ms)
    }

    /// An acknowledgement of the cut that ends at `last`, which also tells how far this sink is: to be used in place of
    /// `ack`. In the order of the shard.
    pub fn track(&self, last: &str, records: usize, ack: Ack) -> Ack {
        let ledger = self.read(|sink| sink.ledger.clone());
        // The sink's part comes first: it is resolved before the checkpoint can move.
        Ack::merge([ledger.open(last.to_owned(), records), ack])
    }

    /// Declares what is about to be written, and returns when that is stored. One cut is open at a time: those before have to
    /// be durable first, with all that belongs to them.
    ///
    /// # Errors
    /// When an earlier cut of this sink failed.
    pub async fn declare(&self, cut: Cut) -> Result<(), Failure> {
        let ledger = self.read(|sink| sink.ledger.clone());
        ledger.settled().await;
        if let Some(ticket) = ledger.progress().failed {
            return Err(Failure::Unacknowledged { ticket });
        }
        if self.unfinished().as_ref() == Some(&cut) {
            return Ok(());
        }
        let mut versions = self.intents.shared.versions.subscribe();
        let version = {
            let mut sinks = self.intents.lock();
            let sink = sinks.entry(self.name.clone()).or_default();
            sink.cut = Some(cut);
            let mut version = 0;
            self.intents.shared.versions.send_modify(|(made, _)| {
                *made += 1;
                version = *made;
            });
            version
        };
        self.intents.shared.declared.notify_one();
        match versions.wait_for(|(_, stored)| *stored >= version).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::message("nobody stores what is declared")),
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Sink) -> T) -> T {
        let mut sinks = self.intents.lock();
        read(sinks.entry(self.name.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(first: u32, last: u32) -> Cut {
        Cut { first: first.to_string(), last: last.to_string(), at_ms: 5 }
    }

    /// Declares, with a checkpointer at `position` that stores it.
    async fn declare(intents: &Intents, sink: &SinkIntents, cut: Cut, position: Option<&str>) -> String {
        let storing = async {
            intents.changed().await;
            let declared = intents.declared(position);
            intents.stored(declared.version);
            declared.beyond.unwrap().1
        };
        let (declared, state) = tokio::join!(sink.declare(cut), storing);
        declared.unwrap();
        assert!(!intents.is_waiting());
        state
    }

    #[tokio::test]
    async fn a_cut_that_was_open_is_known_to_the_next_life_with_its_time() {
        let intents = Intents::default();
        let sink = intents.sink("objects");
        let state = declare(&intents, &sink, cut(1, 10), None).await;
        let next = Intents::after(Some(&state)).sink("objects");
        assert_eq!(next.unfinished(), Some(cut(1, 10)));
        assert_eq!((next.time_of("1", "10", 99), next.time_of("1", "9", 99)), (5, 99));
        // It is stored already.
        next.declare(cut(1, 10)).await.unwrap();
        assert_eq!(Intents::after(Some("of somebody else")).sink("objects").unfinished(), None);
    }

    #[tokio::test]
    async fn what_is_done_beyond_the_checkpoint_is_stored_with_it_and_forgotten_behind_it() {
        let intents = Intents::default();
        let (fast, slow) = (intents.sink("fast"), intents.sink("slow"));
        let group = Ledger::new();
        declare(&intents, &fast, cut(1, 10), None).await;
        fast.track("10", 10, group.open("10".into(), 10)).delivered();
        declare(&intents, &slow, cut(1, 3), None).await;
        let (position, state) = intents.declared(Some("2")).beyond.unwrap();
        assert_eq!(position, "10");
        let next = Intents::after(Some(&state));
        assert_eq!((next.sink("fast").done_before(), next.sink("fast").unfinished()), (Some("10".into()), None));
        assert_eq!((next.sink("slow").done_before(), next.sink("slow").unfinished()), (None, Some(cut(1, 3))));
        assert_eq!(intents.declared(Some("10")).beyond, None);
    }

    #[tokio::test]
    async fn the_next_cut_waits_until_all_of_the_one_before_is_durable() {
        let (intents, group) = (Intents::default(), Ledger::new());
        let sink = intents.sink("objects");
        declare(&intents, &sink, cut(1, 2), None).await;
        let objects = sink.track("2", 2, group.open("2".into(), 2));
        let bad_rows = objects.split();
        objects.delivered();
        let mut next = Box::pin(sink.declare(cut(3, 4)));
        let early = tokio::time::timeout(std::time::Duration::from_millis(20), &mut next).await;
        assert!(early.is_err() && !intents.is_waiting());
        drop(bad_rows);
        assert_eq!(next.await, Err(Failure::Unacknowledged { ticket: 0 }));
        assert_eq!(group.progress().failed, Some(0));
    }
}
