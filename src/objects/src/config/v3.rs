//! Files of generation 3.x (spec s3-loader 9.2), with the program's defaults where its documentation names others.

use super::{ConfigError, Extras, Line, Purpose, S3LoaderConfig, StartPosition, lenient, pairs};
use crate::bad_rows::{ARTIFACT, BadRowRules};
use crate::buffering::BufferRules;
use crate::framing::Framing;
use crate::keys::{KeyOptions, KeyPattern};
use crate::metrics::{self, Every, StatsdTarget};
use crate::unpack::UnpackRules;
use serde::Deserialize;
use snowmelt_protocol::badrow::Processor;
use std::collections::BTreeMap;

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// `ENRICHED_EVENTS` or `SELF_DESCRIBING`, without regard to case.
    pub purpose: String,
    /// What is read.
    pub input: Input,
    /// What is written.
    pub output: Output,
    /// When a batch is due.
    #[serde(default)]
    pub batching: Batching,
    /// Decoding tasks a core.
    #[serde(default = "one", deserialize_with = "lenient::number")]
    pub cpu_parallelism_factor: f64,
    /// Uploads at the same time a core.
    #[serde(default = "two", deserialize_with = "lenient::number")]
    pub upload_parallelism_factor: f64,
    /// Compressed input.
    #[serde(default)]
    pub decompression: Decompression,
    /// Who is told.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// Ours.
    #[serde(default)]
    pub snowmelt: Extras,
}

fn one() -> f64 {
    1.0
}

fn two() -> f64 {
    2.0
}

/// Section `input`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// Stream to read.
    pub stream_name: String,
    /// Name of the lease table.
    #[serde(default = "app_name")]
    pub app_name: String,
    /// Who holds leases; by default the environment's `HOSTNAME`.
    pub worker_identifier: Option<String>,
    /// Where shards without a checkpoint start.
    #[serde(default = "latest")]
    pub initial_position: StartPosition,
    /// How records are fetched.
    #[serde(default)]
    pub retrieval_mode: RetrievalMode,
    /// How long a lease lasts without renewal, milliseconds.
    #[serde(rename = "leaseDuration", default = "ten_seconds", deserialize_with = "lenient::duration_ms")]
    pub lease_duration_ms: u64,
    /// Leases taken from others at once, a core.
    #[serde(default = "two", deserialize_with = "lenient::number")]
    pub max_leases_to_steal_at_one_time_factor: f64,
    /// Waiting when DynamoDB throttles.
    #[serde(default)]
    pub checkpoint_throttled_backoff_policy: Backoff,
    /// Shortest time between two checkpoints, milliseconds.
    #[serde(rename = "debounceCheckpoints", default = "ten_seconds", deserialize_with = "lenient::duration_ms")]
    pub debounce_checkpoints_ms: u64,
    /// Endpoint of Kinesis.
    pub custom_endpoint: Option<String>,
    /// Endpoint of DynamoDB.
    pub dynamodb_custom_endpoint: Option<String>,
    /// Endpoint of CloudWatch.
    pub cloudwatch_custom_endpoint: Option<String>,
}

fn app_name() -> String {
    ARTIFACT.to_owned()
}

fn latest() -> StartPosition {
    StartPosition::Latest
}

fn ten_seconds() -> u64 {
    10_000
}

/// Section `input.retrievalMode`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetrievalMode {
    /// Which.
    #[serde(rename = "type")]
    pub kind: RetrievalKind,
    /// Most records of one read, when polling.
    #[serde(deserialize_with = "lenient::number")]
    pub max_records: u32,
    /// Pause between reads, when polling, milliseconds.
    #[serde(rename = "idleTimeBetweenReads", deserialize_with = "lenient::duration_ms")]
    pub idle_time_between_reads_ms: u64,
}

impl Default for RetrievalMode {
    fn default() -> Self {
        RetrievalMode { kind: RetrievalKind::Polling, max_records: 750, idle_time_between_reads_ms: 1500 }
    }
}

