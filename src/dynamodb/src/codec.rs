//! Rows of the lease table: attributes of DynamoDB to and from what we work with. Spec: kinesis-leases 2.2, 2.3.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use snowmelt_leases::Position;
use snowmelt_leases::fleet::{PendingState, Row};

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

/// What an item of the table is.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A lease.
    Lease(Box<Row>),
    /// A row of another kind, or of an application that reads several streams.
    Foreign,
    /// A lease that can't be read, and why.
    Malformed(String),
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
pub fn bytes(state: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(state))
}

/// A new row in full. Spec: kinesis-leases 2.2.
pub fn encode(row: &Row) -> Item {
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
    let key = |name: &str| item.get(name).and_then(string)?.parse::<u128>().ok();
    let pending = pending(item, &checkpoint);
    Decoded::Lease(Box::new(Row {
        shard: shard.to_owned(),
        owner: item.get(attribute::OWNER).and_then(string).map(str::to_owned),
        checkpoint_owner: item.get(attribute::CHECKPOINT_OWNER).and_then(string).map(str::to_owned),
        counter,
        checkpoint,
        pending,
        owner_switches: count(attribute::OWNER_SWITCHES),
        parents: set(item.get(attribute::PARENTS)),
        children: set(item.get(attribute::CHILDREN)),
        range: key(attribute::RANGE_START).zip(key(attribute::RANGE_END)),
    }))
}

/// A pending checkpoint, also one of which parts are missing or of other types, as the Kinesis Client Library writes them by
/// mistake: that it is there is what matters.
fn pending(item: &Item, checkpoint: &Position) -> Option<PendingState> {
    let names = [attribute::PENDING, attribute::PENDING_SUB_SEQUENCE, attribute::PENDING_STATE];
    let [position, sub_sequence, state] = names.map(|name| item.get(name));
    position.or(sub_sequence).or(state)?;
    let sub_sequence = sub_sequence.and_then(integer).unwrap_or(0);
    let position = position.and_then(string).and_then(|at| Position::parse(at, sub_sequence, 0).ok());
    let state = match state {
        Some(AttributeValue::B(bytes)) => bytes.as_ref().to_vec(),
        _ => Vec::new(),
    };
    Some(PendingState { position: position.unwrap_or_else(|| checkpoint.clone()), state })
}

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
