//! The container of several payloads in one compressed record (enrich-core 1.2, collector appendix A): a zstd frame or
//! gzip stream of two version bytes and then, repeatedly, a big-endian length and that many bytes.

use std::io::{self, Read, Write};

const FORMAT_VERSION: u8 = 1;
const PAYLOAD_VERSION: u8 = 1;

/// zstd frames that want a larger window than 2^25 bytes are refused: reading one costs that much memory.
const MAX_WINDOW_LOG: u32 = 25;

/// How a record is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// zstd, `28 B5 2F FD`.
    Zstd,
    /// gzip, `1F 8B`.
    Gzip,
}

impl Compression {
    /// Tells by the first bytes; `None` for a plain record.
    pub fn detect(record: &[u8]) -> Option<Compression> {
        if record.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Some(Compression::Zstd)
        } else if record.starts_with(&[0x1f, 0x8b]) {
            Some(Compression::Gzip)
        } else {
            None
        }
    }

    /// `Zstd` or `Gzip`, as bad rows say.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Zstd => "Zstd",
            Compression::Gzip => "Gzip",
        }
    }
}

/// What reading may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A payload announced larger is skipped (`maxBytesSinglePayload`, default 10,000,000).
    pub max_payload_bytes: usize,
    /// All payloads of one record together, the skipped ones too. The original has no such limit; without it a small
    /// record can keep a core busy for minutes.
    pub max_total_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_payload_bytes: 10_000_000, max_total_bytes: 1 << 30 }
    }
}

/// Why the rest of a record can not be read.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The version bytes are not 1, 1; a missing one is `None`.
    #[error("unsupported versions {format:?}, {payload:?} in compressed record header")]
    UnsupportedVersions {
        /// First byte.
        format: Option<u8>,
        /// Second byte.
        payload: Option<u8>,
    },
    /// The bytes can not be decompressed, or end inside a length or payload.
    #[error("corrupt compressed payload")]
    Corrupt(#[source] io::Error),
    /// The record holds more than [`Limits::max_total_bytes`].
    #[error("compressed record holds more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}

/// What [`ContainerReader::next_payload`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A payload; its bytes are in the buffer.
    Payload,
    /// A payload that was skipped because it is larger than allowed; reading can go on.
    Skipped {
        /// The length it announced.
        announced: usize,
    },
    /// The record ended at a payload boundary.
    End,
}

/// Reads the payloads of one record, one at a time.
pub struct ContainerReader<'a> {
    input: Decoder<'a>,
    limits: Limits,
    taken: u64,
}

enum Decoder<'a> {
    Zstd(zstd::stream::read::Decoder<'static, &'a [u8]>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<&'a [u8]>>),
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Zstd(decoder) => decoder.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

impl<'a> ContainerReader<'a> {
    /// Opens a record and checks its version bytes.
    pub fn open(record: &'a [u8], compression: Compression, limits: Limits) -> Result<Self, ContainerError> {
        let mut input = match compression {
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(record).map_err(ContainerError::Corrupt)?;
                decoder.window_log_max(MAX_WINDOW_LOG).map_err(ContainerError::Corrupt)?;
                Decoder::Zstd(decoder)
            }
            Compression::Gzip => Decoder::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(record))),
        };
        let mut versions = Vec::with_capacity(2);
        (&mut input).take(2).read_to_end(&mut versions).map_err(ContainerError::Corrupt)?;
        if versions != [FORMAT_VERSION, PAYLOAD_VERSION] {
            let (format, payload) = (versions.first().copied(), versions.get(1).copied());
            return Err(ContainerError::UnsupportedVersions { format, payload });
        }
        Ok(ContainerReader { input, limits, taken: 0 })
    }

    /// Reads the next payload into `payload`, which is emptied first. After an error or `End` nothing more comes.
    pub fn next_payload(&mut self, payload: &mut Vec<u8>) -> Result<Next, ContainerError> {
        payload.clear();
        let mut length = Vec::with_capacity(4);
        (&mut self.input).take(4).read_to_end(&mut length).map_err(ContainerError::Corrupt)?;
        let length: [u8; 4] = match length.len() {
            0 => return Ok(Next::End),
            _ => length.try_into().map_err(|_| ContainerError::Corrupt(io::ErrorKind::UnexpectedEof.into()))?,
        };
        // The original reads a signed number; it can not be negative in a sound record.
        let length = usize::try_from(i32::from_be_bytes(length))
            .map_err(|_| ContainerError::Corrupt(io::ErrorKind::InvalidData.into()))?;
        self.taken += length as u64;
        if self.taken > self.limits.max_total_bytes {
            return Err(ContainerError::TooLarge { limit: self.limits.max_total_bytes });
        }
        let mut body = (&mut self.input).take(length as u64);
        if length > self.limits.max_payload_bytes {
            let skipped = io::copy(&mut body, &mut io::sink()).map_err(ContainerError::Corrupt)?;
            return if skipped == length as u64 {
                Ok(Next::Skipped { announced: length })
            } else {
                Err(ContainerError::Corrupt(io::ErrorKind::UnexpectedEof.into()))
            };
        }
        // Grows with what really comes, not with what was announced.
        body.read_to_end(payload).map_err(ContainerError::Corrupt)?;
        if payload.len() < length {
            payload.clear();
            return Err(ContainerError::Corrupt(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Next::Payload)
    }
}

/// What became of a payload given to [`ContainerWriter::append`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is in the record.
    Stored,
    /// There may not be room for it: take the record with [`ContainerWriter::finish`] and append again.
    Full,
    /// Compressed it is larger than a record may be, alone; the writer is empty as before.
    TooLarge {
        /// Size that a record with this payload alone would have.
        compressed_bytes: usize,
    },
}

