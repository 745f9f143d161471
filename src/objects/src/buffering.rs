//! When a batch is written: by bytes, records and time (spec s3-loader 4). A pure state machine; time comes in.
//!
//! [`Buffer::add`] is called once a delivery, never splits it, and says whether the batch is due. Deliveries may be
//! empty: with [`BufferRules::V2`] that is how time limits are noticed. [`Buffer::due_at_ms`] tells a timer when to look.
//!
//! Nothing is compressed before the flush. What a batch will be compressed is estimated from how the ones before packed:
//! who packs tells [`PackRatio`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The rules of one line of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufferRules {
    /// Line 2.x (4.1): any limit reached, counted before compression and without line feeds; the time counts from the
    /// previous flush, also while the buffer is empty.
    V2 {
        /// Sum of the record lengths in bytes, reached.
        byte_limit: u64,
        /// Number of records, reached.
        record_limit: u64,
        /// Milliseconds since the previous flush, reached.
        time_limit_ms: i64,
    },
    /// Line 3.x (4.2): compressed size exceeded, or the delay since the first delivery of the batch over.
    V3 {
        /// Compressed bytes of all objects together, exceeded.
        max_bytes: u64,
        /// Milliseconds since the first delivery of the batch, reached.
        max_delay_ms: i64,
        /// Ours: plain bytes held in memory, reached. Bounds memory however well the data packs.
        max_plain_bytes: u64,
    },
}

impl BufferRules {
    /// The most plain bytes that a batch holds, but for its last delivery.
    pub fn most_bytes(&self) -> u64 {
        match self {
            BufferRules::V2 { byte_limit, .. } => *byte_limit,
            BufferRules::V3 { max_plain_bytes, .. } => *max_plain_bytes,
        }
    }
}

/// How well data packed lately: compressed bytes for 1024 plain ones. Clones share it.
#[derive(Debug, Clone)]
pub struct PackRatio(Arc<AtomicU64>);

impl Default for PackRatio {
    /// Nothing is known yet: taken as incompressible.
    fn default() -> Self {
        PackRatio(Arc::new(AtomicU64::new(1024)))
    }
}

impl PackRatio {
    /// Learns from a batch of `plain` bytes whose objects have `compressed` bytes.
    pub fn learn(&self, plain: u64, compressed: u64) {
        if plain > 0 {
            let per_kib = (u128::from(compressed) * 1024 / u128::from(plain)).clamp(16, 1024) as u64;
            self.0.store(per_kib, Ordering::Relaxed);
        }
    }

    fn of(&self, plain: u64) -> u64 {
        (u128::from(plain) * u128::from(self.0.load(Ordering::Relaxed)) / 1024).min(u128::from(u64::MAX)) as u64
    }
}

/// What the open batch holds and whether it is due.
#[derive(Debug, Clone)]
pub struct Buffer {
    rules: BufferRules,
    bytes: u64,
    records: u64,
    /// V2: the previous flush. V3: the first delivery of the batch, meaningful while records are held.
    since_ms: i64,
    ratio: PackRatio,
}

impl Buffer {
    /// An empty buffer; the clock of [`BufferRules::V2`] starts at `now_ms`.
    pub fn new(rules: BufferRules, now_ms: i64) -> Self {
        Buffer { rules, bytes: 0, records: 0, since_ms: now_ms, ratio: PackRatio::default() }
    }

    /// The same buffer, with what somebody else learns about packing.
    #[must_use]
    pub fn with_ratio(mut self, ratio: PackRatio) -> Self {
        self.ratio = ratio;
        self
    }

    /// Counts a delivery of `records` with `bytes` plain bytes in all, and says whether the batch is now due.
    pub fn add(&mut self, records: u64, bytes: u64, now_ms: i64) -> bool {
        if self.records == 0 && records > 0 && matches!(self.rules, BufferRules::V3 { .. }) {
            self.since_ms = now_ms;
        }
        self.records = self.records.saturating_add(records);
        self.bytes = self.bytes.saturating_add(bytes);
        self.is_due(now_ms)
    }

    /// Whether the batch is to be written at `now_ms`. An empty one never is.
    pub fn is_due(&self, now_ms: i64) -> bool {
        let full = match self.rules {
            BufferRules::V2 { byte_limit, record_limit, .. } => {
                self.records >= record_limit || self.bytes >= byte_limit
            }
            BufferRules::V3 { max_bytes, max_plain_bytes, .. } => {
                self.ratio.of(self.bytes) > max_bytes || self.bytes >= max_plain_bytes
            }
        };
        self.records > 0 && (full || self.due_at_ms().is_some_and(|due| now_ms >= due))
    }

    /// When the time limit makes the batch due; `None` while it is empty.
    pub fn due_at_ms(&self) -> Option<i64> {
        let limit = match self.rules {
            BufferRules::V2 { time_limit_ms, .. } => time_limit_ms,
            BufferRules::V3 { max_delay_ms, .. } => max_delay_ms,
        };
        (self.records > 0).then(|| self.since_ms.saturating_add(limit))
    }

    /// Empties the buffer after its batch was taken.
    pub fn flushed(&mut self, now_ms: i64) {
        self.bytes = 0;
        self.records = 0;
        self.since_ms = now_ms;
    }

    /// Records held.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Plain bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, BufferRules, PackRatio};

    const V3: BufferRules = BufferRules::V3 { max_bytes: 1000, max_delay_ms: 120_000, max_plain_bytes: 10_000 };

    #[test]
    fn an_empty_buffer_is_never_due() {
        let rules = BufferRules::V2 { byte_limit: 1, record_limit: 1, time_limit_ms: 1 };
        let mut buffer = Buffer::new(rules, 0);
        assert!(!buffer.add(0, 0, 1_000_000));
        assert_eq!(buffer.due_at_ms(), None);
    }

    #[test]
    fn the_compressed_size_is_learnt_from_the_previous_batch_and_memory_stays_bounded() {
        let ratio = PackRatio::default();
        let mut buffer = Buffer::new(V3, 0).with_ratio(ratio.clone());
        assert!(buffer.add(1, 1001, 0), "nothing is known yet: taken as incompressible");
        buffer.flushed(0);
        ratio.learn(1001, 100);
        assert!(!buffer.add(1, 9000, 0), "about 900 bytes when compressed");
        assert!(buffer.add(1, 1000, 0), "but 10,000 plain bytes are the bound");
    }

    #[test]
    fn the_delay_counts_from_the_first_delivery_of_each_batch() {
        let mut buffer = Buffer::new(V3, 0);
        assert!(!buffer.add(1, 1, 500_000));
        assert_eq!(buffer.due_at_ms(), Some(620_000));
        buffer.flushed(620_000);
        assert!(!buffer.add(1, 1, 700_000));
        assert_eq!(buffer.due_at_ms(), Some(820_000));
    }
}
