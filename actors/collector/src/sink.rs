//! Where records go.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// One record on its way to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What decides the shard: the client's address or a random UUID (spec 4.1).
    pub partition_key: String,
    /// A Thrift `CollectorPayload` (good) or one line of bad-row JSON without its newline (bad).
    pub data: Bytes,
}

/// Why a batch did not become durable. Some of its records may be stored all the same: delivery is at least once.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The sink cannot take records now; the same batch may succeed later.
    #[error("sink is unavailable: {reason}")]
    Unavailable {
        /// What the sink's backend said.
        reason: String,
    },
    /// The sink did not answer in time; whether the records are stored is unknown.
    #[error("sink did not answer within {millis} ms")]
    TimedOut {
        /// How long the collector waited.
        millis: u64,
    },
}

/// A destination of records. The good and the bad stream are one each.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Stores the batch. Resolves with `Ok` only when *every* record of it is durable; with an error when any may be missing.
    /// At most 500 records and 4 MiB come in one call. Calls may overlap.
    async fn put(&self, batch: Vec<Outgoing>) -> Result<(), SinkError>;

    /// Whether the next `put` is likely to succeed; answers `/sink-health` and must not block.
    fn healthy(&self) -> bool;

    /// Called once, when no `put` will follow: hands on what it keeps on its way to somewhere else, for up to `deadline`. What is
    /// left then stays as durable as `put` promised, so that leaving it is no loss. A sink that keeps nothing has nothing to do.
    async fn close(&self, _deadline: Duration) {}
}
