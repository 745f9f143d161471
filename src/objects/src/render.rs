//! One batch in, objects and bad rows out.

use crate::config::S3LoaderConfig;
use crate::store::Headers;
use bytes::Bytes;

/// Records of one shard, in the order of the stream.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Id of the shard, `shardId-000000000000`.
    pub shard: &'a str,
    /// Sequence number of the first record, decimal.
    pub first_sequence: &'a str,
    /// Sequence number of the last record, decimal.
    pub last_sequence: &'a str,
    /// When the first record arrived in the stream, milliseconds since the epoch.
    pub first_arrived_ms: i64,
    /// The records' bytes.
    pub records: &'a [&'a [u8]],
}

/// One object to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where, within the bucket.
    pub key: String,
    /// What.
    pub bytes: Bytes,
    /// With which headers.
    pub headers: Headers,
    /// Records inside; 0 for an index.
    pub records: usize,
}

/// What a batch became.
#[derive(Debug, Clone, Default)]
pub struct Rendered {
    /// To be put, each before the next one (an index follows its object).
    pub objects: Vec<Object>,
    /// Compact JSON, one a record, for the bad stream. The batch may be confirmed only after they were accepted.
    pub bad_rows: Vec<String>,
    /// Earliest collector timestamp in milliseconds; `None` where none could be read or the purpose has none.
    pub earliest_collector_ms: Option<i64>,
}

/// Turns a batch into objects and bad rows. Pure: the same arguments give the same bytes.
pub fn render(batch: &Batch<'_>, config: &S3LoaderConfig, now_ms: i64) -> Rendered {
    let _ = (batch, config, now_ms);
    Rendered::default()
}