/// Packs payloads into records of at most a given size.
pub struct ContainerWriter {
    compression: Compression,
    level: i32,
    max_record_bytes: usize,
    current: Option<Encoder>,
}

enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
}

impl Encoder {
    fn open(compression: Compression, level: i32) -> io::Result<Self> {
        let mut encoder = match compression {
            Compression::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(Vec::new(), level)?),
            Compression::Gzip => {
                let level = flate2::Compression::new(level.clamp(0, 9) as u32);
                Encoder::Gzip(flate2::write::GzEncoder::new(Vec::new(), level))
            }
        };
        encoder.write(&[FORMAT_VERSION, PAYLOAD_VERSION])?;
        Ok(encoder)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Zstd(encoder) => encoder.write_all(bytes),
            Encoder::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    /// Pushes everything through the compressor and gives the size so far.
    fn flushed_len(&mut self) -> io::Result<usize> {
        match self {
            Encoder::Zstd(encoder) => {
                encoder.flush()?;
                Ok(encoder.get_ref().len())
            }
            Encoder::Gzip(encoder) => {
                encoder.flush()?;
                Ok(encoder.get_ref().len())
            }
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Zstd(encoder) => encoder.finish(),
            Encoder::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl ContainerWriter {
    /// A writer of records of at most `max_record_bytes`. zstd levels 1 to 22 (the original's default 9), gzip levels
    /// 0 to 9 (6).
    pub fn new(compression: Compression, level: i32, max_record_bytes: usize) -> Self {
        ContainerWriter { compression, level, max_record_bytes, current: None }
    }

    /// True when nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.current.is_none()
    }

    /// Appends a payload to the current record, if it surely fits or the record is empty.
    pub fn append(&mut self, payload: &[u8]) -> io::Result<Appended> {
        let length = i32::try_from(payload.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a payload of 2 GiB or more"))?;
        let (mut encoder, alone) = match self.current.take() {
            Some(mut encoder) => {
                if encoder.flushed_len()? + self.worst_case(payload.len()) > self.max_record_bytes {
                    self.current = Some(encoder);
                    return Ok(Appended::Full);
                }
                (encoder, false)
            }
            None => (Encoder::open(self.compression, self.level)?, true),
        };
        encoder.write(&length.to_be_bytes())?;
        encoder.write(payload)?;
        if alone && 6 + self.worst_case(payload.len()) > self.max_record_bytes {
            let compressed_bytes = encoder.flushed_len()? + self.trailer();
            if compressed_bytes > self.max_record_bytes {
                return Ok(Appended::TooLarge { compressed_bytes });
            }
        }
        self.current = Some(encoder);
        Ok(Appended::Stored)
    }

    /// Takes the record made so far; `None` when nothing was appended. The writer starts over.
    pub fn finish(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.current.take().map(Encoder::finish).transpose()
    }

    /// What the end of the stream takes at most.
    fn trailer(&self) -> usize {
        match self.compression {
            Compression::Zstd => 3,
            Compression::Gzip => 10,
        }
    }

    /// The most that a payload which does not compress at all can add, with its length, block headers and the trailer.
    fn worst_case(&self, payload: usize) -> usize {
        4 + payload + payload / 256 + 64 + self.trailer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(record: &[u8], limits: Limits) -> (Vec<Vec<u8>>, Vec<usize>, Result<(), ContainerError>) {
        let (mut payloads, mut skipped, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
        let compression = Compression::detect(record).expect("compressed");
        let mut reader = match ContainerReader::open(record, compression, limits) {
            Ok(reader) => reader,
            Err(error) => return (payloads, skipped, Err(error)),
        };
        loop {
            match reader.next_payload(&mut buffer) {
                Ok(Next::Payload) => payloads.push(buffer.clone()),
                Ok(Next::Skipped { announced }) => skipped.push(announced),
                Ok(Next::End) => return (payloads, skipped, Ok(())),
                Err(error) => return (payloads, skipped, Err(error)),
            }
        }
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        for (compression, level) in [(Compression::Zstd, 9), (Compression::Gzip, 6)] {
            let mut writer = ContainerWriter::new(compression, level, 1_000_000);
            let payloads: Vec<Vec<u8>> = vec![b"one".to_vec(), Vec::new(), vec![7; 100_000]];
            for payload in &payloads {
                assert_eq!(writer.append(payload).unwrap(), Appended::Stored);
            }
            let record = writer.finish().unwrap().expect("a record");
            assert!(writer.is_empty());
            assert_eq!(Compression::detect(&record), Some(compression));
            let (read, skipped, result) = read_all(&record, Limits::default());
            assert_eq!((read, skipped.len()), (payloads, 0));
            assert!(result.is_ok());
        }
    }

    #[test]
    fn a_full_record_is_below_its_limit_and_too_large_payloads_are_told() {
        let mut noise = fastrand::Rng::with_seed(7);
        for (compression, level) in [(Compression::Zstd, 3), (Compression::Gzip, 6)] {
            let mut writer = ContainerWriter::new(compression, level, 10_000);
            let payload: Vec<u8> = (0..3_000).map(|_| noise.u8(..)).collect();
            let mut stored = 0;
            while writer.append(&payload).unwrap() == Appended::Stored {
                stored += 1;
            }
            assert!(stored >= 2);
            let record = writer.finish().unwrap().expect("a record");
            assert!(record.len() <= 10_000, "{} bytes", record.len());
            let large: Vec<u8> = (0..11_000).map(|_| noise.u8(..)).collect();
            assert!(matches!(writer.append(&large).unwrap(), Appended::TooLarge { .. }));
            assert!(writer.is_empty());
            // Large, but it compresses well.
            assert_eq!(writer.append(&vec![0; 100_000]).unwrap(), Appended::Stored);
        }
    }

    #[test]
    fn a_large_payload_is_skipped_and_the_next_one_read() {
        let record = gzip(&[&[1u8, 1, 0, 0, 0, 9][..], &[7; 9], &[0, 0, 0, 1, 5]].concat());
        let limits = Limits { max_payload_bytes: 8, ..Limits::default() };
        let (payloads, skipped, result) = read_all(&record, limits);
        assert_eq!((payloads, skipped), (vec![vec![5]], vec![9]));
        assert!(result.is_ok());
        let limits = Limits { max_payload_bytes: 9, ..Limits::default() };
        assert_eq!(read_all(&record, limits).0.len(), 2);
    }

    #[test]
    fn broken_records_say_so_and_keep_what_was_read() {
        let (payloads, _, result) = read_all(&gzip(&[1, 1, 0, 0, 0, 1, 5, 0, 0]), Limits::default());
        assert_eq!(payloads, vec![vec![5]]);
        assert!(matches!(result, Err(ContainerError::Corrupt(_))));
        let announced_two_gib = gzip(&[1, 1, 0x7f, 0xff, 0xff, 0xff, 5]);
        assert!(matches!(read_all(&announced_two_gib, Limits::default()).2, Err(ContainerError::TooLarge { .. })));
        let negative = gzip(&[1, 1, 0xff, 0xff, 0xff, 0xff, 5]);
        assert!(matches!(read_all(&negative, Limits::default()).2, Err(ContainerError::Corrupt(_))));
        let versions = read_all(&gzip(&[2, 1]), Limits::default()).2;
        assert!(matches!(versions, Err(ContainerError::UnsupportedVersions { format: Some(2), payload: Some(1) })));
        let empty = read_all(&gzip(&[1]), Limits::default()).2;
        assert!(matches!(empty, Err(ContainerError::UnsupportedVersions { format: Some(1), payload: None })));
        assert!(matches!(read_all(&[0x1f, 0x8b, 9, 9], Limits::default()).2, Err(ContainerError::Corrupt(_))));
        let (payloads, _, result) = read_all(&gzip(&[1, 1]), Limits::default());
        assert!(payloads.is_empty() && result.is_ok());
    }

    #[test]
    fn short_and_plain_records_are_not_compressed() {
        for record in [&[][..], &[0x28, 0xb5, 0x2f], &[0x1f], &[0x0b, 0, 100]] {
            assert_eq!(Compression::detect(record), None);
        }
    }
}
