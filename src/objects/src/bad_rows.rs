//! The bad rows of the loader (spec s3-loader 6), kept below the limit of their stream.

use crate::schema::SchemaError;
use snowmelt_protocol::badrow::{
    GenericError, LoaderParsingError, ParsingFailure, Processor, RowError, SizeViolation, base64, head,
};
use snowmelt_protocol::container::{Compression, ContainerError};

/// Artifact name in the loader's bad rows, as the original's.
pub const ARTIFACT: &str = "snowplow-s3-loader";

/// How bad rows are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRowRules {
    /// Who signs them.
    pub processor: Processor,
    /// A text of this many bytes or more is replaced by a `size_violation` (`output.bad.maxRecordSize`).
    pub max_record_size: usize,
}

impl BadRowRules {
    /// A `generic_error` about a record, whose bytes go in as base64.
    pub fn generic_error(&self, error: String, record: &[u8], now_ms: i64) -> String {
        let mut line = String::new();
        GenericError {
            processor: &self.processor,
            timestamp_micros: micros(now_ms),
            errors: &[error],
            payload: &base64(record),
        }
        .write(&mut line);
        self.limited(line, now_ms)
    }

    /// A record without a readable schema (line 3.x).
    pub(crate) fn without_schema(&self, error: &SchemaError, record: &[u8], now_ms: i64) -> String {
        self.generic_error(error.to_string(), record, now_ms)
    }

    /// A compressed record that cannot be unpacked, or only its beginning.
    pub(crate) fn not_unpacked(
        &self,
        error: &ContainerError,
        compression: Compression,
        record: &[u8],
        now_ms: i64,
    ) -> String {
        let name = compression.name().to_ascii_lowercase();
        let message = match error {
            ContainerError::UnsupportedVersions { format, payload } => {
                // A missing byte reads as -1.
                let byte = |byte: &Option<u8>| byte.map_or(-1, i32::from);
                format!("unsupported versions in {name}-compressed record header: {}, {}", byte(format), byte(payload))
            }
            ContainerError::Corrupt(_) => format!("corrupt {name}-compressed payload"),
            ContainerError::TooLarge { limit } => {
                format!("{name}-compressed record holds more than {limit} bytes")
            }
        };
        let failure = ParsingFailure::RowDecoding(vec![RowError::Unhandled(message)]);
        let mut line = String::new();
        LoaderParsingError { processor: &self.processor, failure: &failure, payload: &base64(record) }.write(&mut line);
        self.limited(line, now_ms)
    }

    /// An unpacked event larger than `limit` bytes; the rest of its record goes on.
    pub(crate) fn too_large_unpacked(
        &self,
        announced: usize,
        limit: usize,
        compression: Compression,
        record: &[u8],
        now_ms: i64,
    ) -> String {
        let name = compression.name().to_ascii_lowercase();
        let expectation = format!("Payload will exceed maximum allowed size of {limit} after {name} decompression");
        self.limited(self.size_violation(limit, announced, &expectation, &base64(record), now_ms), now_ms)
    }

    /// The line itself, or a `size_violation` with the first tenth of the limit of it.
    fn limited(&self, line: String, now_ms: i64) -> String {
        let limit = self.max_record_size;
        if line.len() < limit {
            return line;
        }
        let expectation = "Bad row exceeds allowed max size";
        self.size_violation(limit, line.len(), expectation, head(&line, limit / 10), now_ms)
    }

    fn size_violation(&self, limit: usize, actual: usize, expectation: &str, payload: &str, now_ms: i64) -> String {
        let mut line = String::new();
        SizeViolation {
            processor: &self.processor,
            timestamp_micros: micros(now_ms),
            maximum_allowed_size_bytes: limit as u64,
            actual_size_bytes: actual as u64,
            expectation,
            payload,
        }
        .write(&mut line);
        line
    }
}

fn micros(millis: i64) -> i64 {
    millis.saturating_mul(1000)
}
