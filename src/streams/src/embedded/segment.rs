//! Segments: the files a shard's records are in.
//!
//! `<number>.seg` holds the records from that number on: a length and a checksum, a JSON header (whose records these
//! are, and what each producer had stored when the segment began), then frames. A segment is made under another name
//! and renamed, so that one that exists has a whole header. `<number>.idx` says what a finished segment holds; it is
//! made from the segment where it is missing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::frame::{self, HEADER, Header};
use super::producer::ProducerTable;

const MAGIC: [u8; 8] = *b"SMSEG1\r\n";
/// One place in the index for about so many bytes of a segment.
const INDEX_EVERY: u64 = 64 * 1024;
/// How much is read at a time when a segment is gone through.
const SCAN_CHUNK: usize = 1024 * 1024;

/// What the header of a segment says.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct SegmentHeader {
    pub(crate) stream: String,
    pub(crate) shard: String,
    /// When it was made; no record before arrived later.
    pub(crate) made_ms: i64,
    pub(crate) producers: ProducerTable,
}

/// A frame's place: number of its first record, offset, arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct IndexEntry(pub(crate) u64, pub(crate) u64, pub(crate) i64);

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Summary {
    /// The number it is named after: none of its records is below.
    pub(crate) first: u64,
    /// The number behind its last record; `first` when it holds none.
    pub(crate) end: u64,
    /// Where its first frame is or would be.
    pub(crate) data_start: u64,
    /// Bytes of whole frames and header.
    pub(crate) len: u64,
    pub(crate) records: u64,
    /// Arrival of the first and last record; when there is none, the time it was made.
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    /// Some frames' places, in order.
    pub(crate) index: Vec<IndexEntry>,
}

impl Summary {
    pub(crate) fn empty(first: u64, data_start: u64, made_ms: i64) -> Self {
        let (first_ms, last_ms, len) = (made_ms, made_ms, data_start);
        Self { first, end: first, data_start, len, records: 0, first_ms, last_ms, index: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == self.data_start
    }

    /// Takes in a frame at the end.
    pub(crate) fn add(&mut self, header: &Header) {
        if self.index.last().is_none_or(|last| self.len - last.1 >= INDEX_EVERY) {
            self.index.push(IndexEntry(header.first, self.len, header.arrived_ms));
        }
        if self.records == 0 {
            self.first_ms = header.arrived_ms;
        }
        self.last_ms = header.arrived_ms;
        self.records += u64::from(header.count);
        self.end = header.end();
        self.len += header.frame_len() as u64;
    }

    /// An offset from which going on leads to record `number`, close before it.
    pub(crate) fn offset_of(&self, number: u64) -> u64 {
        let after = self.index.partition_point(|entry| entry.0 <= number);
        if after == 0 { self.data_start } else { self.index[after - 1].1 }
    }

    /// The number of a record from which going on leads to the first one that arrived at `at_ms` or later.
    pub(crate) fn number_before(&self, at_ms: i64) -> u64 {
        let after = self.index.partition_point(|entry| entry.2 < at_ms);
        if after == 0 { self.first } else { self.index[after - 1].0 }
    }
}

/// Damage inside what was stored, as opposed to a tail that was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) offset: u64,
    pub(crate) reason: String,
    /// Offset and first number of the next whole frame.
    pub(crate) resume: Option<(u64, u64)>,
}

/// Why a segment could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    Damage(Damage),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The path of the segment that begins with `first`.
pub(crate) fn path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.seg"))
}

fn index_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.idx"))
}

/// Writes a file whole or not at all, durably.
pub(crate) fn write_atomically(directory: &Path, target: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = target.with_extension("tmp");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, target)
    });
    if let Err(error) = written {
        // On a full disk its bytes are missed elsewhere. What cannot be removed goes at the next start.
        fs::remove_file(&temporary).ok();
        return Err(error);
    }
    sync_directory(directory)
}

