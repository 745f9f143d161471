//! What a look at the table leads to.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::{Rows, Stored};
use crate::options::{LeaseOptions, as_ms};

/// A lease to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// Its shard.
    pub shard: String,
    /// Its owner is alive.
    pub stolen: bool,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// Leases to take.
    pub takes: Vec<Take>,
    /// This worker's share.
    pub wanted: usize,
    /// Leases that nobody renews.
    pub expired: usize,
}

/// Remembers what earlier looks have shown.
#[derive(Debug, Default)]
pub struct Planner {
    seen: BTreeMap<String, (u64, u64)>,
    looked: bool,
    holes: u32,
    listed_ms: u64,
}

/// Looks in a row that must show a hole before the stream is listed.
const HOLE_LOOKS: u32 = 3;
/// Least time between two listings for the sake of holes.
const LIST_EVERY_MS: u64 = 30_000;

impl Planner {
    /// Whether a row's owner has let it run out.
    pub fn has_expired(&self, row: &Stored, now_ms: u64, options: &LeaseOptions) -> bool {
        self.seen.get(&row.shard).is_some_and(|(counter, changed_ms)| {
            *counter == row.counter && now_ms.saturating_sub(*changed_ms) > as_ms(options.failover)
        })
    }

    /// Decides what to take.
    pub fn plan(
        &mut self,
        rows: &Rows,
        held: &BTreeSet<String>,
        me: &str,
        now_ms: u64,
        options: &LeaseOptions,
    ) -> Plan {
        let first = !std::mem::replace(&mut self.looked, true);
        self.seen.retain(|shard, _| rows.contains_key(shard));
        for row in rows.values() {
            let fresh = if row.actual_owner().is_some() { now_ms } else { 0 };
            let seen = self.seen.entry(row.shard.clone()).or_insert((row.counter, fresh));
            if seen.0 != row.counter {
                *seen = (row.counter, now_ms);
            }
        }
        let expired = |row: &Stored| self.has_expired(row, now_ms, options);
        let free = |row: &Stored| {
            let own = row.actual_owner() == Some(me) && first;
            own || row.actual_owner().is_none() || expired(row)
        };
        let mut counts: BTreeMap<&str, Vec<&Stored>> = BTreeMap::from([(me, Vec::new())]);
        for row in rows.values() {
            if held.contains(&row.shard) {
                counts.entry(me).or_default().push(row);
            } else if !free(row) {
                counts.entry(row.actual_owner().unwrap_or(me)).or_default().push(row);
            }
        }
        let wanted = rows.len().div_ceil(counts.len()).min(options.max_leases);
        let mine = counts.get(me).map_or(0, Vec::len);
        let mut available: Vec<&Stored> = rows.values().filter(|row| !held.contains(&row.shard) && free(row)).collect();
        fastrand::shuffle(&mut available);
        let mut takes: Vec<Take> = Vec::new();
        let own = available.iter().filter(|row| first && row.actual_owner() == Some(me));
        takes.extend(own.map(|row| Take { shard: row.shard.clone(), stolen: false }));
        let need = wanted.saturating_sub(mine + takes.len());
        let others: Vec<Take> = available
            .iter()
            .filter(|row| !(first && row.actual_owner() == Some(me)))
            .take(need)
            .map(|row| Take { shard: row.shard.clone(), stolen: false })
            .collect();
        takes.extend(others);
        if available.is_empty()
            && need > 0
            && let Some((owner, leases)) = counts.iter().max_by_key(|(_, leases)| leases.len())
            && *owner != me
        {
            let excess = leases.len().saturating_sub(wanted);
            let count = if excess == 0 && leases.len() == wanted && need > 1 { 1 } else { excess };
            let mut chosen: Vec<&&Stored> = leases.iter().filter(|row| row.checkpoint_owner.is_none()).collect();
            fastrand::shuffle(&mut chosen);
            let steals = chosen.into_iter().take(count.min(need).min(options.steal_at_once));
            takes.extend(steals.map(|row| Take { shard: row.shard.clone(), stolen: true }));
        }
        let expired = rows.values().filter(|row| !held.contains(&row.shard) && expired(row)).count();
        Plan { takes, wanted, expired }
    }

    /// Whether the stream's shards are to be listed.
    pub fn wants_listing(&mut self, rows: &Rows, now_ms: u64) -> bool {
        self.holes = if has_hole(rows) { self.holes + 1 } else { 0 };
        self.holes >= HOLE_LOOKS && now_ms.saturating_sub(self.listed_ms) >= LIST_EVERY_MS
    }

    /// The shards were listed.
    pub fn listed(&mut self, now_ms: u64) {
        self.holes = 0;
        self.listed_ms = now_ms;
    }
}

fn has_hole(rows: &Rows) -> bool {
    let mut ranges: Vec<(u128, u128)> =
        rows.values().filter(|row| !row.is_ended()).filter_map(|row| row.range).collect();
    ranges.sort_unstable();
    let mut next = Some(0);
    for (first, last) in ranges {
        match next {
            Some(end) if first > end => return true,
            Some(end) if last >= end => next = last.checked_add(1),
            _ => {}
        }
    }
    next.is_some()
}
