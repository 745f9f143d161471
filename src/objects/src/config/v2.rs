//! Files of generation 2.x (spec s3-loader 9.1).

use super::{ConfigError, Extras, Line, Purpose, S3LoaderConfig, StartPosition, lenient, pairs};
use crate::bad_rows::{ARTIFACT, BadRowRules};
use crate::buffering::BufferRules;
use crate::keys::{KeyOptions, KeyPattern};
use crate::metrics::{self, Every, StatsdTarget};
use serde::Deserialize;
use snowmelt_protocol::badrow::Processor;
use std::collections::BTreeMap;

/// Kinesis takes no record above 1 MiB; the original's bad rows of this generation have no limit of their own.
const MAX_BAD_ROW_BYTES: usize = 1_000_000;

/// The whole file. No key has a default unless it is optional.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// AWS region, else from the environment.
    pub region: Option<String>,
    /// `RAW`, `ENRICHED_EVENTS` or `SELF_DESCRIBING`, without regard to case.
    pub purpose: String,
    /// What is read.
    pub input: Input,
    /// What is written.
    pub output: Output,
    /// When a batch is due.
    pub buffer: BufferSection,
    /// Who is told.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// Ours.
    #[serde(default)]
    pub snowmelt: Extras,
}

/// Section `input`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// Name of the lease table.
    pub app_name: String,
    /// Stream to read.
    pub stream_name: String,
    /// Where shards without a checkpoint start.
    pub position: StartPosition,
    /// Endpoint of Kinesis.
    pub custom_endpoint: Option<String>,
    /// Most records of one read.
    #[serde(deserialize_with = "lenient::number")]
    pub max_records: u32,
}

/// Section `output`.
#[derive(Debug, Clone, Deserialize)]
pub struct Output {
    /// Objects.
    pub s3: S3,
    /// Bad rows.
    pub bad: Bad,
}

/// Section `output.s3`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct S3 {
    /// Bucket and directory, with or without `s3://`.
    pub path: String,
    /// Folders below, with placeholders.
    pub partition_format: Option<String>,
    /// Joined with a dash.
    pub filename_prefix: Option<String>,
    /// `GZIP`, `LZO`, or ours: `ZSTD`; without regard to case.
    pub compression: String,
    /// How long a failing put is tried again, milliseconds.
    #[serde(rename = "maxTimeout", deserialize_with = "lenient::number")]
    pub max_timeout_ms: u64,
    /// Endpoint of S3.
    pub custom_endpoint: Option<String>,
}

/// Section `output.bad`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bad {
    /// Stream for bad rows.
    pub stream_name: String,
}

/// Section `buffer`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BufferSection {
    /// Bytes before compression.
    #[serde(deserialize_with = "lenient::number")]
    pub byte_limit: u64,
    /// Records.
    #[serde(deserialize_with = "lenient::number")]
    pub record_limit: u64,
    /// Milliseconds.
    #[serde(rename = "timeLimit", deserialize_with = "lenient::number")]
    pub time_limit_ms: u64,
}

/// Section `monitoring`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Events about the loader itself.
    pub snowplow: Option<SnowplowTracking>,
    /// Sentry.
    pub sentry: Option<Sentry>,
    /// Metrics.
    #[serde(default)]
    pub metrics: Metrics,
}

/// Section `monitoring.snowplow`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnowplowTracking {
    /// Collector to send to.
    pub collector: String,
    /// Its application id.
    pub app_id: String,
}

/// Section `monitoring.sentry`.
#[derive(Debug, Clone, Deserialize)]
pub struct Sentry {
    /// Where to send.
    pub dsn: String,
}

/// Section `monitoring.metrics`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metrics {
    /// Whether the Kinesis library's metrics go to CloudWatch.
    pub cloud_watch: bool,
    /// StatsD.
    pub statsd: Option<Statsd>,
}

/// Section `monitoring.metrics.statsd`.
#[derive(Debug, Clone, Deserialize)]
pub struct Statsd {
    /// Host.
    pub hostname: String,
    /// UDP port.
    #[serde(deserialize_with = "lenient::number")]
    pub port: u16,
    /// Tags of every datagram.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Prefix of every name.
    pub prefix: Option<String>,
}

impl File {
    /// See [`super::LoaderFile::resolve`].
    pub fn resolve(&self, version: &str) -> Result<S3LoaderConfig, ConfigError> {
        let line = Line::V2;
        let purpose = Purpose::parse(&self.purpose, line)?;
        let s3 = &self.output.s3;
        let keys = KeyPattern::new(&KeyOptions {
            line,
            purpose,
            path: &s3.path,
            partition_format: s3.partition_format.as_deref(),
            filename_prefix: s3.filename_prefix.as_deref(),
        })?;
        let framing = self.snowmelt.framing(&s3.compression)?.ok_or_else(|| {
            ConfigError::refused("compression", &s3.compression, "Possible compression types: GZIP, LZO, ZSTD")
        })?;
        self.snowmelt.check_partition(purpose, &keys)?;
        Ok(S3LoaderConfig {
            line,
            purpose,
            keys,
            framing,
            naming: self.snowmelt.naming,
            partition_by: self.snowmelt.partition_by,
            unpack: None,
            bad_rows: BadRowRules {
                processor: Processor::new(ARTIFACT, version.to_owned()),
                max_record_size: MAX_BAD_ROW_BYTES,
            },
            buffer: BufferRules::V2 {
                byte_limit: self.buffer.byte_limit,
                record_limit: self.buffer.record_limit,
                time_limit_ms: i64::try_from(self.buffer.time_limit_ms).unwrap_or(i64::MAX),
            },
            put_retry_for_ms: Some(s3.max_timeout_ms),
            statsd: self.monitoring.metrics.statsd.as_ref().map(|statsd| StatsdTarget {
                host: statsd.hostname.clone(),
                port: statsd.port,
                every: Every::Object,
                counts_events: purpose == Purpose::EnrichedEvents,
                format: metrics::Statsd::v2(statsd.prefix.as_deref(), pairs(&statsd.tags)),
            }),
        })
    }
}
