//! Compressed input (spec s3-loader 6.3): one record of the stream that holds several events.

use crate::bad_rows::BadRowRules;
use snowmelt_protocol::container::{Compression, ContainerReader, Limits, Next};

/// What a compressed record may unpack to; ours, the original has no limit. A record of the stream is a few MiB at most.
const MAX_RECORD_UNPACKED: u64 = 256 << 20;

/// What to do with records that are compressed containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackRules {
    /// An event announced larger is replaced by a bad row (`decompression.maxBytesSinglePayload`).
    pub max_event_bytes: usize,
}

/// The plain bytes a record probably becomes, for [`crate::Buffer::add`]: its own length, or, where it is a compressed
/// container, what its header or trailer says. Cheap; never trusted for more than deciding when a batch is due.
pub fn expected_bytes(record: &[u8], rules: Option<UnpackRules>) -> u64 {
    let plain = record.len() as u64;
    let announced = match rules.and_then(|_| Compression::detect(record)) {
        None => return plain,
        Some(Compression::Gzip) => record.last_chunk().map(|size| u64::from(u32::from_le_bytes(*size))),
        Some(Compression::Zstd) => zstd::zstd_safe::get_frame_content_size(record).ok().flatten(),
    };
    // Events pack about eightfold; a liar can neither hide bytes nor announce more than reading would allow.
    announced.unwrap_or(plain.saturating_mul(8)).clamp(plain, MAX_RECORD_UNPACKED)
}

/// Events of a batch: those of plain records borrowed, those of compressed ones in a buffer of their own.
pub(crate) struct Unpacked {
    bytes: Vec<u8>,
    /// For each compressed record, in order, the ends of its events in `bytes`.
    ends: Vec<(usize, Vec<usize>)>,
}

impl Unpacked {
    /// Unpacks the compressed ones among `records`, and adds a bad row for each that fails or holds too large an event.
    /// What was read before a failure is kept.
    pub(crate) fn read(
        records: &[&[u8]],
        rules: Option<UnpackRules>,
        bad: &BadRowRules,
        now_ms: i64,
        bad_rows: &mut Vec<String>,
    ) -> Self {
        let mut unpacked = Unpacked { bytes: Vec::new(), ends: Vec::new() };
        let Some(rules) = rules else { return unpacked };
        let limits = Limits { max_payload_bytes: rules.max_event_bytes, max_total_bytes: MAX_RECORD_UNPACKED };
        let mut event = Vec::new();
        for (number, record) in records.iter().enumerate() {
            let Some(compression) = Compression::detect(record) else { continue };
            let mut ends = Vec::new();
            let result = ContainerReader::open(record, compression, limits).and_then(|mut reader| {
                loop {
                    match reader.next_payload(&mut event)? {
                        Next::Payload => {
                            unpacked.bytes.extend_from_slice(&event);
                            ends.push(unpacked.bytes.len());
                        }
                        Next::Skipped { announced } => bad_rows.push(bad.too_large_unpacked(
                            announced,
                            rules.max_event_bytes,
                            compression,
                            record,
                            now_ms,
                        )),
                        Next::End => return Ok(()),
                    }
                }
            });
            if let Err(error) = result {
                bad_rows.push(bad.not_unpacked(&error, compression, record, now_ms));
            }
            unpacked.ends.push((number, ends));
        }
        unpacked
    }

    /// All events in the order of the stream.
    pub(crate) fn events<'a>(&'a self, records: &'a [&'a [u8]]) -> Vec<&'a [u8]> {
        let mut events = Vec::with_capacity(records.len());
        let mut compressed = self.ends.iter().peekable();
        let mut start = 0;
        for (number, record) in records.iter().enumerate() {
            match compressed.next_if(|(compressed_number, _)| *compressed_number == number) {
                None => events.push(*record),
                Some((_, ends)) => {
                    for end in ends {
                        events.push(&self.bytes[start..*end]);
                        start = *end;
                    }
                }
            }
        }
        events
    }
}
