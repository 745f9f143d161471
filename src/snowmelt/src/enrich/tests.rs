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
