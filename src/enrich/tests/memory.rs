//! How much memory one record may cost, whatever is in it: at most [`MOST`], of which its outputs take at most
//! `MAX_OUTPUT_BYTES`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

#[path = "enrich/support.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod support;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};
use snowmelt_enrich::enrichments::Enrichments;
use snowmelt_enrich::{Enrich, EnrichConfig, MAX_OUTPUT_BYTES, Outputs, RecordSeed};
use snowmelt_protocol::badrow::Processor;
use snowmelt_protocol::container::{Compression, ContainerWriter};
use snowmelt_protocol::payload::{CollectorPayload, SCHEMA};
use support::Schemas;

/// Measured: 151 MB.
const MOST: usize = 2 * MAX_OUTPUT_BYTES;

fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches([':', ' ', '\t']).split(' ').next().unwrap().parse::<usize>().unwrap() << 10
}

/// The most memory that was held while `work` ran, over `before`: what the allocator kept of earlier work counts.
fn peak_of<T>(before: usize, work: impl FnOnce() -> T) -> (T, usize) {
    // 5: the high-water mark begins anew.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let result = work();
    (result, status("VmHWM").saturating_sub(before))
}

fn request<'a>(path: &'a str, query: &'a str, body: Option<Vec<u8>>) -> CollectorPayload<'a> {
    CollectorPayload {
        schema: Some(SCHEMA.into()),
        encoding: Some("UTF-8".into()),
        collector: Some("ssc".into()),
        timestamp: 1_700_000_000_123,
        path: Some(path.into()),
        querystring: Some(query.into()),
        content_type: body.is_some().then(|| "application/json".into()),
        body: body.map(Cow::Owned),
        ..CollectorPayload::default()
    }
}

fn encoded(payload: &CollectorPayload<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    payload.encode(&mut bytes);
    bytes
}

const TP2: &str = "/com.snowplowanalytics.snowplow/tp2";

