//! Bad rows: why something could not go on, as one line of compact JSON (enrich-core section 6, collector 4.3,
//! postgres-loader 8, s3-loader 6). Each kind has a builder that appends its line; members are in the original's order.

mod build;
mod kind;
mod message;
mod payload;
mod size;

use std::borrow::Cow;

pub use build::{
    AdapterFailures, CollectorPayloadFormatViolation, EnrichmentFailures, GenericError, LoaderIgluError,
    LoaderParsingError, LoaderRuntimeError, RecoveryError, SchemaViolations, SizeViolation, TrackerProtocolViolations,
    base64,
};
pub use kind::{Kind, kind_of, schema_uri_of};
pub use message::{
    EnrichmentMessage, EnrichmentRef, FailureMessage, FormatMessage, IgluError, LoaderIgluMessage, LookupHistory,
    ParsingFailure, RegistryError, RowError, SchemaIssue, ValidationReport,
};
pub use payload::{CollectorPayloadObject, Parameter, RawEventObject};
pub use size::{head, trim_to_size};

/// The program that made a bad row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Processor {
    /// `snowplow-enrich-kinesis` and the like; at most 512 characters by the schema.
    pub artifact: Cow<'static, str>,
    /// Its version; must begin with three numbers and dots, at most 32 characters.
    pub version: Cow<'static, str>,
}

impl Processor {
    /// A processor by its names.
    pub fn new(artifact: impl Into<Cow<'static, str>>, version: impl Into<Cow<'static, str>>) -> Self {
        Processor { artifact: artifact.into(), version: version.into() }
    }

    /// `<artifact>-<version>`: what the column v_etl shows.
    pub fn v_etl(&self) -> String {
        format!("{}-{}", self.artifact, self.version)
    }
}
