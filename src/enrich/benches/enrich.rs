//! Cost of enrichment: `cargo bench -p snowmelt-enrich`. The page view is what a browser's tracker posts, 2.3 KB with
//! three entities (web page, session, performance timing) whose schemas are the published ones.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use serde_json::json;
use snowmelt_enrich::enrichments::{Assets, ConfigDocument, Enrichments};
use snowmelt_enrich::{Context, Enrich, EnrichConfig, Outputs, RecordSeed, Scratch};
use snowmelt_iglu::{Lookup, Schema, SchemaKey, SchemaSource};
use snowmelt_protocol::badrow::Processor;
use snowmelt_protocol::document::Document;
use snowmelt_protocol::payload::{CollectorPayload, SCHEMA};

/// Counts allocations: they stand beside the times.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

const SNOWPLOW: &str = "iglu:com.snowplowanalytics.snowplow";

/// All schemas in memory, as after the first seconds of a pipeline.
struct InMemory(HashMap<SchemaKey, Arc<Schema>>);

impl InMemory {
    fn new() -> Self {
        let keys = [
            "com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
            "com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0",
            "com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1",
            "com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",
            "com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0",
            "com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2",
            "org.w3/PerformanceTiming/jsonschema/1-0-0",
            "com.snowplowanalytics.snowplow/link_click/jsonschema/1-0-1",
            "com.snowplowanalytics.snowplow/ua_parser_context/jsonschema/1-0-0",
        ];
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let roots = ["src/iglu/schemas", "pipelines/iglu/schemas"].map(|root| workspace.join(root));
        let load = |path: &&str| {
            let text = roots.iter().find_map(|root| std::fs::read_to_string(root.join(path)).ok());
            let document = serde_json::from_str(&text.expect(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            let key: SchemaKey = format!("iglu:{path}").parse().expect(path);
            (key.clone(), Arc::new(Schema::new(key, document, 50)))
        };
        InMemory(keys.iter().map(load).collect())
    }
}

impl SchemaSource for InMemory {
    fn lookup(&self, key: &SchemaKey) -> Option<Lookup> {
        self.0.get(key).cloned().map(Ok)
    }
}

fn contexts() -> String {
    let timing: serde_json::Map<_, _> = [
        "navigationStart",
        "fetchStart",
        "domainLookupStart",
        "domainLookupEnd",
        "connectStart",
        "connectEnd",
        "requestStart",
        "responseStart",
        "responseEnd",
        "domLoading",
        "domInteractive",
        "domContentLoadedEventStart",
        "domContentLoadedEventEnd",
        "domComplete",
        "loadEventStart",
        "loadEventEnd",
    ]
    .into_iter()
    .enumerate()
    .map(|(nth, name)| (name.to_owned(), json!(1_700_000_000_000_u64 + nth as u64)))
    .collect();
    let entities = json!([
        {"schema": format!("{SNOWPLOW}/web_page/jsonschema/1-0-0"), "data": {"id": "a86c42e5-b831-45c8-b706-e214c26b4b3d"}},
        {"schema": format!("{SNOWPLOW}/client_session/jsonschema/1-0-2"), "data": {
            "userId": "fa008142-1427-4289-8424-6fb2b6576692", "sessionId": "7a62ddad-6c77-4f07-9d5c-5a34fc0ef5b4",
            "sessionIndex": 12, "previousSessionId": "98450361-3f7b-4c3e-8c2e-6a8f4d0d3f10",
            "storageMechanism": "COOKIE_1", "firstEventId": "1548ba2c-2b69-4d6c-9d6e-3ab18cbc9c42",
            "firstEventTimestamp": "2023-11-14T22:13:20.123Z", "eventIndex": 4}},
        {"schema": "iglu:org.w3/PerformanceTiming/jsonschema/1-0-0", "data": timing},
    ]);
    json!({"schema": format!("{SNOWPLOW}/contexts/jsonschema/1-0-0"), "data": entities}).to_string()
}

fn body(events: usize, extra: serde_json::Value) -> String {
    let mut event = json!({
        "e": "pv", "p": "web", "tv": "js-3.24.0", "tna": "sp", "aid": "shop", "eid": "f732d278-120e-4ab6-845b-c1f11cd85dc7",
        "url": "https://shop.example.com/products/4711?colour=blue&utm_source=news&utm_medium=email#reviews",
        "refr": "https://www.google.com/search?q=blue+shoes", "page": "Blue shoes, size 42 | Shop",
        "dtm": "1700000000000", "stm": "1700000000050", "duid": "1c4b5c0e-6a3d-4f6e-8e4e-4f2f8e1a3c55",
        "sid": "7a62ddad-6c77-4f07-9d5c-5a34fc0ef5b4", "vid": "12", "res": "1920x1080", "vp": "1200x800",
        "ds": "1200x4500", "cookie": "1", "cs": "UTF-8", "lang": "en-GB", "tz": "Europe/London", "cd": "24",
        "cx": base64_simd::URL_SAFE_NO_PAD.encode_to_string(contexts()),
    });
    event.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    json!({"schema": format!("{SNOWPLOW}/payload_data/jsonschema/1-0-4"), "data": vec![event; events]}).to_string()
}

/// The six enrichments of a usual pipeline, with the files of `../shared`; none where that is missing.
fn six_enrichments() -> Option<Enrichments> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let core = "com.snowplowanalytics.snowplow";
    let file = |name: &str| json!({"uri": "http://files", "database": name});
    let mut referrers = file("referers.json");
    referrers["internalDomains"] = json!(["shop.example.com"]);
    let configurations = [
        ("ip_lookups/jsonschema/2-0-0", json!({"geo": file("GeoIP2-City.mmdb")})),
        ("ua_parser_config/jsonschema/1-0-1", file("regexes.yaml")),
        ("referer_parser/jsonschema/2-0-0", referrers),
        (
            "campaign_attribution/jsonschema/1-0-1",
            json!({"fields": {
            "mktMedium": ["utm_medium"], "mktSource": ["utm_source"], "mktTerm": ["utm_term"],
            "mktContent": ["utm_content"], "mktCampaign": ["utm_campaign"]}}),
        ),
        (
            "event_fingerprint_config/jsonschema/1-0-1",
            json!({"hashAlgorithm": "MD5", "excludeParameters": ["eid", "nuid", "stm", "cv"]}),
        ),
        ("anon_ip/jsonschema/1-0-1", json!({"anonOctets": 1, "anonSegments": 4})),
    ];
    let document = |(name, parameters): (&str, serde_json::Value)| {
        let data = json!({"vendor": core, "name": "n", "enabled": true, "parameters": parameters});
        ConfigDocument::from_json(&json!({"schema": format!("iglu:{core}/{name}"), "data": data})).expect(name)
    };
    let documents = configurations.map(document);
    let mut assets = Assets::new();
    for (name, path) in [
        ("GeoIP2-City.mmdb", "geoip/test-data/GeoIP2-City-Test.mmdb"),
        ("regexes.yaml", "uap-core/regexes.yaml"),
        ("referers.json", "referer-parser/resources/referers.yml"),
    ] {
        let Ok(content) = std::fs::read(data.join(path)) else {
            println!("skipped: {} is missing", data.join(path).display());
            return None;
        };
        // The referrers are published as YAML and hosted as JSON.
        let content = match name {
            "referers.json" => {
                let table: serde_json::Value = serde_yaml_ng::from_slice(&content).expect(path);
                table.to_string().into_bytes()
            }
            _ => content,
        };
        assets.insert(format!("http://files/{name}"), content.into());
    }
    Some(Enrichments::build(&documents, &assets).expect("the documents are right"))
}

fn record(body: String) -> Vec<u8> {
    let payload = CollectorPayload {
        schema: Some(SCHEMA.into()),
        ip_address: Some("203.0.113.77".into()),
        timestamp: 1_700_000_000_123,
        encoding: Some("UTF-8".into()),
        collector: Some("ssc-3.4.0-kinesis".into()),
        user_agent: Some(
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0".into(),
        ),
        referer_uri: Some("https://shop.example.com/products/4711?colour=blue".into()),
        path: Some("/com.snowplowanalytics.snowplow/tp2".into()),
        body: Some(Cow::Owned(body.into_bytes())),
        headers: Some((0..10).map(|n| format!("X-Header-{n}: some value of a usual length").into()).collect()),
        content_type: Some("application/json; charset=UTF-8".into()),
        hostname: Some("collector.example.com".into()),
        network_userid: Some("6d7d6a5c-1e4b-4d0c-9d7e-2f4f5b8c9a10".into()),
        ..CollectorPayload::default()
    };
    let mut bytes = Vec::new();
    payload.encode(&mut bytes);
    bytes
}

fn run(bencher: Bencher<'_, '_>, record: Vec<u8>, events: usize) {
    run_with(bencher, record, events, Enrichments::default());
}

fn run_with(bencher: Bencher<'_, '_>, record: Vec<u8>, events: usize, enrichments: Enrichments) {
    let schemas = InMemory::new();
    let enrich = Enrich::new(EnrichConfig::new(Processor::new("snowmelt-enrich", "0.1.0")), enrichments);
    let cx = Context { now_micros: 1_700_000_100_456_000, schemas: &schemas, seed: RecordSeed::new("raw", b"1") };
    let mut scratch = Scratch::new();
    let mut out = Outputs::default();
    enrich.record(&record, &cx, &mut scratch, &mut out).expect("all schemas are in memory");
    assert_eq!((out.good.len(), out.bad.len()), (events, 0), "{:?}", out.bad);
    bencher.counter(ItemsCount::new(events)).bench_local(|| {
        out.good.clear();
        enrich.record(black_box(&record), &cx, &mut scratch, &mut out).is_ok()
    });
}

#[divan::bench]
fn page_view_with_three_contexts(bencher: Bencher<'_, '_>) {
    run(bencher, record(body(1, json!({}))), 1);
}

#[divan::bench]
fn page_view_with_three_contexts_and_six_enrichments(bencher: Bencher<'_, '_>) {
    if let Some(enrichments) = six_enrichments() {
        run_with(bencher, record(body(1, json!({"ip": "81.2.69.142"}))), 1, enrichments);
    }
}

#[divan::bench]
fn ten_page_views_with_three_contexts(bencher: Bencher<'_, '_>) {
    run(bencher, record(body(10, json!({}))), 10);
}

#[divan::bench]
fn link_click_with_three_contexts(bencher: Bencher<'_, '_>) {
    let click = json!({
        "schema": format!("{SNOWPLOW}/unstruct_event/jsonschema/1-0-0"),
        "data": {"schema": format!("{SNOWPLOW}/link_click/jsonschema/1-0-1"),
                 "data": {"targetUrl": "https://example.com/x", "elementId": "buy", "elementClasses": ["a", "b"]}},
    });
    let unstruct = base64_simd::URL_SAFE_NO_PAD.encode_to_string(click.to_string());
    run(bencher, record(body(1, json!({"e": "ue", "ue_px": unstruct}))), 1);
}

#[divan::bench]
fn parse_contexts(bencher: Bencher<'_, '_>) {
    let text = contexts();
    let mut document = Document::new();
    bencher
        .counter(divan::counter::BytesCount::of_str(&text))
        .bench_local(|| document.parse(black_box(&text), 50).map(|root| root.len()));
}

#[divan::bench]
fn parse_body(bencher: Bencher<'_, '_>) {
    let text = body(1, json!({}));
    let mut document = Document::new();
    bencher
        .counter(divan::counter::BytesCount::of_str(&text))
        .bench_local(|| document.parse(black_box(&text), 50).map(|root| root.len()));
}
