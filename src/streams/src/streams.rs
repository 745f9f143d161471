//! The streams that a pipeline is joined by.

use std::time::Duration;

use crate::{Producer, PutEntry, PutOutcome, ShardCursor, ShardId, StartAt, StreamDescription, StreamError};

/// A set of streams: the embedded log or a service.
#[async_trait::async_trait]
pub trait Streams: Send + Sync + 'static {
    /// Makes a stream of `shards` shards that divide the hash keys evenly. A stream that exists keeps its shards and
    /// takes the new retention.
    async fn create(&self, stream: &str, shards: u32, retention: Duration) -> Result<(), StreamError>;

    /// The stream's shards.
    async fn describe(&self, stream: &str) -> Result<StreamDescription, StreamError>;

    /// The names of the streams, in order.
    async fn list(&self) -> Result<Vec<String>, StreamError>;

    /// Stores entries. Gives one outcome an entry, in the order of the entries; some may be stored while others are
    /// rejected. Entries of one put for one shard are stored in their order.
    ///
    /// `Err` means that nothing was stored. Dropping the future leaves open what is stored.
    async fn put(
        &self,
        stream: &str,
        entries: Vec<PutEntry>,
        producer: Option<&Producer>,
    ) -> Result<Vec<PutOutcome>, StreamError>;

    /// A cursor at `from` in a shard.
    async fn open(&self, stream: &str, shard: &ShardId, from: &StartAt) -> Result<Box<dyn ShardCursor>, StreamError>;

    /// Closes a shard and opens two in its place; the second child begins at hash key `at`.
    async fn split(&self, stream: &str, shard: &ShardId, at: u128) -> Result<(), StreamError>;

    /// Closes two shards whose hash keys are neighbours and opens one in their place.
    async fn merge(&self, stream: &str, a: &ShardId, b: &ShardId) -> Result<(), StreamError>;
}
