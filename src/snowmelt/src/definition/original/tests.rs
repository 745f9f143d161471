//! From the original's files to configured collectors.

use super::*;
use crate::definition::model::{Collect, Work};
use crate::definition::{Originals, Overrides, Plan, load};
use crate::run::settings;

/// Every key of the specification's tables (6.4, 6.5), each with a value that is not its default where it may be.
const REFERENCE: &str = include_str!("reference.hocon");

fn original(text: &str) -> OriginalCollector {
    let environment = HashMap::from([("INSTANCE_ID".to_owned(), "i-0123".to_owned())]);
    OriginalCollector::parse(Path::new("config.hocon"), text, &environment).unwrap()
}

fn collect(plan: &Plan) -> &Collect {
    let found = plan.definitions.iter().find_map(|definition| match &definition.work {
        Work::Collect(collect) => Some(collect),
        _ => None,
    });
    found.unwrap()
}

fn overrides(sets: &[&str]) -> Overrides {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Overrides::new(std::iter::empty(), &sets).unwrap()
}

#[test]
fn the_reference_configuration_as_a_definition_is_the_same_configuration() {
    let original = original(REFERENCE);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("collector.toml");
    std::fs::write(&file, original.definition()).unwrap();
    let plan = load(&[file], &Originals::default(), &Overrides::default()).unwrap();
    let collect = collect(&plan);
    assert_eq!((collect.good.as_str(), collect.bad.as_str()), ("good-stream", "bad-stream"));
    assert_eq!(collect.listen.to_string(), "127.0.0.1:8443");
    let config = settings::collector(collect).unwrap();
    assert_eq!(config, original.read.config);
    assert_ne!(config, CollectorConfig::default());
    // Not needed to be told what does what it says.
    let idle: Vec<&str> = original.read.notes.iter().map(|note| note.key.as_str()).collect();
    let expected = [
        "enableStartupChecks",
        "prometheusMetrics",
        "akka",
        "experimental",
        "streams.good.enabled",
        "p3p",
        "streams.good.customEndpoint",
        "streams.good.threadPoolSize",
        "streams.good.aws",
        "streams.good.buffer.timeLimit",
        "streams.bad.region",
        "streams.bad.sqsMaxBytes",
        "streams.bad.backoffPolicy.maxRetries",
        "streams.bad.startupCheckInterval",
        "streams.bad.buffer.timeLimit",
        "telemetry",
        "license",
    ];
    let sorted = |mut keys: Vec<&str>| {
        keys.sort_unstable();
        keys.join(" ")
    };
    assert_eq!(sorted(idle), sorted(expected.to_vec()));
}

#[test]
fn it_runs_alone_or_in_the_place_of_the_definitions_settings() {
    let text = "collector { interface = \"127.0.0.1\", port = 9099, streams { good = other, bad = other-bad }, cookie { name = id } }";
    let original = Originals::from(original(text));
    let alone = load(&[], &original, &overrides(&["collector.settings.workers=3"])).unwrap();
    assert_eq!(collect(&alone).good, "other");
    assert_eq!(settings::collector(collect(&alone)).unwrap().workers, Some(3));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.toml");
    let own = "name = \"own\"\n[collector]\nlisten = \"127.0.0.1:1\"\ngood = \"raw\"\nbad = \"bad-1\"\n[collector.settings]\npreTerminationPeriod = 0\n";
    std::fs::write(&file, own).unwrap();
    let plan = load(std::slice::from_ref(&file), &original, &Overrides::default()).unwrap();
    let taken_over = collect(&plan);
    assert_eq!((taken_over.good.as_str(), taken_over.listen.port()), ("raw", 9099));
    let config = settings::collector(taken_over).unwrap();
    assert_eq!(config.cookie.name, "id");
    assert_eq!(config.pre_termination_period, CollectorConfig::default().pre_termination_period, "replaced, not mixed");
    assert_eq!(plan.definitions.len(), 1);

    let stronger = load(&[file], &original, &overrides(&["collector.listen=127.0.0.1:7"])).unwrap();
    assert_eq!(collect(&stronger).listen.port(), 7);
}

#[test]
fn mistakes_are_told_with_file_and_key_and_two_collectors_are_one_too_many() {
    let read = |text: &str| {
        OriginalCollector::parse(Path::new("config.hocon"), text, &HashMap::new()).unwrap_err().to_string()
    };
    assert!(read("port = nowhere").starts_with("error: config.hocon: port = \"nowhere\": invalid type"));
    assert!(read("rootResponse { enabled = true, statusCode = 99 }").contains("rootResponse.statusCode"));
    assert!(read("port = ${NOT_SET}").contains("NOT_SET"));

    let folder = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|name| folder.path().join(format!("{name}.toml")));
    for file in &files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let text =
            format!("name = \"{name}\"\n[collector]\nlisten = \"127.0.0.1:1\"\ngood = \"raw\"\nbad = \"bad-1\"\n");
        std::fs::write(file, text).unwrap();
    }
    let problems = load(&files, &original("port = 1").into(), &Overrides::default()).unwrap_err();
    assert!(problems[0].to_string().contains("--collector-config is for one collector"), "{problems:?}");
}
