//! What bad rows say went wrong: the message shapes of enrich-core 6.3 and 6.4.1 and of the loaders.

use std::borrow::Cow;

use crate::badrow::Kind;
use crate::json::{ObjectWriter, write_optional_string, write_string};
use crate::time;

type Text = Cow<'static, str>;

/// Message of a `collector_payload_format_violation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatMessage {
    /// The payload could not be read at all: `{"error"}`.
    Error(String),
    /// One field is not usable: `{"payloadField","value","expectation"}`.
    Field {
        /// Name of the field: `querystring`, `path`, `networkUserId`.
        payload_field: Text,
        /// Its value.
        value: Option<String>,
        /// What it should have been.
        expectation: Text,
    },
}

/// Message of `adapter_failures`, `tracker_protocol_violations` and `schema_violations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureMessage {
    /// A text that should have been JSON: `{"field","value","error"}`.
    NotJson {
        /// Where it came from.
        field: Text,
        /// The text.
        value: Option<String>,
        /// What is wrong, beginning with `invalid json: `.
        error: String,
    },
    /// JSON that should have been self-describing: `{"json","error"}`.
    NotIglu {
        /// The JSON as compact text.
        json: String,
        /// A code of enrich-core 5.2, `INVALID_DATA_PAYLOAD`.
        error: &'static str,
    },
    /// A value that was not expected: `{"field","value","expectation"}`.
    InputData {
        /// Where it came from.
        field: Text,
        /// The value.
        value: Option<String>,
        /// What it should have been.
        expectation: Text,
    },
    /// An adapter has no schema for an event type: `{"actual","expectedMapping","expectation"}`.
    SchemaMapping {
        /// The type that came.
        actual: Option<String>,
        /// Known types and the schema URI of each, in the adapter's order.
        expected_mapping: Vec<(String, String)>,
        /// What was expected.
        expectation: Text,
    },
    /// A schema can not be got, or data do not fit it: `{"schemaKey","error"}`.
    Iglu {
        /// The schema's URI as it came in.
        schema_key: String,
        /// What went wrong.
        error: IgluError,
    },
    /// Another schema than expected: `{"schemaKey","schemaCriterion"}`.
    CriterionMismatch {
        /// The schema's URI.
        schema_key: String,
        /// The criterion, `iglu:…/1-0-*`.
        criterion: Text,
    },
}

/// Error of the Iglu client (enrich-core 6.4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IgluError {
    /// No registry gave the schema. Entries are printed sorted by repository name.
    Resolution(Vec<LookupHistory>),
    /// Data do not fit the schema.
    Validation {
        /// At least one report.
        reports: Vec<ValidationReport>,
        /// The superseding version that was used instead, `1-0-2`.
        superseded_by: Option<String>,
    },
    /// The schema itself is not usable.
    SchemaIssues(Vec<SchemaIssue>),
}

/// What one registry answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupHistory {
    /// Name of the registry.
    pub repository: String,
    /// Distinct errors.
    pub errors: Vec<RegistryError>,
    /// How often it was asked.
    pub attempts: u32,
    /// When it was asked last, milliseconds since the epoch.
    pub last_attempt_millis: i64,
}

/// Why a registry did not give a schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RegistryError {
    /// It does not have it.
    NotFound,
    /// It answered with an error of its own.
    RepoFailure(String),
    /// It could not be asked, or its answer not be read.
    ClientFailure(String),
}

/// Where and how data do not fit a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationReport {
    /// For people.
    pub message: Text,
    /// Path into the data (`$.sku`), or a parameter's or column's name.
    pub path: Option<Text>,
    /// The schema keyword that was not fulfilled.
    pub keyword: Option<Text>,
    /// What the keyword asks for.
    pub targets: Vec<String>,
}

/// What is wrong with a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaIssue {
    /// Path into the schema.
    pub path: String,
    /// For people.
    pub message: String,
}

/// The enrichment that a message of `enrichment_failures` is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrichmentRef {
    /// URI of the enrichment's configuration schema.
    pub schema_key: Text,
    /// The enrichment's name.
    pub identifier: Text,
}

/// Message of `enrichment_failures`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrichmentMessage {
    /// `{"error"}`.
    Simple {
        /// The enrichment; `None` for the core's own steps.
        enrichment: Option<EnrichmentRef>,
        /// What went wrong.
        error: String,
    },
    /// `{"field","value","expectation"}`.
    InputData {
        /// The enrichment; `None` for the core's own steps.
        enrichment: Option<EnrichmentRef>,
        /// The field.
        field: Text,
        /// Its value.
        value: Option<String>,
        /// What it should have been.
        expectation: Text,
    },
}

