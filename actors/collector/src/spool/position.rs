//! How far a shard was drained: the sequence number of the last record that the sink has.
//!
//! Its file has two places, written in turn: one that a crash has torn leaves the other, and since the file never grows, noting a
//! position is one write and one fsync of a few microseconds, needs no room on the disk, and can be done for every batch.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use snowmelt_streams::SequenceNumber;

use super::line;

/// Bytes of a place; no sector holds parts of both.
const PLACE: usize = 4096;
const PLACES: usize = 2;

/// A shard's position and its file.
#[derive(Debug, Clone)]
pub(super) struct Position {
    path: PathBuf,
    /// Made with the first position.
    file: Option<Arc<File>>,
    /// How many positions were noted; the newer place has the higher number.
    count: u64,
    /// The last record the sink is known to have.
    pub(super) last: Option<SequenceNumber>,
}

impl Position {
    /// Reads the position of a shard from its file in `directory`. One that is missing or damaged is none: everything that is there
    /// is drained again, rather than anything passed over. Blocks.
    pub(super) fn load(directory: &Path, shard: &str) -> io::Result<Self> {
        let path = directory.join(shard);
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, file: None, count: 0, last: None });
            }
            Err(error) => return Err(error),
        };
        let mut bytes = [0; PLACE * PLACES];
        let mut len = 0;
        while let read @ 1.. = file.read_at(&mut bytes[len..], len as u64)? {
            len += read;
        }
        let newest = bytes.chunks(PLACE).filter_map(read_place).max_by_key(|(count, _)| *count);
        if newest.is_none() {
            tracing::error!(file = %path.display(), "a position of the spool is damaged: records will be put again");
        }
        let file = if len == bytes.len() { Some(Arc::new(file)) } else { None };
        let (count, last) = newest.map_or((0, None), |(count, last)| (count, Some(last)));
        Ok(Self { path, file, count, last })
    }

    /// Stores `last`: the file holds the old position or the new one, whatever happens. Blocks for an fsync.
    pub(super) fn store(&mut self, last: SequenceNumber) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::new(self.make()?),
        };
        let count = self.count + 1;
        file.write_all_at(&place(count, last), (count as usize % PLACES * PLACE) as u64)?;
        file.sync_data()?;
        *self = Self { path: std::mem::take(&mut self.path), file: Some(file), count, last: Some(last) };
        Ok(())
    }

    /// Makes the file, with its full length, in place of what is there.
    fn make(&self) -> io::Result<File> {
        let temporary = self.path.with_extension("tmp");
        let file = File::create(&temporary)?;
        for place in 0..PLACES {
            file.write_all_at(&[b'\n'; PLACE], (place * PLACE) as u64)?;
        }
        if let Some(last) = self.last {
            file.write_all_at(&place(self.count, last), (self.count as usize % PLACES * PLACE) as u64)?;
        }
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)?;
        if let Some(directory) = self.path.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(file)
    }
}

/// A position as it is written: a line, and empty ones.
fn place(count: u64, last: SequenceNumber) -> [u8; PLACE] {
    let line = line::line(&format!("{count} {last}"));
    let mut place = [b'\n'; PLACE];
    place[..line.len()].copy_from_slice(line.as_bytes());
    place
}

/// The position of a place, unless it is empty or damaged.
fn read_place(bytes: &[u8]) -> Option<(u64, SequenceNumber)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let text = line::parse(&bytes[..=end])?;
    let (count, last) = text.split_once(' ')?;
    Some((count.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn number(lo: u128) -> SequenceNumber {
        SequenceNumber::new(1 << 57, lo)
    }

    #[test]
    fn a_position_comes_back_and_a_damaged_one_is_the_one_before_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let load = || Position::load(directory.path(), "shardId-0").unwrap();
        let mut position = load();
        assert_eq!(position.last, None);
        let path = directory.path().join("shardId-0");
        let mut before = None;
        for lo in [7, u128::from(u64::MAX), 3] {
            let last = number(lo);
            position.store(last).unwrap();
            assert_eq!(load().last, Some(last));
            let whole = fs::read(&path).unwrap();
            assert_eq!(whole.len(), PLACE * PLACES, "it never grows");
            let at = position.count as usize % PLACES * PLACE;
            for damaged in at..at + line::line(&format!("{} {last}", position.count)).len() {
                let mut changed = whole.clone();
                changed[damaged] ^= 1;
                fs::write(&path, changed).unwrap();
                assert_eq!(load().last, before, "byte {damaged}");
            }
            fs::write(&path, &whole).unwrap();
            before = Some(last);
        }
        position = load();
        position.store(number(9)).unwrap();
        assert_eq!(load().last, Some(number(9)), "also after a restart");
    }

    #[test]
    fn a_cut_file_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shardId-0");
        let mut position = Position::load(directory.path(), "shardId-0").unwrap();
        position.store(number(1)).unwrap();
        position.store(number(2)).unwrap();
        let whole = fs::read(&path).unwrap();
        for len in [0, 10, PLACE, PLACE + 20] {
            fs::write(&path, &whole[..len]).unwrap();
            let mut position = Position::load(directory.path(), "shardId-0").unwrap();
            position.store(number(5)).unwrap();
            assert_eq!(fs::read(&path).unwrap().len(), PLACE * PLACES);
            assert_eq!(Position::load(directory.path(), "shardId-0").unwrap().last, Some(number(5)), "{len} bytes");
        }
    }
}
