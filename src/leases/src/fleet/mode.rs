//! Whether a fleet of the Kinesis Client Library 3 assigns the leases by a leader.

use std::collections::BTreeMap;

/// Without a change of any metrics row for so long, that fleet has gone; milliseconds. Its workers write every 30 s.
const GONE_AFTER_MS: u64 = 90_000;

/// What to do beside such a fleet. Spec: kinesis-leases 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Take nothing until it has gone.
    Wait,
    /// Take what is free, and a fair share by count, one row a round.
    Share,
}

/// What was read of that fleet's own rows, in their own tables or in the lease table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coordinator {
    /// `cv` of the row `Migration3.0`, with its `CLIENT_VERSION_` prefix or without; `None` when there is no such row or table.
    pub client_version: Option<String>,
    /// `lut` of each worker's metrics row that is not ours. Its unit does not matter: only that it moves.
    pub updated: BTreeMap<String, i64>,
}

impl Coordinator {
    /// Whether, as it is stored, a leader assigns the leases.
    fn is_led(&self) -> bool {
        let version = self.client_version.as_deref().unwrap_or_default();
        matches!(version.strip_prefix("CLIENT_VERSION_").unwrap_or(version), "3X" | "3X_WITH_ROLLBACK")
    }
}

/// How leases are to be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By count (4): there is no leader.
    Count,
    /// Not at all: a leader is there, or may be. Say why each minute.
    Wait,
    /// By count beside a leader, one row a round.
    Share,
}

/// Decides the mode from what was read at different times, without anybody's wall clock: a fleet is alive when its workers'
/// metrics rows change between two reads of ours. Spec: kinesis-leases 6.
#[derive(Clone, Debug, Default)]
pub struct ModeWatch {
    last: Option<Coordinator>,
    /// Since when nothing has changed.
    quiet_since_ms: u64,
    /// Whether a change was seen after the first read.
    alive: bool,
}

impl ModeWatch {
    /// Takes note of a read and decides. Until something is known for sure a leader is assumed.
    ///
    /// A single change is enough, where the table of the specification waits for a second read 60 s later: a change that was
    /// made by a worker's last breath costs 90 s, and nothing else.
    pub fn see(&mut self, now: Coordinator, beside: Beside, now_ms: u64) -> Mode {
        if !now.is_led() {
            *self = Self::default();
            return Mode::Count;
        }
        match &mut self.last {
            Some(last) => {
                // A read that is not consistent may show an older time: only one that is newer than all before counts.
                let mut changed = false;
                for (worker, at) in now.updated {
                    let known = last.updated.insert(worker.clone(), at);
                    changed |= known.is_none_or(|known| at > known);
                    if let Some(known) = known.filter(|known| *known > at) {
                        last.updated.insert(worker, known);
                    }
                }
                if changed {
                    (self.alive, self.quiet_since_ms) = (true, now_ms);
                }
            }
            None => (self.last, self.quiet_since_ms) = (Some(now), now_ms),
        }
        let gone = now_ms.saturating_sub(self.quiet_since_ms) >= GONE_AFTER_MS;
        match (gone, self.alive, beside) {
            (true, ..) => Mode::Count,
            (false, true, Beside::Share) => Mode::Share,
            (false, ..) => Mode::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(version: &str, updated: &[(&str, i64)]) -> Coordinator {
        let updated = updated.iter().map(|&(worker, at)| (worker.to_owned(), at)).collect();
        Coordinator { client_version: Some(version.to_owned()).filter(|version| !version.is_empty()), updated }
    }

    #[test]
    fn without_a_version_or_with_one_that_counts_leases_are_taken_by_count() {
        let versions =
            ["", "CLIENT_VERSION_INIT", "CLIENT_VERSION_UPGRADE_FROM_2X", "CLIENT_VERSION_2X", "UPGRADE_FROM_2X"];
        for version in versions {
            let mut watch = ModeWatch::default();
            for now_ms in [0, 60_000] {
                let mode = watch.see(read(version, &[("a", now_ms as i64)]), Beside::Wait, now_ms);
                assert_eq!(mode, Mode::Count, "{version}");
            }
        }
    }

    #[test]
    fn a_fleet_whose_metrics_move_is_alive_until_they_have_stood_still_for_ninety_seconds() {
        for (beside, alive) in [(Beside::Wait, Mode::Wait), (Beside::Share, Mode::Share)] {
            let mut watch = ModeWatch::default();
            let mut see = |at, now_ms| watch.see(read("CLIENT_VERSION_3X", &[("a", at), ("b", 7)]), beside, now_ms);
            assert_eq!(see(100, 0), Mode::Wait, "not known yet");
            assert_eq!(see(130, 60_000), alive);
            assert_eq!(see(130, 149_000), alive);
            assert_eq!(see(100, 149_500), alive, "an older read is no change");
            assert_eq!(see(130, 150_000), Mode::Count);
            assert_eq!(see(160, 160_000), alive, "it came back");
        }
    }

    #[test]
    fn a_fleet_that_was_stopped_for_a_take_over_is_waited_for_no_longer_than_ninety_seconds() {
        let mut watch = ModeWatch::default();
        let mut see = |now_ms| watch.see(read("3X_WITH_ROLLBACK", &[("a", 100)]), Beside::Wait, now_ms);
        assert_eq!([see(5_000), see(94_999), see(95_000)], [Mode::Wait, Mode::Wait, Mode::Count]);
        let new = watch.see(read("3X_WITH_ROLLBACK", &[("a", 100), ("new", 1)]), Beside::Wait, 95_001);
        assert_eq!(new, Mode::Wait, "a worker that appears is alive");
    }
}
