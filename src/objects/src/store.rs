//! The object store as everybody sees it: a small trait, its errors, and the rule for keys.

use async_trait::async_trait;
use bytes::Bytes;

/// Longest key in bytes; S3's own limit.
pub const MAX_KEY_BYTES: usize = 1024;

/// Headers stored with an object. The original's loaders set neither (spec s3-loader 2.1), which [`Headers::default`] gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Headers {
    /// `Content-Type`; the store's default where absent.
    pub content_type: Option<&'static str>,
    /// `Content-Encoding`; none where absent.
    pub content_encoding: Option<&'static str>,
}

/// One row of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The whole key.
    pub key: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// Why a store refused or failed. `retriable` says whether trying again can help.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The key is one that no store of ours takes; see [`check_key`].
    #[error("object key {key:?} is refused: {reason}")]
    InvalidKey {
        /// The key as given.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no such object.
    #[error("object {key:?} does not exist")]
    NotFound {
        /// The key as given.
        key: String,
    },
    /// The store failed.
    #[error("{action} of object {key:?} failed")]
    Io {
        /// `put`, `get`, `list` or `delete`.
        action: &'static str,
        /// The key or prefix.
        key: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The work was abandoned, because the process is stopping or it panicked.
    #[error("{action} of object {key:?} was abandoned: {reason}")]
    Abandoned {
        /// `put`, `get`, `list` or `delete`.
        action: &'static str,
        /// The key or prefix.
        key: String,
        /// Why.
        reason: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later: an I/O failure may, a refused key or a missing object may not.
    pub fn is_retriable(&self) -> bool {
        matches!(self, StoreError::Io { .. } | StoreError::Abandoned { .. })
    }
}

/// A flat map from keys to bytes. Implementations are shared between tasks.
///
/// Every call may be repeated: `put` replaces the whole object, and `delete` of what is not there succeeds.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Stores an object under `key`. When it returns `Ok` the object is durable and readers see all of it; before that
    /// they see the previous object or none, never a part.
    async fn put(&self, key: &str, bytes: Bytes, headers: Headers) -> Result<(), StoreError>;

    /// Up to `limit` objects whose key starts with `prefix` (any text, not only a folder) and is greater than `after`,
    /// in ascending byte order of their keys. A shorter answer is the last one.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError>;

    /// The whole object.
    async fn get(&self, key: &str) -> Result<Bytes, StoreError>;

    /// Removes an object; succeeds when there is none.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
}

/// Checks that a key can be stored anywhere: not empty, at most [`MAX_KEY_BYTES`], no NUL or other control character,
/// no leading slash, no empty, `.` or `..` segment, no backslash.
pub fn check_key(key: &str) -> Result<(), StoreError> {
    let refuse = |reason| Err(StoreError::InvalidKey { key: key.to_owned(), reason });
    if key.is_empty() {
        return refuse("it is empty");
    }
    if key.len() > MAX_KEY_BYTES {
        return refuse("it is longer than 1024 bytes");
    }
    if key.starts_with('/') {
        return refuse("it is absolute");
    }
    if key.bytes().any(|byte| byte < 0x20 || byte == 0x7F || byte == b'\\') {
        return refuse("it contains a control character or a backslash");
    }
    if key.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return refuse("it has an empty, '.' or '..' segment");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_key;

    #[test]
    fn keys_that_could_escape_are_refused() {
        for key in ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a\0b", "a\nb", "a\\b"] {
            assert!(check_key(key).is_err(), "{key:?}");
        }
        assert!(check_key(&"x".repeat(1025)).is_err());
        for key in ["a", "a/b.gz", "date=2024-03-05/..x", "a/...", "ü/ "] {
            assert!(check_key(key).is_ok(), "{key:?}");
        }
    }
}
