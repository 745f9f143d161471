//! Why bytes are no collector payload, with the texts of enrich-core 1.4.

/// Why bytes are no Thrift struct. `Display` gives the library text that the original shows after
/// `error deserializing raw event: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// One read wants more bytes than the whole record has: a length that can not be true.
    #[error("Reached end of bytes when parsing as thrift format")]
    LongerThanRecord {
        /// Bytes wanted by the read.
        wanted: usize,
    },
    /// The record ends inside a value.
    #[error(
        "Cannot read. Remote side has closed. Tried to read {wanted} bytes, but only got {left} bytes. (This is often \
         indicative of an internal error on the server side. Please check your server logs.)"
    )]
    Truncated {
        /// Bytes wanted by the read.
        wanted: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// A string or container announces a negative length.
    #[error("Negative length: {0}")]
    NegativeLength(i32),
    /// An unknown field has a type that can not be skipped.
    #[error("Unrecognized type {0}")]
    UnrecognizedType(u8),
    /// Unknown fields are nested too deeply to be skipped.
    #[error("Maximum skip depth exceeded")]
    TooDeep,
}