/// How records are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum RetrievalKind {
    /// Asking again and again.
    Polling,
    /// Enhanced fan-out.
    FanOut,
}

/// Waiting that grows between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Backoff {
    /// First wait, milliseconds.
    #[serde(rename = "minBackoff", deserialize_with = "lenient::duration_ms")]
    pub min_ms: u64,
    /// Longest wait, milliseconds.
    #[serde(rename = "maxBackoff", deserialize_with = "lenient::duration_ms")]
    pub max_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { min_ms: 100, max_ms: 1000 }
    }
}

/// Section `output`.
#[derive(Debug, Clone, Deserialize)]
pub struct Output {
    /// Objects.
    pub good: Good,
    /// Bad rows.
    pub bad: Bad,
}

/// Section `output.good`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Good {
    /// `s3://bucket/directory`.
    pub path: String,
    /// Folders below, with placeholders.
    pub partition_format: Option<String>,
    /// Put in front as it is.
    pub filename_prefix: Option<String>,
    /// `gzip`, or ours: `zstd`; without regard to case. The original's documentation calls it `compression`.
    #[serde(default = "gzip", alias = "compression")]
    pub compression_type: String,
}

fn gzip() -> String {
    "gzip".to_owned()
}

/// Section `output.bad`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bad {
    /// Stream for bad rows.
    pub stream_name: String,
    /// Waiting when Kinesis throttles.
    #[serde(default)]
    pub throttled_backoff_policy: Backoff,
    /// Most records of one call.
    #[serde(default = "record_limit", deserialize_with = "lenient::number")]
    pub record_limit: usize,
    /// Most bytes of one call.
    #[serde(default = "byte_limit", deserialize_with = "lenient::number")]
    pub byte_limit: usize,
    /// A bad row of this many bytes or more is replaced.
    #[serde(default = "max_record_size", deserialize_with = "lenient::number")]
    pub max_record_size: usize,
}

fn record_limit() -> usize {
    500
}

fn byte_limit() -> usize {
    5_242_880
}

fn max_record_size() -> usize {
    1_000_000
}

/// Section `batching`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Batching {
    /// Compressed bytes of all objects of a batch.
    #[serde(rename = "maxBytes", deserialize_with = "lenient::number")]
    pub max_bytes: u64,
    /// How long a batch stays open, milliseconds.
    #[serde(rename = "maxDelay", deserialize_with = "lenient::duration_ms")]
    pub max_delay_ms: u64,
}

impl Default for Batching {
    fn default() -> Self {
        Batching { max_bytes: 64 << 20, max_delay_ms: 120_000 }
    }
}

/// Section `decompression`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Decompression {
    /// Unpacked bytes handed on together. Not needed here: a batch is bounded otherwise.
    #[serde(deserialize_with = "lenient::number")]
    pub max_bytes_in_batch: usize,
    /// An event announced larger becomes a bad row.
    #[serde(deserialize_with = "lenient::number")]
    pub max_bytes_single_payload: usize,
}

impl Default for Decompression {
    fn default() -> Self {
        Decompression { max_bytes_in_batch: 5_242_880, max_bytes_single_payload: 10_000_000 }
    }
}

/// Section `monitoring`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Monitoring {
    /// Metrics.
    pub metrics: Metrics,
    /// Sentry.
    pub sentry: Option<Sentry>,
    /// Health probe.
    pub health_probe: HealthProbe,
}

/// Section `monitoring.metrics`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// StatsD, off without a host.
    pub statsd: Option<Statsd>,
    /// Prometheus.
    pub prometheus: Prometheus,
}

