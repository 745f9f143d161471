//! One batch in, objects and bad rows out: the loader's whole work except reading and putting. Pure.

use crate::config::{Line, Naming, Purpose, S3LoaderConfig};
use crate::event_time;
use crate::framing::Encoder;
use crate::grouping::{self, Group};
use crate::keys::{FileName, KeyTimes};
use crate::store::Headers;
use crate::unpack::Unpacked;
use bytes::Bytes;
use snowmelt_protocol::event::Column;
use std::collections::HashMap;
use uuid::Uuid;

/// Records of one shard, in the order of the stream.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Id of the shard, `shardId-000000000000`.
    pub shard: &'a str,
    /// Sequence number of the first record, decimal.
    pub first_sequence: &'a str,
    /// Sequence number of the last record, decimal.
    pub last_sequence: &'a str,
    /// The records' bytes.
    pub records: &'a [&'a [u8]],
}

/// One object to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where, within the bucket.
    pub key: String,
    /// What.
    pub bytes: Bytes,
    /// With which headers.
    pub headers: Headers,
    /// Events inside; 0 for an index.
    pub events: usize,
}

impl Object {
    /// Whether it is the index of the object before it.
    pub fn is_index(&self) -> bool {
        self.events == 0 && self.key.ends_with(".index")
    }
}

/// What a batch became.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// To be put. They may be put at the same time, except that an index follows its object.
    pub objects: Vec<Object>,
    /// Compact JSON, one a line, for the bad stream. The batch may be confirmed only after they were accepted.
    pub bad_rows: Vec<String>,
    /// Earliest collector timestamp in milliseconds since the epoch; `None` where none could be read or the purpose has
    /// none.
    pub earliest_collector_ms: Option<i64>,
}

impl Rendered {
    /// Bytes of all objects together, for [`crate::PackRatio::learn`].
    pub fn object_bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes.len() as u64).sum()
    }
}

/// Turns a batch into objects and bad rows. Nothing of it is lost: every event is in one object or one bad row.
///
/// `load_ms` (milliseconds since the epoch) is the load time, in keys, LZO headers and bad rows. Everything follows from the
/// batch and from it, whatever the naming: who repeats a batch with the time it had before overwrites.
///
/// Groups whose keys are equal share one object (two models of a schema under `{vendor}.{schema}`); in the original the
/// later one replaces the earlier one, whose records are lost.
pub fn render(batch: &Batch<'_>, config: &S3LoaderConfig, load_ms: i64) -> Rendered {
    render_with(&mut Encoder::new(config.framing), batch, config, load_ms)
}

/// [`render`] with an encoder for the configuration's framing, which goes from batch to batch.
pub fn render_with(encoder: &mut Encoder, batch: &Batch<'_>, config: &S3LoaderConfig, load_ms: i64) -> Rendered {
    let mut rendered = Rendered::default();
    let bad = &config.bad_rows;
    let unpacked = Unpacked::read(batch.records, config.unpack, bad, load_ms, &mut rendered.bad_rows);
    let events = unpacked.events(batch.records);
    let grouped = grouping::group(&events, config);
    for (number, error) in &grouped.refused {
        rendered.bad_rows.push(bad.without_schema(error, events[*number], load_ms));
    }
    if config.purpose == Purpose::EnrichedEvents {
        rendered.earliest_collector_ms =
            events.iter().filter_map(|event| event_time::of_line(event, Column::CollectorTstamp)).min();
    }
    for (key, members) in by_key(grouped.groups, batch, config, load_ms) {
        let encoded = encoder.encode(members.iter().map(|number| events[*number]), load_ms);
        let index = encoded.index.map(|bytes| Object {
            key: format!("{key}.index"),
            bytes,
            headers: Headers::default(),
            events: 0,
        });
        let (bytes, headers) = (encoded.bytes, Headers::default());
        rendered.objects.push(Object { key, bytes, headers, events: members.len() });
        rendered.objects.extend(index);
    }
    rendered
}

/// The objects' keys with the numbers of their events, ascending; in the order of the groups.
fn by_key(groups: Vec<Group>, batch: &Batch<'_>, config: &S3LoaderConfig, load_ms: i64) -> Vec<(String, Vec<usize>)> {
    let extension = config.framing.extension();
    let (shard, first, last) = (batch.shard, batch.first_sequence, batch.last_sequence);
    let mut objects: Vec<(String, Vec<usize>)> = Vec::with_capacity(groups.len());
    let mut known: HashMap<String, usize> = HashMap::new();
    for group in groups {
        let name = match (config.naming, config.line) {
            (Naming::Sequence, _) => FileName::Shard { shard, first, last },
            (Naming::Original, Line::V2) => FileName::Range { first, last },
            (Naming::Original, Line::V3) => FileName::Unique(unique(batch, &group)),
        };
        let times = KeyTimes { partition_ms: group.time_ms.unwrap_or(load_ms), file_ms: load_ms };
        let key = config.keys.key(group.schema.as_ref(), times, name, extension);
        match known.get(&key) {
            Some(at) => {
                objects[*at].1.extend(group.events);
                objects[*at].1.sort_unstable();
            }
            None => {
                known.insert(key.clone(), objects.len());
                objects.push((key, group.events));
            }
        }
    }
    objects
}

/// A UUID that looks random (version 4) but follows from the batch and the group: nothing here draws random numbers,
/// and within one second a repeat gives the same name.
fn unique(batch: &Batch<'_>, group: &Group) -> Uuid {
    let Batch { shard, first_sequence, last_sequence, .. } = batch;
    let schema = group.schema.as_ref().map(ToString::to_string).unwrap_or_default();
    let time = group.time_ms.unwrap_or(i64::MIN);
    let name = format!("snowmelt/objects/{shard}/{first_sequence}/{last_sequence}/{time}/{schema}");
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
    uuid::Builder::from_random_bytes(digest.into_bytes()).into_uuid()
}
