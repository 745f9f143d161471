//! Which leases a worker takes in a round.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::{Row, Rows, Watch};

/// A row unchanged for more than so many times the failover time is taken by whoever sees it first.
const VERY_OLD_FAILOVERS: u64 = 3;
/// A lease lost within so many times the failover time after it was stolen was "just stolen": three rounds of a KCL worker.
const JUST_STOLEN_FAILOVERS: u64 = 6;
/// The first pause in stealing, in failover times, doubled at most so often.
const BACKOFF_FAILOVERS: u64 = 2;
const BACKOFF_DOUBLINGS: u32 = 3;

/// What a worker goes by. Spec: kinesis-leases 4.1, 4.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long a counter may stand still before the lease is up for grabs.
    pub failover_ms: u64,
    /// Most leases of shards not yet done that this worker holds; those at their end cost nothing and are not counted in it.
    pub max_leases: usize,
    /// Most leases taken from a worker that is alive in one round; 0 while [`StealBackoff`] says so.
    pub steal_at_once: usize,
    /// Whether very old rows go before the balance (KCL from 2.6). Off only to behave as KCL 1.x.
    pub priority: bool,
}

/// Why a row can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody owns it.
    Free,
    /// Its holder has not been heard of for the failover time.
    Expired,
    /// Its holder is alive and has more than its share. Where the scan took long, read it again first ([`Take::refresh`]).
    Steal,
    /// It carries our own name, of an earlier process.
    Adopt,
}

/// A row to take by a write with the conditions: counter, owner and checkpoint owner as in `row` (6 rule 2). That the condition
/// fails is normal: somebody was quicker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// The row as it was scanned.
    pub row: Row,
    /// Why.
    pub kind: Kind,
}

impl Take {
    /// Puts a newer reading in place of the scanned row; false when the row is no longer to be taken. What was free or expired
    /// and has changed since is somebody's; what is to be stolen must still be its victim's.
    pub fn refresh(&mut self, found: Option<Row>) -> bool {
        let Some(found) = found else { return false };
        let wanted = match self.kind {
            Kind::Steal => found.checkpoint_owner.is_none() && found.owner == self.row.owner,
            Kind::Free | Kind::Expired | Kind::Adopt => {
                (found.counter, found.actual_owner()) == (self.row.counter, self.row.actual_owner())
            }
        };
        self.row = found;
        wanted
    }
}

/// A round's decision, and the numbers it was made of, for metrics (16).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What to take.
    pub take: Vec<Take>,
    /// Workers that hold live leases, this one included.
    pub workers: usize,
    /// All rows, those at SHARD_END included until clean-up deletes them.
    pub leases: usize,
    /// This worker's share, capped.
    pub target: usize,
    /// How many it lacks.
    pub needed: usize,
    /// Rows that nobody holds: without an owner, or expired. The best sign of shards that nobody reads.
    pub expired: usize,
    /// Rows unchanged for more than three failover times.
    pub very_old: usize,
    /// The part of the share that the cap cuts off.
    pub spillover: usize,
}

/// Decides what worker `me` takes, from a whole scan that `watch` has seen. Spec: kinesis-leases 4.4, 6.
///
/// As the Kinesis Client Library 2.x does it, with these differences: leases count for who has them *actually*, so that a row
/// named for us which somebody else still processes is not ours yet; a row under hand-off is taken only once it has expired;
/// when the very old rows find no room here the round goes on to the balance; rows at SHARD_END take no room of the cap; of
/// several workers with most leases any one may be the victim, so that thieves do not all meet at the first.
pub fn decide(rows: &Rows, watch: &Watch, me: &str, rules: &Rules, now_ms: u64, rng: &mut Rng) -> Decision {
    let (available, live): (Vec<&Row>, Vec<&Row>) =
        rows.values().partition(|row| watch.is_available(row, rules.failover_ms, now_ms));
    let mut counts = BTreeMap::from([(me, 0)]);
    for owner in live.iter().filter_map(|row| row.actual_owner()) {
        *counts.entry(owner).or_insert(0usize) += 1;
    }
    let mine = counts[me];
    let ended = live.iter().filter(|row| row.actual_owner() == Some(me) && row.is_ended()).count();
    let room = rules.max_leases.saturating_sub(mine - ended);

    let (workers, leases) = (counts.len(), rows.len());
    let share = if workers >= leases { 1 } else { leases.div_ceil(workers) };
    let target = share.min(rules.max_leases.saturating_add(ended));
    let very_old =
        |row: &&Row| watch.unchanged_for(&row.shard, now_ms) > rules.failover_ms.saturating_mul(VERY_OLD_FAILOVERS);
    let old: Vec<&Row> = available.iter().copied().filter(very_old).collect();
    let mut decision = Decision {
        take: Vec::new(),
        workers,
        leases,
        target,
        needed: target.saturating_sub(mine),
        expired: available.len(),
        very_old: old.len(),
        spillover: share - target,
    };

    if rules.priority {
        let limit = old.len();
        decision.take = choose(old, limit, room, rng);
        if !decision.take.is_empty() {
            return decision;
        }
    }
    if decision.needed == 0 {
        return decision;
    }
    if !available.is_empty() {
        decision.take = choose(available, decision.needed, room, rng);
        if !decision.take.is_empty() {
            return decision;
        }
    }
    decision.take = steal(&live, &counts, &decision, rules, rng).into_iter().take(room).collect();
    decision
}

