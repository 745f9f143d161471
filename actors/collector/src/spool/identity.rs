//! Who a spool is to the streams it drains to.

use std::{io, path::Path};

use snowmelt_streams::{Producer, ShardId};
use uuid::Uuid;

use super::line;

/// A spool's id, in a file of its directory: the same after a restart, another for every other spool.
#[derive(Debug)]
pub(super) struct Identity(Uuid);

impl Identity {
    /// Reads the id from its file in `directory`. A spool without one, and one whose log is `new`, gets one: under an old id the
    /// records of a new log might be taken for ones that were stored before. Blocks.
    pub(super) fn load(directory: &Path, new: bool) -> io::Result<Self> {
        let path = directory.join("id");
        if !new && let Some(id) = line::read(&path)?.and_then(|text| text.parse().ok()) {
            return Ok(Self(id));
        }
        let id = Uuid::new_v4();
        line::write(&path, &id.to_string())?;
        Ok(Self(id))
    }

    /// The producer that the records of one shard come from.
    pub(super) fn producer(&self, shard: &ShardId) -> Producer {
        Producer(format!("spool/{}/{shard}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_until_the_log_is_another_or_the_file_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let load = |new| Identity::load(directory.path(), new).unwrap().0;
        let first = load(false);
        assert_eq!(load(false), first);
        let second = load(true);
        assert_ne!(second, first);
        let path = directory.path().join("id");
        let mut damaged = std::fs::read(&path).unwrap();
        damaged[3] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        let third = load(false);
        assert!(third != second && load(false) == third);
    }
}