fn payload_data(events: &str) -> Vec<u8> {
    let schema = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4";
    format!(r#"{{"schema":"{schema}","data":[{events}]}}"#).into_bytes()
}

/// A million bytes of the smallest events, all of them bad.
fn tiny_events(bytes: usize) -> Vec<u8> {
    payload_data(vec![r#"{"e":"x","p":"","tv":""}"#; bytes / 26].join(",").as_str())
}

fn contexts(data: &str) -> Vec<u8> {
    let envelope =
        format!(r#"{{"schema":"iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1","data":[{data}]}}"#);
    payload_data(&json!({"e": "pv", "p": "web", "tv": "t", "co": envelope}).to_string())
}

/// A record of empty payloads, some thousand times larger than it looks.
fn bomb() -> Vec<u8> {
    let mut writer = ContainerWriter::new(Compression::Zstd, 3, 1 << 30);
    for _ in 0..2_000_000 {
        writer.append(&[]).unwrap();
    }
    writer.finish().unwrap().unwrap()
}

fn records() -> Vec<(&'static str, Vec<u8>)> {
    let long_query: String = (0..3_000).map(|n| format!("name{n}=v&")).collect();
    let long_url = format!("schema=iglu:a/b/jsonschema/1-0-0&url={}", "x".repeat(30_000));
    let ones = format!("[{}1]", "1,".repeat(500_000)).into_bytes();
    let post = |body| encoded(&request(TP2, "", Some(body)));
    let mut with_headers = request(TP2, "", Some(tiny_events(1_000_000)));
    with_headers.referer_uri = Some("http://h/".repeat(1_000).into());
    with_headers.headers = Some(vec!["X: y".repeat(2_000).into(); 3]);
    let entities: String = (0..10_000).fold(String::new(), |mut text, n| {
        write!(text, r#"{{"schema":"iglu:com.acme/e{n}/jsonschema/1-0-0","data":{{"a":{n}}}}},"#).unwrap();
        text
    });
    let name = "n".repeat(20_000);
    let members: String = (0..20_000).map(|n| format!("\"{n}\":1,")).collect();
    let long_paths = format!(
        r#"{{"schema":"iglu:com.acme/map/jsonschema/1-0-0","data":{{"{name}":{{{}}}}}}}"#,
        members.trim_end_matches(',')
    );
    let mut many_long_paths = String::new();
    for _ in 0..400 {
        let members: String = (0..80).map(|n| format!("\"{n}\":1,")).collect();
        let (name, members) = (&name[..1_300], members.trim_end_matches(','));
        write!(
            many_long_paths,
            r#"{{"schema":"iglu:com.acme/map/jsonschema/1-0-0","data":{{"{name}":{{{members}}}}}}},"#
        )
        .unwrap();
    }
    let mut large = ContainerWriter::new(Compression::Gzip, 6, 1 << 30);
    large.append(&post(tiny_events(9_000_000))).unwrap();
    vec![
        ("noise", (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
        ("tiny events", post(tiny_events(1_000_000))),
        ("tiny events, large headers", encoded(&with_headers)),
        ("tiny events, a long query string", encoded(&request(TP2, &long_query, Some(tiny_events(1_000_000))))),
        ("an array for the webhook", encoded(&request("/com.snowplowanalytics.iglu/v1", &long_url, Some(ones)))),
        ("tiny entities", post(contexts(&format!("{}{{}}", "{},".repeat(330_000))))),
        ("entities of unknown schemas", post(contexts(entities.trim_end_matches(',')))),
        ("brackets", post(vec![b'['; 1_000_000])),
        ("brackets in a context", post(contexts(&"[".repeat(1_000_000)))),
        ("backslashes", post(contexts(&"\\".repeat(500_000)))),
        ("reports with long paths", post(contexts(&long_paths))),
        ("entities with long paths", post(contexts(many_long_paths.trim_end_matches(',')))),
        ("empty payloads, compressed", bomb()),
        ("nine million bytes of tiny events, compressed", large.finish().unwrap().unwrap()),
    ]
}

#[test]
fn no_record_costs_more_than_the_stated_memory() {
    let map = json!({
        "$schema": "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#",
        "self": {"vendor": "com.acme", "name": "map", "format": "jsonschema", "version": "1-0-0"},
        "type": "object", "additionalProperties": {"type": "object", "additionalProperties": {"type": "string"}},
    });
    let schemas = Schemas::new(&[map]);
    let mut config = EnrichConfig::new(Processor::new("snowmelt-enrich", "0.1.0"));
    config.failed_output = true;
    let enrich = Enrich::new(config, Enrichments::default());
    let records = records();
    let before = status("VmRSS");
    for (what, record) in records {
        let began = Instant::now();
        let (out, peak) = peak_of(before, || {
            let mut out = Outputs::default();
            schemas.enrich(&enrich, &record, RecordSeed::new("raw", b"1"), &mut out);
            out
        });
        let lists = [&out.good, &out.bad, &out.failed, &out.pii];
        let bytes: usize = lists.iter().flat_map(|list| list.iter()).map(|record| record.data.len()).sum();
        let count = lists.map(Vec::len);
        println!(
            "{what}: {} KB in, {count:?} records of {} MB out, {} MB at most, {:?}",
            record.len() / 1_000,
            bytes / 1_000_000,
            peak / 1_000_000,
            began.elapsed()
        );
        assert!(!out.bad.is_empty() || !out.good.is_empty(), "{what}");
        assert!(bytes <= MAX_OUTPUT_BYTES, "{what}");
        assert!(peak <= MOST, "{what}: {peak} bytes");
        if what.contains("long query") || what.contains("webhook") {
            let row: Value = serde_json::from_slice(&out.bad[0].data).unwrap();
            assert!(row["schema"].as_str().unwrap().contains("/size_violation/"), "{what}: {}", row["schema"]);
        }
    }
}
