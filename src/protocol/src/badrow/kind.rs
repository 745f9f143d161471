//! The kinds of bad rows and the schema each names.

/// A kind of bad row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Too large for its stream or too large to be unpacked.
    SizeViolation,
    /// Bytes that are no collector payload.
    CollectorPayloadFormatViolation,
    /// A webhook adapter could not make events of a payload.
    AdapterFailures,
    /// A tracker's request that is not in its protocol.
    TrackerProtocolViolations,
    /// An event whose data do not fit their schemas.
    SchemaViolations,
    /// An event that an enrichment refused.
    EnrichmentFailures,
    /// Whatever has no better kind.
    GenericError,
    /// A bad row that a recovery job could not repair.
    RecoveryError,
    /// A line that is no enriched event.
    LoaderParsingError,
    /// An enriched event whose schemas a loader could not get or use.
    LoaderIgluError,
    /// An enriched event that a database refused.
    LoaderRuntimeError,
}

const VENDOR: &str = "iglu:com.snowplowanalytics.snowplow.badrows/";

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 11] = [
        Kind::SizeViolation,
        Kind::CollectorPayloadFormatViolation,
        Kind::AdapterFailures,
        Kind::TrackerProtocolViolations,
        Kind::SchemaViolations,
        Kind::EnrichmentFailures,
        Kind::GenericError,
        Kind::RecoveryError,
        Kind::LoaderParsingError,
        Kind::LoaderIgluError,
        Kind::LoaderRuntimeError,
    ];

    /// The Iglu URI of the schema that rows of this kind name.
    pub const fn schema_uri(self) -> &'static str {
        match self {
            Kind::SizeViolation => "iglu:com.snowplowanalytics.snowplow.badrows/size_violation/jsonschema/1-0-0",
            Kind::CollectorPayloadFormatViolation => {
                "iglu:com.snowplowanalytics.snowplow.badrows/collector_payload_format_violation/jsonschema/1-0-0"
            }
            Kind::AdapterFailures => "iglu:com.snowplowanalytics.snowplow.badrows/adapter_failures/jsonschema/1-0-0",
            Kind::TrackerProtocolViolations => {
                "iglu:com.snowplowanalytics.snowplow.badrows/tracker_protocol_violations/jsonschema/1-0-1"
            }
            Kind::SchemaViolations => "iglu:com.snowplowanalytics.snowplow.badrows/schema_violations/jsonschema/2-0-1",
            Kind::EnrichmentFailures => {
                "iglu:com.snowplowanalytics.snowplow.badrows/enrichment_failures/jsonschema/2-0-1"
            }
            Kind::GenericError => "iglu:com.snowplowanalytics.snowplow.badrows/generic_error/jsonschema/1-0-0",
            Kind::RecoveryError => "iglu:com.snowplowanalytics.snowplow.badrows/recovery_error/jsonschema/1-0-1",
            Kind::LoaderParsingError => {
                "iglu:com.snowplowanalytics.snowplow.badrows/loader_parsing_error/jsonschema/2-0-0"
            }
            Kind::LoaderIgluError => "iglu:com.snowplowanalytics.snowplow.badrows/loader_iglu_error/jsonschema/2-0-0",
            Kind::LoaderRuntimeError => {
                "iglu:com.snowplowanalytics.snowplow.badrows/loader_runtime_error/jsonschema/1-0-1"
            }
        }
    }

    /// The name part of the schema (`size_violation`), also good as a label of a metric.
    pub fn name(self) -> &'static str {
        let path = &self.schema_uri()[VENDOR.len()..];
        path.split('/').next().unwrap_or(path)
    }

    /// The kind that a schema URI names; any version will do.
    pub fn from_schema_uri(uri: &str) -> Option<Kind> {
        let name = uri.strip_prefix(VENDOR)?.split('/').next()?;
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The kind of a bad row, from its line; `None` when the line is no bad row.
pub fn kind_of(line: &str) -> Option<Kind> {
    Kind::from_schema_uri(&schema_uri_of(line)?)
}

/// The top-level `schema` of a self-describing JSON line; `None` when there is none or the line is no JSON object.
pub fn schema_uri_of(line: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Envelope {
        schema: String,
    }
    // What we and the original write: no parse is needed to read the first member.
    if let Some(rest) = line.strip_prefix("{\"schema\":\"")
        && let Some(end) = rest.find(['"', '\\'])
        && rest.as_bytes()[end] == b'"'
        && rest[end..].starts_with("\",\"data\":")
    {
        return Some(rest[..end].to_owned());
    }
    serde_json::from_str::<Envelope>(line).ok().map(|envelope| envelope.schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_uri() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_schema_uri(kind.schema_uri()), Some(kind));
            let line = format!("{{\"schema\":\"{}\",\"data\":{{}}}}", kind.schema_uri());
            assert_eq!(kind_of(&line), Some(kind));
        }
    }

    #[test]
    fn the_schema_is_found_wherever_it_stands() {
        assert_eq!(schema_uri_of(r#"{ "data": {"schema":"no"}, "schema": "iglu:a" }"#).as_deref(), Some("iglu:a"));
        assert_eq!(schema_uri_of(r#"{"schema":"ig\u006cu:a","data":{}}"#).as_deref(), Some("iglu:a"));
        assert_eq!(schema_uri_of(r#"{"data":{"schema":"no"}}"#), None);
        assert_eq!(schema_uri_of("[]"), None);
        assert_eq!(kind_of(r#"{"schema":"iglu:com.acme/x/jsonschema/1-0-0","data":{}}"#), None);
    }
}
