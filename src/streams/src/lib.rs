//! Sharded, durable record streams with Kinesis's semantics.
//!
//! [`Streams`] is what the pipeline sees: named streams of shards, each an ordered log of records that are placed by the
//! MD5 of their partition key. [`EmbeddedStreams`] keeps them on the local disk.
#![deny(missing_docs)]

mod description;
mod embedded;
mod error;
mod hash_key;
mod read;
mod record;
mod sequence;
mod streams;

pub use description::{Shard, ShardId, StreamDescription};
pub use embedded::{Clock, Durability, EmbeddedStreams, Options};
pub use error::{Corruption, StreamError};
pub use hash_key::{HashKeyRange, hash_key};
pub use read::{Page, ReadLimit, ShardCursor, StartAt};
pub use record::{Origin, Producer, PutEntry, PutOutcome, Record};
pub use sequence::{ParseSequenceError, SequenceNumber};
pub use streams::Streams;
