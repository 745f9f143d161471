//! Leases for the shards that a stream has: which are missing, and what a shard's end makes.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Position, ShardInfo};

use super::{Row, Rows};

/// So many checks running have to see a hole before it is repaired: a split or merge under way looks like one.
const CHECKS: u32 = 3;

/// A listing that can't be, such as one made while the stream was changing. Ignore it and list again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InconsistentListing {
    /// A child of an open shard.
    #[error("shard {child} is listed beside its parent {parent}, which is listed as open")]
    OpenParent {
        /// The open shard.
        parent: String,
        /// The shard that claims to follow it.
        child: String,
    },
    /// A shard among its own ancestors.
    #[error("shard {shard} is among its own ancestors")]
    Cycle {
        /// One of the shards in the circle.
        shard: String,
    },
    /// At a first start the open shards have to hold every hash key: what is missing would never be read.
    #[error("no open shard is listed for the hash keys {from} to {to}")]
    Hole {
        /// The first key.
        from: u128,
        /// The last key.
        to: u128,
    },
    /// A shard was read to its end, and is listed as open.
    #[error("shard {shard} was read to its end, and is listed as open without shards that follow")]
    StillOpen {
        /// The shard.
        shard: String,
    },
}

/// Who descends from whom, by the listing and by the rows.
struct Family<'a> {
    rows: &'a Rows,
    listed: BTreeMap<&'a str, &'a ShardInfo>,
    parents: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// All known shards, those before them first, else in the order of their ids.
    order: BTreeMap<&'a str, usize>,
    /// Shards with a lease among their ancestors.
    of_leased: BTreeSet<&'a str>,
}

impl<'a> Family<'a> {
    fn new(rows: &'a Rows, listed: &'a [ShardInfo]) -> Result<Self, InconsistentListing> {
        let mut parents: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut descends = |child: &'a str, parent: Option<&'a str>| {
            parents.entry(child).or_default().extend(parent);
            if let Some(parent) = parent {
                parents.entry(parent).or_default();
            }
        };
        for (id, before) in listed.iter().map(|info| (&info.id, &info.parents)) {
            descends(id, None);
            before.iter().for_each(|parent| descends(id, Some(parent)));
        }
        for row in rows.values() {
            descends(&row.shard, None);
            row.parents.iter().for_each(|parent| descends(&row.shard, Some(parent)));
            row.children.iter().for_each(|child| descends(child, Some(&row.shard)));
        }
        let listed: BTreeMap<&str, &ShardInfo> = listed.iter().map(|info| (info.id.as_str(), info)).collect();
        let order = in_order(&parents)?;
        let mut of_leased = BTreeSet::new();
        let mut sorted: Vec<(&usize, &&str)> = order.iter().map(|(id, at)| (at, id)).collect();
        sorted.sort_unstable();
        for (_, id) in sorted {
            if parents[id].iter().any(|parent| rows.contains_key(*parent) || of_leased.contains(parent)) {
                of_leased.insert(*id);
            }
        }
        for info in listed.values() {
            if let Some(parent) =
                info.parents.iter().find(|id| listed.get(id.as_str()).is_some_and(|info| !info.closed))
            {
                return Err(InconsistentListing::OpenParent { parent: parent.clone(), child: info.id.clone() });
            }
        }
        Ok(Self { rows, listed, parents, order, of_leased })
    }

    /// Adds what has to be made so that `shard`, which is listed and has no lease, comes to be read.
    fn plan(&self, shard: &'a str, initial: &Position, made: &mut BTreeMap<usize, (ShardInfo, Position)>) {
        let (mut todo, mut seen) = (vec![shard], BTreeSet::from([shard]));
        while let Some(shard) = todo.pop() {
            let Some(info) = self.listed.get(shard) else { continue };
            let before = &self.parents[shard];
            // Those that are listed and have no lease come first; but nothing is behind what begins at its newest record.
            let latest = !self.of_leased.contains(shard) && *initial == Position::Latest;
            let unleased = |id: &&&str| !self.rows.contains_key(**id) && self.listed.contains_key(**id);
            let first: Vec<&str> = before.iter().filter(|id| !latest && unleased(id)).copied().collect();
            // Whoever has the lease of a shard before makes this one's at its end; unless that shard's records are gone.
            let left =
                |id: &&str| self.rows.get(*id).is_some_and(|row| !row.is_ended()) && self.listed.contains_key(*id);
            if first.is_empty() && !before.iter().any(left) {
                let start = if self.of_leased.contains(shard) { Position::TrimHorizon } else { initial.clone() };
                made.insert(self.order[shard], ((*info).clone(), start));
            }
            todo.extend(first.into_iter().filter(|id| seen.insert(id)));
        }
    }
}

