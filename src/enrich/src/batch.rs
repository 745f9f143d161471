//! Many records of the raw stream, enriched one after the other, their outputs taken together.

use crate::enrich::{Context, Enrich, Needs, Scratch};
use crate::outputs::{Lengths, Outputs};

/// Records that are enriched together. Quicker than one [`Enrich::record`] after the other, with the same outputs.
#[derive(Debug)]
pub struct Batch<'b> {
    enrich: &'b Enrich,
    scratch: &'b mut Scratch,
    out: Outputs,
}

impl<'b> Batch<'b> {
    /// Begins an empty batch.
    pub fn new(enrich: &'b Enrich, scratch: &'b mut Scratch) -> Self {
        // What a batch that ended by a panic has left is not ours.
        scratch.fingerprints.rewind(0);
        Self { enrich, scratch, out: Outputs::default() }
    }

    /// Enriches one more record, as [`Enrich::record`] does.
    ///
    /// # Errors
    /// When schemas are missing; nothing is appended then.
    pub fn record(&mut self, record: &[u8], cx: &Context<'_>) -> Result<(), Needs> {
        self.enrich.one(record, cx, self.scratch, &mut self.out)
    }

    /// How many outputs there are so far.
    pub fn lengths(&self) -> Lengths {
        let Outputs { good, bad, failed, pii, .. } = &self.out;
        Lengths { good: good.len(), bad: bad.len(), failed: failed.len(), pii: pii.len() }
    }

    /// Forgets all outputs.
    pub fn clear(&mut self) {
        self.scratch.fingerprints.rewind(0);
        self.out = Outputs::default();
    }

    /// All outputs, in the order of their records.
    pub fn finish(self) -> Outputs {
        let Self { scratch, mut out, .. } = self;
        scratch.fingerprints.settle(&mut out.good);
        out
    }
}
