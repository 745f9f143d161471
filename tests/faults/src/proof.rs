//! What came out: every event once in the tables, in the enriched stream and in objects, all in order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use snowmelt_streams::{ReadLimit, Record, StartAt};
use snowmelt_warehouse::Warehouse;
use sqlx::AssertSqlSafe;

use crate::event::Who;
use crate::world::{PREFIXES, World};

/// What a schedule came to, when all promises were kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Faults of actors that happened.
    pub struck: u32,
    /// Failures of groups.
    pub restarts: u64,
    /// Records that the loader of objects read more than once.
    pub again: u64,
}

/// How many different events the tables hold.
///
/// # Errors
/// When the database can't say.
pub async fn rows(warehouse: &Warehouse) -> Result<u64> {
    let sql = format!("SELECT count(*) FROM {}.events", warehouse.schema());
    let (count,): (i64,) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(warehouse.pool()).await?;
    Ok(u64::try_from(count)?)
}

/// All records of the shards of a world's stream.
///
/// # Errors
/// When it can't be read.
pub async fn records(world: &World, stream: &str) -> Result<Vec<Vec<Record>>> {
    let (streams, stream) = (&world.backing.streams, world.backing.stream(stream));
    let mut shards = Vec::new();
    for shard in streams.describe(&stream).await?.shards {
        let mut cursor = streams.open(&stream, &shard.id, &StartAt::TrimHorizon).await?;
        let mut records = Vec::new();
        loop {
            let page = cursor.next(ReadLimit::default(), Duration::ZERO).await?;
            if page.records.is_empty() && page.millis_behind_latest == 0 {
                break;
            }
            records.extend(page.records);
        }
        shards.push(records);
    }
    Ok(shards)
}

/// The events in the objects of one sink, in the order of the objects' keys.
///
/// # Errors
/// When one can't be read.
pub async fn objects(world: &World, prefix: &str) -> Result<Vec<(String, Vec<Who>)>> {
    let mut found = Vec::new();
    for object in world.backing.objects.list(&format!("{prefix}/"), None, 100_000).await? {
        let mut text = Vec::new();
        flate2::read::MultiGzDecoder::new(world.backing.objects.get(&object.key).await?.as_ref())
            .read_to_end(&mut text)?;
        let events = text.split(|byte| *byte == b'\n').filter_map(Who::of_line).collect();
        found.push((object.key, events));
    }
    Ok(found)
}

