//! What the writer counts.

use snowmelt_runtime::GroupId;
use snowmelt_warehouse::LoadReport;

/// The names of the writer's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Records whose rows are in the tables.
    Records,
    /// Rows of all tables.
    Rows,
    /// Records that became bad rows.
    Bad,
    /// Records that had been loaded before.
    Skipped,
    /// Events left out since their id was loaded within the window before.
    Duplicates,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Records, Self::Rows, Self::Bad, Self::Skipped, Self::Duplicates];

    /// The metric's name as exporters see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "snowmelt_postgres_records_total",
            Self::Rows => "snowmelt_postgres_rows_total",
            Self::Bad => "snowmelt_postgres_bad_total",
            Self::Skipped => "snowmelt_postgres_skipped_total",
            Self::Duplicates => "snowmelt_postgres_duplicates_total",
        }
    }

    /// What it means.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Records => "records whose rows are in the tables",
            Self::Rows => "rows written, those of entities included",
            Self::Bad => "records that became bad rows",
            Self::Skipped => "records that had been loaded before and were read again",
            Self::Duplicates => "events left out since their id was loaded within the window before",
        }
    }

    const fn of(self, report: &LoadReport) -> u64 {
        match self {
            Self::Records => report.records,
            Self::Rows => report.rows,
            Self::Bad => report.bad,
            Self::Skipped => report.skipped,
            Self::Duplicates => report.duplicates,
        }
    }
}

/// Counts a batch that has committed.
pub(crate) fn emit(report: &LoadReport, group: &GroupId) {
    for metric in Metric::ALL {
        metrics::counter!(metric.name(), "pipeline" => group.pipeline.clone(), "shard" => group.shard.clone())
            .increment(metric.of(report));
    }
}
