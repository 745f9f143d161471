//! Frames: the unit in which records are written to a segment and checked when they are read.
//!
//! ```text
//! 0  "SMF1"            8  CRC-32 of all that follows   16  number of the first record   32  count of records
//! 4  length of body   12  where its write began        24  arrival, ms since the epoch  36  length of producer's name
//!                                                                                   38  1: the body has an origin, 0
//! 40 body: [producer's name, last origin (8 + 16 + 4)] then for each record: key length (2), data length (4), key, data
//! ```
//! Numbers are little-endian. A record's number is its sequence number without the shard's part (see
//! [`sequence_of`]). "Where its write began" is the segment's length when the group of frames was written: a broken
//! frame is a torn tail unless a whole frame is found whose write began behind it, since a write only begins after the
//! one before was acknowledged.

use bytes::Bytes;

use crate::{Origin, Record, SequenceNumber};

pub(crate) const MAGIC: [u8; 4] = *b"SMF1";
pub(crate) const HEADER: usize = 40;
/// A body has one record of up to 10 MiB beside what is below the usual frame size.
pub(crate) const MAX_BODY: usize = 11 * 1024 * 1024;
/// Frames are cut at about this size, so that reading from the middle of a put stays cheap.
pub(crate) const USUAL_BODY: usize = 256 * 1024;
/// Key and data length.
pub(crate) const RECORD_HEADER: usize = 6;
const ORIGIN: usize = 28;

/// The sequence number of record `number` of the stream's shard `shard`. Like those of Kinesis it has 56 digits and
/// begins with 49; a child's are above its parents' since its index is.
pub(crate) fn sequence_of(shard: u64, number: u64) -> SequenceNumber {
    SequenceNumber::new((1 << 57) | shard, u128::from(number))
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) body_len: usize,
    crc: u32,
    /// The segment's length when the write began.
    pub(crate) write_start: u32,
    /// The number of the first record; the others follow without gap.
    pub(crate) first: u64,
    pub(crate) arrived_ms: i64,
    pub(crate) count: u32,
    producer_len: usize,
}

impl Header {
    /// Reads a header; says what is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() < HEADER {
            return Err("cut header");
        }
        if bytes[..4] != MAGIC {
            return Err("no frame begins here");
        }
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let header = Self {
            body_len: u32_at(4) as usize,
            crc: u32_at(8),
            write_start: u32_at(12),
            first: u64_at(16),
            arrived_ms: u64_at(24) as i64,
            count: u32_at(32),
            producer_len: usize::from(u16::from_le_bytes([bytes[36], bytes[37]])),
        };
        if header.body_len > MAX_BODY { Err("impossible length") } else { Ok(header) }
    }

    /// Bytes of header and body.
    pub(crate) fn frame_len(&self) -> usize {
        HEADER + self.body_len
    }

    /// The number behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }
}

/// Reads the header of a whole frame and checks its sum. `bytes` may go on behind the frame.
pub(crate) fn check(bytes: &[u8]) -> Result<Header, &'static str> {
    let header = Header::parse(bytes)?;
    let Some(summed) = bytes.get(12..header.frame_len()) else { return Err("cut body") };
    if crc32fast::hash(summed) == header.crc { Ok(header) } else { Err("wrong checksum") }
}

/// The producer of a checked frame and the last origin it holds.
pub(crate) fn producer<'a>(header: &Header, frame: &'a [u8]) -> Option<(&'a str, Origin)> {
    if header.producer_len == 0 || frame.get(38) != Some(&1) {
        return None;
    }
    let name = std::str::from_utf8(frame.get(HEADER..HEADER + header.producer_len)?).ok()?;
    let at = HEADER + header.producer_len;
    let origin = frame.get(at..at + ORIGIN)?;
    let hi = u64::from_le_bytes(origin[..8].try_into().ok()?);
    let lo = u128::from_le_bytes(origin[8..24].try_into().ok()?);
    let index = u32::from_le_bytes(origin[24..].try_into().ok()?);
    Some((name, Origin { sequence: SequenceNumber::new(hi, lo), index }))
}

/// Writes one frame to the end of a buffer.
pub(crate) struct Builder<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    write_start: u32,
    first: u64,
    arrived_ms: i64,
    count: u32,
    producer: &'a str,
    last_origin: Option<Origin>,
}

