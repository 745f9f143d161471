//! How records become the bytes of an object (spec s3-loader 2).
//!
//! Whole buffers in, whole buffers out: an object is built in memory and put in one call, as the original does, so the
//! faster one-shot compressors serve. Equal records give equal bytes.

mod lzo;

use bytes::Bytes;
use lzo::LzoWriter;

/// Container and compression of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Lines in one gzip member, `.gz` (2.1): each record unchanged and a line feed after it, also after the last.
    Gzip {
        /// libdeflate's level, 1 to 12; 6 stands for the original's default level.
        level: u8,
    },
    /// Ours: the same lines in one zstd frame with a checksum, `.zst`.
    Zstd {
        /// zstd's level, 1 to 19.
        level: u8,
    },
    /// Elephant Bird blocks in an lzop file, `.lzo`, with an index, `.lzo.index` (2.2; line 2.x only).
    Lzo,
}

impl Framing {
    /// The level that stands for the original's default.
    pub const GZIP: Framing = Framing::Gzip { level: 6 };

    /// File name extension without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Framing::Gzip { .. } => "gz",
            Framing::Zstd { .. } => "zst",
            Framing::Lzo => "lzo",
        }
    }

    /// Whether the level is one the compressor knows.
    pub(crate) fn has_known_level(self) -> bool {
        match self {
            Framing::Gzip { level } => (1..=12).contains(&level),
            Framing::Zstd { level } => (1..=19).contains(&level),
            Framing::Lzo => true,
        }
    }
}

/// An encoded object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Content of the object.
    pub bytes: Bytes,
    /// Content of the index beside it, with [`Framing::Lzo`].
    pub index: Option<Bytes>,
}

/// Encodes objects one after the other, reusing its compressor and its buffers: fresh pages of memory cost as much as a
/// twentieth of the compression. It keeps as much as the largest object took, twice.
pub struct Encoder {
    writer: Writer,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

enum Writer {
    Gzip(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
    Lzo(LzoWriter),
}

impl Encoder {
    /// An encoder for one framing. Levels outside the known range are taken as the nearest.
    pub fn new(framing: Framing) -> Self {
        let writer = match framing {
            Framing::Gzip { level } => {
                let level = libdeflater::CompressionLvl::new(i32::from(level.clamp(1, 12)))
                    .expect("libdeflate knows levels 1 to 12");
                Writer::Gzip(libdeflater::Compressor::new(level))
            }
            Framing::Zstd { level } => {
                let mut compressor = zstd::bulk::Compressor::new(i32::from(level.clamp(1, 19)))
                    .expect("zstd refuses no level, and running out of memory aborts");
                compressor.include_checksum(true).expect("every context has this parameter");
                Writer::Zstd(compressor)
            }
            Framing::Lzo => Writer::Lzo(LzoWriter::new()),
        };
        Encoder { writer, plain: Vec::new(), packed: Vec::new() }
    }

    /// Encodes one object from its records. `written_ms` (milliseconds since the epoch) goes into the header of
    /// [`Framing::Lzo`]; the others carry no time, so that equal records give equal bytes.
    pub fn encode<'a>(&mut self, records: impl Iterator<Item = &'a [u8]> + Clone, written_ms: i64) -> Encoded {
        self.plain.clear();
        match &mut self.writer {
            Writer::Gzip(compressor) => {
                write_lines(records, &mut self.plain);
                let packed = at_least(&mut self.packed, compressor.gzip_compress_bound(self.plain.len()));
                let length = compressor
                    .gzip_compress(&self.plain, packed)
                    .expect("libdeflate's own bound is always large enough");
                Encoded { bytes: Bytes::copy_from_slice(&packed[..length]), index: None }
            }
            Writer::Zstd(compressor) => {
                write_lines(records, &mut self.plain);
                let packed = at_least(&mut self.packed, zstd::zstd_safe::compress_bound(self.plain.len()));
                let length = compressor
                    .compress_to_buffer(&self.plain, packed)
                    .expect("zstd's own bound is always large enough");
                Encoded { bytes: Bytes::copy_from_slice(&packed[..length]), index: None }
            }
            Writer::Lzo(writer) => {
                lzo::write_record_blocks(records, &mut self.plain);
                let (file, index) = writer.write(&self.plain, written_ms.div_euclid(1000));
                Encoded { bytes: file.into(), index: Some(index.into()) }
            }
        }
    }
}

/// Appends each record and a line feed (2.1). Line feeds inside a record stay as they are.
pub fn write_lines<'a>(records: impl Iterator<Item = &'a [u8]> + Clone, out: &mut Vec<u8>) {
    out.reserve(records.clone().map(|record| record.len() + 1).sum());
    for record in records {
        out.extend_from_slice(record);
        out.push(b'\n');
    }
}

/// A buffer of `length` bytes or more, whatever is in them.
fn at_least(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length {
        // From the system, zeroed already and untouched until it is written to.
        *buffer = vec![0; length];
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn encode(framing: Framing, records: &[Vec<u8>]) -> Encoded {
        Encoder::new(framing).encode(records.iter().map(Vec::as_slice), 0)
    }

    fn lines(records: &[Vec<u8>]) -> Vec<u8> {
        records.iter().flat_map(|record| record.iter().copied().chain([b'\n'])).collect()
    }

    proptest! {
        #[test]
        fn another_library_reads_gzip_and_zstd_back(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20), level in 1u8..=12
        ) {
            let gzip = encode(Framing::Gzip { level }, &records);
            let mut plain = Vec::new();
            // `GzDecoder` stops after one member, so equality also shows that there is only one.
            flate2::read::GzDecoder::new(gzip.bytes.as_ref()).read_to_end(&mut plain).unwrap();
            prop_assert_eq!(&plain, &lines(&records));
            let packed = encode(Framing::Zstd { level }, &records);
            prop_assert_eq!(zstd::decode_all(packed.bytes.as_ref()).unwrap(), lines(&records));
        }
    }

    #[test]
    fn an_encoder_forgets_the_previous_object() {
        for framing in [Framing::GZIP, Framing::Zstd { level: 3 }, Framing::Lzo] {
            let mut encoder = Encoder::new(framing);
            let first = encoder.encode([b"a".as_slice()].into_iter(), 5000);
            encoder.encode([b"something else".as_slice()].into_iter(), 5000);
            assert_eq!(encoder.encode([b"a".as_slice()].into_iter(), 5000), first, "{framing:?}");
        }
    }
}
