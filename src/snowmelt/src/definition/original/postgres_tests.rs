//! From the original's files to loaders, and the vectors of group `config`.

use serde_json::json;

use super::*;
use crate::definition::model::{Definition, LoadSink, Purpose, Start, Tables, Work};
use crate::definition::{Originals, Overrides, Plan, load};

/// Vectors that are answered differently, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("K05", "refused as in the original, with exit code 2, which is that of mistakes in a definition"),
    ("K07", "a stream that is missing is created by the embedded backend"),
    ("K08", "files are no stream: refused when the configuration is read, with what to do"),
];

fn resolver(folder: &Path) -> PathBuf {
    let file = folder.join("resolver.json");
    std::fs::write(&file, "{}").unwrap();
    file
}

fn plan_of(original: OriginalPostgres) -> Plan {
    load(&[], &Originals::from(original), &Overrides::default()).unwrap()
}

fn sink(definition: &Definition) -> &LoadSink {
    match &definition.work {
        Work::Load(load) => &load.sinks[0],
        _ => panic!("a loader"),
    }
}

fn bad_stream(definition: &Definition) -> &str {
    match &definition.work {
        Work::Load(load) => &load.bad,
        _ => panic!("a loader"),
    }
}

fn quick_start() -> Value {
    json!({
        "input": { "type": "Kinesis", "streamName": "enriched", "region": "eu-central-1" },
        "output": { "good": {
            "type": "Postgres", "host": "db", "database": "snowplow", "username": "u", "password": "p", "schema": "atomic"
        } },
    })
}

#[test]
fn config_vectors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let shared = std::env::var_os("SNOWMELT_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let Ok(text) = std::fs::read_to_string(shared.join("vectors/postgres-loader.json")) else {
        println!("skipped: ../shared is missing");
        return;
    };
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let resolver = resolver(folder.path());
    let mut seen = Vec::new();
    for vector in vectors["vectors"].as_array().unwrap().iter().filter(|vector| vector["group"] == "config") {
        let (id, expect) = (vector["id"].as_str().unwrap(), &vector["expect"]);
        let read = OriginalPostgres::from_document(Path::new(id), Some(&resolver), vector["given"]["config"].clone());
        seen.push(id.to_owned());
        match id {
            "K05" => {
                let told = read.unwrap_err().to_string();
                assert_eq!(told, "error: K05: purpose = \"enriched_events\": is not one of ENRICHED_EVENTS, JSON");
            }
            "K08" => assert!(read.unwrap_err().to_string().contains("put them into a stream")),
            "K02" => {
                let plan = plan_of(read.unwrap());
                let definition = &plan.definitions[0];
                let Tables { database, schema, connections, .. } = sink(definition).tables().unwrap();
                let jdbc = expect["jdbc_url"].as_str().unwrap().replace("jdbc:postgresql://", "postgres://u:p@");
                assert_eq!(database.as_deref(), Some(jdbc.as_str()));
                assert_eq!(schema.as_deref(), Some("atomic"));
                assert_eq!(json!(connections), expect["threadPoolSize"]);
                assert_eq!(sink(definition).purpose, Purpose::Bad);
                let source = definition.source().unwrap();
                assert_eq!(source.start, Start::Latest);
                assert_eq!(json!(source.max_records), expect["retrievalMode"]["maxRecords"]);
                assert_eq!((source.stream.as_str(), bad_stream(definition)), ("enriched", "bad-2"));
            }
            "K03" => {
                let plan = plan_of(read.unwrap());
                let at = expect["initialPosition"]["AT_TIMESTAMP"].as_str().unwrap();
                let at: jiff::Timestamp = at.parse().unwrap();
                assert_eq!(plan.definitions[0].source().unwrap().start, Start::AtTimestampMs(at.as_millisecond()));
            }
            "K07" => {
                let plan = plan_of(read.unwrap());
                assert_eq!(bad_stream(&plan.definitions[0]), "missing");
                assert!(plan.streams.iter().any(|(name, _)| name == "missing"));
            }
            other => panic!("no test for {other}"),
        }
    }
    assert!(DIFFERENCES.iter().all(|(id, _)| seen.iter().any(|seen| seen == id)));
    println!("{} vectors, {} of them in the table of differences", seen.len(), DIFFERENCES.len());
}

