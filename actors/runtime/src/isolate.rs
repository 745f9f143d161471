//! Finding the one record that kills its group: a pure state machine that a shard's supervisor keeps.
//!
//! A group that dies twice without getting past what it had read the first time is suspected of holding a poison record. From
//! then on it is built with *care*: one small batch at a time, each durable and checkpointed before the next is read, so
//! that a death names its batch. The batch's size is halved at every death until the record is alone. A record that kills
//! alone twice is condemned: the next group sends it to the bad stream instead of handling it. When all that was suspected
//! is durable the careful group ends, and the next one runs at full size.

use std::cmp::Ordering;

use crate::ack::Progress;
use crate::failure::Failure;

/// Counts records that were sent to a bad stream since they killed their group, by pipeline and shard.
pub const POISON_RECORDS: &str = "snowmelt_poison_records_total";

/// Deaths of a record alone that condemn it: one may be chance.
const DEATHS_ALONE: u32 = 2;
/// Records condemned one after the other, with none made durable between, past which the records are not to blame.
const MAX_IN_A_ROW: u32 = 3;

/// How the next group of a shard is to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Care {
    /// Most records of one batch; one batch at a time.
    pub limit: usize,
    /// Position up to which care is taken; when it is durable the group ends.
    pub until: String,
    /// Records that are not to be handled.
    pub condemned: Vec<Condemned>,
}

/// A record that is known to kill its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condemned {
    /// Its position.
    pub position: String,
    /// What it did.
    pub reason: String,
}

/// What a death says about the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Nothing: a failure like any other.
    Unknown,
    /// A record is being looked for.
    Isolating,
}

/// What is known about the records of one shard.
#[derive(Debug, Clone, Default)]
pub struct Isolation {
    /// The last position that was read when the group died, until something passes it.
    died_within: Option<String>,
    suspect: Option<Suspect>,
    condemned_in_a_row: u32,
}

#[derive(Debug, Clone)]
struct Suspect {
    care: Care,
    /// The size to go on with once a record is condemned.
    full: usize,
    alone: Option<(String, u32)>,
}

impl Isolation {
    /// How the next group has to read.
    pub fn care(&self) -> Option<&Care> {
        self.suspect.as_ref().map(|suspect| &suspect.care)
    }

    /// The group drained: everything it read is durable, so nothing of it is suspect any more.
    pub fn drained(&mut self) {
        *self = Self::default();
    }

    /// The group died with `failure` while its ledger showed `progress`.
    pub fn died(&mut self, progress: &Progress, failure: &Failure) -> Blame {
        let (Some(first), Some(last)) = (&progress.first_open, &progress.last_open) else { return Blame::Unknown };
        let passed = |position: &str| {
            progress.durable.as_ref().is_some_and(|durable| compare(&durable.position, position) != Ordering::Less)
        };
        if let Some(suspect) = self.suspect.as_mut().filter(|suspect| !passed(&suspect.care.until)) {
            if let Some(last) = suspect.care.condemned.last()
                && passed(&last.position)
                && progress.durable.as_ref().is_some_and(|durable| durable.position != last.position)
            {
                self.condemned_in_a_row = 0;
            }
            if first.records > 1 {
                suspect.care.limit = suspect.care.limit.min(first.records).div_ceil(2);
                suspect.alone = None;
                return Blame::Isolating;
            }
            let deaths = match &suspect.alone {
                Some((position, deaths)) if *position == first.position => deaths + 1,
                _ => 1,
            };
            if deaths < DEATHS_ALONE {
                suspect.alone = Some((first.position.clone(), deaths));
                return Blame::Isolating;
            }
            self.condemned_in_a_row += 1;
            if self.condemned_in_a_row > MAX_IN_A_ROW {
                self.drained();
                return Blame::Unknown;
            }
            suspect.care.condemned.push(Condemned { position: first.position.clone(), reason: failure.to_string() });
            suspect.care.limit = suspect.full;
            suspect.alone = None;
            return Blame::Isolating;
        }
        self.suspect = None;
        let again = self.died_within.take().filter(|position| !passed(position));
        let Some(before) = again else {
            self.died_within = Some(last.position.clone());
            return Blame::Unknown;
        };
        let until = if compare(&before, &last.position) == Ordering::Less { last.position.clone() } else { before };
        let care = Care { limit: first.records.div_ceil(2), until, condemned: Vec::new() };
        self.suspect = Some(Suspect { full: first.records.max(1), care, alone: None });
        Blame::Isolating
    }
}

impl Care {
    /// Whether `position` is at or past the end of what is suspect.
    pub fn is_passed_by(&self, position: &str) -> bool {
        compare(position, &self.until) != Ordering::Less
    }
}

