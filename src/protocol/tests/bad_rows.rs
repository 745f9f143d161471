//! Each kind of bad row, whole, as the original prints it.

use std::borrow::Cow;

use snowmelt_protocol::badrow::*;
use snowmelt_protocol::event::{Column, EnrichedEvent};

const AT_MICROS: i64 = 1_700_000_100_456_789;
const AT_MILLIS: i64 = 1_700_000_100_456;
const PREFIX: &str = "iglu:com.snowplowanalytics.snowplow.badrows";

fn processor() -> Processor {
    Processor::new("snowplow-enrich-kinesis", "6.10.0")
}

/// The row without the parts that all rows share.
fn inner(row: &str, schema: &str) -> String {
    let head = format!(
        "{{\"schema\":\"{PREFIX}/{schema}\",\"data\":{{\"processor\":{{\"artifact\":\"snowplow-enrich-kinesis\",\
         \"version\":\"6.10.0\"}},"
    );
    let rest = row.strip_prefix(&head).unwrap_or_else(|| panic!("{row} does not begin with {head}"));
    serde_json::from_str::<serde_json::Value>(row).expect("a bad row is JSON");
    rest.strip_suffix("}}").expect("two braces end the row").to_owned()
}

fn payload<'a>(querystring: &'a [Parameter<'a>], headers: &'a [Cow<'a, str>]) -> CollectorPayloadObject<'a> {
    CollectorPayloadObject {
        vendor: "com.acme",
        version: "v1",
        querystring,
        content_type: None,
        body: Some("{\"a\"\n:1}"),
        collector: "ssc-3.4.0-kinesis",
        encoding: "UTF-8",
        hostname: Some("c.acme.com"),
        timestamp_millis: Some(1_700_000_000_120),
        ip_address: Some("192.0.2.9"),
        useragent: None,
        referer_uri: None,
        headers,
        network_userid: None,
    }
}

const PAYLOAD: &str = r#"{"vendor":"com.acme","version":"v1","querystring":[{"name":"e","value":"pv"},{"name":"x","value":null}],"contentType":null,"body":"{\"a\"\n:1}","collector":"ssc-3.4.0-kinesis","encoding":"UTF-8","hostname":"c.acme.com","timestamp":"2023-11-14T22:13:20.120Z","ipAddress":"192.0.2.9","useragent":null,"refererUri":null,"headers":["A: 1"],"networkUserId":null}"#;

#[test]
fn format_violations_show_the_record_as_base64() {
    let mut row = String::new();
    CollectorPayloadFormatViolation {
        processor: &processor(),
        timestamp_micros: AT_MICROS,
        loader: "thrift",
        message: &FormatMessage::Field {
            payload_field: "path".into(),
            value: None,
            expectation: "request does not contain a path".into(),
        },
        record: &[0, 1],
    }
    .write(&mut row);
    assert_eq!(
        inner(&row, "collector_payload_format_violation/jsonschema/1-0-0"),
        r#""failure":{"timestamp":"2023-11-14T22:15:00.456789Z","loader":"thrift","message":{"payloadField":"path","value":null,"expectation":"request does not contain a path"}},"payload":"AAE=""#
    );
    assert_eq!(kind_of(&row), Some(Kind::CollectorPayloadFormatViolation));
}

#[test]
fn adapter_and_tracker_failures_show_the_payload() {
    let querystring: [Parameter<'_>; 2] = [("e".into(), Some("pv".into())), ("x".into(), None)];
    let headers = ["A: 1".into()];
    let payload = payload(&querystring, &headers);
    let messages = [
        FailureMessage::NotJson {
            field: "body".into(),
            value: Some("{".into()),
            error: "invalid json: exhausted input".into(),
        },
        FailureMessage::NotIglu { json: "[1.50]".into(), error: "INVALID_DATA_PAYLOAD" },
        FailureMessage::InputData { field: "body".into(), value: None, expectation: "empty body".into() },
        FailureMessage::SchemaMapping {
            actual: None,
            expected_mapping: vec![("b".into(), "iglu:b".into()), ("a".into(), "iglu:a".into())],
            expectation: "one of them".into(),
        },
        FailureMessage::CriterionMismatch { schema_key: "iglu:a".into(), criterion: "iglu:b/1-0-*".into() },
    ];
    let expected = format!(
        "\"failure\":{{\"timestamp\":\"2023-11-14T22:15:00.456Z\",\"vendor\":\"com.acme\",\"version\":\"v1\",\"messages\":[{}]}},\"payload\":{PAYLOAD}",
        r#"{"field":"body","value":"{","error":"invalid json: exhausted input"},{"json":[1.50],"error":"INVALID_DATA_PAYLOAD"},{"field":"body","value":null,"expectation":"empty body"},{"actual":null,"expectedMapping":{"b":"iglu:b","a":"iglu:a"},"expectation":"one of them"},{"schemaKey":"iglu:a","schemaCriterion":"iglu:b/1-0-*"}"#
    );
    let mut row = String::new();
    let processor = processor();
    AdapterFailures { processor: &processor, timestamp_millis: AT_MILLIS, messages: &messages, payload: &payload }
        .write(&mut row);
    assert_eq!(inner(&row, "adapter_failures/jsonschema/1-0-0"), expected);
    row.clear();
    TrackerProtocolViolations {
        processor: &processor,
        timestamp_millis: AT_MILLIS,
        messages: &messages,
        payload: &payload,
    }
    .write(&mut row);
    assert_eq!(inner(&row, "tracker_protocol_violations/jsonschema/1-0-1"), expected);
}

fn raw<'a>(parameters: &'a [Parameter<'a>]) -> RawEventObject<'a> {
    RawEventObject {
        vendor: "com.snowplowanalytics.snowplow",
        version: "tp2",
        parameters,
        content_type: None,
        loader_name: "ssc",
        encoding: "UTF-8",
        hostname: None,
        timestamp_millis: None,
        ip_address: None,
        useragent: None,
        referer_uri: None,
        headers: &[],
        user_id: None,
    }
}

const RAW: &str = r#""raw":{"vendor":"com.snowplowanalytics.snowplow","version":"tp2","parameters":[{"name":"e","value":"pv"}],"contentType":null,"loaderName":"ssc","encoding":"UTF-8","hostname":null,"timestamp":null,"ipAddress":null,"useragent":null,"refererUri":null,"headers":[],"userId":null}}"#;

#[test]
fn schema_violations_show_iglu_errors_and_the_event() {
    let mut event = EnrichedEvent::new();
    event.set(Column::AppId, "shop");
    let parameters: [Parameter<'_>; 1] = [("e".into(), Some("pv".into()))];
    let history = |repository: &str| LookupHistory {
        repository: repository.into(),
        errors: vec![RegistryError::NotFound, RegistryError::RepoFailure("down".into())],
        attempts: 2,
        last_attempt_millis: AT_MILLIS,
    };
    let iglu = |error| FailureMessage::Iglu { schema_key: "iglu:a".into(), error };
    let messages = [
        iglu(IgluError::Resolution(vec![history("b"), history("a")])),
        iglu(IgluError::Validation {
            reports: vec![ValidationReport {
                message: "Not a valid UUID".into(),
                path: Some("eid".into()),
                keyword: None,
                targets: vec!["x".into()],
            }],
            superseded_by: Some("1-0-2".into()),
        }),
        iglu(IgluError::SchemaIssues(vec![SchemaIssue { path: "$".into(), message: "odd".into() }])),
    ];
    let mut row = String::new();
    SchemaViolations {
        processor: &processor(),
        timestamp_millis: AT_MILLIS,
        messages: &messages,
        enriched: &event,
        raw: &raw(&parameters),
    }
    .write(&mut row);
    let inner = inner(&row, "schema_violations/jsonschema/2-0-1");
    let history = |repository| {
        format!(
            r#"{{"repository":"{repository}","errors":[{{"error":"NotFound"}},{{"error":"RepoFailure","message":"down"}}],"attempts":2,"lastAttempt":"2023-11-14T22:15:00.456Z"}}"#
        )
    };
    let expected = format!(
        r#""failure":{{"timestamp":"2023-11-14T22:15:00.456Z","messages":[{{"schemaKey":"iglu:a","error":{{"error":"ResolutionError","lookupHistory":[{},{}]}}}},{{"schemaKey":"iglu:a","error":{{"error":"ValidationError","dataReports":[{{"message":"Not a valid UUID","path":"eid","keyword":null,"targets":["x"]}}],"supersededBy":"1-0-2"}}}},{{"schemaKey":"iglu:a","error":{{"error":"ValidationError","schemaIssues":[{{"path":"$","message":"odd"}}]}}}}]}},"payload":{{"enriched":{{"app_id":"shop","platform":null,"#,
        history("a"),
        history("b")
    );
    assert!(inner.starts_with(&expected), "{inner}");
    assert!(inner.ends_with(&format!("\"true_tstamp\":null}},{RAW}")), "{inner}");
}

#[test]
fn enrichment_failures_name_the_enrichment() {
    let parameters: [Parameter<'_>; 1] = [("e".into(), Some("pv".into()))];
    let messages = [
        EnrichmentMessage::InputData {
            enrichment: None,
            field: "v_collector".into(),
            value: None,
            expectation: "should be set".into(),
        },
        EnrichmentMessage::Simple {
            enrichment: Some(EnrichmentRef { schema_key: "iglu:a".into(), identifier: "ip-lookups".into() }),
            error: "no".into(),
        },
    ];
    let mut row = String::new();
    EnrichmentFailures {
        processor: &processor(),
        timestamp_millis: AT_MILLIS,
        messages: &messages,
        enriched: &EnrichedEvent::new(),
        raw: &raw(&parameters),
    }
    .write(&mut row);
    let inner = inner(&row, "enrichment_failures/jsonschema/2-0-1");
    let expected = r#""failure":{"timestamp":"2023-11-14T22:15:00.456Z","messages":[{"enrichment":null,"message":{"field":"v_collector","value":null,"expectation":"should be set"}},{"enrichment":{"schemaKey":"iglu:a","identifier":"ip-lookups"},"message":{"error":"no"}}]},"payload":{"enriched":{"app_id":null,"#;
    assert!(inner.starts_with(expected), "{inner}");
}

#[test]
fn generic_and_recovery_errors() {
    let processor = processor();
    let mut row = String::new();
    GenericError {
        processor: &processor,
        timestamp_micros: 1_700_000_100_000_000,
        errors: &["one".into(), "two".into()],
        payload: &base64(b"xyz"),
    }
    .write(&mut row);
    assert_eq!(
        inner(&row, "generic_error/jsonschema/1-0-0"),
        r#""failure":{"timestamp":"2023-11-14T22:15:00Z","errors":["one","two"]},"payload":"eHl6""#
    );
    let bad_row = std::mem::take(&mut row);
    RecoveryError { processor: &processor, error: "no flow", config_name: None, bad_row: &bad_row, recoveries: 1 }
        .write(&mut row);
    assert_eq!(
        inner(&row, "recovery_error/jsonschema/1-0-1"),
        format!(r#""failure":{{"error":"no flow","configName":null}},"payload":{bad_row},"recoveries":1"#)
    );
}

#[test]
fn loader_errors() {
    let processor = processor();
    let mut row = String::new();
    for (failure, expected) in [
        (ParsingFailure::NotTsv, r#"{"type":"NotTSV"}"#),
        (
            ParsingFailure::FieldNumberMismatch { field_count: 130 },
            r#"{"type":"FieldNumberMismatch","fieldCount":130}"#,
        ),
        (
            ParsingFailure::RowDecoding(vec![
                RowError::InvalidValue {
                    key: "Symbol(event_id)".into(),
                    value: "x".into(),
                    message: "Cannot parse key Symbol(event_id) with value x into UUID".into(),
                },
                RowError::Unhandled("corrupt zstd-compressed payload".into()),
            ]),
            r#"{"type":"RowDecodingError","errors":[{"type":"InvalidValue","key":"Symbol(event_id)","value":"x","message":"Cannot parse key Symbol(event_id) with value x into UUID"},{"type":"UnhandledRowDecodingError","message":"corrupt zstd-compressed payload"}]}"#,
        ),
    ] {
        row.clear();
        LoaderParsingError { processor: &processor, failure: &failure, payload: "a\tb" }.write(&mut row);
        assert_eq!(
            inner(&row, "loader_parsing_error/jsonschema/2-0-0"),
            format!(r#""failure":{expected},"payload":"a\tb""#)
        );
    }
    let failures = [
        LoaderIgluMessage::SchemaListNotFound {
            criterion: "iglu:a/b/jsonschema/1-*-*".into(),
            error: IgluError::Resolution(Vec::new()),
        },
        LoaderIgluMessage::Iglu { schema_key: "iglu:a".into(), error: IgluError::Resolution(Vec::new()) },
        LoaderIgluMessage::InvalidSchema { schema_key: "iglu:a".into(), message: "odd".into() },
        LoaderIgluMessage::WrongType { schema_key: "iglu:a".into(), expected: "Invalid type".into() },
    ];
    row.clear();
    LoaderIgluError { processor: &processor, failures: &failures, event_json: "{}" }.write(&mut row);
    assert_eq!(
        inner(&row, "loader_iglu_error/jsonschema/2-0-0"),
        r#""failure":[{"schemaCriterion":"iglu:a/b/jsonschema/1-*-*","error":{"error":"ResolutionError","lookupHistory":[]}},{"schemaKey":"iglu:a","error":{"error":"ResolutionError","lookupHistory":[]}},{"schemaKey":"iglu:a","message":"odd"},{"schemaKey":"iglu:a","value":null,"expected":"Invalid type"}],"payload":{}"#
    );
    row.clear();
    LoaderRuntimeError { processor: &processor, error: "ERROR: no", event_json: "{}" }.write(&mut row);
    assert_eq!(inner(&row, "loader_runtime_error/jsonschema/1-0-1"), r#""failure":"ERROR: no","payload":{}"#);
}