impl<'a> Builder<'a> {
    /// Begins a frame. `producer` is empty when there is none.
    pub(crate) fn new(
        buffer: &'a mut Vec<u8>,
        write_start: u32,
        first: u64,
        arrived_ms: i64,
        producer: &'a str,
    ) -> Self {
        let start = buffer.len();
        buffer.resize(start + HEADER, 0);
        if !producer.is_empty() {
            buffer.extend_from_slice(producer.as_bytes());
            buffer.resize(buffer.len() + ORIGIN, 0);
        }
        Self { buffer, start, write_start, first, arrived_ms, count: 0, producer, last_origin: None }
    }

    /// Whether a record of `len` bytes should begin a new frame.
    pub(crate) fn is_full_for(&self, len: usize) -> bool {
        self.count > 0 && self.buffer.len() - self.start + RECORD_HEADER + len > HEADER + USUAL_BODY
    }

    /// Adds a record and gives its number. The caller has checked key and data against the limits.
    pub(crate) fn push(&mut self, key: &str, data: &[u8], origin: Option<Origin>) -> u64 {
        let key_len = u16::try_from(key.len()).expect("a key has at most 256 characters");
        let data_len = u32::try_from(data.len()).expect("a record has at most 10 MiB");
        self.buffer.extend_from_slice(&key_len.to_le_bytes());
        self.buffer.extend_from_slice(&data_len.to_le_bytes());
        self.buffer.extend_from_slice(key.as_bytes());
        self.buffer.extend_from_slice(data);
        self.last_origin = origin.or(self.last_origin);
        let number = self.first + u64::from(self.count);
        self.count += 1;
        number
    }

    /// Completes the frame; gives the number behind its last record and the last origin it holds.
    pub(crate) fn finish(self) -> (u64, Option<Origin>) {
        let frame = &mut self.buffer[self.start..];
        let body_len = u32::try_from(frame.len() - HEADER).expect("a frame is far below 4 GiB");
        let producer_len = u16::try_from(self.producer.len()).expect("checked when the put came");
        if let (Some(origin), false) = (self.last_origin, self.producer.is_empty()) {
            let at = HEADER + self.producer.len();
            frame[at..at + 8].copy_from_slice(&origin.sequence.hi.to_le_bytes());
            frame[at + 8..at + 24].copy_from_slice(&origin.sequence.lo.to_le_bytes());
            frame[at + 24..at + ORIGIN].copy_from_slice(&origin.index.to_le_bytes());
            // Entries without origin leave no mark, whoever put them.
            frame[38] = 1;
        }
        frame[..4].copy_from_slice(&MAGIC);
        frame[4..8].copy_from_slice(&body_len.to_le_bytes());
        frame[12..16].copy_from_slice(&self.write_start.to_le_bytes());
        frame[16..24].copy_from_slice(&self.first.to_le_bytes());
        frame[24..32].copy_from_slice(&self.arrived_ms.to_le_bytes());
        frame[32..36].copy_from_slice(&self.count.to_le_bytes());
        frame[36..38].copy_from_slice(&producer_len.to_le_bytes());
        let crc = crc32fast::hash(&frame[12..]);
        frame[8..12].copy_from_slice(&crc.to_le_bytes());
        (self.first + u64::from(self.count), self.last_origin)
    }
}

/// Goes through the records of checked frames, which it shares instead of copying.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    shard: u64,
    bytes: Bytes,
    at: usize,
    /// Where the frame that is being read ends.
    frame_end: usize,
    left: u32,
    number: u64,
    arrived_ms: i64,
}

impl Frames {
    /// The records of `bytes`, which is a sequence of whole, checked frames.
    pub(crate) fn new(shard: u64, bytes: Bytes) -> Self {
        Self { shard, bytes, at: 0, frame_end: 0, left: 0, number: 0, arrived_ms: 0 }
    }

    /// The number behind the last record; 0 without one.
    pub(crate) fn end(&self) -> u64 {
        let (mut at, mut end) = (self.frame_end, self.number + u64::from(self.left));
        while let Ok(header) = Header::parse(&self.bytes[at..]) {
            end = header.end();
            at += header.frame_len();
        }
        end
    }

    /// Drops the records that `before` holds for (number, arrival): whole frames without looking into them.
    pub(crate) fn skip_while(&mut self, before: impl Fn(u64, i64) -> bool) {
        while let Some((number, arrived_ms)) = self.peek() {
            if !before(number, arrived_ms) {
                return;
            }
            if before(number + u64::from(self.left) - 1, arrived_ms) {
                self.at = self.frame_end;
                self.left = 0;
            } else {
                self.skip_record();
            }
        }
    }

