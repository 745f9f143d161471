//! Rows of the lease table: attributes of DynamoDB to and from what we work with. Spec: kinesis-leases 2.2, 2.3.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use snowmelt_leases::{Lease, Pending, Position, ShardInfo};

use crate::fault::Item;

/// Names of attributes.
pub mod attribute {
    pub const KEY: &str = "leaseKey";
    pub const OWNER: &str = "leaseOwner";
    pub const COUNTER: &str = "leaseCounter";
    pub const CHECKPOINT: &str = "checkpoint";
    pub const SUB_SEQUENCE: &str = "checkpointSubSequenceNumber";
    pub const OWNER_SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
    pub const PARENTS: &str = "parentShardId";
    pub const CHILDREN: &str = "childShardIds";
    pub const RANGE_START: &str = "startingHashKey";
    pub const RANGE_END: &str = "endingHashKey";
    pub const PENDING: &str = "pendingCheckpoint";
    pub const PENDING_SUB_SEQUENCE: &str = "pendingCheckpointSubSequenceNumber";
    pub const PENDING_STATE: &str = "pendingCheckpointState";
    pub const CHECKPOINT_OWNER: &str = "checkpointOwner";
    pub const ENTITY_TYPE: &str = "entityType";
}

/// A lease's row as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its key: the shard.
    pub shard: String,
    /// `leaseOwner`.
    pub owner: Option<String>,
    /// `checkpointOwner`: who has the shard until it is handed over to `owner`.
    pub checkpoint_owner: Option<String>,
    /// The fencing counter.
    pub counter: u64,
    /// How far the shard is done.
    pub checkpoint: Position,
    /// What a holder was about to do beyond, when it can be read.
    pub pending: Option<Pending>,
    /// Whether the row has any of the pending attributes, readable or not.
    pub has_pending: bool,
    /// Changes of owner since the last checkpoint.
    pub owner_switches: u64,
    /// The shards before it.
    pub parents: Vec<String>,
    /// The shards after it.
    pub children: Vec<String>,
    /// First and last hash key.
    pub range: Option<(u128, u128)>,
}

/// What an item of the table is.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A lease.
    Lease(Box<Stored>),
    /// A row of another kind, or of an application that reads several streams.
    Foreign,
    /// A lease that can't be read, and why.
    Malformed(String),
}

impl Stored {
    /// A new row that nobody owns.
    pub fn new(shard: &ShardInfo, checkpoint: Position) -> Self {
        Self {
            shard: shard.id.clone(),
            owner: None,
            checkpoint_owner: None,
            counter: 0,
            checkpoint,
            pending: None,
            has_pending: false,
            owner_switches: 0,
            parents: shard.parents.clone(),
            children: Vec::new(),
            range: shard.range,
        }
    }

    /// Who may process the shard now: during a hand-off still the old owner.
    pub fn actual_owner(&self) -> Option<&str> {
        self.checkpoint_owner.as_deref().or(self.owner.as_deref())
    }

    /// Whether the shard was processed to its end.
    pub fn is_ended(&self) -> bool {
        self.checkpoint == Position::ShardEnd
    }

    /// The row as callers of the store see it.
    pub fn lease(&self, app: &str, epoch: u64) -> Lease {
        Lease {
            app: app.to_owned(),
            shard: self.shard.clone(),
            owner: self.owner.clone(),
            counter: self.counter,
            checkpoint: self.checkpoint.clone(),
            pending: self.pending.clone(),
            owner_switches: self.owner_switches,
            parents: self.parents.clone(),
            children: self.children.clone(),
            range: self.range,
            epoch,
        }
    }
}

/// A text.
pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number.
pub fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A set of texts; nothing when it would be empty, which DynamoDB refuses.
pub fn texts(values: &[String]) -> Option<AttributeValue> {
    // A set that names something twice is refused too.
    let unique: std::collections::BTreeSet<&String> = values.iter().collect();
    (!unique.is_empty()).then(|| AttributeValue::Ss(unique.into_iter().cloned().collect()))
}

/// The opaque state of a pending checkpoint.
pub fn state(text: &str) -> AttributeValue {
    AttributeValue::B(Blob::new(text.as_bytes()))
}

