//! A run of records enriched on one core.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use snowmelt_enrich::{self as enrich, Context, Counts, Enrich, Lengths, OutRecord, Outputs, RecordSeed, Scratch};
use snowmelt_iglu::{Lookup, Overlay, Resolver, SchemaKey, SchemaSource};
use snowmelt_streams::{Origin, PutEntry, Record};

use crate::Probe;

/// Fewest records that are worth a hand-over to another thread.
const MIN_RECORDS: usize = 16;

thread_local! {
    /// Buffers that a core uses again for every record.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// What all chunks of a batch share.
#[derive(Clone)]
pub struct Work {
    pub enrich: Arc<Enrich>,
    pub resolver: Arc<Resolver>,
    pub stream: Arc<str>,
    pub records: Arc<[Record]>,
    pub now_micros: i64,
    pub probe: Option<Probe>,
    /// Answers of this batch's look-ups: they hold for it even where the resolver keeps nothing.
    pub answers: Arc<HashMap<SchemaKey, Lookup>>,
}

/// Schemas without which a chunk can't be finished.
#[derive(Default)]
pub struct Missing {
    /// Not in memory yet.
    pub schemas: Vec<SchemaKey>,
    /// Asked for, but a registry did not answer: nothing is known about them.
    pub unreachable: Vec<SchemaKey>,
}

impl Missing {
    pub const fn is_empty(&self) -> bool {
        self.schemas.is_empty() && self.unreachable.is_empty()
    }

    pub fn add(&mut self, other: Self) {
        self.schemas.extend(other.schemas);
        self.unreachable.extend(other.unreachable);
    }
}

/// Outputs of a chunk, in the order of its records.
#[derive(Default)]
pub struct Chunk {
    pub good: Vec<PutEntry>,
    pub bad: Vec<PutEntry>,
    pub failed: Vec<PutEntry>,
    pub pii: Vec<PutEntry>,
    pub counts: Counts,
}

/// Cuts `count` records into ranges: two a core, so that an uneven one does not leave the others idle for long.
pub fn cut(count: usize, cores: usize) -> Vec<Range<usize>> {
    let size = count.div_ceil(cores.max(1) * 2).max(MIN_RECORDS);
    (0..count).step_by(size).map(|start| start..count.min(start + size)).collect()
}

impl Work {
    /// Enriches the records of a range, or gives the schemas that are missing for any of them.
    pub fn run(&self, range: Range<usize>) -> Result<Chunk, Missing> {
        if self.answers.is_empty() {
            return self.run_with(range, self.resolver.as_ref());
        }
        let mut overlay = Overlay::new(self.resolver.as_ref());
        for (key, answer) in self.answers.iter() {
            overlay.insert(key.clone(), answer.clone());
        }
        self.run_with(range, &overlay)
    }

    fn run_with(&self, range: Range<usize>, schemas: &dyn SchemaSource) -> Result<Chunk, Missing> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut missing = Missing::default();
            let records = &self.records[range];
            let mut ends = Vec::with_capacity(records.len());
            let mut batch = enrich::Batch::new(&self.enrich, scratch);
            for record in records {
                if let Some(probe) = &self.probe {
                    probe(record);
                }
                let place = record.sequence.to_string();
                let cx = Context {
                    now_micros: self.now_micros,
                    schemas,
                    seed: RecordSeed::new(&self.stream, place.as_bytes()),
                };
                match batch.record(&record.data, &cx) {
                    Ok(()) if missing.is_empty() => ends.push(batch.lengths()),
                    // The chunk runs again anyway: from here on only what else is missing matters.
                    Ok(()) => batch.clear(),
                    Err(needs) => {
                        missing.schemas.extend(needs.schemas);
                        missing.unreachable.extend(needs.unreachable.into_iter().map(|(key, _)| key));
                    }
                }
            }
            if missing.is_empty() { Ok(Chunk::new(batch.finish(), records, &ends)) } else { Err(missing) }
        })
    }
}

impl Chunk {
    /// `ends` tells for each record how many outputs there were after it.
    fn new(outputs: Outputs, records: &[Record], ends: &[Lengths]) -> Self {
        let Outputs { good, bad, failed, pii, counts } = outputs;
        Self {
            good: entries(good, records, ends, |end| end.good),
            bad: entries(bad, records, ends, |end| end.bad),
            failed: entries(failed, records, ends, |end| end.failed),
            pii: entries(pii, records, ends, |end| end.pii),
            counts,
        }
    }
}

/// Outputs with their origin: the record they come of, and the how manieth of it they are.
fn entries(
    outputs: Vec<OutRecord>,
    records: &[Record],
    ends: &[Lengths],
    end: impl Fn(&Lengths) -> usize,
) -> Vec<PutEntry> {
    let mut entries = Vec::with_capacity(outputs.len());
    let mut outputs = outputs.into_iter();
    for (record, lengths) in records.iter().zip(ends) {
        let count = end(lengths) - entries.len();
        entries.extend(outputs.by_ref().take(count).zip(0_u32..).map(|(output, index)| PutEntry {
            partition_key: output.partition_key,
            explicit_hash_key: None,
            data: output.data,
            origin: Some(Origin { sequence: record.sequence, index }),
        }));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn ranges_cover_all_records_in_order_without_crumbs() {
        assert_eq!(cut(0, 2), Vec::<std::ops::Range<usize>>::new());
        assert_eq!(cut(10, 2), vec![0..10]);
        assert_eq!(cut(1000, 2), vec![0..250, 250..500, 500..750, 750..1000]);
    }
}
