//! Self-describing JSON records: parsing, and the bad rows made of them (spec postgres-loader, sections 3.2 and 8).

use snowmelt_iglu::ParseError;
use snowmelt_protocol::badrow::{GenericError, LoaderIgluMessage, Processor};
use snowmelt_protocol::document::Node;
use snowmelt_protocol::json::write_string;

use super::InputRecord;
use super::batch::Batch;

/// Deepest JSON that is accepted.
pub(super) const MAX_JSON_DEPTH: usize = 200;

/// Who refuses records, and when.
#[derive(Clone, Copy)]
pub(super) struct Refusal<'a> {
    pub(super) processor: &'a Processor,
    pub(super) now_ms: i64,
}

impl Refusal<'_> {
    fn generic_error(&self, errors: &[String], payload: &str) -> String {
        let mut line = String::new();
        let timestamp_micros = self.now_ms.saturating_mul(1000);
        GenericError { processor: self.processor, timestamp_micros, errors, payload }.write(&mut line);
        line
    }

    /// The bad row of a record which the database refused.
    pub(super) fn json_refused_by_database(&self, data: &[u8], message: &str) -> String {
        let text = String::from_utf8_lossy(data);
        let mut document = snowmelt_protocol::document::Document::new();
        let payload = document.parse(&text, MAX_JSON_DEPTH).map_or_else(|_| text.to_string(), |root| root.to_compact());
        self.generic_error(&[format!("Cannot insert: {message}")], &payload)
    }
}

/// Adds one record to the batch, as a row or as a bad row.
pub(super) fn add_json(batch: &mut Batch<'_>, place: usize, record: &InputRecord<'_>, refusal: Refusal<'_>) {
    let text = String::from_utf8_lossy(record.data);
    let mut document = std::mem::take(&mut batch.documents[0]);
    let errors = match document.parse(&text, MAX_JSON_DEPTH) {
        Err(error) => Some((vec![format!("ParsingFailure: {error}")], text.to_string())),
        Ok(root) => add_parsed(batch, root).map(|errors| (errors, root.to_compact())),
    };
    batch.documents[0] = document;
    match errors {
        None => batch.keep(place),
        Some((errors, payload)) => batch.refuse(place, record, refusal.generic_error(&errors, &payload)),
    }
}

/// The errors of a record; `None` when its row is in the batch (or waits for its table).
fn add_parsed(batch: &mut Batch<'_>, root: Node<'_>) -> Option<Vec<String>> {
    let fault = |error: ParseError| {
        let what = match error {
            ParseError::DataPayload => "Invalid data payload",
            ParseError::SchemaVer => "Invalid schema version",
            _ => "Invalid Iglu URI",
        };
        Some(vec![format!("{what}: {}, code: {}", root.to_compact(), error.code())])
    };
    let (Some(uri), Some(data)) = (root.get("schema").and_then(|uri| uri.as_str()), root.get("data")) else {
        return fault(ParseError::DataPayload);
    };
    let mut failures = Vec::new();
    if let Err(error) = batch.add_entity(&uri, data, None, &mut failures) {
        return fault(error);
    }
    (!failures.is_empty()).then(|| failures.iter().map(failure_text).collect())
}

/// A failure as the JSON text which stands in the error list.
pub(super) fn failure_text(failure: &LoaderIgluMessage) -> String {
    let mut out = String::new();
    let mut member = |name: &str, text: &str| {
        out.push_str(if out.is_empty() { "{\"" } else { ",\"" });
        out.push_str(name);
        out.push_str("\":");
        write_string(text, &mut out);
    };
    let error = match failure {
        LoaderIgluMessage::SchemaListNotFound { criterion, error } => {
            member("schemaCriterion", criterion);
            Some(error)
        }
        LoaderIgluMessage::Iglu { schema_key, error } => {
            member("schemaKey", schema_key);
            Some(error)
        }
        LoaderIgluMessage::InvalidSchema { schema_key, message } => {
            member("schemaKey", schema_key);
            member("message", message);
            None
        }
        LoaderIgluMessage::WrongType { schema_key, expected } => {
            member("schemaKey", schema_key);
            out.push_str(",\"value\":null,\"expected\":");
            write_string(expected, &mut out);
            None
        }
    };
    if let Some(error) = error {
        out.push_str(",\"error\":");
        error.write(&mut out);
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_json_texts() {
        let failure =
            LoaderIgluMessage::WrongType { schema_key: "iglu:a/b/jsonschema/1-0-0".into(), expected: "x\"".into() };
        assert_eq!(
            failure_text(&failure),
            r#"{"schemaKey":"iglu:a/b/jsonschema/1-0-0","value":null,"expected":"x\""}"#
        );
    }
}