#[test]
fn what_does_nothing_here_is_told_and_everything_else_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut document = quick_start();
    document["input"]["appName"] = json!("acme-loader");
    document["input"]["checkpointSettings"] = json!({ "maxBatchSize": "500", "maxBatchWait": "2 seconds" });
    document["output"]["good"]["maxConections"] = json!(3);
    document["output"]["good"]["password"] = json!("p:/@ü");
    document["monitoring"]["metrics"]["cloudWatch"] = json!(false);
    let document = json!({ "snowplow": document });
    let original =
        OriginalPostgres::from_document(Path::new("c.hocon"), Some(&resolver(folder.path())), document).unwrap();
    let notes = original.notes().join("\n");
    for told in [
        "c.hocon: input.region: streams are chosen",
        "c.hocon: output.good.maxConections: unknown key; did you mean `output.good.maxConnections`?",
        "c.hocon: monitoring.metrics.cloudWatch: metrics are at /metrics",
        "c.hocon: output.bad: bad rows are not thrown away; they go to the stream bad-1",
    ] {
        assert!(notes.contains(told), "nothing about {told}: {notes}");
    }
    let plan = plan_of(original);
    let definition = &plan.definitions[0];
    assert_eq!((definition.name.as_str(), bad_stream(definition)), ("acme-loader", "bad-1"));
    let sink = sink(definition);
    assert_eq!((sink.batch.max_records, sink.batch.max_age), (500, Duration::from_secs(2)));
    let url = sink.tables().unwrap().database.clone().unwrap();
    assert_eq!(url, "postgres://u:p%3A%2F%40%C3%BC@db:5432/snowplow?sslmode=require");
    assert!(!definition.needs_postgres());
}

#[test]
fn mistakes_are_told_all_at_once_and_no_password_is_shown() {
    let told = |document: Value| {
        OriginalPostgres::from_document(Path::new("c.hocon"), None, document).unwrap_err().to_string()
    };
    let text = told(json!({
        "input": { "type": "Kinesis", "initialPosition": "NOWHERE", "retrievalMode": "Polling" },
        "output": { "good": { "host": "db", "database": "d", "username": "u", "password": ["secret"], "schema": "s", "port": 0,
                              "sslMode": "require" } },
    }));
    for key in [
        "input.initialPosition = \"NOWHERE\": has to be",
        "input.retrievalMode = \"Polling\": has to be",
        "input.streamName: is missing",
        "output.good.port = 0: has to be",
        "output.good.password: has to be a text",
        "output.good.sslMode = \"require\": is not one of",
    ] {
        assert!(text.contains(key), "nothing about {key}: {text}");
    }
    assert!(!text.contains("secret"));
    assert!(told(json!({})).contains("input.type: is missing"));
    let original = OriginalPostgres::from_document(Path::new("c.hocon"), None, quick_start()).unwrap();
    let problems = load(&[], &original.into(), &Overrides::default()).unwrap_err();
    assert!(problems[0].to_string().contains("--resolver"), "{problems:?}");
}

#[test]
fn it_takes_the_place_of_the_loader_with_its_purpose_and_leaves_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    resolver(folder.path());
    let mut files = Vec::new();
    for purpose in ["enriched", "bad"] {
        let file = folder.path().join(format!("{purpose}.toml"));
        let text = format!(
            "name = \"{purpose}\"\n[source]\nstream = \"in-{purpose}\"\n[[sink]]\nkind = \"postgres\"\npurpose = \"{purpose}\"\n\
             resolver = \"resolver.json\"\nmax_age = \"500ms\"\n[bad]\nstream = \"b\"\n"
        );
        std::fs::write(&file, text).unwrap();
        files.push(file);
    }
    let original = OriginalPostgres::from_document(Path::new("c.hocon"), None, quick_start()).unwrap();
    let plan = load(&files, &original.into(), &Overrides::default()).unwrap();
    assert_eq!(plan.definitions.len(), 2);
    let [events, bad] = plan.definitions.as_slice() else { panic!("two") };
    assert_eq!(events.source().unwrap().stream, "in-enriched");
    assert_eq!(sink(events).batch.max_age, Duration::from_millis(500));
    assert!(sink(events).tables().unwrap().database.as_deref().unwrap().contains("@db:5432/snowplow"));
    assert_eq!(sink(bad).tables().unwrap().database, None);
}
