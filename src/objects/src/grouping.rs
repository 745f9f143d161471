//! Which events go into one object (spec s3-loader 3.3), and ours: by event time.

use crate::config::{Line, PartitionBy, Purpose, S3LoaderConfig};
use crate::event_time;
use crate::schema::{Schema, SchemaError};
use snowmelt_protocol::event::Column;
use std::collections::HashMap;

/// Most partitions that the event times of one batch may open; later ones count as loaded now. Derived times come from
/// clients' clocks, and each partition is an object.
const MAX_TIME_PARTITIONS: usize = 256;

/// Events of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The schema in whose name the object is filed; that of the first event, where the group spans versions.
    pub schema: Option<Schema>,
    /// Start of the time partition, milliseconds since the epoch; `None` stands for the load time.
    pub time_ms: Option<i64>,
    /// Indices of the events, ascending.
    pub events: Vec<usize>,
}

/// Groups in the order of their first event, and the events that belong nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grouped {
    /// At most one a key.
    pub groups: Vec<Group>,
    /// Events without a readable schema (line 3.x; line 2.x has a group for them).
    pub refused: Vec<(usize, SchemaError)>,
}

/// Sorts the events of a batch into groups.
///
/// Raw data and enriched events make one group, or one a time partition when the configuration says so. Self-describing
/// data are grouped by vendor, name, format and model (line 2.x, unreadable ones together) or by the full key (3.x).
pub fn group(events: &[&[u8]], config: &S3LoaderConfig) -> Grouped {
    match (config.purpose, config.partition_by) {
        (Purpose::SelfDescribing, _) => by_schema(events, config.line),
        (Purpose::EnrichedEvents, PartitionBy::CollectorTime) => by_time(events, Column::CollectorTstamp, config),
        (Purpose::EnrichedEvents, PartitionBy::DerivedTime) => by_time(events, Column::DerivedTstamp, config),
        (Purpose::EnrichedEvents, PartitionBy::LoadTime) | (Purpose::Raw, _) => {
            let all = Group { schema: None, time_ms: None, events: (0..events.len()).collect() };
            Grouped { groups: if events.is_empty() { Vec::new() } else { vec![all] }, refused: Vec::new() }
        }
    }
}

fn by_schema(events: &[&[u8]], line: Line) -> Grouped {
    let mut grouped = Grouped::default();
    let mut known: HashMap<Option<Schema>, usize> = HashMap::new();
    for (number, event) in events.iter().enumerate() {
        let schema = match (Schema::of_record(event), line) {
            (Ok(schema), _) => Some(schema),
            (Err(_), Line::V2) => None,
            (Err(error), Line::V3) => {
                grouped.refused.push((number, error));
                continue;
            }
        };
        let key = match (line, &schema) {
            (Line::V2, Some(schema)) => Some(Schema { revision: 0, addition: 0, ..schema.clone() }),
            _ => schema.clone(),
        };
        let at = *known.entry(key).or_insert_with(|| {
            grouped.groups.push(Group { schema, time_ms: None, events: Vec::new() });
            grouped.groups.len() - 1
        });
        grouped.groups[at].events.push(number);
    }
    grouped
}

fn by_time(events: &[&[u8]], column: Column, config: &S3LoaderConfig) -> Grouped {
    let unit = config.keys.time_unit_ms().unwrap_or(i64::MAX);
    let mut grouped = Grouped::default();
    let mut known: HashMap<Option<i64>, usize> = HashMap::new();
    for (number, event) in events.iter().enumerate() {
        let mut time = event_time::of_line(event, column).map(|time| time - time.rem_euclid(unit));
        if known.len() >= MAX_TIME_PARTITIONS && !known.contains_key(&time) {
            time = None;
        }
        let at = *known.entry(time).or_insert_with(|| {
            grouped.groups.push(Group { schema: None, time_ms: time, events: Vec::new() });
            grouped.groups.len() - 1
        });
        grouped.groups[at].events.push(number);
    }
    grouped
}