/// Failure of a `loader_parsing_error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsingFailure {
    /// The line has no columns at all.
    NotTsv,
    /// Another number of columns than 131.
    FieldNumberMismatch {
        /// How many there are.
        field_count: usize,
    },
    /// Columns that can not be read.
    RowDecoding(Vec<RowError>),
}

/// One thing wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowError {
    /// A column's value can not be read.
    InvalidValue {
        /// The column as the original names it: `Symbol(event_id)`.
        key: String,
        /// The value.
        value: String,
        /// For people.
        message: String,
    },
    /// Anything else.
    Unhandled(String),
}

/// Failure of a `loader_iglu_error`; one a problem, in the order of postgres-loader 8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoaderIgluMessage {
    /// The list of a schema family can not be got: `{"schemaCriterion","error"}`.
    SchemaListNotFound {
        /// `iglu:<vendor>/<name>/jsonschema/<model>-*-*`.
        criterion: String,
        /// What went wrong.
        error: IgluError,
    },
    /// A schema can not be got: `{"schemaKey","error"}`.
    Iglu {
        /// The schema's URI.
        schema_key: String,
        /// What went wrong.
        error: IgluError,
    },
    /// A schema is not understood: `{"schemaKey","message"}`.
    InvalidSchema {
        /// The schema's URI.
        schema_key: String,
        /// For people.
        message: String,
    },
    /// A value can not be cast to its column: `{"schemaKey","value":null,"expected"}`.
    WrongType {
        /// The schema's URI.
        schema_key: String,
        /// For people.
        expected: String,
    },
}

impl FormatMessage {
    pub(super) fn write(&self, out: &mut String) {
        match self {
            FormatMessage::Error(error) => ObjectWriter::begin(out).text("error", error).end(),
            FormatMessage::Field { payload_field, value, expectation } => ObjectWriter::begin(out)
                .text("payloadField", payload_field)
                .optional("value", value.as_deref())
                .text("expectation", expectation)
                .end(),
        }
    }
}

impl FailureMessage {
    pub(super) fn write(&self, out: &mut String) {
        let object = ObjectWriter::begin(out);
        match self {
            FailureMessage::NotJson { field, value, error } => {
                object.text("field", field).optional("value", value.as_deref()).text("error", error)
            }
            FailureMessage::NotIglu { json, error } => {
                object.with("json", |out| out.push_str(json)).text("error", error)
            }
            FailureMessage::InputData { field, value, expectation } => {
                object.text("field", field).optional("value", value.as_deref()).text("expectation", expectation)
            }
            FailureMessage::SchemaMapping { actual, expected_mapping, expectation } => object
                .optional("actual", actual.as_deref())
                .with("expectedMapping", |out| {
                    let mut mapping = ObjectWriter::begin(out);
                    for (kind, uri) in expected_mapping {
                        mapping = mapping.text(kind, uri);
                    }
                    mapping.end();
                })
                .text("expectation", expectation),
            FailureMessage::Iglu { schema_key, error } => {
                object.text("schemaKey", schema_key).with("error", |out| error.write(out))
            }
            FailureMessage::CriterionMismatch { schema_key, criterion } => {
                object.text("schemaKey", schema_key).text("schemaCriterion", criterion)
            }
        }
        .end();
    }
}

impl IgluError {
    /// Appends the error as its JSON object.
    pub fn write(&self, out: &mut String) {
        let object = ObjectWriter::begin(out);
        match self {
            IgluError::Resolution(history) => {
                let mut sorted: Vec<&LookupHistory> = history.iter().collect();
                sorted.sort_by(|a, b| a.repository.cmp(&b.repository));
                object.text("error", "ResolutionError").array("lookupHistory", &sorted, |entry, out| entry.write(out))
            }
            IgluError::Validation { reports, superseded_by } => {
                let object = object
                    .text("error", "ValidationError")
                    .array("dataReports", reports, |report, out| report.write(out));
                match superseded_by {
                    Some(version) => object.text("supersededBy", version),
                    None => object,
                }
            }
            IgluError::SchemaIssues(issues) => {
                object.text("error", "ValidationError").array("schemaIssues", issues, |issue, out| {
                    ObjectWriter::begin(out).text("path", &issue.path).text("message", &issue.message).end();
                })
            }
        }
        .end();
    }
}

