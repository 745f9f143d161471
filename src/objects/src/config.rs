//! The loader's configuration, resolved (spec s3-loader 9).

use crate::buffering::BufferRules;
use crate::framing::Framing;

/// Which line of the original's rules holds for keys, grouping and unreadable records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Releases 2.x.
    V2,
    /// Releases 3.x, as of 3.2.
    V3,
}

/// What the stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Collector payloads; nothing is inspected. Line 2.x only.
    Raw,
    /// Enriched TSV; only the collector timestamp is looked at.
    EnrichedEvents,
    /// Self-describing JSON (bad rows); grouped by schema.
    SelfDescribing,
}

/// How objects are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// As the line does; a repeat gives another name.
    Original,
    /// Ours: by shard, first and last sequence number, so that a repeat of the same batch overwrites.
    Sequence,
}

/// Which time fills the date placeholders of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionBy {
    /// The time of the load, as the original.
    LoadTime,
    /// Ours: `collector_tstamp` of each enriched event.
    CollectorTime,
    /// Ours: `derived_tstamp` of each enriched event.
    DerivedTime,
}

/// Everything [`crate::render`] needs to know.
#[derive(Debug, Clone)]
pub struct S3LoaderConfig {
    /// Which line's rules hold.
    pub line: Line,
    /// What the stream holds.
    pub purpose: Purpose,
    /// How records become bytes.
    pub framing: Framing,
    /// How objects are named.
    pub naming: Naming,
    /// Which time fills the date placeholders.
    pub partition_by: PartitionBy,
    /// When a batch is due.
    pub buffer: BufferRules,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {}
