//! Records, as they are put and as they are read.

use bytes::Bytes;

use crate::{SequenceNumber, ShardId};

/// A stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the shard.
    pub sequence: SequenceNumber,
    /// The key it was put with.
    pub partition_key: String,
    /// Its content.
    pub data: Bytes,
    /// When the stream took it, in milliseconds since the epoch. Never decreases within a shard.
    pub arrived_ms: i64,
}

/// A record to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutEntry {
    /// 1 to 256 characters; records of one key are kept in order.
    pub partition_key: String,
    /// Where to place the record instead of by the MD5 of the partition key.
    pub explicit_hash_key: Option<u128>,
    /// The content; with the key, at most the stream's record size.
    pub data: Bytes,
    /// Where in the producer's source the record came from; see [`Producer`].
    pub origin: Option<Origin>,
}

impl PutEntry {
    /// An entry that is placed by its partition key and has no origin.
    pub fn new(partition_key: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self { partition_key: partition_key.into(), explicit_hash_key: None, data: data.into(), origin: None }
    }
}

/// The place in a producer's source from which an entry was made: the source record, and which of its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The source record.
    pub sequence: SequenceNumber,
    /// Which of the results of that record, from 0.
    pub index: u32,
}

/// The name of an idempotent producer, e.g. `enrich/raw/shardId-000000000000`: one reader of one source shard.
///
/// A stream that knows idempotence (the embedded one) remembers for each of its shards the last origin stored by each
/// producer, and answers [`PutOutcome::Duplicate`] to entries at or below it, so that a put repeated after a crash is
/// not stored twice. For that a producer's origins must ascend: within one put (checked), and over puts. So a producer
/// has **one put in flight**, and repeats refused entries before it puts newer ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Producer(pub String);

/// What became of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is stored, as durably as the stream promises.
    Stored {
        /// The shard that holds it.
        shard: ShardId,
        /// Its place there.
        sequence: SequenceNumber,
    },
    /// Its producer has stored it before.
    Duplicate,
    /// It was not stored.
    Rejected {
        /// Why.
        reason: String,
        /// Whether the same entry may be taken later.
        retriable: bool,
    },
}