/// Ancestors first, then by the length of the id and the id: the order in which a stream numbers its shards.
fn in_order<'a>(
    parents: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> Result<BTreeMap<&'a str, usize>, InconsistentListing> {
    let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (child, before) in parents {
        before.iter().for_each(|parent| children.entry(parent).or_default().push(child));
    }
    let mut waits: BTreeMap<&str, usize> = parents.iter().map(|(id, before)| (*id, before.len())).collect();
    let mut ready: BTreeSet<(usize, &str)> =
        waits.iter().filter(|(_, before)| **before == 0).map(|(id, _)| (id.len(), *id)).collect();
    let mut order = BTreeMap::new();
    while let Some((_, id)) = ready.pop_first() {
        order.insert(id, order.len());
        waits.remove(id);
        for child in children.get(id).into_iter().flatten() {
            if let Some(left) = waits.get_mut(child) {
                *left -= 1;
                if *left == 0 {
                    ready.insert((child.len(), child));
                }
            }
        }
    }
    match waits.into_keys().next() {
        None => Ok(order),
        Some(shard) => Err(InconsistentListing::Cycle { shard: shard.to_owned() }),
    }
}

/// The leases to make for a listing, each if it is still absent, in this order: ancestors first. Spec: kinesis-leases 7.2, 7.3, 15.
///
/// For every open shard without a lease: where no ancestor has one either, the shard itself at LATEST, or its oldest listed
/// ancestors at the trim horizon or the timestamp. Where an ancestor has one, its holder makes the next at its end; when that
/// has happened already, or the ancestor's records are gone, the shard is made here, at its trim horizon whatever `initial`
/// says, since the ancestor's data go on in it.
///
/// # Errors
/// [`InconsistentListing`]: nothing is to be made from this listing.
pub fn missing(
    rows: &Rows,
    listed: &[ShardInfo],
    initial: &Position,
) -> Result<Vec<(ShardInfo, Position)>, InconsistentListing> {
    let family = Family::new(rows, listed)?;
    let open = || listed.iter().filter(|info| !info.closed);
    if rows.is_empty()
        && let Cover::Hole { from, to } = cover(open().map(|info| info.range))
    {
        return Err(InconsistentListing::Hole { from, to });
    }
    let mut made = BTreeMap::new();
    for info in open().filter(|info| !rows.contains_key(&info.id)) {
        family.plan(&info.id, initial, &mut made);
    }
    Ok(made.into_values().collect())
}

/// What the holder of a shard has to do at its end before it stores SHARD_END.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// Make these leases, each if it is still absent, in this order, and note the children on the row.
    Create {
        /// The leases.
        leases: Vec<(ShardInfo, Position)>,
        /// Ids of all the shards that follow, for the row.
        children: Vec<String>,
    },
    /// Come back later: the other parent of a merge has no lease yet, and whoever has the shards before it will make it.
    WaitFor {
        /// The other parent.
        parent: String,
    },
}