impl LookupHistory {
    /// Appends the entry as its JSON object; also used in failure entities (enrich-core 6.5).
    pub fn write(&self, out: &mut String) {
        ObjectWriter::begin(out)
            .text("repository", &self.repository)
            .array("errors", &self.errors, |error, out| error.write(out))
            .with("attempts", |out| out.push_str(&self.attempts.to_string()))
            .with("lastAttempt", |out| {
                out.push('"');
                time::write_instant_millis(self.last_attempt_millis, out);
                out.push('"');
            })
            .end();
    }
}

impl RegistryError {
    fn write(&self, out: &mut String) {
        let object = ObjectWriter::begin(out);
        match self {
            RegistryError::NotFound => object.text("error", "NotFound"),
            RegistryError::RepoFailure(message) => object.text("error", "RepoFailure").text("message", message),
            RegistryError::ClientFailure(message) => object.text("error", "ClientFailure").text("message", message),
        }
        .end();
    }
}

impl ValidationReport {
    fn write(&self, out: &mut String) {
        ObjectWriter::begin(out)
            .text("message", &self.message)
            .optional("path", self.path.as_deref())
            .optional("keyword", self.keyword.as_deref())
            .array("targets", &self.targets, |target, out| write_string(target, out))
            .end();
    }
}

impl EnrichmentMessage {
    pub(super) fn write(&self, out: &mut String) {
        let (EnrichmentMessage::Simple { enrichment, .. } | EnrichmentMessage::InputData { enrichment, .. }) = self;
        ObjectWriter::begin(out)
            .with("enrichment", |out| match enrichment {
                None => write_optional_string(None, out),
                Some(EnrichmentRef { schema_key, identifier }) => {
                    ObjectWriter::begin(out).text("schemaKey", schema_key).text("identifier", identifier).end();
                }
            })
            .with("message", |out| match self {
                EnrichmentMessage::Simple { error, .. } => ObjectWriter::begin(out).text("error", error).end(),
                EnrichmentMessage::InputData { field, value, expectation, .. } => ObjectWriter::begin(out)
                    .text("field", field)
                    .optional("value", value.as_deref())
                    .text("expectation", expectation)
                    .end(),
            })
            .end();
    }
}

impl ParsingFailure {
    pub(super) fn write(&self, out: &mut String) {
        let object = ObjectWriter::begin(out);
        match self {
            ParsingFailure::NotTsv => object.text("type", "NotTSV"),
            ParsingFailure::FieldNumberMismatch { field_count } => object
                .text("type", "FieldNumberMismatch")
                .with("fieldCount", |out| out.push_str(&field_count.to_string())),
            ParsingFailure::RowDecoding(errors) => {
                object.text("type", "RowDecodingError").array("errors", errors, |error, out| error.write(out))
            }
        }
        .end();
    }
}

impl RowError {
    fn write(&self, out: &mut String) {
        let object = ObjectWriter::begin(out);
        match self {
            RowError::InvalidValue { key, value, message } => {
                object.text("type", "InvalidValue").text("key", key).text("value", value).text("message", message)
            }
            RowError::Unhandled(message) => object.text("type", "UnhandledRowDecodingError").text("message", message),
        }
        .end();
    }
}

impl LoaderIgluMessage {
    pub(super) fn write(&self, out: &mut String) {
        let object = ObjectWriter::begin(out);
        match self {
            LoaderIgluMessage::SchemaListNotFound { criterion, error } => {
                object.text("schemaCriterion", criterion).with("error", |out| error.write(out))
            }
            LoaderIgluMessage::Iglu { schema_key, error } => {
                object.text("schemaKey", schema_key).with("error", |out| error.write(out))
            }
            LoaderIgluMessage::InvalidSchema { schema_key, message } => {
                object.text("schemaKey", schema_key).text("message", message)
            }
            LoaderIgluMessage::WrongType { schema_key, expected } => {
                object.text("schemaKey", schema_key).optional("value", None).text("expected", expected)
            }
        }
        .end();
    }
}

/// Opens the envelope and the processor of a row of this kind; `write` appends `failure` and `payload`.
pub(super) fn envelope<'o>(kind: Kind, out: &'o mut String, processor: &super::Processor) -> ObjectWriter<'o> {
    out.push_str("{\"schema\":\"");
    out.push_str(kind.schema_uri());
    out.push_str("\",\"data\":");
    ObjectWriter::begin(out).with("processor", |out| {
        ObjectWriter::begin(out).text("artifact", &processor.artifact).text("version", &processor.version).end();
    })
}
