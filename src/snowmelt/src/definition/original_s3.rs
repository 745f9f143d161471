//! The original's configuration of an S3 loader, of either generation, as a definition of ours.

use std::path::{Path, PathBuf};

use serde_json::Value;
use snowmelt_objects::{LoaderFile, StartPosition};
use toml::{Table, Value as Toml};

use super::original::to_toml;
use crate::trouble::{Outcome, Trouble};

/// Keys of the original that do nothing here, and why.
const IDLE: [(&str, &str); 22] = [
    ("license", "no licence is asked for"),
    ("input.customEndpoint", "see aws.kinesis_endpoint of a definition with backend aws"),
    ("input.dynamodbCustomEndpoint", "see aws.dynamodb_endpoint of a definition with backend aws"),
    ("input.cloudwatchCustomEndpoint", "nothing is sent to CloudWatch"),
    (
        "input.workerIdentifier",
        "see aws.worker; by default the host's name and a random part, so that no two are the same",
    ),
    ("input.retrievalMode.type", "see aws.read"),
    ("input.retrievalMode.idleTimeBetweenReads", "see aws.poll_every"),
    ("input.leaseDuration", "see aws.lease_duration"),
    ("input.maxLeasesToStealAtOneTimeFactor", "see aws.steal_at_once"),
    ("input.checkpointThrottledBackoffPolicy", "the lease table has a back-off of its own"),
    ("input.debounceCheckpoints", "see supervision.checkpoint_every"),
    ("input.maxRetries", "a read that fails is tried again, with back-off"),
    ("input.apiCallAttemptTimeout", "a call may take a minute"),
    ("input.http", "records come from a stream"),
    ("output.bad.throttledBackoffPolicy", "the writer of bad rows has a back-off of its own"),
    ("output.bad.recordLimit", "the writer of bad rows has a bound of its own"),
    ("output.bad.byteLimit", "the writer of bad rows has a bound of its own"),
    ("output.bad.maxRetries", "bad rows are tried again until they are accepted"),
    ("cpuParallelismFactor", "all cores pack"),
    ("uploadParallelismFactor", "a shard puts one batch at a time"),
    ("initialBufferSize", "a buffer is as large as what it holds"),
    ("monitoring.sentry", "failures are in the log, in /status and in /metrics"),
];

/// More of them, which only one generation has.
const IDLE_MONITORING: [(&str, &str); 4] = [
    ("monitoring.snowplow", "no events about the loader are sent"),
    ("monitoring.metrics.cloudWatch", "nothing is sent to CloudWatch"),
    ("monitoring.metrics.prometheus", "metrics are at the operator API's /metrics"),
    ("monitoring.healthProbe", "health is at the operator API's /health and /ready"),
];

/// A loader's configuration that was read and checked.
#[derive(Debug)]
pub struct OriginalS3Loader {
    file: PathBuf,
    document: Value,
    read: LoaderFile,
}

