//! What enrichment counts (enrich-core 8.1), emitted once a batch with labels `pipeline` and `shard`.

use snowmelt_enrich::Counts;
use snowmelt_runtime::GroupId;

/// The names of enrichment's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Payloads read, those that could not be read among them.
    Raw,
    /// Enriched events written.
    Good,
    /// Bad rows written.
    Bad,
    /// Events with faults written to the stream for them.
    Failed,
    /// Events about what was pseudonymised, written to the stream for them.
    Pii,
    /// Events that a script dropped.
    Dropped,
    /// Events accepted in spite of too long fields.
    InvalidEnriched,
}

impl Metric {
    /// The metric's name as exporters see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "snowmelt_enrich_raw_total",
            Self::Good => "snowmelt_enrich_good_total",
            Self::Bad => "snowmelt_enrich_bad_total",
            Self::Failed => "snowmelt_enrich_failed_total",
            Self::Pii => "snowmelt_enrich_pii_total",
            Self::Dropped => "snowmelt_enrich_dropped_total",
            Self::InvalidEnriched => "snowmelt_enrich_invalid_total",
        }
    }
}

/// What came of one batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// As enrichment counts.
    pub counts: Counts,
    /// Enriched events.
    pub good: u64,
    /// Bad rows.
    pub bad: u64,
    /// Failed events.
    pub failed: u64,
    /// Events about what was pseudonymised.
    pub pii: u64,
}

impl Tally {
    /// Counts a batch that was handed on. One that is read again after a crash is counted again.
    pub fn emit(self, group: &GroupId) {
        let counted = [
            (Metric::Raw, self.counts.raw),
            (Metric::Good, self.good),
            (Metric::Bad, self.bad),
            (Metric::Failed, self.failed),
            (Metric::Pii, self.pii),
            (Metric::Dropped, self.counts.dropped),
            (Metric::InvalidEnriched, self.counts.invalid_enriched),
        ];
        for (metric, count) in counted {
            metrics::counter!(metric.name(), "pipeline" => group.pipeline.clone(), "shard" => group.shard.clone())
                .increment(count);
        }
    }
}
