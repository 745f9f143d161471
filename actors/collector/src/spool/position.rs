//! How far a shard was drained: the sequence number of the last record that the sink has, in a file of one line.

use std::{
    io,
    path::{Path, PathBuf},
};

use snowmelt_streams::SequenceNumber;

use super::line;

/// A shard's position and its file.
#[derive(Debug, Clone)]
pub(super) struct Position {
    path: PathBuf,
    /// The last record the sink is known to have.
    pub(super) last: Option<SequenceNumber>,
}

impl Position {
    /// Reads the position of a shard from its file in `directory`. One that is missing or damaged is none: everything that is there
    /// is drained again, rather than anything passed over.
    pub(super) fn load(directory: &Path, shard: &str) -> io::Result<Self> {
        let path = directory.join(shard);
        let last = line::read(&path)?.and_then(|text| text.parse().ok());
        Ok(Self { path, last })
    }

    /// Stores `last`: the file holds the old line or the new one, whatever happens. Blocks for two fsyncs.
    pub(super) fn store(&mut self, last: SequenceNumber) -> io::Result<()> {
        line::write(&self.path, &last.to_string())?;
        self.last = Some(last);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_position_comes_back_and_a_damaged_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let mut position = Position::load(directory.path(), "shardId-0").unwrap();
        assert_eq!(position.last, None);
        for lo in [7, u128::from(u64::MAX)] {
            let last = SequenceNumber { hi: 1 << 57, lo };
            position.store(last).unwrap();
            assert_eq!(Position::load(directory.path(), "shardId-0").unwrap().last, Some(last));
        }
        let path = directory.path().join("shardId-0");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            for damaged in [&changed[..], &whole[..at]] {
                fs::write(&path, damaged).unwrap();
                assert_eq!(Position::load(directory.path(), "shardId-0").unwrap().last, None, "byte {at}");
            }
        }
    }
}