/// A new row in full. Spec: kinesis-leases 2.2.
pub fn encode(row: &Stored) -> Item {
    let (checkpoint, sub_sequence) = row.checkpoint.text();
    let mut item = Item::from([
        (attribute::KEY.to_owned(), text(&row.shard)),
        (attribute::COUNTER.to_owned(), number(row.counter)),
        (attribute::CHECKPOINT.to_owned(), text(checkpoint)),
        (attribute::SUB_SEQUENCE.to_owned(), number(sub_sequence)),
        (attribute::OWNER_SWITCHES.to_owned(), number(row.owner_switches)),
    ]);
    let mut optional = |name: &str, value: Option<AttributeValue>| {
        if let Some(value) = value {
            item.insert(name.to_owned(), value);
        }
    };
    optional(attribute::OWNER, row.owner.clone().map(text));
    optional(attribute::PARENTS, texts(&row.parents));
    optional(attribute::CHILDREN, texts(&row.children));
    optional(attribute::RANGE_START, row.range.map(|(first, _)| text(first.to_string())));
    optional(attribute::RANGE_END, row.range.map(|(_, last)| text(last.to_string())));
    item
}

/// Reads an item. `timestamp_ms` is what `AT_TIMESTAMP` means, since the table does not say.
pub fn decode(item: &Item, timestamp_ms: i64) -> Decoded {
    if let Some(kind) = item.get(attribute::ENTITY_TYPE)
        && string(kind) != Some("LEASE")
    {
        return Decoded::Foreign;
    }
    let Some(shard) = item.get(attribute::KEY).and_then(string) else {
        return Decoded::Malformed("a row without a key".to_owned());
    };
    // Leases of an application that reads several streams: `account:stream:epoch:shard`.
    if shard.contains(':') {
        return Decoded::Foreign;
    }
    let malformed = |what: &str| Decoded::Malformed(format!("shard {shard}: {what}"));
    let Some(counter) = item.get(attribute::COUNTER).and_then(integer) else {
        return malformed("no leaseCounter");
    };
    let Some(checkpoint) = item.get(attribute::CHECKPOINT).and_then(string) else {
        return malformed("no checkpoint");
    };
    let count = |name: &str| item.get(name).and_then(integer).unwrap_or(0);
    let checkpoint = match Position::parse(checkpoint, count(attribute::SUB_SEQUENCE), timestamp_ms) {
        Ok(position) => position,
        Err(error) => return malformed(&error.to_string()),
    };
    let pending_at = item.get(attribute::PENDING).and_then(string);
    let pending_at = pending_at.and_then(|at| Position::parse(at, count(attribute::PENDING_SUB_SEQUENCE), 0).ok());
    let pending_state = match item.get(attribute::PENDING_STATE) {
        Some(AttributeValue::B(bytes)) => std::str::from_utf8(bytes.as_ref()).ok().map(str::to_owned),
        // The Kinesis Client Library writes other types by mistake.
        _ => None,
    };
    let key = |name: &str| item.get(name).and_then(string)?.parse::<u128>().ok();
    let has = |name: &str| item.contains_key(name);
    Decoded::Lease(Box::new(Stored {
        shard: shard.to_owned(),
        owner: item.get(attribute::OWNER).and_then(string).map(str::to_owned),
        checkpoint_owner: item.get(attribute::CHECKPOINT_OWNER).and_then(string).map(str::to_owned),
        counter,
        checkpoint,
        pending: pending_at.zip(pending_state).map(|(position, state)| Pending { position, state }),
        has_pending: has(attribute::PENDING) || has(attribute::PENDING_SUB_SEQUENCE) || has(attribute::PENDING_STATE),
        owner_switches: count(attribute::OWNER_SWITCHES),
        parents: set(item.get(attribute::PARENTS)),
        children: set(item.get(attribute::CHILDREN)),
        range: key(attribute::RANGE_START).zip(key(attribute::RANGE_END)),
    }))
}

/// Rows by shard.
pub type Rows = BTreeMap<String, Stored>;

/// A text that is not empty.
fn string(value: &AttributeValue) -> Option<&str> {
    value.as_s().ok().map(String::as_str).filter(|text| !text.is_empty())
}

/// A whole number, however it is spelled.
fn integer(value: &AttributeValue) -> Option<u64> {
    let text = value.as_n().ok()?;
    if let Ok(whole) = text.parse() {
        return Some(whole);
    }
    // Up to here floating point numbers are exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let other: f64 = text.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by the filter")]
    Some(other).filter(|n| n.fract() == 0.0 && (0.0..=EXACT).contains(n)).map(|n| n as u64)
}

fn set(value: Option<&AttributeValue>) -> Vec<String> {
    let mut texts = value.and_then(|value| value.as_ss().ok()).cloned().unwrap_or_default();
    texts.sort_unstable();
    texts
}
