//! Whatever comes in, good events or bad rows come out.

use std::borrow::Cow;

use proptest::prelude::*;
use snowmelt_enrich::enrichments::Enrichments;
use snowmelt_enrich::{Context, Enrich, EnrichConfig, Outputs, RecordSeed, Scratch};
use snowmelt_iglu::{Lookup, ResolutionError, SchemaKey, SchemaSource};
use snowmelt_protocol::badrow::{Processor, kind_of};
use snowmelt_protocol::event::EnrichedEvent;
use snowmelt_protocol::payload::{CollectorPayload, SCHEMA};

/// Knows no schema and says so at once.
struct NoSchemas;

impl SchemaSource for NoSchemas {
    fn lookup(&self, _: &SchemaKey) -> Option<Lookup> {
        Some(Err(ResolutionError::default().into()))
    }
}

fn check(record: &[u8]) -> Outputs {
    let mut config = EnrichConfig::new(Processor::new("snowmelt-enrich", "0.1.0"));
    config.failed_output = true;
    let enrich = Enrich::new(config, Enrichments::default());
    let cx = Context { now_micros: 1, schemas: &NoSchemas, seed: RecordSeed::new("raw", b"1") };
    let mut out = Outputs::default();
    enrich.record(record, &cx, &mut Scratch::new(), &mut out).unwrap();
    for line in out.good.iter().chain(&out.failed) {
        let line = std::str::from_utf8(&line.data).unwrap();
        assert_eq!(line.split('\t').count(), 131, "{line}");
        assert!(!line.contains(['\n', '\r']));
        let mut again = String::new();
        EnrichedEvent::parse_tsv(line).unwrap().write_tsv(&mut again);
        assert_eq!(again, line);
    }
    for line in &out.bad {
        let line = std::str::from_utf8(&line.data).unwrap();
        assert!(kind_of(line).is_some(), "{line}");
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert!(out.failed.len() <= out.bad.len());
    out
}

fn encoded(payload: &CollectorPayload<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    payload.encode(&mut bytes);
    bytes
}

fn request(path: &str) -> CollectorPayload<'_> {
    CollectorPayload {
        schema: Some(SCHEMA.into()),
        encoding: Some("UTF-8".into()),
        collector: Some("c".into()),
        path: Some(path.into()),
        ..CollectorPayload::default()
    }
}

const PATHS: [&str; 5] =
    ["/i", "/com.snowplowanalytics.snowplow/tp2", "/r/tp2", "/com.snowplowanalytics.iglu/v1", "/com.acme/v1"];

const QUERY: &str = "((e|p|tv|aid|eid|tid|dtm|stm|ttm|url|refr|res|se_va|ue_pr|ue_px|co|cx|ip|u|schema|ev_va|cookie)=\
                     ([a-z0-9.:/?#-]{0,12}|(%[0-9A-Fa-f]{2}){0,6}|.{0,6})[&;]){0,8}";

const JSON: &str = r#"(\{|\}|\[|\]|"schema":|"data":|"iglu:com\.a/b/jsonschema/1-0-0"|"iglu:com\.snowplowanalytics\.snowplow/contexts/jsonschema/1-0-1"|,|:|null|1e400|"[^"]{0,4}"){0,12}"#;

proptest! {
    #[test]
    fn any_bytes_give_bad_rows(bytes in prop::collection::vec(any::<u8>(), 0..200), magic in 0..4usize) {
        let magics: [&[u8]; 4] = [&[], &[0x1f, 0x8b, 8], &[0x28, 0xb5, 0x2f, 0xfd], &[0x0b, 0, 100, 0, 0, 0]];
        let record = [magics[magic], &bytes].concat();
        let out = check(&record);
        prop_assert!(!out.bad.is_empty() && out.good.is_empty());
    }

    #[test]
    fn whatever_a_request_and_its_collector_say_lines_keep_their_columns(texts in prop::collection::vec("(.|\\PC|[\r\n\t]){0,12}", 6)) {
        let text = |index: usize| Some(Cow::Borrowed(texts[index].as_str()));
        let payload = CollectorPayload {
            collector: text(0),
            user_agent: text(1),
            referer_uri: text(2),
            ip_address: text(3),
            hostname: text(4),
            headers: Some(vec![Cow::Borrowed(texts[5].as_str())]),
            querystring: Some("e=pv".into()),
            ..request("/i")
        };
        let out = check(&encoded(&payload));
        prop_assert_eq!(out.good.len() + out.bad.len(), 1);
    }

    #[test]
    fn any_query_string_gives_events_or_bad_rows(path in 0..PATHS.len(), query in QUERY, agent in ".{0,20}") {
        let payload = CollectorPayload {
            querystring: Some(query.into()),
            user_agent: Some(agent.clone().into()),
            referer_uri: Some(agent.into()),
            ..request(PATHS[path])
        };
        let out = check(&encoded(&payload));
        prop_assert!(out.good.len() + out.bad.len() > 0);
    }

    #[test]
    fn any_body_gives_events_or_bad_rows(path in 0..PATHS.len(), body in JSON, query in QUERY, form: bool) {
        let content_type = if form { "application/x-www-form-urlencoded" } else { "application/json" };
        let payload = CollectorPayload {
            body: Some(Cow::Owned(body.into_bytes())),
            content_type: Some(content_type.into()),
            querystring: Some(query.into()),
            ..request(PATHS[path])
        };
        let out = check(&encoded(&payload));
        prop_assert!(out.good.len() + out.bad.len() > 0);
    }

    #[test]
    fn any_json_of_an_event_gives_events_or_bad_rows(json in JSON, header in ".{0,30}", timestamp: i64) {
        let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let payload = CollectorPayload {
            querystring: Some(format!("e=ue&co={0}&ue_pr={0}", escape(&json)).into()),
            headers: Some(vec![header.into()]),
            timestamp,
            ..request("/i")
        };
        let out = check(&encoded(&payload));
        prop_assert_eq!(out.good.len() + out.bad.len(), 1);
    }
}

#[test]
fn thousands_of_names_cost_no_more_than_their_number() {
    let query: String = (0..100_000).map(|n| format!("n{n}=1&")).collect();
    let payload = CollectorPayload { querystring: Some(format!("{query}e=pv").into()), ..request("/i") };
    let out = check(&encoded(&payload));
    assert_eq!(out.good.len(), 1);
}

#[test]
fn the_same_record_gives_the_same_events() {
    let record = encoded(&CollectorPayload { querystring: Some("e=pv&p=web".into()), ..request("/i") });
    assert_eq!(check(&record), check(&record));
}
