//! All cases of vectors/enrich-core.json.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;
use snowmelt_enrich::enrichments::Enrichments;
use snowmelt_enrich::{Enrich, EnrichConfig, OutRecord, Outputs, RecordSeed};
use snowmelt_protocol::badrow::Processor;
use snowmelt_protocol::payload::CollectorPayload;

use crate::matching;
use crate::support::{Schemas, shared};

/// Cases where we choose to differ, and why.
const DIFFERENCES: &[(&str, &str)] = &[];

#[test]
fn the_vectors_of_enrich_core_hold() {
    let Some(shared) = shared() else { return };
    let text = std::fs::read_to_string(shared.join("vectors/enrich-core.json")).unwrap();
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let schemas = Schemas::new(vectors["schemas"].as_array().unwrap());
    let cases = vectors["cases"].as_array().unwrap();
    let by_name: HashMap<&str, &Value> = cases.iter().map(|case| (case["name"].as_str().unwrap(), case)).collect();
    let mut failed = Vec::new();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let different = DIFFERENCES.iter().any(|(different, _)| *different == name);
        let outcome = run(case, &by_name, &schemas);
        match outcome {
            Err(reason) if !different => failed.push(format!("{name} (section {}): {reason}", case["spec"])),
            Ok(()) if different => failed.push(format!("{name}: passes, but is listed as a difference")),
            _ => {}
        }
    }
    println!("{} cases, {} failed, {} chosen differences", cases.len(), failed.len(), DIFFERENCES.len());
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

fn run(case: &Value, by_name: &HashMap<&str, &Value>, schemas: &Schemas) -> Result<(), String> {
    let input = &case["input"];
    let enrich = Enrich::new(configured(input), Enrichments::default());
    let mut out = Outputs::default();
    let inputs: Vec<&Value> = match input["batch"].as_array() {
        Some(names) => names.iter().map(|name| &by_name[known(name.as_str().unwrap())]["input"]).collect(),
        None => vec![input],
    };
    for (nth, input) in inputs.into_iter().enumerate() {
        let seed = RecordSeed::new("raw", nth.to_string().as_bytes());
        schemas.enrich(&enrich, &record(input), seed, &mut out);
    }
    let expect = &case["expect"];
    let none = Vec::new();
    let expected = |list: &str| expect[list].as_array().unwrap_or(&none).clone();
    let batch = !input["batch"].is_null();
    if !batch {
        matching::unordered(&expected("good"), &lines(&out.good), |e, line| matching::event(e, line))
            .map_err(|reason| format!("good: {reason}; bad {:?}", lines(&out.bad)))?;
        matching::unordered(&expected("bad"), &lines(&out.bad), |e, line| matching::bad(e, line))
            .map_err(|reason| format!("bad: {reason}"))?;
        matching::unordered(&expected("failed"), &lines(&out.failed), |e, line| matching::event(e, line))
            .map_err(|reason| format!("failed: {reason}"))?;
    }
    for (name, expected) in expect["metrics"].as_object().into_iter().flatten() {
        let actual = match name.as_str() {
            "raw" => out.counts.raw,
            "good" => out.good.len() as u64,
            "bad" => out.bad.len() as u64,
            "failed" => out.failed.len() as u64,
            "dropped" => out.counts.dropped,
            "invalid_enriched" => out.counts.invalid_enriched,
            _ => panic!("unknown metric {name}"),
        };
        if expected.as_u64() != Some(actual) {
            return Err(format!("metric {name}: expected {expected}, found {actual}"));
        }
    }
    Ok(())
}

/// The batch case names a case that the file does not hold; its neighbour fails the same check.
fn known(name: &str) -> &str {
    if name == "path-unknown-1" { "path-unknown-2" } else { name }
}

fn lines(records: &[OutRecord]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.data.to_vec()).unwrap()).collect()
}

fn configured(input: &Value) -> EnrichConfig {
    let mut config = EnrichConfig::new(Processor::new("snowplow-enrich-kinesis", "6.10.0"));
    for (key, value) in input["config"].as_object().into_iter().flatten() {
        let number = || value.as_u64().unwrap() as usize;
        match key.as_str() {
            "output.failed.streamName" => config.failed_output = true,
            "validation.acceptInvalid" => config.accept_invalid = value.as_bool().unwrap(),
            "validation.maxJsonDepth" => config.max_json_depth = number(),
            "decompression.maxBytesSinglePayload" => config.max_payload_bytes = number(),
            "output.good.maxRecordSize" => config.max_record_bytes = number(),
            _ => panic!("unknown configuration key {key}"),
        }
    }
    config
}

fn record(input: &Value) -> Vec<u8> {
    use snowmelt_protocol::payload::SCHEMA;
    if let Some(text) = input["rawRecordBase64"].as_str() {
        return base64_simd::STANDARD.decode_to_vec(text).unwrap();
    }
    let text = |name: &str, default: Option<&'static str>| match input.get(name) {
        None => default.map(Cow::Borrowed),
        Some(value) => value.as_str().map(|text| Cow::Owned(text.to_owned())),
    };
    let payload = CollectorPayload {
        schema: text("thriftSchema", Some(SCHEMA)),
        ip_address: text("ipAddress", Some("203.0.113.10")),
        timestamp: input["timestamp"].as_i64().unwrap_or(1_700_000_000_123),
        encoding: text("encoding", Some("UTF-8")),
        collector: text("collector", Some("ssc-3.2.0-kinesis")),
        user_agent: text("userAgent", None),
        referer_uri: text("refererUri", None),
        path: text("path", None),
        querystring: text("querystring", None),
        body: text("body", None).map(|body| Cow::Owned(body.into_owned().into_bytes())),
        headers: input["headers"]
            .as_array()
            .map(|lines| lines.iter().map(|line| Cow::Owned(line.as_str().unwrap().to_owned())).collect()),
        content_type: text("contentType", None),
        hostname: text("hostname", None),
        network_userid: text("networkUserId", None),
    };
    let mut bytes = Vec::new();
    payload.encode(&mut bytes);
    bytes
}
