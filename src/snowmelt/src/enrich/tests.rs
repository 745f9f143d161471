use std::io::Cursor;

use serde_json::Value;
use snowmelt_enrich::enrichments::Enrichments;
use snowmelt_enrich::{Enrich, EnrichConfig};

use super::*;

const AT: i64 = 1_700_000_000_000_000;
const COLUMNS: usize = 131;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn setup(resolver: Option<&Path>) -> Arc<Setup> {
    let clock = Clock::system();
    let resolver = match resolver {
        Some(file) => settings::resolver(file, &clock).unwrap(),
        None => settings::built_in_schemas(&clock).unwrap(),
    };
    let enrich = Enrich::new(EnrichConfig::new(settings::processor("snowmelt-enrich")), Enrichments::default());
    Arc::new(Setup::new(enrich, resolver, clock, Some(AT), false).unwrap())
}

fn run(input: Vec<u8>, setup: &Arc<Setup>) -> (Vec<Value>, String, Tally) {
    let runtime = runtime();
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let tally = pipe(move || Cursor::new(input), setup, runtime.handle(), &mut out, &mut errors).unwrap();
    let out = String::from_utf8(out).unwrap();
    let objects = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (objects, String::from_utf8(errors).unwrap(), tally)
}

fn request(nth: usize) -> String {
    format!(r#"{{"method":"GET","path":"/i?e=pv&p=web&aid=app-{nth}","headers":[["Host","h"]],"body":null}}"#)
}

#[test]
fn output_has_an_object_for_each_line_in_their_order_whatever_is_wrong_with_some() {
    let mut input = String::new();
    for nth in 0..3_000 {
        match nth % 1_000 {
            7 => input.push_str("no base64!"),
            8 => input.push_str("{\"method\": 7}"),
            9 => input.push_str("AAAA"),
            _ => input.push_str(&request(nth)),
        }
        input.push_str("\n\n");
    }
    let (objects, errors, tally) = run(input.into_bytes(), &setup(None));
    assert_eq!(objects.len(), 3_000);
    for (nth, object) in objects.iter().enumerate() {
        let count = |list: &str| object[list].as_array().unwrap().len();
        let expected = match nth % 1_000 {
            7 | 8 => (0, 0),
            9 => (0, 1),
            _ => (1, 0),
        };
        assert_eq!((count("good"), count("bad"), count("pii")), (expected.0, expected.1, 0), "{nth}: {object}");
        if expected.0 == 1 {
            let columns: Vec<&str> = object["good"][0].as_str().unwrap().split('\t').collect();
            assert_eq!((columns.len(), columns[0]), (COLUMNS, format!("app-{nth}").as_str()));
            assert_eq!(columns[2], "2023-11-14 22:13:20.000", "the time of --at");
        }
    }
    assert_eq!(tally, Tally { unreadable: 6, unanswered: 0 });
    let told: Vec<&str> = errors.lines().collect();
    assert_eq!(told.len(), 6);
    assert!(told[0].starts_with("line 15: neither a payload in base64 nor a request as JSON"), "{errors}");
    assert!(told[1].starts_with("line 17: not a request as JSON"), "{errors}");
    assert!(matches!(tally.outcome(), Err(Trouble::User(_))));
}

#[test]
fn the_same_input_gives_the_same_output() {
    let input: String = (0..100).map(|nth| request(nth) + "\n").collect();
    let setup = setup(None);
    assert_eq!(run(input.clone().into_bytes(), &setup).0, run(input.into_bytes(), &setup).0);
}

#[test]
fn what_a_collector_does_not_record_gives_nothing() {
    let input = br#"{"method":"GET","path":"/health"}"#.to_vec();
    let (objects, errors, _) = run(input, &setup(None));
    assert_eq!(objects, [serde_json::json!({"good": [], "bad": [], "pii": []})]);
    assert_eq!(errors, "");
}

/// The original's three files, as its users have them: HOCON, comments, values from the environment, keys of old versions.
#[test]
fn the_originals_files_work_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/iglu");
    std::os::unix::fs::symlink(pipelines.canonicalize().unwrap(), folder.path().join("iglu-client-embedded")).unwrap();
    let config = write(
        "config.hocon",
        r#"{
          license { accept = true }
          input { type = Kinesis, streamName = "collector-good", region = "eu-central-1" } // old keys stay
          output { good { streamName = "enriched", partitionKey = "user_id" }, bad { streamName = "bad" }
                   failed { streamName = "incomplete" } }
          iglu { maxRetry = 1, maxWait = 1 second }
          validation { atomicFieldsLimits { app_id = 5 } }
          "monitoring": { "metrics": { "stdout": { "period": "10 seconds" } } }
          assetsUpdatePeriod = "7 days"
        }"#,
    );
    let resolver = write(
        "resolver.json",
        r#"{
          "schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-1",
          "data": { "cacheSize": 500, # HOCON
            "repositories": [
              { "name": "Embedded", "priority": 0, "vendorPrefixes": [ "com.snowplowanalytics" ],
                "connection": { "embedded": { "path": "/iglu-client-embedded" } } } ] } }"#,
    );
    let enrichment = |name: &str, parameters: &str| {
        let text = format!(
            r#"{{ "schema": "iglu:com.snowplowanalytics.snowplow/{name}/jsonschema/1-0-1",
                 "data": {{ "vendor": "com.snowplowanalytics.snowplow", "name": "{name}", "enabled": true,
                           "parameters": {parameters} }} }}"#
        );
        write(&format!("enrichments/{name}.json"), &text);
    };
    enrichment("ua_parser_config", "{}");
    enrichment("anon_ip", "{ \"anonOctets\": 2, \"anonSegments\": 3 }");
    enrichment("event_fingerprint_config", "{ excludeParameters = [ eid, nuid, stm, cv ], hashAlgorithm = MD5 }");
    write("enrichments/README.md", "not read");
    let args = EnrichArgs {
        file: None,
        resolver: Some(resolver),
        enrichments: Some(folder.path().join("enrichments")),
        at: Some(AT),
        config: Some(config),
    };
    let setup = Arc::new(runtime().block_on(super::setup(&args)).unwrap());
    let agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:126.0) Gecko/20100101 Firefox/126.0";
    let line = |aid: &str| {
        let headers = format!(r#"[["Host","h"],["User-Agent","{agent}"],["X-Forwarded-For","203.0.113.77"]]"#);
        format!(r#"{{"method":"GET","path":"/i?e=pv&p=web&aid={aid}&uid=u","headers":{headers}}}"#) + "\n"
    };
    let (objects, errors, tally) = run((line("app") + &line("too-long")).into_bytes(), &setup);
    assert_eq!((objects.len(), errors.as_str(), tally), (2, "", Tally::default()));
    let columns: Vec<&str> = objects[0]["good"][0].as_str().unwrap().split('\t').collect();
    assert_eq!((columns[0], columns[13], columns[129].len()), ("app", "203.0.x.x", 32));
    assert!(columns[122].contains(r#""useragentVersion":"Firefox 126.0""#), "{}", columns[122]);
    assert_eq!(objects[0]["failed"], serde_json::json!([]));
    let reason = &objects[1]["bad"][0]["data"]["failure"]["messages"][0]["error"]["dataReports"][0]["message"];
    assert_eq!(reason, "Field is longer than maximum allowed size 5");
    assert_eq!(objects[1]["failed"].as_array().unwrap().len(), 1);
}

#[test]
fn a_registry_that_does_not_answer_is_told_for_each_line_but_waited_for_once() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = serde_json::json!({
        "schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3",
        "data": {"cacheSize": 500, "repositories": [{
            // Nobody listens there.
            "name": "down", "priority": 0, "vendorPrefixes": [], "connection": {"http": {"uri": "http://127.0.0.1:9"}},
        }]},
    });
    let file = folder.path().join("resolver.json");
    std::fs::write(&file, resolver.to_string()).unwrap();
    let entity = r#"{"schema":"iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1","data":[{"schema":"iglu:com.acme/a/jsonschema/1-0-0","data":{}}]}"#;
    let query: String = entity.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let needy = format!(r#"{{"method":"GET","path":"/i?e=pv&p=web&co={query}"}}"#);
    let input = format!("{needy}\n{}\n{needy}\n{needy}\n{needy}\n", request(1));
    let began = std::time::Instant::now();
    let (objects, errors, tally) = run(input.into_bytes(), &setup(Some(&file)));
    let goods: Vec<usize> = objects.iter().map(|object| object["good"].as_array().unwrap().len()).collect();
    assert_eq!((goods.as_slice(), tally), (&[0, 1, 0, 0, 0][..], Tally { unreadable: 0, unanswered: 4 }));
    assert_eq!(errors.lines().count(), 4);
    assert!(errors.starts_with("line 1: Could not reach Iglu Server for schema 'iglu:com.acme/a/jsonschema/1-0-0'."));
    assert!(began.elapsed() < std::time::Duration::from_secs(90), "{:?}", began.elapsed());
    assert!(matches!(tally.outcome(), Err(Trouble::Machine(_))));
}

#[test]
fn recorded_requests_of_real_trackers_become_good_events() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("SNOWMELT_SHARED").map_or_else(|| workspace.join("../shared"), Into::into);
    let Ok(input) = std::fs::read(shared.join("data/tracker-requests.jsonl")) else {
        println!("skipped: ../shared is missing");
        return;
    };
    // The registry of Iglu Central's schemas, as files.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(shared.join("data/iglu-central"), folder.path().join("central")).unwrap();
    let resolver = serde_json::json!({
        "schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3",
        "data": {"cacheSize": 500, "repositories": [{
            "name": "central", "priority": 0, "vendorPrefixes": [], "connection": {"embedded": {"path": "central"}},
        }]},
    });
    let file = folder.path().join("resolver.json");
    std::fs::write(&file, resolver.to_string()).unwrap();
    let lines = input.iter().filter(|byte| **byte == b'\n').count();
    let (objects, errors, tally) = run(input, &setup(Some(&file)));
    assert_eq!((objects.len(), errors.as_str(), tally), (lines, "", Tally::default()));
    let all = |list: &str| -> Vec<Value> {
        objects.iter().flat_map(|object| object[list].as_array().unwrap().clone()).collect()
    };
    assert_eq!((all("good").len(), all("bad").len()), (120, 11));
    for event in all("good") {
        assert_eq!(event.as_str().unwrap().split('\t').count(), COLUMNS);
    }
    for row in all("bad") {
        assert!(
            row["schema"]
                .as_str()
                .is_some_and(|schema| schema.starts_with("iglu:com.snowplowanalytics.snowplow.badrows/"))
        );
    }
}