    /// Number and arrival of the next record.
    fn peek(&mut self) -> Option<(u64, i64)> {
        while self.left == 0 {
            self.at = self.frame_end;
            let header = Header::parse(&self.bytes[self.at..]).ok()?;
            self.frame_end = self.at + header.frame_len();
            self.at += HEADER + if header.producer_len > 0 { header.producer_len + ORIGIN } else { 0 };
            (self.left, self.number, self.arrived_ms) = (header.count, header.first, header.arrived_ms);
        }
        Some((self.number, self.arrived_ms))
    }

    /// Key and data length of the record at `at`.
    fn lengths(&self) -> (usize, usize) {
        let header = &self.bytes[self.at..self.at + RECORD_HEADER];
        let key = usize::from(u16::from_le_bytes([header[0], header[1]]));
        (key, u32::from_le_bytes([header[2], header[3], header[4], header[5]]) as usize)
    }

    fn skip_record(&mut self) {
        let (key, data) = self.lengths();
        self.at += RECORD_HEADER + key + data;
        self.left -= 1;
        self.number += 1;
    }

    /// The size of the next record, key and data.
    pub(crate) fn next_len(&mut self) -> Option<usize> {
        self.peek()?;
        let (key, data) = self.lengths();
        Some(key + data)
    }

    /// The next record and its number.
    pub(crate) fn next_record(&mut self) -> Option<(u64, Record)> {
        let (number, arrived_ms) = self.peek()?;
        let (key, data) = self.lengths();
        let key_at = self.at + RECORD_HEADER;
        let record = Record {
            sequence: sequence_of(self.shard, number),
            // The sum was checked and only text is written: nothing is replaced in practice.
            partition_key: String::from_utf8_lossy(&self.bytes[key_at..key_at + key]).into_owned(),
            data: self.bytes.slice(key_at + key..key_at + key + data),
            arrived_ms,
        };
        self.skip_record();
        Some((number, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_frames() -> Vec<u8> {
        let origin = Origin { sequence: SequenceNumber::new(1, 2), index: 3 };
        let mut buffer = Vec::new();
        let mut builder = Builder::new(&mut buffer, 64, 10, 1000, "p");
        assert_eq!(builder.push("k", b"one", Some(origin)), 10);
        assert_eq!(builder.push("ключ", b"", None), 11);
        assert_eq!(builder.finish(), (12, Some(origin)));
        let mut builder = Builder::new(&mut buffer, 64, 20, 1001, "");
        builder.push("k", b"three", None);
        builder.finish();
        buffer
    }

    #[test]
    fn frames_round_trip() {
        let buffer = two_frames();
        let header = check(&buffer).unwrap();
        assert_eq!((header.first, header.end(), header.write_start, header.arrived_ms), (10, 12, 64, 1000));
        let origin = Origin { sequence: SequenceNumber::new(1, 2), index: 3 };
        assert_eq!(producer(&header, &buffer), Some(("p", origin)));
        let mut frames = Frames::new(7, Bytes::from(buffer));
        assert_eq!(frames.next_len(), Some(4));
        let mut seen = Vec::new();
        while let Some((number, record)) = frames.next_record() {
            seen.push((number, record.partition_key, record.data, record.arrived_ms));
            assert_eq!(record.sequence, sequence_of(7, number));
        }
        let data = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(
            seen,
            [
                (10, "k".to_owned(), data("one"), 1000),
                (11, "ключ".to_owned(), data(""), 1000),
                (20, "k".to_owned(), data("three"), 1001),
            ]
        );
    }

    #[test]
    fn skipping_stops_inside_a_frame() {
        for (from, first) in [(0, Some(10)), (11, Some(11)), (12, Some(20)), (21, None)] {
            let mut frames = Frames::new(0, Bytes::from(two_frames()));
            frames.skip_while(|number, _| number < from);
            assert_eq!(frames.next_record().map(|(number, _)| number), first, "from {from}");
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let buffer = two_frames();
        let len = Header::parse(&buffer).unwrap().frame_len();
        for at in 0..len {
            let mut changed = buffer[..len].to_vec();
            changed[at] ^= 0x10;
            assert!(check(&changed).is_err(), "byte {at}");
            assert!(check(&buffer[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn sequence_numbers_look_like_those_of_kinesis() {
        let text = sequence_of(0, 1_700_000_000_000 << 22).to_string();
        assert!(text.len() == 56 && text.starts_with("49"), "{text}");
        assert!(sequence_of(1, 0) > sequence_of(0, u64::MAX));
    }
}
