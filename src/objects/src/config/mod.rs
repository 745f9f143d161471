//! The loader's configuration: both generations of the original's files, and what they come to (spec s3-loader 9).
//!
//! HOCON is read elsewhere; here a JSON value becomes a [`LoaderFile`], every default filled in, and that a
//! [`S3LoaderConfig`], every text checked. Beside the original's keys both generations take a block `snowmelt`
//! ([`Extras`]) for what only we offer.

mod extras;
mod lenient;
pub mod v2;
pub mod v3;

pub use extras::Extras;
pub use lenient::StartPosition;

use crate::bad_rows::BadRowRules;
use crate::buffering::BufferRules;
use crate::framing::Framing;
use crate::keys::KeyPattern;
use crate::metrics::StatsdTarget;
use crate::unpack::UnpackRules;
use std::collections::BTreeMap;

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

impl Purpose {
    /// Reads a name without regard to case.
    fn parse(name: &str, line: Line) -> Result<Self, ConfigError> {
        let purpose = match name.to_ascii_uppercase().as_str() {
            "RAW" if line == Line::V2 => Some(Purpose::Raw),
            "ENRICHED_EVENTS" => Some(Purpose::EnrichedEvents),
            "SELF_DESCRIBING" => Some(Purpose::SelfDescribing),
            _ => None,
        };
        let reason = match line {
            Line::V2 => "Purpose not supported. Possible values: RAW, ENRICHED_EVENTS, SELF_DESCRIBING",
            Line::V3 => "Purpose not supported. Possible values: ENRICHED_EVENTS, SELF_DESCRIBING",
        };
        purpose.ok_or_else(|| ConfigError::refused("purpose", name, reason))
    }
}

/// How objects are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Naming {
    /// As the line does. Within one second a UUID follows from the batch, so that a repeat at the same load time gives the
    /// same name.
    #[default]
    Original,
    /// Ours: by shard, first and last sequence number, without a time.
    Sequence,
}

/// Which time fills the date placeholders of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionBy {
    /// The time of the load, as the original.
    #[default]
    LoadTime,
    /// Ours: `collector_tstamp` of each enriched event; the load time where it cannot be read.
    CollectorTime,
    /// Ours: `derived_tstamp` of each enriched event; the load time where it cannot be read.
    DerivedTime,
}

/// Everything [`crate::render`] and its caller need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3LoaderConfig {
    /// Which line's rules hold.
    pub line: Line,
    /// What the stream holds.
    pub purpose: Purpose,
    /// Where objects go.
    pub keys: KeyPattern,
    /// How records become bytes.
    pub framing: Framing,
    /// How objects are named.
    pub naming: Naming,
    /// Which time fills the date placeholders.
    pub partition_by: PartitionBy,
    /// Whether compressed records are unpacked (line 3.2), and how far.
    pub unpack: Option<UnpackRules>,
    /// How bad rows are made.
    pub bad_rows: BadRowRules,
    /// When a batch is due.
    pub buffer: BufferRules,
    /// How long a failing put is tried again before the writer fails, milliseconds (spec 5, 12.5); without end when absent.
    pub put_retry_for_ms: Option<u64>,
    /// Who is told of what was written.
    pub statsd: Option<StatsdTarget>,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key is missing or has a value of the wrong type.
    #[error("the configuration of the S3 loader cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Neither generation is recognised.
    #[error("neither output.s3 (generation 2.x) nor output.good (generation 3.x) is configured")]
    UnknownGeneration,
    /// A value is readable but makes no sense.
    #[error("{option} = {value:?} is refused: {reason}")]
    Refused {
        /// Last part of the option's name.
        option: &'static str,
        /// Its value.
        value: String,
        /// What is wrong; in the original's words where it has some.
        reason: String,
    },
}

impl ConfigError {
    pub(crate) fn refused(option: &'static str, value: &str, reason: &str) -> Self {
        ConfigError::Refused { option, value: value.to_owned(), reason: reason.to_owned() }
    }
}

/// A configuration file of either generation.
#[derive(Debug, Clone)]
pub enum LoaderFile {
    /// `output.s3` is there.
    V2(Box<v2::File>),
    /// `output.good` is there.
    V3(Box<v3::File>),
}

impl LoaderFile {
    /// Recognises the generation and reads the file. The content may sit under a top-level key `snowplow`. Unknown keys
    /// are left alone; `license.accept` is neither needed nor looked at.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, ConfigError> {
        let value = value.get("snowplow").unwrap_or(value);
        let has = |key| value.get("output").is_some_and(|output| output.get(key).is_some());
        match (has("s3"), has("good")) {
            (_, true) => Ok(LoaderFile::V3(Box::new(serde::Deserialize::deserialize(value)?))),
            (true, false) => Ok(LoaderFile::V2(Box::new(serde::Deserialize::deserialize(value)?))),
            (false, false) => Err(ConfigError::UnknownGeneration),
        }
    }

    /// Checks every text and gives what [`crate::render`] takes. `version` goes into bad rows: three numbers and dots.
    pub fn resolve(&self, version: &str) -> Result<S3LoaderConfig, ConfigError> {
        match self {
            LoaderFile::V2(file) => file.resolve(version),
            LoaderFile::V3(file) => file.resolve(version),
        }
    }

    /// Name of the lease table.
    pub fn app_name(&self) -> &str {
        match self {
            LoaderFile::V2(file) => &file.input.app_name,
            LoaderFile::V3(file) => &file.input.app_name,
        }
    }

    /// Stream to read.
    pub fn input_stream(&self) -> &str {
        match self {
            LoaderFile::V2(file) => &file.input.stream_name,
            LoaderFile::V3(file) => &file.input.stream_name,
        }
    }

    /// Stream for bad rows.
    pub fn bad_stream(&self) -> &str {
        match self {
            LoaderFile::V2(file) => &file.output.bad.stream_name,
            LoaderFile::V3(file) => &file.output.bad.stream_name,
        }
    }

    /// Where shards without a checkpoint start.
    pub fn start_position(&self) -> StartPosition {
        match self {
            LoaderFile::V2(file) => file.input.position,
            LoaderFile::V3(file) => file.input.initial_position,
        }
    }
}

fn pairs(tags: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    tags.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}
