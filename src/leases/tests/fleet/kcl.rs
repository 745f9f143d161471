//! How workers of the Kinesis Client Library 1.x and 2.x choose leases, written down independently of ours.
//! Spec: kinesis-leases 4.3, 4.4.

use std::collections::HashMap;

use fastrand::Rng;
use snowmelt_leases::fleet::{Kind, Row, Rows, Take, Watch};

/// Which generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

#[expect(clippy::too_many_arguments, reason = "all that such a worker knows when it chooses")]
pub fn choose(
    version: Version,
    rows: &Rows,
    watch: &Watch,
    me: &str,
    failover_ms: u64,
    steal_at_once: usize,
    now_ms: u64,
    rng: &mut Rng,
) -> Vec<Take> {
    let unchanged = |row: &Row| watch.unchanged_for(&row.shard, now_ms);
    let is_available = |row: &&Row| unchanged(row) > failover_ms || (version == Version::Two && row.owner.is_none());
    let take = |row: &&Row, kind| Take { row: (*row).clone(), kind };
    if version == Version::Two {
        let mut old: Vec<&Row> = rows.values().filter(|row| unchanged(row) > 3 * failover_ms).collect();
        if !old.is_empty() {
            rng.shuffle(&mut old);
            return old.iter().map(|row| take(row, Kind::Expired)).collect();
        }
    }
    // The first generation counts "no owner" as one more worker.
    let mut counts: HashMap<Option<&str>, usize> = HashMap::from([(Some(me), 0)]);
    for row in rows.values().filter(|row| !is_available(row)) {
        *counts.entry(row.owner.as_deref()).or_default() += 1;
    }
    let mine = counts[&Some(me)];
    let target = if counts.len() >= rows.len() { 1 } else { rows.len().div_ceil(counts.len()) };
    let needed = target.saturating_sub(mine);
    if needed == 0 {
        return Vec::new();
    }
    let mut available: Vec<&Row> = rows.values().filter(is_available).collect();
    if !available.is_empty() {
        rng.shuffle(&mut available);
        return available.iter().take(needed).map(|row| take(row, Kind::Expired)).collect();
    }
    let most = counts.values().copied().max().unwrap_or(0);
    let mut loaded: Vec<Option<&str>> = counts.iter().filter(|(_, count)| **count == most).map(|(id, _)| *id).collect();
    loaded.sort_unstable();
    let victim = loaded[rng.usize(0..loaded.len())];
    if most < target {
        return Vec::new();
    }
    let mut number = needed.min(most - target);
    if needed > 1 && number == 0 {
        number = 1;
    }
    let mut theirs: Vec<&Row> = rows.values().filter(|row| row.owner.as_deref() == victim).collect();
    rng.shuffle(&mut theirs);
    theirs.iter().take(number.min(steal_at_once)).map(|row| take(row, Kind::Steal)).collect()
}
