//! What can go wrong with a stream.

use crate::{SequenceNumber, ShardId};

/// Why an operation on a stream failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// There is no such stream.
    #[error("stream {stream} does not exist")]
    StreamNotFound {
        /// Its name.
        stream: String,
    },
    /// The stream has no such shard, or no longer: its records are past the retention.
    #[error("stream {stream} has no shard {shard}")]
    ShardNotFound {
        /// The stream.
        stream: String,
        /// The shard.
        shard: ShardId,
    },
    /// The request can never succeed.
    #[error("stream {stream}: {reason}")]
    Invalid {
        /// The stream.
        stream: String,
        /// What is wrong.
        reason: String,
    },
    /// It failed now and may succeed later (full disk, throttled, network).
    #[error("stream {stream} is unavailable: {reason}")]
    Unavailable {
        /// The stream.
        stream: String,
        /// What failed.
        reason: String,
    },
    /// Another process has the data directory.
    #[error("data directory {directory} is in use by {holder}")]
    Locked {
        /// The directory.
        directory: String,
        /// Who holds it, as far as it is known, e.g. `process 4711`.
        holder: String,
    },
    /// The data directory cannot be used.
    #[error("data directory {directory}: {reason}")]
    Directory {
        /// The directory.
        directory: String,
        /// What failed.
        reason: String,
    },
    /// Stored bytes are damaged. Nothing was removed; reading may go on at [`Corruption::resume`].
    #[error("{0}")]
    Corrupt(Box<Corruption>),
    /// The streams were shut down.
    #[error("streams are shut down")]
    ShutDown,
}

/// Where stored records are damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "stream {stream} shard {shard}: {file} is damaged at byte {offset} ({reason}); the next whole record is {resume}"
)]
pub struct Corruption {
    /// The stream.
    pub stream: String,
    /// The shard.
    pub shard: ShardId,
    /// The damaged file.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// What was found.
    pub reason: String,
    /// The first record behind the damage; records between are lost.
    pub resume: SequenceNumber,
}

impl StreamError {
    /// Whether the same request may succeed later.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
