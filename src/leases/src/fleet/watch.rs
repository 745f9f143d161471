//! When rows last changed, as this worker has seen it.

use std::collections::BTreeMap;

use super::{Row, Rows};

/// Book-keeping of expiry: there are no times in the table, so each worker notes by its own clock when it found a counter
/// changed. Spec: kinesis-leases 4.3.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    seen: BTreeMap<String, Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    counter: u64,
    /// When it was found changed; `None` for a row that nobody owned when it was first seen.
    changed_ms: Option<u64>,
}

impl Watch {
    /// Takes note of a whole scan. `now_ms` is when its last page had arrived: a row may have been renewed while the scan ran,
    /// and taking it for older than it is would let it expire early.
    pub fn see(&mut self, rows: &Rows, now_ms: u64) {
        self.seen.retain(|shard, _| rows.contains_key(shard));
        for row in rows.values() {
            match self.seen.get_mut(&row.shard) {
                Some(seen) if seen.counter == row.counter => {}
                Some(seen) => *seen = Seen { counter: row.counter, changed_ms: Some(now_ms) },
                None => {
                    let changed_ms = row.actual_owner().map(|_| now_ms);
                    self.seen.insert(row.shard.clone(), Seen { counter: row.counter, changed_ms });
                }
            }
        }
    }

    /// Milliseconds since the row was found changed; `u64::MAX` for one that nobody owned when it was first seen, and 0 for one
    /// never seen, of which nothing is known.
    pub fn unchanged_for(&self, shard: &str, now_ms: u64) -> u64 {
        match self.seen.get(shard) {
            Some(Seen { changed_ms: Some(changed_ms), .. }) => now_ms.saturating_sub(*changed_ms),
            Some(Seen { changed_ms: None, .. }) => u64::MAX,
            None => 0,
        }
    }

    /// Whether the row's holder has not been heard of for longer than `failover_ms`.
    pub fn is_expired(&self, row: &Row, failover_ms: u64, now_ms: u64) -> bool {
        self.unchanged_for(&row.shard, now_ms) > failover_ms
    }

    /// Whether anybody may take the row: nobody owns it, or it has expired.
    pub fn is_available(&self, row: &Row, failover_ms: u64, now_ms: u64) -> bool {
        row.actual_owner().is_none() || self.is_expired(row, failover_ms, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{row, rows};
    use super::*;

    #[test]
    fn an_owned_row_counts_from_when_it_was_first_seen_and_an_unowned_one_was_never_renewed() {
        let mut watch = Watch::default();
        let table = rows([row("owned", "a", 5), row("free", "", 0)]);
        watch.see(&table, 1_000);
        assert_eq!(watch.unchanged_for("owned", 11_000), 10_000);
        assert!(!watch.is_expired(&table["owned"], 10_000, 11_000), "longer than failover, not as long");
        assert!(watch.is_expired(&table["owned"], 10_000, 11_001));
        assert_eq!(watch.unchanged_for("free", 1_000), u64::MAX);
        assert!(watch.is_available(&table["free"], 10_000, 1_000));
        assert_eq!(watch.unchanged_for("unheard of", 1_000), 0);
    }

    #[test]
    fn a_counter_that_moved_either_way_is_a_renewal_and_one_that_stands_still_is_none() {
        let mut watch = Watch::default();
        watch.see(&rows([row("s", "a", 5)]), 1_000);
        watch.see(&rows([row("s", "b", 5)]), 4_000);
        assert_eq!(watch.unchanged_for("s", 5_000), 4_000, "another owner alone is no renewal");
        watch.see(&rows([row("s", "a", 6)]), 5_000);
        assert_eq!(watch.unchanged_for("s", 6_000), 1_000);
        // A scan that is not consistent may show an older row.
        watch.see(&rows([row("s", "a", 5)]), 7_000);
        assert_eq!(watch.unchanged_for("s", 7_500), 500);
    }

    #[test]
    fn a_row_given_up_is_available_at_once_and_one_that_vanished_is_forgotten() {
        let mut watch = Watch::default();
        watch.see(&rows([row("s", "a", 5)]), 1_000);
        let given = rows([row("s", "", 6)]);
        watch.see(&given, 2_000);
        assert!(watch.is_available(&given["s"], 10_000, 2_000));
        assert_eq!(watch.unchanged_for("s", 2_000), 0);
        watch.see(&Rows::new(), 3_000);
        watch.see(&rows([row("s", "a", 5)]), 90_000);
        assert_eq!(watch.unchanged_for("s", 90_001), 1);
    }
}
