//! What each idempotent producer has stored in a shard.

use std::collections::HashMap;

use crate::{HashKeyRange, Origin, SequenceNumber};

/// The last origin a producer stored among some hash keys. Those are the shard's own, or, until the producer has
/// stored something here, those of the shard it was split or merged from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Mark {
    range: HashKeyRange,
    sequence: SequenceNumber,
    index: u32,
    seen_ms: i64,
}

impl Mark {
    fn origin(&self) -> Origin {
        Origin { sequence: self.sequence, index: self.index }
    }
}

/// The marks of all producers of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct ProducerTable(HashMap<String, Vec<Mark>>);

/// What to put back when the write that advanced a producer fails.
pub(crate) struct Undo {
    producer: String,
    marks: Option<Vec<Mark>>,
}

/// A producer unseen for so long has no put to repeat: its source is past its own retention.
const FORGET_AFTER_MS: i64 = 30 * 24 * 3600 * 1000;

impl ProducerTable {
    /// Whether `producer` has stored the entry at `hash_key` from `origin` before.
    pub(crate) fn has_stored(&self, producer: &str, hash_key: u128, origin: Origin) -> bool {
        self.0
            .get(producer)
            .is_some_and(|marks| marks.iter().any(|mark| mark.range.contains(hash_key) && origin <= mark.origin()))
    }

    /// Whether no producer is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes that everything of `producer` for the shard's `range` up to `origin` is stored.
    pub(crate) fn advance(&mut self, producer: &str, range: HashKeyRange, origin: Origin, now_ms: i64) -> Undo {
        let before = self.0.get(producer).cloned();
        let marks = self.0.entry(producer.to_owned()).or_default();
        // An inherited mark that is not above says nothing new.
        marks.retain(|mark| mark.origin() > origin);
        marks.push(Mark { range, sequence: origin.sequence, index: origin.index, seen_ms: now_ms });
        Undo { producer: producer.to_owned(), marks: before }
    }

    /// Takes an [`advance`](Self::advance) back; the last one first.
    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo.marks {
            Some(marks) => self.0.insert(undo.producer, marks),
            None => self.0.remove(&undo.producer),
        };
    }

    /// Takes over what was stored in a parent shard.
    pub(crate) fn inherit(&mut self, parent: &Self) {
        for (producer, marks) in &parent.0 {
            self.0.entry(producer.clone()).or_default().extend(marks.iter().cloned());
        }
    }

    /// Forgets producers that are long gone, so that the table stays small.
    pub(crate) fn forget_old(&mut self, now_ms: i64) {
        self.0.retain(|_, marks| marks.iter().any(|mark| mark.seen_ms >= now_ms.saturating_sub(FORGET_AFTER_MS)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(lo: u128, index: u32) -> Origin {
        Origin { sequence: SequenceNumber::new(0, lo), index }
    }

    #[test]
    fn entries_up_to_the_last_origin_are_known() {
        let mut table = ProducerTable::default();
        table.advance("p", HashKeyRange::ALL, origin(5, 1), 0);
        assert!(table.has_stored("p", 0, origin(4, 9)) && table.has_stored("p", 0, origin(5, 1)));
        assert!(!table.has_stored("p", 0, origin(5, 2)) && !table.has_stored("q", 0, origin(1, 0)));
    }

    #[test]
    fn merged_child_judges_each_key_by_the_parent_that_had_it() {
        let (low, high) = HashKeyRange::ALL.split(100).unwrap();
        let (mut a, mut b, mut child) = (ProducerTable::default(), ProducerTable::default(), ProducerTable::default());
        a.advance("p", low, origin(50, 0), 0);
        b.advance("p", high, origin(90, 0), 0);
        child.inherit(&a);
        child.inherit(&b);
        assert!(!child.has_stored("p", 7, origin(70, 0)), "only the other parent came that far");
        assert!(child.has_stored("p", 200, origin(70, 0)));
        child.advance("p", HashKeyRange::ALL, origin(70, 0), 0);
        assert!(child.has_stored("p", 7, origin(70, 0)) && child.has_stored("p", 200, origin(80, 0)));
        assert!(!child.has_stored("p", 7, origin(80, 0)));
    }

    #[test]
    fn undo_puts_back_what_was() {
        let mut table = ProducerTable::default();
        let first = table.advance("p", HashKeyRange::ALL, origin(1, 0), 0);
        let before = table.clone();
        let second = table.advance("p", HashKeyRange::ALL, origin(2, 0), 0);
        table.undo(second);
        assert_eq!(table, before);
        table.undo(first);
        assert_eq!(table, ProducerTable::default());
    }

    #[test]
    fn producers_long_gone_are_forgotten() {
        let mut table = ProducerTable::default();
        table.advance("old", HashKeyRange::ALL, origin(1, 0), 0);
        table.advance("new", HashKeyRange::ALL, origin(1, 0), FORGET_AFTER_MS);
        table.forget_old(FORGET_AFTER_MS + 1);
        assert!(!table.has_stored("old", 0, origin(1, 0)) && table.has_stored("new", 0, origin(1, 0)));
    }
}