/// Compares two positions: decimal numbers of any length, with a part behind a colon where records are aggregated.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let number = |a: &str, b: &str| {
        let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    };
    let parts = |text| str::split_once(text, ':').unwrap_or((text, ""));
    let ((a, part_a), (b, part_b)) = (parts(a), parts(b));
    number(a, b).then_with(|| number(part_a, part_b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ack::Ledger;

    #[test]
    fn positions_are_compared_as_numbers_and_then_by_their_part() {
        let ascending = ["0", "9", "10", "10:1", "10:9", "10:10", "11", "100:2"];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        assert_eq!(compare("007:0", "7"), Ordering::Equal);
    }

    /// Runs groups over records 1..=total, of which some kill, from a checkpoint kept between them, until all is durable.
    fn run(total: u64, page: usize, kills: &[u64]) -> (Vec<u64>, Vec<u64>, u32) {
        let (mut isolation, mut checkpoint, mut deaths) = (Isolation::default(), 0, 0);
        let (mut durable, mut bad) = (Vec::new(), Vec::new());
        'groups: loop {
            let care = isolation.care().cloned();
            let ledger = Ledger::new();
            let mut acks = Vec::new();
            let mut next = checkpoint + 1;
            while next <= total {
                let condemned =
                    |n: u64| care.iter().flat_map(|care| &care.condemned).any(|c| c.position == n.to_string());
                let size = care.as_ref().map_or(page, |care| care.limit) as u64;
                let end = (next..=total).take_while(|n| *n < next + size && !condemned(*n)).last().unwrap_or(next);
                let batch: Vec<u64> = (next..=end).collect();
                acks.push(ledger.open(end.to_string(), batch.len()));
                if condemned(next) {
                    bad.push(next);
                } else if batch.iter().any(|n| kills.contains(n)) {
                    deaths += 1;
                    assert!(deaths < 200, "no end");
                    isolation.died(&ledger.progress(), &Failure::Panic { message: "poison".into() });
                    continue 'groups;
                } else {
                    durable.extend(&batch);
                }
                // Without care, batches become durable two at a time, so that a death leaves several open.
                if care.is_some() || acks.len() == 2 {
                    acks.drain(..).for_each(crate::Ack::delivered);
                    checkpoint = end;
                }
                next = end + 1;
                if care.as_ref().is_some_and(|care| care.is_passed_by(&end.to_string())) {
                    isolation.drained();
                    continue 'groups;
                }
            }
            return (durable, bad, deaths);
        }
    }

    fn once(mut records: Vec<u64>) -> Vec<u64> {
        records.sort_unstable();
        records.dedup();
        records
    }

    #[test]
    fn one_poison_record_among_many_is_found_and_all_others_pass() {
        for poison in [1, 2, 499, 500, 501, 1999, 2000] {
            let (durable, bad, deaths) = run(2000, 500, &[poison]);
            assert_eq!(once(bad), [poison]);
            assert_eq!(once(durable), (1..=2000).filter(|n| *n != poison).collect::<Vec<_>>());
            assert!(deaths <= 14, "{poison}: {deaths} deaths");
        }
    }

    #[test]
    fn neighbours_and_records_far_apart_are_each_found() {
        let (durable, bad, _) = run(3000, 400, &[7, 8, 1200, 2999]);
        assert_eq!(once(bad), [7, 8, 1200, 2999]);
        assert_eq!(once(durable).len(), 2996);
    }

    #[test]
    fn deaths_at_different_places_suspect_nobody() {
        let mut isolation = Isolation::default();
        let failure = Failure::message("chance");
        for n in 0..10_u64 {
            let ledger = Ledger::new();
            ledger.open((100 * n + 100).to_string(), 100).delivered();
            let open = ledger.open((100 * n + 200).to_string(), 100);
            assert_eq!(isolation.died(&ledger.progress(), &failure), Blame::Unknown);
            drop(open);
        }
        assert_eq!(isolation.care(), None);
    }

    #[test]
    fn a_sink_that_takes_nothing_is_not_blamed_on_the_records() {
        let mut isolation = Isolation::default();
        let failure = Failure::message("no permission");
        let mut deaths = 0;
        let condemned = loop {
            deaths += 1;
            let care = isolation.care().cloned();
            let condemned = care.as_ref().map_or(0, |care| care.condemned.len());
            let ledger = Ledger::new();
            for n in 1..=condemned {
                ledger.open(n.to_string(), 1).delivered();
            }
            let size = care.map_or(64, |care| care.limit);
            let open = ledger.open((condemned + size).to_string(), size);
            let blame = isolation.died(&ledger.progress(), &failure);
            drop(open);
            if deaths > 1 && blame == Blame::Unknown {
                break condemned;
            }
        };
        assert_eq!(condemned, MAX_IN_A_ROW as usize);
        assert!(deaths < 50);
    }
}
