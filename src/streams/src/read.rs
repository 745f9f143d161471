//! Reading a shard.

use std::time::Duration;

use crate::{Record, SequenceNumber, StreamError};

/// Where in a shard to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest record that is kept.
    TrimHorizon,
    /// After the newest record there is when the cursor is opened.
    Latest,
    /// At this record, or the first after it that is kept.
    At(SequenceNumber),
    /// Behind this record.
    After(SequenceNumber),
    /// At the first record that arrived at this time (milliseconds since the epoch) or later.
    AtTimestampMs(i64),
}

/// How much a page may hold. A page with records always holds at least one, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// At most so many records.
    pub records: usize,
    /// At most so many bytes of keys and data.
    pub bytes: usize,
}

impl Default for ReadLimit {
    /// The limits of one GetRecords call: 10 000 records, 10 MiB.
    fn default() -> Self {
        Self { records: 10_000, bytes: 10 * 1024 * 1024 }
    }
}

/// The records that one read gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In order; may be empty.
    pub records: Vec<Record>,
    /// The shard is closed and these were its last records; every further page is empty and says so again.
    pub end_of_shard: bool,
    /// Age of the last record of the page when more are there to be read; 0 at the tip.
    pub millis_behind_latest: u64,
}

/// A place in a shard which moves forward with every page.
#[async_trait::async_trait]
pub trait ShardCursor: Send {
    /// The next records. When there are none, waits for up to `wait` for one to come, then gives an empty page.
    ///
    /// Dropping the future before it is ready loses nothing: the next call gives the same records. After an error
    /// the cursor stands where it stood before.
    async fn next(&mut self, limit: ReadLimit, wait: Duration) -> Result<Page, StreamError>;
}
