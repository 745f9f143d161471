//! What is wrong with an event: as a message of its bad row, and as an entity of the event itself (enrich-core 6.5).

use serde_json::{Value, json};
use snowmelt_protocol::badrow::{
    EnrichmentMessage, EnrichmentRef, FailureMessage, IgluError, Processor, ValidationReport,
};
use snowmelt_protocol::json as print;
use snowmelt_protocol::time;

/// Where an invalid value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Unstruct,
    Contexts,
    DerivedContexts,
    Atomic,
}

impl Origin {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Origin::Unstruct => "unstruct",
            Origin::Contexts => "contexts",
            Origin::DerivedContexts => "derived_contexts",
            Origin::Atomic => "atomic_field",
        }
    }
}

/// One message of a `schema_violations` bad row, with the value it is about.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub message: FailureMessage,
    pub origin: Origin,
    /// The value as compact JSON.
    pub data: String,
}

/// Schema that violations of atomic fields name.
pub(crate) const ATOMIC: &str = "iglu:com.snowplowanalytics.snowplow/atomic/jsonschema/1-0-0";

impl Violation {
    /// Values of atomic fields that cannot be used: name, value, report of each.
    pub(crate) fn atomic(faults: Vec<(&'static str, Option<String>, ValidationReport)>) -> Self {
        let mut data = serde_json::Map::new();
        let mut reports = Vec::with_capacity(faults.len());
        for (name, value, report) in faults {
            data.insert(name.to_owned(), value.into());
            reports.push(report);
        }
        let error = IgluError::Validation { reports, superseded_by: None };
        Violation {
            message: FailureMessage::Iglu { schema_key: ATOMIC.to_owned(), error },
            origin: Origin::Atomic,
            data: print::to_string(&Value::Object(data)),
        }
    }
}

/// Who makes failure entities, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reporter<'r> {
    pub processor: &'r Processor,
    pub now_millis: i64,
}

struct Failure<'f> {
    kind: &'f str,
    errors: Value,
    schema: Option<&'f str>,
    /// Compact JSON.
    data: &'f str,
}

impl Reporter<'_> {
    /// Appends the failure entity of a violation.
    pub(crate) fn write_violation(&self, violation: &Violation, out: &mut String) {
        let source = violation.origin.name();
        let data = violation.data.as_str();
        let failure = match &violation.message {
            FailureMessage::NotJson { error, .. } => {
                Failure { kind: "NotJSON", errors: json!([{"message": error, "source": source}]), schema: None, data }
            }
            FailureMessage::NotIglu { error, .. } => {
                let errors = json!([{"message": code_text(error), "source": source}]);
                Failure { kind: "NotIglu", errors, schema: None, data }
            }
            FailureMessage::CriterionMismatch { schema_key, criterion } => {
                let message = format!("Unexpected schema: {schema_key} does not match the criterion");
                let errors = json!([{"message": message, "source": source, "criterion": criterion}]);
                Failure { kind: "CriterionMismatch", errors, schema: Some(schema_key), data }
            }
            FailureMessage::Iglu { schema_key, error } => {
                let (kind, errors) = iglu_errors(schema_key, error, source);
                Failure { kind, errors, schema: Some(schema_key), data }
            }
            FailureMessage::InputData { field, value, expectation } => {
                let errors = json!([{"message": format!("{field} - {expectation}"), "source": field}]);
                return self.write_owned("EnrichmentError: ", errors, None, json!({field.as_ref(): value}), out);
            }
            FailureMessage::SchemaMapping { expectation, .. } => {
                Failure { kind: "SchemaMapping", errors: json!([{"message": expectation}]), schema: None, data }
            }
        };
        self.write(&failure, out);
    }

    /// Appends the failure entity of an enrichment's message.
    pub(crate) fn write_enrichment(&self, message: &EnrichmentMessage, out: &mut String) {
        let named = |enrichment: &Option<EnrichmentRef>| match enrichment {
            Some(EnrichmentRef { schema_key, identifier }) => {
                (format!("EnrichmentError: {identifier}"), Some(schema_key.to_string()))
            }
            None => ("EnrichmentError: ".to_owned(), None),
        };
        match message {
            EnrichmentMessage::Simple { enrichment, error } => {
                let (kind, schema) = named(enrichment);
                self.write_owned(&kind, json!([{"message": error}]), schema.as_deref(), Value::Null, out);
            }
            EnrichmentMessage::InputData { enrichment, field, value, expectation } => {
                let (kind, schema) = named(enrichment);
                let errors = json!([{"message": format!("{field} - {expectation}"), "source": field}]);
                self.write_owned(&kind, errors, schema.as_deref(), json!({field.as_ref(): value}), out);
            }
        }
    }

    fn write_owned(&self, kind: &str, errors: Value, schema: Option<&str>, data: Value, out: &mut String) {
        self.write(&Failure { kind, errors, schema, data: &print::to_string(&data) }, out);
    }

    fn write(&self, failure: &Failure<'_>, out: &mut String) {
        out.push_str(
            r#"{"schema":"iglu:com.snowplowanalytics.snowplow/failure/jsonschema/1-0-0","data":{"failureType":"#,
        );
        print::write_string(failure.kind, out);
        out.push_str(r#","errors":"#);
        print::write_value(&failure.errors, out);
        out.push_str(r#","schema":"#);
        print::write_optional_string(failure.schema, out);
        out.push_str(r#","data":"#);
        out.push_str(failure.data);
        out.push_str(r#","timestamp":""#);
        time::write_instant_millis(self.now_millis, out);
        out.push_str(r#"","componentName":"#);
        print::write_string(&self.processor.artifact, out);
        out.push_str(r#","componentVersion":"#);
        print::write_string(&self.processor.version, out);
        out.push_str("}}");
    }
}

fn code_text(code: &str) -> &'static str {
    match code {
        "INVALID_SCHEMAVER" => "Invalid schema version",
        "INVALID_IGLUURI" => "Invalid Iglu URI",
        "INVALID_DATA_PAYLOAD" => "Invalid data payload",
        "INVALID_SCHEMA" => "Invalid schema",
        // The original's spelling.
        _ => "Invalid metashema",
    }
}

fn iglu_errors(schema: &str, error: &IgluError, source: &str) -> (&'static str, Value) {
    match error {
        IgluError::Resolution(_) => {
            let mut text = String::new();
            error.write(&mut text);
            let printed: Value = serde_json::from_str(&text).unwrap_or_default();
            let history = printed.get("lookupHistory").cloned().unwrap_or_default();
            let message = format!("Resolution error: schema {schema} not found");
            ("ResolutionError", json!([{"message": message, "source": source, "lookupHistory": history}]))
        }
        IgluError::Validation { reports, .. } => {
            let error = |report: &ValidationReport| {
                let ValidationReport { message, path, keyword, targets } = report;
                json!({"message": message, "source": source, "path": path, "keyword": keyword, "targets": targets})
            };
            ("ValidationError", reports.iter().map(error).collect())
        }
        IgluError::SchemaIssues(issues) => {
            let error = |issue: &snowmelt_protocol::badrow::SchemaIssue| {
                let message = format!("Invalid schema: {schema} - {}", issue.message);
                json!({"message": message, "source": source, "path": issue.path})
            };
            ("ValidationError", issues.iter().map(error).collect())
        }
    }
}
