//! Why a server ends.

use crate::storage::StorageError;

/// Trouble that ends a server, or does not let it start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The HTTP client for web hooks.
    #[error("http client for web hooks: {0}")]
    WebHooks(reqwest::Error),
    /// The socket.
    #[error("the schema registry cannot listen: {0}")]
    Listener(std::io::Error),
}
