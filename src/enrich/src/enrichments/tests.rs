//! The cases of `vectors/enrichments.json` for the enrichments that are built, each run through the whole phase.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use snowmelt_protocol::event::{Column, EnrichedEvent};

use super::*;

/// Kinds whose cases are run; add a kind here when its enrichment is built.
const KINDS: [&str; 6] =
    ["anon_ip", "campaign_attribution", "event_fingerprint", "ip_lookups", "referer_parser", "ua_parser"];

/// Cases where we choose to differ, with the reason.
const DIFFERENCES: &[(&str, &str)] = &[(
    "ip_lookups/ipv6",
    "its geo_longitude 139.75309 is what Java before 19 prints; the shortest text of that float, which the specification \
     asks for and Java 19 and later print, is 139.7531",
)];

/// A path in the folder of specifications and data, which is not part of the repository.
pub(super) fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SNOWMELT_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder.join(path));
    }
    println!("skipped: ../shared is missing");
    None
}

/// Where `Assets` expects the file that the vectors call by its local name.
fn asset_uri(local: &str, parameters: &Value) -> String {
    let setting = match local {
        "ip_geo" => &parameters["geo"],
        "ip_isp" => &parameters["isp"],
        "ip_domain" => &parameters["domain"],
        "ip_connectionType" => &parameters["connectionType"],
        "ip_asn" => &parameters["asn"],
        _ => parameters,
    };
    let text = |name: &str| setting[name].as_str().unwrap_or_default();
    Settings::asset_uri(text("uri"), text("database"))
}

fn assets_of(case: &Value, files: &mut BTreeMap<PathBuf, bytes::Bytes>) -> Assets {
    let mut assets = Assets::new();
    for (local, content) in case.get("assets").and_then(Value::as_object).into_iter().flatten() {
        let content = match content {
            Value::String(path) => {
                let path = shared(path).unwrap();
                files.entry(path.clone()).or_insert_with(|| std::fs::read(&path).unwrap().into()).clone()
            }
            inline if inline.get("json").is_some() => inline["json"].to_string().into(),
            inline => inline["text"].as_str().unwrap().to_owned().into(),
        };
        let parameters = &case["config"]["data"]["parameters"];
        if local == "ua-parser-rules.yml" && parameters.get("uri").is_none() {
            // What the vectors give for the default is built in.
            assert_eq!(*content, *include_bytes!("../../data/uap-core/regexes.yaml"));
            continue;
        }
        assets.insert(asset_uri(local, parameters), content);
    }
    assets
}

fn column(name: &str) -> Column {
    Column::from_name(name).unwrap_or_else(|| panic!("{name} is no column"))
}

/// The text of an expected value: columns hold texts only.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn run_case(case: &Value, files: &mut BTreeMap<PathBuf, bytes::Bytes>) -> Result<(), String> {
    let expect = &case["expect"];
    let built = ConfigDocument::from_json(&case["config"])
        .and_then(|document| Enrichments::build(&[document], &assets_of(case, files)));
    let refused = expect.get("config_error").is_some();
    let enrichments = match built {
        Ok(_) if refused => return Err("the configuration was accepted".to_owned()),
        Err(_) if refused => return Ok(()),
        Ok(enrichments) => enrichments,
        Err(error) => return Err(error.to_string()),
    };

    let mut event = EnrichedEvent::new();
    let mut parameters = Parameters::default();
    for (name, value) in case["event"].get("fields").and_then(Value::as_object).into_iter().flatten() {
        event.set_or_unset(column(name), text_of(value).as_deref());
    }
    for (name, value) in case["event"].get("parameters").and_then(Value::as_object).into_iter().flatten() {
        parameters.set(name.as_str(), text_of(value).map(Cow::Owned));
    }
    let (mut derived, mut failures, mut pii) = (Vec::new(), Vec::new(), Vec::new());
    let phase = Phase {
        event: &mut event,
        parameters: &parameters,
        headers: &[],
        referer_header: None,
        unstruct_schema: None,
        derived: &mut derived,
        failures: &mut failures,
        pii: &mut pii,
        deferral: &mut Deferral::default(),
    };
    run(&enrichments, phase);

    for (name, expected) in expect.get("fields").and_then(Value::as_object).into_iter().flatten() {
        let (got, expected) = (event.get(column(name)), text_of(expected));
        if got != expected.as_deref() {
            return Err(format!("{name} is {got:?}, not {expected:?}"));
        }
    }
    if let Some(expected) = expect.get("added_contexts") {
        let got: Vec<Value> = derived
            .iter()
            .map(|entity| {
                serde_json::json!({
                    "schema": entity.schema.uri(),
                    "data": serde_json::from_str::<Value>(&entity.data).unwrap(),
                })
            })
            .collect();
        if &Value::from(got.clone()) != expected {
            return Err(format!("contexts are {}, not {expected}", Value::from(got)));
        }
    }
    Ok(())
}

#[test]
fn vectors() {
    let Some(path) = shared("vectors/enrichments.json") else { return };
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    let (mut count, mut failed, mut files) = (0, Vec::new(), BTreeMap::new());
    for case in cases.iter().filter(|case| KINDS.contains(&case["enrichment"].as_str().unwrap())) {
        let name = case["name"].as_str().unwrap();
        count += 1;
        if let Some((_, reason)) = DIFFERENCES.iter().find(|(different, _)| *different == name) {
            println!("differs by choice: {name}: {reason}");
            continue;
        }
        if let Err(reason) = run_case(case, &mut files) {
            failed.push(format!("{name}: {reason}"));
        }
    }
    assert!(count >= 65, "only {count} cases were found");
    assert!(failed.is_empty(), "{} of {count} cases failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn enrichments_run_in_the_order_of_their_steps_and_the_later_document_counts() {
    let document = |name: &str, parameters: Value| {
        let schema = format!("iglu:com.snowplowanalytics.snowplow/{name}/jsonschema/1-0-0");
        let data = serde_json::json!({"enabled": true, "parameters": parameters});
        ConfigDocument::from_json(&serde_json::json!({"schema": schema, "data": data})).unwrap()
    };
    let fingerprint = serde_json::json!({"excludeParameters": [], "hashAlgorithm": "MD5"});
    let documents = [
        document("anon_ip", serde_json::json!({"anonOctets": 1})),
        document("event_fingerprint_config", fingerprint),
        document("anon_ip", serde_json::json!({"anonOctets": 4})),
    ];
    let enrichments = Enrichments::build(&documents, &Assets::new()).unwrap();
    let steps: Vec<Step> = enrichments.iter().map(Enrichment::step).collect();
    assert_eq!(steps, [Step::EventFingerprint, Step::AnonIp]);
}
