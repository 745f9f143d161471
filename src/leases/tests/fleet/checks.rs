//! What must hold after every step of a fleet.

use std::collections::{BTreeMap, BTreeSet};

use snowmelt_leases::Position;
use snowmelt_leases::fleet::{Row, Rows};

use crate::stream::Stream;
use crate::table::{Change, Request};
use crate::worker::{FAILOVER_MS, PERIOD_MS, SILENT};

/// The longest scan or write, both ways.
pub const SLOWEST_MS: u64 = 3_200;
/// The longest that a row is left alone while one of our workers with room reaches the table without a fault: unchanged for
/// three failover times, seen a round late and taken a round late, by clocks that differ.
pub const ORPHANED_MS: u64 = (3 * FAILOVER_MS + 2 * PERIOD_MS * 6 / 5 + 3 * SLOWEST_MS) * 102 / 100 + 2_000;

/// What the checks remember of a fleet.
#[derive(Default)]
pub struct Checks {
    /// Records of each shard that were delivered, without a gap.
    delivered: BTreeMap<String, u64>,
    ever_leased: BTreeSet<String>,
    /// When each row was last held or changed.
    tended: BTreeMap<String, u64>,
    pub longest_orphaned_ms: u64,
    pub broken: Option<String>,
}

impl Checks {
    pub fn fail(&mut self, now: u64, what: String) {
        self.broken.get_or_insert(format!("at {now} ms: {what}"));
    }

    /// A group begins to read.
    pub fn begins(&mut self, shard: &str, latest: bool, rows: &Rows, stream: &Stream, now: u64) {
        for parent in stream.parents(shard) {
            if rows.get(parent).is_some_and(|row| !row.is_ended()) {
                self.fail(now, format!("{shard} begins before the end of {parent}"));
            }
            let delivered = self.delivered.get(parent).copied().unwrap_or(0);
            if self.ever_leased.contains(parent) && stream.total(parent) != Some(delivered) {
                self.fail(now, format!("{shard} begins with {delivered} records of {parent} delivered"));
            }
            if latest && self.ever_leased.contains(parent) {
                self.fail(now, format!("{shard} begins at its newest record, its parent {parent} was read"));
            }
        }
        if latest {
            let there = stream.records(shard, now);
            self.delivered.entry(shard.to_owned()).and_modify(|to| *to = there.max(*to)).or_insert(there);
        }
    }

    pub fn delivers(&mut self, who: &str, shard: &str, from: u64, to: u64, now: u64) {
        let delivered = self.delivered.entry(shard.to_owned()).or_insert(0);
        if from > *delivered {
            let known = *delivered;
            self.fail(now, format!("{who} delivers {shard} from {from}, {known} were delivered"));
            return;
        }
        *delivered = to.max(*delivered);
    }

    /// A write that landed.
    pub fn landed(&mut self, request: &Request, before: Option<&Row>, rows: &Rows, stream: &Stream, now: u64) {
        match request {
            Request::Create(row) => {
                self.ever_leased.insert(row.shard.clone());
                self.tended.insert(row.shard.clone(), now);
            }
            Request::Update { change, .. } => {
                let (before, row) = (before.unwrap(), &rows[&before.unwrap().shard]);
                self.tended.insert(row.shard.clone(), now);
                if row.checkpoint < before.checkpoint {
                    self.fail(now, format!("{}: {} after {}", row.shard, row.checkpoint, before.checkpoint));
                }
                if let Change::Checkpoint(position) = change {
                    let delivered = self.delivered.get(&row.shard).copied().unwrap_or(0);
                    let covered = match position {
                        Position::ShardEnd => stream.total(&row.shard) == Some(delivered),
                        position => *position <= Position::at(delivered),
                    };
                    if !covered {
                        self.fail(now, format!("{} is stored at {position}, {delivered} delivered", row.shard));
                    }
                }
            }
            Request::Delete(row) => {
                let has_begun = |child: &String| {
                    rows.get(child).is_some_and(|child| !matches!(child.checkpoint, Position::TrimHorizon))
                };
                let early = before.is_none_or(|row| !row.is_ended())
                    || !row.children.iter().all(has_begun)
                    || row.parents.iter().any(|parent| rows.contains_key(parent));
                if early {
                    self.fail(now, format!("the row of {} is deleted early", row.shard));
                }
                self.tended.remove(&row.shard);
            }
            Request::NoteChildren { .. } | Request::Scan | Request::Get(_) => {}
        }
    }

    /// A renewal by a group not heard of for a while.
    pub fn renewed_after_silence(&mut self, shard: &str, silent_ms: u64, now: u64) {
        if silent_ms > (SILENT + 1) * FAILOVER_MS {
            self.fail(now, format!("{shard} is renewed though its group is silent for {silent_ms} ms"));
        }
    }

    /// Whether each row is held, or somebody could not yet be expected to have taken it.
    pub fn orphans(
        &mut self,
        rows: &Rows,
        is_held: impl Fn(&str) -> bool,
        could_take: impl Fn(&Row) -> Option<String>,
        now: u64,
    ) {
        for row in rows.values() {
            let tended = self.tended.entry(row.shard.clone()).or_insert(now);
            if is_held(&row.shard) {
                *tended = now;
            }
            let orphaned = now - *tended;
            self.longest_orphaned_ms = self.longest_orphaned_ms.max(orphaned);
            if orphaned > ORPHANED_MS
                && let Some(worker) = could_take(row)
            {
                let what = format!("{} is nobody's for {orphaned} ms though {worker} could take it", row.shard);
                self.fail(now, what);
            }
        }
    }
}
