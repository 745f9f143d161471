//! Speed of the event path: is a value valid, and is its schema in memory? Each beside the `jsonschema` crate alone.

use divan::Bencher;
use serde_json::{Value, json};
use snowmelt_iglu::Schema;

fn main() {
    divan::main();
}

const META: &str = "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#";

fn one_field() -> (Value, Value) {
    let id = json!({"type": "string", "format": "uuid"});
    (
        json!({"$schema": META, "type": "object", "properties": {"id": id}, "required": ["id"], "additionalProperties": false}),
        json!({"id": "123e4567-e89b-12d3-a456-426614174000"}),
    )
}

fn eight_fields() -> (Value, Value) {
    let schema = json!({"$schema": META, "type": "object", "properties": {
        "userId": {"type": "string", "pattern": "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$|^[0-9a-f]{16}$"},
        "sessionId": {"type": "string", "format": "uuid"},
        "sessionIndex": {"type": "integer", "minimum": 0, "maximum": 2147483647},
        "eventIndex": {"type": ["integer", "null"], "minimum": 0, "maximum": 2147483647},
        "previousSessionId": {"type": ["string", "null"], "format": "uuid"},
        "storageMechanism": {"type": "string", "enum": ["SQLITE", "COOKIE_1", "COOKIE_3", "LOCAL_STORAGE", "FLASH_LSO"]},
        "firstEventId": {"type": ["string", "null"], "format": "uuid"},
        "firstEventTimestamp": {"type": ["string", "null"], "format": "date-time"}},
        "required": ["userId", "sessionId", "sessionIndex", "previousSessionId", "storageMechanism"],
        "additionalProperties": false});
    let data = json!({"userId": "123e4567-e89b-12d3-a456-426614174000", "sessionId": "123e4567-e89b-12d3-a456-426614174001",
        "sessionIndex": 7, "eventIndex": 31, "previousSessionId": null, "storageMechanism": "LOCAL_STORAGE",
        "firstEventId": "123e4567-e89b-12d3-a456-426614174002", "firstEventTimestamp": "2024-02-03T04:05:06.789Z"});
    (schema, data)
}

fn twenty_numbers() -> (Value, Value) {
    let names: Vec<String> = (0..20).map(|i| format!("timingOfStage{i}")).collect();
    let rule = json!({"type": ["integer", "null"], "minimum": 0, "maximum": 9223372036854775807u64});
    let properties: Value =
        names.iter().map(|name| (name.clone(), rule.clone())).collect::<serde_json::Map<_, _>>().into();
    let data = names.iter().enumerate().map(|(i, name)| (name.clone(), json!(1_700_000_000_000u64 + i as u64)));
    (
        json!({"$schema": META, "type": "object", "properties": properties, "additionalProperties": false}),
        data.collect::<serde_json::Map<_, _>>().into(),
    )
}

fn case(name: &str) -> (Value, Value) {
    let (schema, data) = match name {
        "1 field" => one_field(),
        "8 fields" => eight_fields(),
        _ => twenty_numbers(),
    };
    // From text, as events come: numbers keep their literal form.
    let again = |value: Value| serde_json::from_str(&value.to_string()).expect("printed JSON is JSON");
    (again(schema), again(data))
}

const CASES: [&str; 3] = ["1 field", "8 fields", "20 numbers"];

#[divan::bench(args = CASES, sample_size = 200)]
fn is_valid(bencher: Bencher<'_, '_>, name: &str) {
    let (document, data) = case(name);
    let schema = Schema::new("iglu:a/b/jsonschema/1-0-0".parse().expect("a valid key"), document, 50);
    assert!(schema.check(&data, 50).is_ok());
    bencher.bench(|| schema.is_valid(divan::black_box(&data)));
}

#[divan::bench(args = CASES, sample_size = 200)]
fn check_with_depth(bencher: Bencher<'_, '_>, name: &str) {
    let (document, data) = case(name);
    let schema = Schema::new("iglu:a/b/jsonschema/1-0-0".parse().expect("a valid key"), document, 50);
    bencher.bench(|| schema.check(divan::black_box(&data), 50));
}

#[divan::bench(args = CASES, sample_size = 200)]
fn jsonschema_alone(bencher: Bencher<'_, '_>, name: &str) {
    let (document, data) = case(name);
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft4)
        .should_validate_formats(true)
        .build(&document)
        .expect("the schema compiles");
    assert!(validator.is_valid(&data));
    bencher.bench(|| validator.is_valid(divan::black_box(&data)));
}

#[divan::bench(args = CASES, sample_size = 200)]
fn all_reports_of_an_invalid_value(bencher: Bencher<'_, '_>, name: &str) {
    let (document, mut data) = case(name);
    data["unknown"] = Value::Null;
    let schema = Schema::new("iglu:a/b/jsonschema/1-0-0".parse().expect("a valid key"), document, 50);
    bencher.bench(|| schema.check(divan::black_box(&data), 50).is_err());
}

#[divan::bench(args = CASES, sample_size = 200)]
fn compile(bencher: Bencher<'_, '_>, name: &str) {
    let (document, _) = case(name);
    bencher.bench(|| Schema::new("iglu:a/b/jsonschema/1-0-0".parse().expect("a valid key"), document.clone(), 50));
}

/// Four hundred schemas in memory, looked up by the URI of an event.
fn warm_resolver() -> (snowmelt_iglu::Resolver, Vec<String>) {
    let root = std::env::temp_dir().join(format!("snowmelt-iglu-bench-{}", std::process::id()));
    let folder = root.join("schemas/com.acme.tracking/some_event_name/jsonschema");
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let data = json!({"cacheSize": 500, "cacheTtl": 600, "repositories": [
        {"name": "Local", "priority": 1, "vendorPrefixes": [], "connection": {"embedded": {"path": root}}}]});
    let document = json!({"schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3", "data": data});
    let config = snowmelt_iglu::ResolverConfig::parse(&document).expect("a valid configuration");
    let options = snowmelt_iglu::ResolverOptions::default();
    let resolver = snowmelt_iglu::Resolver::new(&config, options, snowmelt_iglu::system_clock()).expect("a resolver");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let uris = (0..400).map(|n| {
        std::fs::write(folder.join(format!("1-0-{n}")), "{}").expect("a file");
        let key = format!("iglu:com.acme.tracking/some_event_name/jsonschema/1-0-{n}");
        let found = runtime.block_on(resolver.resolve(&key.parse().expect("a valid key")));
        assert!(found.is_ok());
        key
    });
    let uris = uris.collect();
    std::fs::remove_dir_all(&root).expect("the temporary folder is ours");
    (resolver, uris)
}

#[divan::bench(threads = [1, 2], sample_size = 5000)]
fn cached_lookup(bencher: Bencher<'_, '_>) {
    let (resolver, uris) = warm_resolver();
    // Each thread steps through the keys by itself, as each enricher does.
    bencher.with_inputs(|| fastrand::usize(..uris.len())).bench_values(|at| resolver.cached_uri(&uris[at]).is_some());
}

#[divan::bench]
fn parse_a_key(bencher: Bencher<'_, '_>) {
    let uri = "iglu:com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0";
    bencher.bench(|| divan::black_box(uri).parse::<snowmelt_iglu::SchemaKey>());
}