/// Picks at random among rows that nobody holds: at most `limit`, of which those not at their end need room.
fn choose(mut rows: Vec<&Row>, limit: usize, mut room: usize, rng: &mut Rng) -> Vec<Take> {
    rng.shuffle(&mut rows);
    let fits = |row: &&Row| {
        let fits = row.is_ended() || room > 0;
        room -= usize::from(fits && !row.is_ended());
        fits
    };
    let kind = |row: &Row| if row.actual_owner().is_none() { Kind::Free } else { Kind::Expired };
    rows.into_iter().filter(fits).take(limit).map(|row| Take { row: row.clone(), kind: kind(row) }).collect()
}

/// Picks at random from the worker with most leases, so many that neither of the two goes past the target; one when that
/// worker has just the target and this one lacks more than one.
fn steal(
    live: &[&Row],
    counts: &BTreeMap<&str, usize>,
    decision: &Decision,
    rules: &Rules,
    rng: &mut Rng,
) -> Vec<Take> {
    let most = counts.values().copied().max().unwrap_or(0);
    let loaded: Vec<&str> = counts.iter().filter(|(_, count)| **count == most).map(|(owner, _)| *owner).collect();
    let (Some(victim), true) = (rng.choice(loaded), most >= decision.target) else { return Vec::new() };
    let excess = most - decision.target;
    let number = match (decision.needed.min(excess), decision.needed) {
        (0, needed) if needed > 1 => 1,
        (number, _) => number,
    };
    let number = number.min(rules.steal_at_once);
    let mut rows: Vec<&Row> = live
        .iter()
        .copied()
        .filter(|row| row.checkpoint_owner.is_none() && row.owner.as_deref() == Some(victim))
        .collect();
    rng.shuffle(&mut rows);
    rows.into_iter().take(number).map(|row| Take { row: row.clone(), kind: Kind::Steal }).collect()
}

/// The rows that carry `me`, to be taken at start-up before anything else. Those under hand-off expire. Only then, or right
/// after a take of the row whose answer was lost: two processes of one name that went on adopting would take the rows from each
/// other for ever. Spec: kinesis-leases 4.1, 5.1, 17.9.
pub fn adopt(rows: &Rows, me: &str, rules: &Rules) -> Vec<Take> {
    let mut room = rules.max_leases;
    let ours = |row: &&Row| {
        let ours = row.checkpoint_owner.is_none() && row.owner.as_deref() == Some(me) && (row.is_ended() || room > 0);
        room -= usize::from(ours && !row.is_ended());
        ours
    };
    rows.values().filter(ours).map(|row| Take { row: row.clone(), kind: Kind::Adopt }).collect()
}

/// Keeps a worker from stealing again and again what it can't keep: each lease lost to another worker soon after it was stolen
/// doubles a pause in its stealing. Free and expired rows it takes all the same. Spec: kinesis-leases 17.3.
#[derive(Clone, Debug)]
pub struct StealBackoff {
    failover_ms: u64,
    stolen: BTreeMap<String, u64>,
    doublings: u32,
    until_ms: u64,
}

impl StealBackoff {
    /// For a failover time; nothing was stolen yet.
    pub fn new(failover_ms: u64) -> Self {
        Self { failover_ms, stolen: BTreeMap::new(), doublings: 0, until_ms: 0 }
    }

    /// A lease was stolen.
    pub fn stole(&mut self, shard: &str, now_ms: u64) {
        let just = self.failover_ms.saturating_mul(JUST_STOLEN_FAILOVERS);
        self.stolen.retain(|_, stolen_ms| now_ms.saturating_sub(*stolen_ms) <= just);
        self.stolen.insert(shard.to_owned(), now_ms);
    }

    /// A lease was lost to another worker.
    pub fn lost(&mut self, shard: &str, now_ms: u64, rng: &mut Rng) {
        let just = self.failover_ms.saturating_mul(JUST_STOLEN_FAILOVERS);
        let Some(stolen_ms) = self.stolen.remove(shard) else { return };
        if now_ms.saturating_sub(stolen_ms) > just {
            return;
        }
        // Several leases lost in one pause are one event.
        if now_ms >= self.until_ms {
            let calm = now_ms.saturating_sub(self.until_ms) > 2 * just;
            self.doublings = if calm { 0 } else { (self.doublings + 1).min(BACKOFF_DOUBLINGS) };
        }
        let pause = self.failover_ms.saturating_mul(BACKOFF_FAILOVERS << self.doublings);
        self.until_ms = self.until_ms.max(now_ms + pause / 2 + rng.u64(0..=pause / 2));
    }

    /// How many leases may be stolen now, of `at_once` at most.
    pub fn allowed(&self, at_once: usize, now_ms: u64) -> usize {
        if now_ms < self.until_ms { 0 } else { at_once }
    }
}

#[cfg(test)]
mod tests;