impl OriginalS3Loader {
    /// Reads a file; `${VARIABLE}`s come from the environment.
    ///
    /// # Errors
    /// When it cannot be read, is no HOCON, or is no configuration of either generation.
    pub fn read(file: &Path) -> Outcome<Self> {
        let explain = snowmelt_runtime::failure::explain;
        let document = snowmelt_enrich::config::read_hocon(file).map_err(|error| Trouble::user(explain(&error)))?;
        let wrong = |error: &dyn std::error::Error| {
            Trouble::user(format!("Configuration error: {}: {}", file.display(), explain(error)))
        };
        let document = document.get("snowplow").cloned().unwrap_or(document);
        let read = LoaderFile::from_value(&document).map_err(|error| wrong(&error))?;
        // The version stands in bad rows only.
        read.resolve("0.0.0").map_err(|error| wrong(&error))?;
        Ok(Self { file: file.to_owned(), document, read })
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The name of the definition that it is: that of its lease table.
    pub fn name(&self) -> &str {
        self.read.app_name()
    }

    /// What its writer should know: keys that do nothing here.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        IDLE.iter().chain(&IDLE_MONITORING).filter_map(|(key, reason)| {
            let at = key.split('.').try_fold(&self.document, |value, part| value.get(part));
            at.map(|_| format!("{}: {key}: {reason}", self.file.display()))
        })
    }

    /// A definition with all that it says.
    pub fn definition(&self) -> String {
        let mut source = Table::new();
        source.insert("stream".to_owned(), self.read.input_stream().into());
        let start = match self.read.start_position() {
            StartPosition::Latest => "latest".to_owned(),
            StartPosition::TrimHorizon => "trim_horizon".to_owned(),
            StartPosition::AtTimestampMs(at) => {
                jiff::Timestamp::from_millisecond(at).map_or_else(|_| "trim_horizon".to_owned(), |at| at.to_string())
            }
        };
        source.insert("start".to_owned(), start.into());
        let (max_records, region, endpoint) = match &self.read {
            LoaderFile::V2(file) => {
                (file.input.max_records, file.region.as_deref(), file.output.s3.custom_endpoint.as_deref())
            }
            LoaderFile::V3(file) => (file.input.retrieval_mode.max_records, None, None),
        };
        source.insert("max_records".to_owned(), i64::from(max_records.clamp(1, 10_000)).into());

        let mut sink = Table::new();
        sink.insert("kind".to_owned(), "s3".into());
        for (key, value) in [("region", region), ("endpoint", endpoint)] {
            sink.extend(value.map(|value| (key.to_owned(), value.into())));
        }
        sink.insert("settings".to_owned(), self.settings());
        let mut bad = Table::new();
        bad.insert("stream".to_owned(), self.read.bad_stream().into());
        let mut document = Table::new();
        document.insert("name".to_owned(), self.name().into());
        document.insert("source".to_owned(), source.into());
        document.insert("sink".to_owned(), Toml::Array(vec![sink.into()]));
        document.insert("bad".to_owned(), bad.into());
        format!("# The S3 loader of {}.\n{document}", self.file.display())
    }

    /// What it says, without what a definition says elsewhere or what does nothing here.
    fn settings(&self) -> Toml {
        let mut settings = self.document.clone();
        let elsewhere = ["input", "region", "output.s3.customEndpoint", "output.bad.streamName"];
        let idle = IDLE.iter().chain(&IDLE_MONITORING).map(|(key, _)| *key);
        for key in elsewhere.into_iter().chain(idle) {
            let (path, name) = key.rsplit_once('.').unwrap_or(("", key));
            let mut parts = path.split('.').filter(|part| !part.is_empty());
            let table = parts.try_fold(&mut settings, |value, part| value.get_mut(part));
            if let Some(Value::Object(members)) = table {
                members.remove(name);
            }
        }
        to_toml(&settings).unwrap_or_else(|| Toml::Table(Table::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::model::{Definition, Gather, Start, Target, Work};
    use crate::definition::{Originals, Overrides, load};
    use crate::run::settings;
    use snowmelt_objects::S3LoaderConfig;

    const V2: &str = r#"{
      region = "eu-central-1"
      purpose = "SELF_DESCRIBING"
      input { appName = "acme-s3-bad", streamName = "bad-1", position = { AT_TIMESTAMP { timestamp = "2020-07-17T10:00:00Z" } }, maxRecords = 10 }
      output {
        s3 { path = "s3://acme/archive/bad/", partitionFormat = "{vendor}.{name}/{yyyy}-{mm}", filenamePrefix = "pre", compression = "gzip", maxTimeout = 2000, customEndpoint = "http://localhost:4566" }
        bad { streamName = "bad-2" }
      }
      buffer { byteLimit = 2048, recordLimit = 10, timeLimit = 5000 }
      monitoring { sentry { dsn = "http://x" }, metrics { statsd { hostname = "localhost", port = 8125, tags { "env" = "prod" } } } }
      license { accept = true }
    }"#;

    const V3: &str = r#"{
      license { accept = true }
      purpose = "ENRICHED_EVENTS"
      input { streamName = "enriched", appName = "acme-s3-enriched", initialPosition { type = "TRIM_HORIZON" } }
      output { good { path = "s3://acme/enriched/", partitionFormat = "{yyyy}/{MM}/{dd}/{HH}" }, bad { streamName = "bad-1" } }
      batching { maxBytes = 1000000, maxDelay = 2 minutes }
      snowmelt { partitionBy = "collector_time", maxPlainBytes = 9000000 }
    }"#;

    fn read(folder: &Path, text: &str) -> OriginalS3Loader {
        let file = folder.join("loader.hocon");
        std::fs::write(&file, text).unwrap();
        OriginalS3Loader::read(&file).unwrap()
    }

    fn resolved(definition: &Definition) -> S3LoaderConfig {
        let Work::Load(load) = &definition.work else { panic!("a loader") };
        settings::s3_loader(&load.sinks[0], &definition.file).unwrap()
    }

    #[test]
    fn both_generations_become_the_same_configuration_as_a_definition_and_as_they_are() {
        for (text, name, stream, bad, start, idle) in [
            (V2, "acme-s3-bad", "bad-1", "bad-2", Start::AtTimestampMs(1_594_980_000_000), 2),
            (V3, "acme-s3-enriched", "enriched", "bad-1", Start::TrimHorizon, 1),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let original = read(folder.path(), text);
            assert_eq!(original.notes().count(), idle, "{:?}", original.notes().collect::<Vec<_>>());
            let expected = original.read.resolve(env!("CARGO_PKG_VERSION")).unwrap();
            let file = folder.path().join("converted.toml");
            std::fs::write(&file, original.definition()).unwrap();
            let originals = Originals::from(original);
            let as_it_is = load(&[], &originals, &Overrides::default()).unwrap();
            let converted = load(&[file], &Originals::default(), &Overrides::default()).unwrap();
            for plan in [as_it_is, converted] {
                let definition = &plan.definitions[0];
                assert_eq!(resolved(definition), expected);
                let source = definition.source().unwrap();
                assert_eq!((definition.name.as_str(), source.stream.as_str(), source.start), (name, stream, start));
                assert_eq!(definition.writes(), [bad]);
                let Work::Load(load) = &definition.work else { panic!("a loader") };
                assert!(matches!(load.sinks[0].gather, Gather::AsOriginal));
                let Target::S3(objects) = &load.sinks[0].target else { panic!("objects") };
                assert!(matches!(&objects.place, crate::definition::model::ObjectPlace::S3(_)));
            }
        }
    }

    #[test]
    fn a_mistake_is_told_with_the_file_and_in_the_originals_words() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("loader.hocon");
        std::fs::write(&file, V2.replace("SELF_DESCRIBING", "JSON")).unwrap();
        let told = OriginalS3Loader::read(&file).unwrap_err().to_string();
        assert!(told.contains("Configuration error") && told.contains("Purpose not supported"), "{told}");
    }
}
