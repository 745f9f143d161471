//! `/status`: the whole node as one JSON document.

use serde::{Deserialize, Serialize};
use snowmelt_supervisor::report::PipelineReport;

/// A node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeReport {
    /// Snowmelt's version.
    pub version: String,
    /// When the report was made, in milliseconds since the epoch.
    pub at_ms: i64,
    /// For how long the node runs, in milliseconds.
    pub uptime_ms: u64,
    /// True when every pipeline makes progress, every collector takes records and every registry reaches its database.
    pub ready: bool,
    /// Its pipelines, by name.
    pub pipelines: Vec<PipelineReport>,
    /// Its collectors' ways to their streams.
    pub collectors: Vec<CollectorReport>,
    /// Its schema registries.
    #[serde(default)]
    pub registries: Vec<RegistryReport>,
}

/// A schema registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RegistryReport {
    /// Its name.
    pub registry: String,
    /// Whether it reaches its database. What it has in memory it gives out without too.
    pub ready: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// A collector's way to one of its streams.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CollectorReport {
    /// The collector.
    pub collector: String,
    /// The stream.
    pub stream: String,
    /// Whether records are taken: by the spool where requests are answered from one, else by the stream.
    pub ready: bool,
    /// Why not.
    pub reason: Option<String>,
    /// The spool before the stream, where there is one.
    #[serde(default)]
    pub spool: Option<SpoolReport>,
}

/// A log on this machine between a collector and a stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SpoolReport {
    /// Whether requests are answered from it; else it was left by another durability mode and only drains.
    pub answers: bool,
    /// Bytes on the disk.
    pub bytes: u64,
    /// How many there may be.
    pub max_bytes: u64,
    /// For how long the oldest record waits for the stream, in milliseconds; 0 when none does.
    pub oldest_age_ms: u64,
    /// Records that the stream took since the start.
    pub drained_records: u64,
    /// Why the stream takes no records, when it does not.
    pub stream_trouble: Option<String>,
}

impl NodeReport {
    pub(super) fn new(
        pipelines: Vec<PipelineReport>,
        collectors: Vec<CollectorReport>,
        registries: Vec<RegistryReport>,
        at_ms: i64,
        uptime_ms: u64,
    ) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at_ms,
            uptime_ms,
            ready: pipelines.iter().all(|pipeline| pipeline.ready)
                && collectors.iter().all(|collector| collector.ready)
                && registries.iter().all(|registry| registry.ready),
            pipelines,
            collectors,
            registries,
        }
    }

    /// Why the node is not ready: each reason with whose it is.
    pub fn all_reasons(&self) -> Vec<String> {
        let of_pipelines = self.pipelines.iter().flat_map(|pipeline| {
            let own = pipeline.reasons.iter().map(|reason| format!("{}: {reason}", pipeline.pipeline));
            let groups = pipeline.groups.iter().flat_map(|group| {
                group.reasons.iter().map(|reason| format!("{}/{}: {reason}", group.pipeline, group.shard))
            });
            own.chain(groups)
        });
        let of_collectors = self.collectors.iter().filter(|collector| !collector.ready).map(|collector| {
            let reason = collector.reason.as_deref().unwrap_or("unknown");
            format!("{}: stream {} takes no records: {reason}", collector.collector, collector.stream)
        });
        let of_registries = self.registries.iter().filter(|registry| !registry.ready).map(|registry| {
            let reason = registry.reason.as_deref().unwrap_or("unknown");
            format!("{}: {reason}", registry.registry)
        });
        of_pipelines.chain(of_collectors).chain(of_registries).collect()
    }
}
