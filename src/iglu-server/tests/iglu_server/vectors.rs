//! The sequences of `iglu-server.json`, each on a registry of its own.

use std::collections::HashMap;

use serde_json::Value;
use snowmelt_iglu_server::core::api_key::ApiKey;
use snowmelt_iglu_server::{ServerConfig, Storage};

use super::support::{Answer, Server, config, shared, shared_folder};

/// Steps (`sequence/number`) where we choose to differ, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("publish-private/21", "a bad repr is told as such on every path, as the spec advises (20.2)"),
    ("patches/9", "a patch keeps the creation time, so the list keeps its order (20.2)"),
    ("patches/13", "the same"),
    ("drafts/1", "a stored draft is answered with 201, not with 501 (20.4)"),
    ("cors/2", "a refusal can be read by pages of other origins too (20.2)"),
];

#[tokio::test]
async fn every_sequence_gives_the_answers_of_the_reference() {
    let Some(folder) = shared_folder() else { return };
    let text = std::fs::read_to_string(folder.join("vectors/iglu-server.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let (mut steps, mut failures, mut differing) = (0, Vec::new(), Vec::new());
    for (number, sequence) in document["sequences"].as_array().unwrap().iter().enumerate() {
        let id = sequence["id"].as_str().unwrap();
        let server = start(&format!("sequence_{number}"), sequence).await;
        let mut captured = HashMap::new();
        for (at, step) in sequence["steps"].as_array().unwrap().iter().enumerate() {
            steps += 1;
            let case = format!("{id}/{at}");
            let answer = run(&server, &step["request"], &captured).await;
            if let Some(names) = step.get("capture").and_then(Value::as_object) {
                for (name, pointer) in names {
                    let value = answer.json().pointer(pointer.as_str().unwrap()).unwrap().as_str().unwrap().to_owned();
                    captured.insert(format!("{{{{{name}}}}}"), value);
                }
            }
            let chosen = DIFFERENCES.iter().any(|(known, _)| *known == case);
            match (compare(step, &answer), chosen) {
                (Ok(()), false) => {}
                (Err(_), true) => differing.push(case),
                (Ok(()), true) => failures.push(format!("{case} does not differ any more")),
                (Err(reason), false) => failures.push(format!("{case} {}: {reason}", step["request"])),
            }
        }
    }
    println!("{} steps, {} chosen differences, {} failures", steps, differing.len(), failures.len());
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert_eq!(differing.len(), DIFFERENCES.len(), "{differing:?}");
}

async fn start(schema: &str, sequence: &Value) -> Server {
    let given = &sequence["config"];
    let number = |name: &str| usize::try_from(given[name].as_u64().unwrap()).unwrap();
    let config = ServerConfig {
        super_key: ApiKey::parse(given["superApiKey"].as_str().unwrap()),
        patches_allowed: given["patchesAllowed"].as_bool().unwrap(),
        debug: given["debug"].as_bool().unwrap(),
        max_json_depth: number("maxJsonDepth"),
        max_payload_bytes: number("maxPayloadSize"),
        ..config()
    };
    let shared = shared();
    let storage = Storage::open(&shared.options(schema)).await.unwrap();
    for row in sequence["seed"]["iglu_permissions"].as_array().into_iter().flatten() {
        // As somebody would by hand: the reference has no other way.
        let keys: Vec<String> = serde_json::from_value(row["key_action"].clone()).unwrap();
        sqlx::query(
            "INSERT INTO iglu_permissions VALUES ($1::text::uuid, $2, $3, $4::text::schema_action, $5::text[]::key_action[])",
        )
        .bind(row["apikey"].as_str())
        .bind(row["vendor"].as_str())
        .bind(row["wildcard"].as_bool())
        .bind(row["schema_action"].as_str())
        .bind(keys)
        .execute(storage.pool())
        .await
        .unwrap();
    }
    Server::start(schema, config).await
}

async fn run(server: &Server, request: &Value, captured: &HashMap<String, String>) -> Answer {
    let filled = |text: &str| captured.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let path = filled(request["path"].as_str().unwrap());
    let headers: Vec<(String, String)> = request["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), filled(value.as_str().unwrap())))
        .collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let raw = request.get("raw_body").map(|body| body.as_str().unwrap().to_owned());
    let body = raw.or_else(|| request.get("body").map(ToString::to_string));
    server.send(request["method"].as_str().unwrap(), &path, &headers, body).await
}

fn compare(step: &Value, answer: &Answer) -> Result<(), String> {
    let expected = &step["response"];
    if expected["status"] != answer.status {
        return Err(format!("status {} instead of {}: {}", answer.status, expected["status"], answer.text));
    }
    if let Some(text) = expected.get("text").and_then(Value::as_str)
        && text != answer.text
    {
        return Err(format!("{:?} instead of {text:?}", answer.text));
    }
    if let Some(json) = expected.get("json") {
        if answer.header("content-type") != Some("application/json") {
            return Err(format!("content type {:?}", answer.header("content-type")));
        }
        let unordered = step.get("unordered").or_else(|| expected.get("unordered"));
        let unordered: Vec<&str> =
            unordered.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        if !matches(json, &answer.json(), "", &unordered) {
            return Err(format!("{} instead of {json}", answer.text));
        }
    }
    for (name, value) in expected.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let found = answer.header(name);
        let set = |text: &str| {
            let mut items: Vec<String> = text.split(',').map(|item| item.trim().to_ascii_lowercase()).collect();
            items.sort();
            items
        };
        let equal = match (value, found) {
            (Value::Null, found) => found.is_none(),
            (Value::String(text), Some(found)) => text.eq_ignore_ascii_case(found),
            (Value::Object(object), Some(found)) => {
                let items: Vec<&str> = object["$set"].as_array().unwrap().iter().map(|i| i.as_str().unwrap()).collect();
                set(&items.join(",")) == set(found)
            }
            _ => false,
        };
        if !equal {
            return Err(format!("header {name} is {found:?} instead of {value}"));
        }
    }
    Ok(())
}

fn matches(expected: &Value, found: &Value, pointer: &str, unordered: &[&str]) -> bool {
    match (expected, found) {
        (Value::Object(wanted), _) if wanted.contains_key("$any") => {
            let text = found.as_str().unwrap_or_default();
            match wanted["$any"].as_str() {
                Some("uuid") => ApiKey::parse(text).is_some() && text == text.to_lowercase(),
                _ => text.parse::<jiff::Timestamp>().is_ok() && text.ends_with('Z'),
            }
        }
        (Value::Object(wanted), Value::Object(members)) => {
            wanted.len() == members.len()
                && wanted.iter().all(|(name, value)| {
                    members
                        .get(name)
                        .is_some_and(|member| matches(value, member, &format!("{pointer}/{name}"), unordered))
                })
        }
        (Value::Array(wanted), Value::Array(items)) if unordered.contains(&pointer) => {
            wanted.len() == items.len()
                && wanted.iter().all(|value| items.iter().any(|item| matches(value, item, pointer, unordered)))
        }
        (Value::Array(wanted), Value::Array(items)) => {
            wanted.len() == items.len()
                && wanted
                    .iter()
                    .zip(items)
                    .enumerate()
                    .all(|(at, (value, item))| matches(value, item, &format!("{pointer}/{at}"), unordered))
        }
        _ => expected == found,
    }
}
