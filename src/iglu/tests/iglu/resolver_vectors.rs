//! The resolver part of the shared vectors, against servers inside the test.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::server::{Reply, Server};
use serde_json::{Value, json};
use snowmelt_iglu::{ClientError, Resolver, ResolverConfig, ResolverOptions, SchemaKey};

/// Cases where we choose to differ, with the reason.
const DIFFERENCES: &[(&str, &str)] = &[];

#[tokio::test]
async fn every_resolver_vector_has_the_reference_outcome() {
    let Some(vectors) = crate::common::vectors("schema-validation.json") else { return };
    let cases = vectors["resolver"].as_array().expect("the vectors have a list of scenarios");
    let mut failures = Vec::new();
    for case in cases {
        let id = case["id"].as_str().expect("a case has an id");
        if let Err(reason) = run(case).await {
            match DIFFERENCES.iter().find(|(differing, _)| *differing == id) {
                Some((_, why)) => println!("{id} differs by choice: {why}"),
                None => failures.push(format!("{id}: {reason}")),
            }
        }
    }
    println!("{} of {} resolver vectors pass", cases.len() - failures.len(), cases.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

async fn run(case: &Value) -> Result<(), String> {
    // One server plays all hosts: a host becomes the first part of the path.
    let server = Server::start().await;
    let mut repositories = case["repositories"].clone();
    for repository in repositories.as_array_mut().expect("a list") {
        if let Some(uri) = repository.pointer_mut("/connection/http/uri") {
            *uri = format!("{}/{}", server.address, host_path(uri.as_str().expect("a text"))).into();
        }
    }
    for (url, reply) in case["replies"].as_object().expect("replies by address") {
        let body = reply.get("json").map(Value::to_string);
        let body = body.or_else(|| reply["body"].as_str().map(str::to_owned)).unwrap_or_default();
        let status = reply["status"].as_u64().expect("a status") as u16;
        let path = if url == "*" { url.clone() } else { format!("/{}", host_path(url)) };
        server.reply(&path, Reply::Plain(status, body.into()));
    }
    let data = json!({"cacheSize": 0, "repositories": repositories});
    let document = json!({"schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3", "data": data});
    let config = ResolverConfig::parse(&document).map_err(|e| e.to_string())?;
    let options = ResolverOptions { max_retries: 0, ..ResolverOptions::default() };
    let resolver = Resolver::new(&config, options, Arc::new(|| 1_700_000_000_123)).map_err(|e| e.to_string())?;
    let key: SchemaKey = case["lookup"].as_str().expect("a key").parse().map_err(|e| format!("{e}"))?;
    let expect = &case["expect"];
    let lookup = resolver.resolve(&key).await;
    if let Some(order) = expect.get("search_order") {
        let own: Value = resolver.search_order(key.vendor()).into();
        return (own == *order).then_some(()).ok_or(format!("order is {own}, expected {order}"));
    }
    if let Some(schema) = expect.get("schema") {
        let found = lookup.map_err(|error| error.to_string())?;
        if found.document() != schema {
            return Err(format!("document is {}", found.document()));
        }
    } else {
        let outcome = match lookup {
            Err(error) => Err(ClientError::Resolution(error)),
            Ok(schema) => schema.check(&case["instance"], 50).map(|_| ()),
        };
        let Err(error) = outcome else { return Err("should fail".into()) };
        let actual = serde_json::to_value(&error).map_err(|e| e.to_string())?;
        crate::common::compare_unordered(&actual, &expect["error"])?;
    }
    if let Some(requests) = expect["requests"].as_array() {
        let expected: Vec<String> =
            requests.iter().map(|url| format!("/{}", host_path(url.as_str().expect("an address")))).collect();
        if server.paths() != expected {
            return Err(format!("asked {:?}, expected {expected:?}", server.paths()));
        }
    }
    if let Some(headers) = expect["request_headers"].as_object() {
        let expected: BTreeMap<&str, &str> =
            headers.iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or(""))).collect();
        let apikey = server.requests().first().and_then(|(_, apikey)| apikey.clone());
        if expected.get("apikey").copied() != apikey.as_deref() {
            return Err(format!("apikey was {apikey:?}"));
        }
    }
    Ok(())
}

fn host_path(url: &str) -> &str {
    url.trim_start_matches("http://")
}
