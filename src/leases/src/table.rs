//! One application's rows: their rules, and how they are written to a file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Lease, LeaseError, Pending, Position, ShardInfo};

/// Ending of the files.
pub const SUFFIX: &str = ".leases.json";

/// Rows by shard.
pub type Table = BTreeMap<String, Row>;

/// A lease as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub owner: Option<String>,
    pub counter: u64,
    pub checkpoint: Position,
    pub pending: Option<Pending>,
    pub owner_switches: u64,
    pub parents: Vec<String>,
    pub children: Vec<String>,
    pub range: Option<(u128, u128)>,
    /// Only in memory.
    pub renewed_ms: i64,
}

impl Row {
    /// A new row that nobody holds.
    pub fn new(shard: &ShardInfo, checkpoint: Position) -> Self {
        Self {
            owner: None,
            counter: 0,
            checkpoint,
            pending: None,
            owner_switches: 0,
            parents: shard.parents.clone(),
            children: Vec::new(),
            range: shard.range,
            renewed_ms: 0,
        }
    }

    /// The row as callers see it.
    pub fn lease(&self, app: &str, shard: &str) -> Lease {
        Lease {
            app: app.to_owned(),
            shard: shard.to_owned(),
            owner: self.owner.clone(),
            counter: self.counter,
            checkpoint: self.checkpoint.clone(),
            pending: self.pending.clone(),
            owner_switches: self.owner_switches,
            parents: self.parents.clone(),
            children: self.children.clone(),
            range: self.range,
            epoch: 0,
        }
    }
}

/// All rows as callers see them.
pub fn leases(app: &str, table: &Table) -> Vec<Lease> {
    table.iter().map(|(shard, row)| row.lease(app, shard)).collect()
}

/// Adds rows for listed shards that have none and drops those of shards that are gone. A first sync begins open shards
/// at `initial`, and with the oldest record closed ones too, since their records are still to be read; whatever appears
/// later came of a shard that is known and is read from its first record. True when something changed.
///
/// A shard that is listed no more has no records left: its row goes even when it was not done, for else its children
/// would wait for it forever (spec: kinesis-leases 8.2). An empty listing is none and drops nothing undone.
pub fn sync(app: &str, table: &mut Table, shards: &[ShardInfo], initial: &Position) -> bool {
    let first = table.is_empty();
    let mut changed = false;
    for shard in shards {
        if table.contains_key(&shard.id) {
            continue;
        }
        let start = match (first, shard.closed, initial) {
            // Only what comes from now on is wanted, and nothing comes to a closed shard.
            (true, true, Position::Latest) => Position::ShardEnd,
            (true, _, initial) => initial.clone(),
            (false, ..) => Position::TrimHorizon,
        };
        table.insert(shard.id.clone(), Row::new(shard, start));
        changed = true;
    }
    let before = table.len();
    table.retain(|id, row| {
        let done = row.checkpoint == Position::ShardEnd;
        let keep = shards.iter().any(|shard| shard.id == *id) || (shards.is_empty() && !done);
        if !keep && !done {
            tracing::warn!(application = app, shard = id, checkpoint = %row.checkpoint,
                "the shard is past its retention and was not read to its end");
        }
        keep
    });
    changed || table.len() != before
}

/// A name that can be a file's.
pub fn check_name(app: &str) -> Result<(), LeaseError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=128).contains(&app.len()) && app.bytes().all(allowed) && !app.starts_with('.') {
        return Ok(());
    }
    let reason = "an application's name has 1 to 128 letters, digits, `-`, `_` and `.`".to_owned();
    Err(LeaseError::Invalid { app: app.to_owned(), reason })
}

/// A row in a file: names are those of the Kinesis Client Library's table (spec: kinesis-leases 2.2).
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredRow {
    lease_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_owner: Option<String>,
    lease_counter: u64,
    checkpoint: String,
    checkpoint_sub_sequence_number: u64,
    #[serde(default)]
    timestamp_ms: i64,
    owner_switches_since_checkpoint: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending_checkpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending_checkpoint_sub_sequence_number: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending_checkpoint_state: Option<String>,
    #[serde(default)]
    parent_shard_id: Vec<String>,
    #[serde(default)]
    child_shard_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starting_hash_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending_hash_key: Option<String>,
}

/// The table's file.
pub fn write(table: &Table) -> io::Result<Vec<u8>> {
    let rows: Vec<StoredRow> = table
        .iter()
        .map(|(shard, row)| {
            let (checkpoint, sub_sequence) = row.checkpoint.text();
            let pending = row.pending.as_ref().map(|pending| (pending.position.text(), &pending.state));
            StoredRow {
                lease_key: shard.clone(),
                lease_owner: row.owner.clone(),
                lease_counter: row.counter,
                checkpoint: checkpoint.to_owned(),
                checkpoint_sub_sequence_number: sub_sequence,
                timestamp_ms: if let Position::AtTimestampMs(at) = row.checkpoint { at } else { 0 },
                owner_switches_since_checkpoint: row.owner_switches,
                pending_checkpoint: pending.map(|((position, _), _)| position.to_owned()),
                pending_checkpoint_sub_sequence_number: pending.map(|((_, sub_sequence), _)| sub_sequence),
                pending_checkpoint_state: pending.map(|(_, state)| state.clone()),
                parent_shard_id: row.parents.clone(),
                child_shard_ids: row.children.clone(),
                starting_hash_key: row.range.map(|(first, _)| first.to_string()),
                ending_hash_key: row.range.map(|(_, last)| last.to_string()),
            }
        })
        .collect();
    let mut bytes = serde_json::to_vec_pretty(&rows)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a table's file.
pub fn read(path: &Path) -> Result<Table, LeaseError> {
    let file = path.display().to_string();
    let corrupt = |reason: String| LeaseError::Corrupt { file: file.clone(), offset: 0, reason };
    let bytes =
        fs::read(path).map_err(|error| LeaseError::Unavailable { app: file.clone(), reason: error.to_string() })?;
    let rows: Vec<StoredRow> = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
    rows.into_iter()
        .map(|row| {
            let checkpoint = Position::parse(&row.checkpoint, row.checkpoint_sub_sequence_number, row.timestamp_ms)
                .map_err(|error| corrupt(error.to_string()))?;
            let range = match (&row.starting_hash_key, &row.ending_hash_key) {
                (Some(first), Some(last)) => {
                    let number =
                        |text: &str| text.parse::<u128>().map_err(|error| corrupt(format!("hash key: {error}")));
                    Some((number(first)?, number(last)?))
                }
                _ => None,
            };
            let pending = match row.pending_checkpoint {
                Some(text) => {
                    let sub_sequence = row.pending_checkpoint_sub_sequence_number.unwrap_or(0);
                    let position =
                        Position::parse(&text, sub_sequence, 0).map_err(|error| corrupt(error.to_string()))?;
                    Some(Pending { position, state: row.pending_checkpoint_state.unwrap_or_default() })
                }
                None => None,
            };
            let value = Row {
                owner: row.lease_owner,
                counter: row.lease_counter,
                checkpoint,
                pending,
                owner_switches: row.owner_switches_since_checkpoint,
                parents: row.parent_shard_id,
                children: row.child_shard_ids,
                range,
                renewed_ms: 0,
            };
            Ok((row.lease_key, value))
        })
        .collect()
}