/// Section `monitoring.metrics.statsd`.
#[derive(Debug, Clone, Deserialize)]
pub struct Statsd {
    /// Host; off where absent.
    pub hostname: Option<String>,
    /// UDP port.
    #[serde(default = "statsd_port", deserialize_with = "lenient::number")]
    pub port: u16,
    /// Tags of every datagram.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Time between datagrams, milliseconds.
    #[serde(rename = "period", default = "minute", deserialize_with = "lenient::duration_ms")]
    pub period_ms: u64,
    /// Prefix of every name.
    pub prefix: Option<String>,
}

fn statsd_port() -> u16 {
    8125
}

fn minute() -> u64 {
    60_000
}

/// Section `monitoring.metrics.prometheus`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Prometheus {
    /// Labels of every metric.
    pub tags: BTreeMap<String, String>,
}

/// Section `monitoring.sentry`.
#[derive(Debug, Clone, Deserialize)]
pub struct Sentry {
    /// Where to send.
    pub dsn: String,
    /// Name of the environment.
    pub environment: Option<String>,
    /// Tags of every report.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// Section `monitoring.healthProbe`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct HealthProbe {
    /// TCP port.
    #[serde(deserialize_with = "lenient::number")]
    pub port: u16,
    /// Unhealthy when an event waits longer than this, milliseconds.
    #[serde(rename = "unhealthyLatency", deserialize_with = "lenient::duration_ms")]
    pub unhealthy_latency_ms: u64,
}

impl Default for HealthProbe {
    fn default() -> Self {
        HealthProbe { port: 8000, unhealthy_latency_ms: 120_000 }
    }
}

impl File {
    /// Who holds leases: as configured, else the machine's name.
    pub fn worker_identifier<'a>(&'a self, hostname: Option<&'a str>) -> Option<&'a str> {
        self.input.worker_identifier.as_deref().or(hostname)
    }

    /// See [`super::LoaderFile::resolve`].
    pub fn resolve(&self, version: &str) -> Result<S3LoaderConfig, ConfigError> {
        let line = Line::V3;
        let purpose = Purpose::parse(&self.purpose, line)?;
        let good = &self.output.good;
        let keys = KeyPattern::new(&KeyOptions {
            line,
            purpose,
            path: &good.path,
            partition_format: good.partition_format.as_deref(),
            filename_prefix: good.filename_prefix.as_deref(),
        })?;
        let framing = match self.snowmelt.framing(&good.compression_type)? {
            Some(framing @ (Framing::Gzip { .. } | Framing::Zstd { .. })) => framing,
            Some(Framing::Lzo) | None => {
                let reason = "Only possible compression type: GZIP (or ZSTD, which the original lacks)";
                return Err(ConfigError::refused("compressionType", &good.compression_type, reason));
            }
        };
        self.snowmelt.check_partition(purpose, &keys)?;
        Ok(S3LoaderConfig {
            line,
            purpose,
            keys,
            framing,
            naming: self.snowmelt.naming,
            partition_by: self.snowmelt.partition_by,
            unpack: Some(UnpackRules { max_event_bytes: self.decompression.max_bytes_single_payload }),
            bad_rows: BadRowRules {
                processor: Processor::new(ARTIFACT, version.to_owned()),
                max_record_size: self.output.bad.max_record_size,
            },
            buffer: BufferRules::V3 {
                max_bytes: self.batching.max_bytes,
                max_delay_ms: i64::try_from(self.batching.max_delay_ms).unwrap_or(i64::MAX),
                max_plain_bytes: self.snowmelt.max_plain_bytes,
            },
            put_retry_for_ms: self.snowmelt.put_retry_for_ms,
            statsd: self.monitoring.metrics.statsd.as_ref().and_then(|statsd| {
                Some(StatsdTarget {
                    host: statsd.hostname.clone()?,
                    port: statsd.port,
                    every: Every::PeriodMs(statsd.period_ms),
                    counts_events: true,
                    format: metrics::Statsd::v3(statsd.prefix.as_deref(), pairs(&statsd.tags)),
                })
            }),
        })
    }
}
