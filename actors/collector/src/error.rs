//! What stops a collector. Bad requests never do.

use std::io;

/// Why the collector did not start, or ended other than by request.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// A configuration value has the right type but cannot be used.
    #[error("collector configuration, {key}: {reason}")]
    Config {
        /// The key, with dots, as in the original's configuration file.
        key: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// The certificate or its key cannot be used.
    #[error("collector tls, {path}: {reason}")]
    Tls {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The listener failed.
    #[error("collector listener: {0}")]
    Listener(#[from] io::Error),
    /// The log that requests are answered from cannot be opened.
    #[error("collector {0}")]
    Spool(#[from] crate::SpoolError),
    /// The server stopped, but records were still waiting for their sink when the deadline came.
    #[error("collector stopped with {records} records not yet durable")]
    NotDrained {
        /// How many records were given up.
        records: usize,
    },
}
