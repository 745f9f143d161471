//! How the embedded log is set up.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When a put is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once the records are on the disk: survives a power cut.
    Fsync,
    /// Once the operating system has them: survives the end of the process, and of a power cut all but the last
    /// segment.
    OsCache,
}

/// Where the time comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(|| match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            // A clock before 1970 is not set: order does not depend on it.
            Err(_) => 0,
        })
    }

    /// A clock that gives milliseconds since the epoch.
    pub fn new(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    /// Milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// The set-up of an embedded log.
#[derive(Clone, Debug)]
pub struct Options {
    /// When a put is answered.
    pub durability: Durability,
    /// The largest record, key and data together, in bytes: as in Kinesis 1 MiB, at most 10 MiB.
    pub max_record_bytes: usize,
    /// A stream's files take at most about so many bytes: past it puts fail with the retriable
    /// [`StreamError::Unavailable`](crate::StreamError::Unavailable) until the retention or
    /// [`EmbeddedStreams::trim`](crate::EmbeddedStreams::trim) removes segments; nothing else is given up for room. At least
    /// 64 KiB.
    pub max_stream_bytes: u64,
    /// A segment is closed when it has so many bytes; lowered to 1/16 of `max_stream_bytes` where that is less.
    pub segment_bytes: u64,
    /// Of each shard the newest bytes are kept in memory for readers at the tip.
    pub tail_cache_bytes: usize,
    /// How often records past the retention are looked for.
    pub sweep_every: Duration,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            max_record_bytes: 1024 * 1024,
            max_stream_bytes: 16 * 1024 * 1024 * 1024,
            segment_bytes: 64 * 1024 * 1024,
            tail_cache_bytes: 8 * 1024 * 1024,
            sweep_every: Duration::from_secs(10),
            clock: Clock::system(),
        }
    }
}

/// The least segment size that can be asked for.
const MIN_SEGMENT_BYTES: u64 = 4 * 1024;
/// Offsets in a segment are kept in 32 bits; a segment may pass its size by one group of puts.
const MAX_SEGMENT_BYTES: u64 = 1024 * 1024 * 1024;
/// What Kinesis can be set to.
pub(crate) const MAX_RECORD_BYTES: usize = 10 * 1024 * 1024;

impl Options {
    /// The same options with every value inside its limits.
    pub(crate) fn clamped(mut self) -> Self {
        self.max_record_bytes = self.max_record_bytes.clamp(1, MAX_RECORD_BYTES);
        self.max_stream_bytes = self.max_stream_bytes.max(16 * MIN_SEGMENT_BYTES);
        self.segment_bytes =
            self.segment_bytes.min(self.max_stream_bytes / 16).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES);
        self.sweep_every = self.sweep_every.max(Duration::from_millis(10));
        self
    }
}