/// Whether all events are in the tables and in objects.
///
/// # Errors
/// When a store can't say.
pub async fn complete(world: &World) -> Result<bool> {
    if rows(&world.tables).await? < u64::from(world.sent()) {
        return Ok(false);
    }
    for prefix in PREFIXES {
        let seen: BTreeSet<Who> = objects(world, prefix).await?.into_iter().flat_map(|(_, events)| events).collect();
        if seen.len() < world.sent() as usize {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fails unless every promise was kept.
///
/// # Errors
/// What was broken.
pub async fn check(world: &World) -> Result<Verdict> {
    let expected: BTreeSet<Who> = (0..world.sent()).map(Who::nth).collect();
    let sql = format!("SELECT event_id::text FROM {}.events", world.schema);
    let ids: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(world.tables.pool()).await?;
    let tables: Vec<Who> = ids.iter().filter_map(|(id,)| Who::of(id)).collect();

    let enriched = records(world, "enriched").await?;
    let stored: Vec<Who> = enriched.iter().flatten().filter_map(|record| Who::of_line(&record.data)).collect();
    // What the stream has twice is two records, and each of them is to be once in every other place.
    let allowed = if world.backing.repeats {
        bounded("the enriched stream", &stored, &expected, world.reads[0].again() + world.reads[0].unheard())?
    } else {
        exactly_once("the enriched stream", stored, &expected)?;
        expected.iter().map(|who| (*who, 1)).collect()
    };
    at_most("tables", tables, &allowed)?;
    for shard in &enriched {
        let events = || shard.iter().filter_map(|record| Who::of_line(&record.data));
        if world.backing.repeats {
            ordered("the enriched stream", firsts(events()))?;
        } else {
            ordered("the enriched stream", events())?;
        }
    }
    if !world.backing.repeats {
        loaded_in_order(world, &enriched).await?;
    }
    let bad: usize = records(world, "bad-1").await?.iter().map(Vec::len).sum();
    if bad > 0 {
        bail!("{bad} bad rows of good events");
    }
    for prefix in PREFIXES {
        let objects = objects(world, prefix).await?;
        for (key, events) in &objects {
            ordered(key, firsts(events.iter().copied()))?;
        }
        let told = || {
            let sizes = objects.iter().map(|(key, events)| format!("{key}: {}", events.len()));
            sizes.collect::<Vec<_>>().join("\n")
        };
        at_most("objects", objects.iter().flat_map(|(_, events)| events).copied(), &allowed).with_context(told)?;
    }
    Ok(Verdict { struck: world.struck(), restarts: 0, again: world.reads[1].again() })
}

/// A shard's records come into the tables in their order: what a later transaction stored came later in the shard. Within one, rows
/// are copied in order, which nothing in a table tells.
async fn loaded_in_order(world: &World, enriched: &[Vec<Record>]) -> Result<()> {
    let mut places = BTreeMap::new();
    for (shard, records) in enriched.iter().enumerate() {
        for (place, who) in records.iter().filter_map(|record| Who::of_line(&record.data)).enumerate() {
            places.insert(who, (shard, place));
        }
    }
    let sql = format!("SELECT event_id::text, xmin::text::bigint FROM {}.events", world.schema);
    let rows: Vec<(String, i64)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(world.tables.pool()).await?;
    let mut transactions: BTreeMap<(usize, i64), (usize, usize)> = BTreeMap::new();
    for (id, transaction) in rows {
        let Some((shard, place)) = Who::of(&id).and_then(|who| places.get(&who)).copied() else { continue };
        let (first, last) = transactions.entry((shard, transaction)).or_insert((place, place));
        (*first, *last) = ((*first).min(place), (*last).max(place));
    }
    let in_time: Vec<_> = transactions.into_iter().collect();
    for pair in in_time.windows(2) {
        let (((shard, _), (_, last)), ((next_shard, _), (next_first, _))) = (pair[0], pair[1]);
        if shard == next_shard && next_first <= last {
            bail!("tables: record {next_first} of shard {shard} was loaded after record {last}");
        }
    }
    Ok(())
}

fn counts(events: impl IntoIterator<Item = Who>) -> BTreeMap<Who, u64> {
    let mut counts: BTreeMap<Who, u64> = BTreeMap::new();
    for who in events {
        *counts.entry(who).or_default() += 1;
    }
    counts
}

fn exactly_once(place: &str, events: impl IntoIterator<Item = Who>, expected: &BTreeSet<Who>) -> Result<()> {
    at_most(place, events, &expected.iter().map(|who| (*who, 1)).collect())
}

/// Every event, and none more often than allowed.
fn at_most(place: &str, events: impl IntoIterator<Item = Who>, allowed: &BTreeMap<Who, u64>) -> Result<()> {
    let counts = counts(events);
    let missing: Vec<_> = allowed.keys().filter(|who| !counts.contains_key(who)).collect();
    let repeated: Vec<_> =
        counts.iter().filter(|(who, count)| allowed.get(who).is_none_or(|most| *count > most)).collect();
    if !missing.is_empty() || !repeated.is_empty() {
        bail!("{place}: {} events missing {missing:?}, {} repeated {repeated:?}", missing.len(), repeated.len());
    }
    Ok(())
}

/// Every event, and repeats no more than records that were read again or put again unheard. How often each is there.
fn bounded(place: &str, events: &[Who], expected: &BTreeSet<Who>, again: u64) -> Result<BTreeMap<Who, u64>> {
    let counts = counts(events.iter().copied());
    let missing: Vec<_> = expected.iter().filter(|who| !counts.contains_key(who)).collect();
    let extra = (events.len() - counts.len()) as u64;
    if !missing.is_empty() || extra > again || counts.len() != expected.len() {
        bail!(
            "{place}: {} events missing {missing:?}; {extra} repeats, where {again} records were read or put again",
            missing.len()
        );
    }
    Ok(counts)
}

/// Each event where it is first.
fn firsts(events: impl Iterator<Item = Who>) -> impl Iterator<Item = Who> {
    let mut seen = BTreeSet::new();
    events.filter(move |who| seen.insert(*who))
}

/// Within each key numbers only grow.
fn ordered(place: &str, events: impl Iterator<Item = Who>) -> Result<()> {
    let mut last: BTreeMap<u32, u32> = BTreeMap::new();
    for who in events {
        if let Some(before) = last.insert(who.key, who.number)
            && before >= who.number
        {
            bail!("{place}: key {} has {} after {before}", who.key, who.number);
        }
    }
    Ok(())
}