/// Makes a directory and those above it that are missing, durably.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    // What is above the first that is there is durable already.
    let missing: Vec<_> = directory.ancestors().take_while(|above| !above.is_dir()).collect();
    fs::create_dir_all(directory)?;
    for made in missing {
        if let Some(parent) = made.parent() {
            sync_directory(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
    }
    Ok(())
}

/// Makes new, renamed and removed names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The numbers of a shard's segments, in order; removes what was left half made.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("tmp") => fs::remove_file(&path)?,
            Some("seg") => {
                if let Some(first) = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok())
                {
                    found.push(first);
                }
            }
            _ => {}
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes an empty segment.
pub(crate) fn create(directory: &Path, first: u64, header: &SegmentHeader) -> io::Result<(File, Summary)> {
    let json = serde_json::to_vec(header).map_err(io::Error::other)?;
    let mut content = Vec::with_capacity(json.len() + 16);
    content.extend_from_slice(&MAGIC);
    content.extend_from_slice(&u32::try_from(json.len()).map_err(io::Error::other)?.to_le_bytes());
    content.extend_from_slice(&crc32fast::hash(&json).to_le_bytes());
    content.extend_from_slice(&json);
    let target = path(directory, first);
    write_atomically(directory, &target, &content)?;
    let file = File::options().read(true).write(true).open(&target)?;
    let summary = Summary::empty(first, content.len() as u64, header.made_ms);
    Ok((file, summary))
}

/// Removes a segment and its index.
pub(crate) fn remove(directory: &Path, first: u64) -> io::Result<()> {
    for path in [path(directory, first), index_path(directory, first)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Lets a segment that is written to begin with another number.
pub(crate) fn rename(directory: &Path, from: u64, to: u64) -> io::Result<()> {
    fs::rename(path(directory, from), path(directory, to))
}

/// Stores what a finished segment holds.
pub(crate) fn write_index(directory: &Path, summary: &Summary) -> io::Result<()> {
    let json = serde_json::to_vec(summary).map_err(io::Error::other)?;
    write_atomically(directory, &index_path(directory, summary.first), &json)
}

/// What a finished segment holds, from its index or, without a fitting one, from itself.
pub(crate) fn load_summary(directory: &Path, first: u64) -> Result<Summary, ReadError> {
    let len = fs::metadata(path(directory, first))?.len();
    let stored = fs::read(index_path(directory, first)).ok();
    let stored = stored.and_then(|json| serde_json::from_slice::<Summary>(&json).ok());
    match stored.filter(|summary| summary.len == len && summary.first == first) {
        Some(summary) => Ok(summary),
        None => Ok(scan(&File::open(path(directory, first))?, first)?.summary),
    }
}

/// What going through a segment gave.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) summary: Summary,
    pub(crate) producers: ProducerTable,
    /// Frames' producers in order, to be applied to `producers` by who knows the shard's range.
    pub(crate) advances: Vec<(String, crate::Origin, i64)>,
    pub(crate) damage: Vec<Damage>,
    /// Bytes behind the last whole frame which no acknowledged write holds.
    pub(crate) torn: u64,
}

/// Goes through a segment from its header to its end.
pub(crate) fn scan(file: &File, first: u64) -> Result<Scan, ReadError> {
    let file_len = file.metadata()?.len();
    let (header, data_start) = read_header(file, file_len)?;
    let mut scan = Scan {
        summary: Summary::empty(first, data_start, header.made_ms),
        producers: header.producers,
        advances: Vec::new(),
        damage: Vec::new(),
        torn: 0,
    };
    while scan.summary.len < file_len {
        match read_frames(file, scan.summary.len, file_len, SCAN_CHUNK) {
            Ok(bytes) => {
                let mut at = 0;
                while at < bytes.len() {
                    let header = Header::parse(&bytes[at..]).expect("read_frames gives whole frames");
                    if let Some((name, origin)) = frame::producer(&header, &bytes[at..]) {
                        scan.advances.push((name.to_owned(), origin, header.arrived_ms));
                    }
                    scan.summary.add(&header);
                    at += header.frame_len();
                }
            }
            Err(ReadError::Damage(damage)) => {
                let later = find_later_write(file, damage.offset, file_len)?;
                match (later, damage.resume) {
                    (true, Some((offset, _))) => {
                        scan.summary.len = offset;
                        scan.damage.push(damage);
                    }
                    _ => {
                        scan.torn = file_len - scan.summary.len;
                        break;
                    }
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(scan)
}

fn read_header(file: &File, file_len: u64) -> Result<(SegmentHeader, u64), ReadError> {
    let damaged = |reason: String| ReadError::Damage(Damage { offset: 0, reason, resume: None });
    let mut fixed = [0u8; 16];
    if file_len < 16 {
        return Err(damaged("cut segment header".to_owned()));
    }
    file.read_exact_at(&mut fixed, 0)?;
    let len = u64::from(u32::from_le_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]));
    let crc = u32::from_le_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]);
    if fixed[..8] != MAGIC || 16 + len > file_len {
        return Err(damaged("not a segment".to_owned()));
    }
    let mut json = vec![0; usize::try_from(len).expect("32 bits")];
    file.read_exact_at(&mut json, 16)?;
    if crc32fast::hash(&json) != crc {
        return Err(damaged("wrong checksum of the segment header".to_owned()));
    }
    let header = serde_json::from_slice(&json).map_err(|error| damaged(format!("segment header: {error}")))?;
    Ok((header, 16 + len))
}

/// Reads whole, checked frames from `offset` on: about `want` bytes, at least one frame, nothing from `end` on.
pub(crate) fn read_frames(file: &File, offset: u64, end: u64, want: usize) -> Result<Bytes, ReadError> {
    let available = usize::try_from(end - offset).unwrap_or(usize::MAX);
    let mut bytes = vec![0; want.max(HEADER).min(available)];
    read_or_damage(file, &mut bytes, offset, end)?;
    let mut whole = 0;
    while whole < bytes.len() {
        let rest = &bytes[whole..];
        let left = available - whole;
        let checked = match Header::parse(rest) {
            // The chunk ends within this frame: it is for the next read, unless it is the only one.
            Err(_) if rest.len() < HEADER && left >= HEADER && whole > 0 => break,
            Ok(header) if header.frame_len() > rest.len() && header.frame_len() <= left => {
                if whole > 0 {
                    break;
                }
                let have = bytes.len();
                bytes.resize(header.frame_len(), 0);
                read_or_damage(file, &mut bytes[have..], offset + have as u64, end)?;
                frame::check(&bytes)
            }
            Ok(_) => frame::check(rest),
            Err(reason) => Err(reason),
        };
        match checked {
            Ok(header) => whole += header.frame_len(),
            Err(_) if whole > 0 => break,
            Err(reason) => {
                let resume = find_frame(file, offset + 1, end, |_| true)?;
                return Err(ReadError::Damage(Damage { offset, reason: reason.to_owned(), resume }));
            }
        }
    }
    bytes.truncate(whole);
    Ok(Bytes::from(bytes))
}

/// A file that is shorter than it was is damaged, not unreadable for now.
fn read_or_damage(file: &File, bytes: &mut [u8], offset: u64, end: u64) -> Result<(), ReadError> {
    file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            let reason = format!("file ends before byte {end}");
            ReadError::Damage(Damage { offset, reason, resume: None })
        }
        _ => ReadError::Io(error),
    })
}

