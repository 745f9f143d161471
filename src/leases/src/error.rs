//! What can go wrong with a lease.

use crate::Position;

/// Why an operation on a lease failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The lease is no longer the caller's: stop reading the shard, write nothing more.
    #[error("application {app}: lease of shard {shard} was lost by {owner}, now held by {}", now.as_deref().unwrap_or("nobody"))]
    Lost {
        /// The application.
        app: String,
        /// The shard.
        shard: String,
        /// Who had it.
        owner: String,
        /// Who has it.
        now: Option<String>,
    },
    /// Somebody else has the lease and renews it.
    #[error("application {app}: lease of shard {shard} is held by {owner}")]
    Held {
        /// The application.
        app: String,
        /// The shard.
        shard: String,
        /// Who has it.
        owner: String,
    },
    /// There is no such lease.
    #[error("application {app}: there is no lease of shard {shard}")]
    NotFound {
        /// The application.
        app: String,
        /// The shard.
        shard: String,
    },
    /// A checkpoint below the stored one was offered; nothing was written.
    #[error("application {app}: checkpoint of shard {shard} may not go back from {stored} to {offered}")]
    Backwards {
        /// The application.
        app: String,
        /// The shard.
        shard: String,
        /// What is stored.
        stored: Position,
        /// What was offered.
        offered: Position,
    },
    /// The request can never succeed.
    #[error("application {app}: {reason}")]
    Invalid {
        /// The application.
        app: String,
        /// What is wrong.
        reason: String,
    },
    /// It failed now and may succeed later (full disk, throttled, network). What is stored is open.
    #[error("application {app}: leases are unavailable: {reason}")]
    Unavailable {
        /// The application.
        app: String,
        /// What failed.
        reason: String,
    },
    /// The stream does not say which shards it has. It may later.
    #[error("the stream's shards could not be listed: {reason}")]
    Unlisted {
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
    /// The stored table is damaged.
    #[error("{file} is damaged at byte {offset}: {reason}")]
    Corrupt {
        /// The damaged file.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What was found.
        reason: String,
    },
}

impl LeaseError {
    /// Whether the same request may succeed later.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unlisted { .. } | Self::Held { .. })
    }
}
