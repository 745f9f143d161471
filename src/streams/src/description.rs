//! What a stream is made of.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::HashKeyRange;

/// A shard's name within its stream, e.g. `shardId-000000000012`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ShardId(Arc<str>);

impl ShardId {
    /// A shard id as a service or a lease names it; the text is kept as it is.
    pub fn new(id: impl AsRef<str>) -> Self {
        Self(Arc::from(id.as_ref()))
    }

    /// The id of a stream's shard number `index` (`shardId-` and twelve digits).
    pub fn from_index(index: u64) -> Self {
        Self(Arc::from(format!("shardId-{index:012}")))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for ShardId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<String> for ShardId {
    fn from(id: String) -> Self {
        Self(Arc::from(id))
    }
}

impl AsRef<str> for ShardId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// One shard of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: ShardId,
    /// The shards it was split or merged from: none, one or two. A parent may no longer be listed.
    pub parents: Vec<ShardId>,
    /// The hash keys of its records.
    pub range: HashKeyRange,
    /// Whether it was split or merged: no record is added any more, and readers come to its end.
    pub closed: bool,
}

/// A stream and its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDescription {
    /// The stream's name.
    pub name: String,
    /// Open shards, and closed ones whose records are still kept, in order of their creation.
    pub shards: Vec<Shard>,
    /// How long records are kept.
    pub retention: Duration,
}