/// Whether a frame of a write that began behind `offset` follows: then what was at `offset` had been acknowledged.
fn find_later_write(file: &File, offset: u64, end: u64) -> Result<bool, ReadError> {
    Ok(find_frame(file, offset + 1, end, |header| u64::from(header.write_start) > offset)?.is_some())
}

/// Offset and first number of the first whole frame from `from` on that `wanted` holds for.
fn find_frame(
    file: &File,
    from: u64,
    end: u64,
    wanted: impl Fn(&Header) -> bool,
) -> Result<Option<(u64, u64)>, ReadError> {
    let mut at = from;
    let mut window = vec![0; SCAN_CHUNK];
    while at + HEADER as u64 <= end {
        let len = usize::try_from((end - at).min(SCAN_CHUNK as u64)).expect("at most SCAN_CHUNK");
        let read = &mut window[..len];
        if file.read_exact_at(read, at).is_err() {
            return Ok(None);
        }
        for found in read.windows(4).enumerate().filter(|(_, four)| *four == frame::MAGIC).map(|(found, _)| found) {
            let offset = at + found as u64;
            if let Some(header) = whole_frame_at(file, offset, end)?
                && wanted(&header)
            {
                return Ok(Some((offset, header.first)));
            }
        }
        if len < SCAN_CHUNK {
            break;
        }
        // The mark may lie across the border of two windows.
        at += (len - 3) as u64;
    }
    Ok(None)
}

fn whole_frame_at(file: &File, offset: u64, end: u64) -> io::Result<Option<Header>> {
    let mut fixed = [0u8; HEADER];
    if offset + HEADER as u64 > end {
        return Ok(None);
    }
    file.read_exact_at(&mut fixed, offset)?;
    let Ok(header) = Header::parse(&fixed) else { return Ok(None) };
    if offset + header.frame_len() as u64 > end {
        return Ok(None);
    }
    let mut bytes = vec![0; header.frame_len()];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(frame::check(&bytes).ok())
}
