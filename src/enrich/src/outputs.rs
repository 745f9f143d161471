//! What one call gives: records for the output streams, and counts.

use std::fmt;

use bytes::Bytes;

/// A record for an output stream.
#[derive(Clone, PartialEq, Eq)]
pub struct OutRecord {
    /// Decides the shard.
    pub partition_key: String,
    /// An enriched event's TSV line or a bad row's JSON, without a line break.
    pub data: Bytes,
}

impl fmt::Debug for OutRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = String::from_utf8_lossy(&self.data);
        f.debug_struct("OutRecord").field("partition_key", &self.partition_key).field("data", &data).finish()
    }
}

/// Records by output stream, and what was counted on the way. Calls append.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Enriched events.
    pub good: Vec<OutRecord>,
    /// Bad rows.
    pub bad: Vec<OutRecord>,
    /// Events with faults, as far as they came; only if the configuration asks for them.
    pub failed: Vec<OutRecord>,
    /// Events about what was pseudonymised in good ones; they hold the original values.
    pub pii: Vec<OutRecord>,
    /// Counters (enrich-core 8.1); those of records written are the lengths of the lists.
    pub counts: Counts,
}

/// How many records there are for each output stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Of [`Outputs::good`].
    pub good: usize,
    /// Of [`Outputs::bad`].
    pub bad: usize,
    /// Of [`Outputs::failed`].
    pub failed: usize,
    /// Of [`Outputs::pii`].
    pub pii: usize,
}

/// Counters of what was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Payloads read and rows of input that could not be read.
    pub raw: u64,
    /// Events that a script dropped.
    pub dropped: u64,
    /// Events accepted in spite of too long fields.
    pub invalid_enriched: u64,
}

impl Counts {
    /// Adds what another call counted.
    pub fn add(&mut self, other: Counts) {
        self.raw += other.raw;
        self.dropped += other.dropped;
        self.invalid_enriched += other.invalid_enriched;
    }
}

/// Lengths to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    good: usize,
    bad: usize,
    failed: usize,
    pii: usize,
    counts: Counts,
}

impl Outputs {
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            good: self.good.len(),
            bad: self.bad.len(),
            failed: self.failed.len(),
            pii: self.pii.len(),
            counts: self.counts,
        }
    }

    /// Bytes of the records since the mark.
    pub(crate) fn bytes_since(&self, mark: Mark) -> usize {
        let bytes = |records: &[OutRecord]| records.iter().map(|record| record.data.len()).sum::<usize>();
        bytes(&self.good[mark.good..])
            + bytes(&self.bad[mark.bad..])
            + bytes(&self.failed[mark.failed..])
            + bytes(&self.pii[mark.pii..])
    }

    /// Forgets everything since the mark.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.good.truncate(mark.good);
        self.bad.truncate(mark.bad);
        self.failed.truncate(mark.failed);
        self.pii.truncate(mark.pii);
        self.counts = mark.counts;
    }
}