/// What the end of `shard` makes. `children` as the stream's last answer named them; when it named none, as `listed` shows.
/// A merge whose other parent has no lease and no leased ancestor gets that parent's lease as well. Spec: kinesis-leases 8.3.
///
/// # Errors
/// [`InconsistentListing`] as well when the shard is still open: it has no end yet.
pub fn at_shard_end(
    shard: &str,
    children: &[ShardInfo],
    rows: &Rows,
    listed: &[ShardInfo],
    initial: &Position,
) -> Result<AtEnd, InconsistentListing> {
    // The listing may be older than the stream's answer: in it the shard may still be open, and its children missing.
    let ended = |info: &ShardInfo| ShardInfo { closed: info.closed || info.id == shard, ..info.clone() };
    let mut known: Vec<ShardInfo> = listed.iter().map(ended).collect();
    known.extend(children.iter().filter(|child| listed.iter().all(|info| info.id != child.id)).cloned());
    let follows = |info: &&ShardInfo| {
        info.parents.iter().any(|parent| parent == shard) || children.iter().any(|child| child.id == info.id)
    };
    let following: Vec<&ShardInfo> = known.iter().filter(follows).collect();
    if following.is_empty() && listed.iter().any(|info| info.id == shard && !info.closed) {
        return Err(InconsistentListing::StillOpen { shard: shard.to_owned() });
    }
    // A merge closes both its parents.
    let closed: BTreeSet<String> = following.iter().flat_map(|info| info.parents.clone()).collect();
    let ids = following.iter().map(|info| info.id.clone()).collect();
    let known: Vec<ShardInfo> = known
        .iter()
        .map(|info| ShardInfo { closed: info.closed || closed.contains(&info.id), ..info.clone() })
        .collect();

    let family = Family::new(rows, &known)?;
    let mut made = BTreeMap::new();
    for child in known.iter().filter(follows).filter(|child| !rows.contains_key(&child.id)) {
        for other in child.parents.iter().filter(|other| *other != shard && !rows.contains_key(*other)) {
            // Neither leased nor listed: it is past its retention, and counts as done.
            let Some((other, _)) = family.listed.get_key_value(other.as_str()) else { continue };
            if family.of_leased.contains(other) {
                return Ok(AtEnd::WaitFor { parent: (*other).to_owned() });
            }
            family.plan(other, initial, &mut made);
        }
        made.insert(family.order[child.id.as_str()], (child.clone(), Position::TrimHorizon));
    }
    Ok(AtEnd::Create { leases: made.into_values().collect(), children: ids })
}

/// The first of the shards before `row`'s that is not done: until there is none its records wait, so that a key's order holds
/// across splits and merges. A parent without a row is done. Spec: kinesis-leases 8.1.
pub fn unfinished_parent<'a>(row: &'a Row, rows: &Rows) -> Option<&'a str> {
    row.parents.iter().find(|parent| rows.get(*parent).is_some_and(|parent| !parent.is_ended())).map(String::as_str)
}

/// What hash ranges hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// Every hash key.
    Whole,
    /// The first keys that are missing.
    Hole {
        /// The first of them.
        from: u128,
        /// The last of them.
        to: u128,
    },
    /// A range is not known: it has to be filled in first ([`ranges_to_fill`]).
    Unknown,
}

/// Whether ranges hold every hash key. They may overlap. Spec: kinesis-leases 7.4.
pub fn cover(ranges: impl Iterator<Item = Option<(u128, u128)>>) -> Cover {
    let Some(mut ranges) = ranges.collect::<Option<Vec<_>>>() else { return Cover::Unknown };
    ranges.sort_unstable();
    let mut from = 0;
    for (first, last) in ranges {
        if first > from {
            return Cover::Hole { from, to: first - 1 };
        }
        match last.checked_add(1) {
            Some(next) => from = from.max(next),
            None => return Cover::Whole,
        }
    }
    Cover::Hole { from, to: u128::MAX }
}

/// The check for hash keys that nobody will read. Spec: kinesis-leases 7.4.
#[derive(Clone, Debug, Default)]
pub struct Holes {
    last: Option<(u128, u128)>,
    times: u32,
}

impl Holes {
    /// Looks at a scan; true when the shards want a sync: there is no lease at all, or three checks running saw the same
    /// hole. The count begins anew after that, so that a hole which no sync can fill is not tried at every check.
    pub fn check(&mut self, rows: &Rows) -> bool {
        if rows.is_empty() {
            return true;
        }
        let hole = match cover(rows.values().filter(|row| !row.is_ended()).map(|row| row.range)) {
            Cover::Hole { from, to } => Some((from, to)),
            Cover::Whole | Cover::Unknown => None,
        };
        self.times = if hole == self.last { self.times + 1 } else { 1 };
        self.last = hole;
        let sure = hole.is_some() && self.times >= CHECKS;
        if sure {
            *self = Self::default();
        }
        sure
    }
}

/// Hash ranges that rows lack and the listing knows, by shard.
pub fn ranges_to_fill(rows: &Rows, listed: &[ShardInfo]) -> Vec<(String, (u128, u128))> {
    let lacks = |id: &str| rows.get(id).is_some_and(|row| row.range.is_none());
    listed.iter().filter(|info| lacks(&info.id)).filter_map(|info| Some((info.id.clone(), info.range?))).collect()
}

#[cfg(test)]
mod tests;
