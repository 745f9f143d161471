//! `stream.json`: a stream's shards and retention, replaced as a whole with every change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::segment::write_atomically;
use crate::{HashKeyRange, Shard, ShardId};

/// A stream as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StreamFile {
    pub(crate) retention_ms: i64,
    /// The number of the next shard.
    pub(crate) next_shard: u64,
    pub(crate) shards: Vec<ShardFile>,
}

/// A shard as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct ShardFile {
    pub(crate) index: u64,
    pub(crate) parents: Vec<u64>,
    pub(crate) range: HashKeyRange,
    pub(crate) closed: bool,
}

impl ShardFile {
    pub(crate) fn description(&self) -> Shard {
        Shard {
            id: ShardId::from_index(self.index),
            parents: self.parents.iter().map(|parent| ShardId::from_index(*parent)).collect(),
            range: self.range,
            closed: self.closed,
        }
    }
}

impl StreamFile {
    /// Adds an open shard; gives its number.
    pub(crate) fn add(&mut self, parents: Vec<u64>, range: HashKeyRange) -> u64 {
        let index = self.next_shard;
        self.next_shard += 1;
        self.shards.push(ShardFile { index, parents, range, closed: false });
        index
    }

    pub(crate) fn close(&mut self, index: u64) {
        self.shards.iter_mut().filter(|shard| shard.index == index).for_each(|shard| shard.closed = true);
    }

    pub(crate) fn store(&self, directory: &Path) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        write_atomically(directory, &directory.join("stream.json"), &json)
    }

    /// `None` when there is no stream: its making was cut short.
    pub(crate) fn load(directory: &Path) -> io::Result<Option<Self>> {
        match fs::read(directory.join("stream.json")) {
            Ok(json) => serde_json::from_slice(&json).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Where a shard's segments are.
pub(crate) fn shard_directory(stream: &Path, index: u64) -> PathBuf {
    stream.join(ShardId::from_index(index).as_str())
}
