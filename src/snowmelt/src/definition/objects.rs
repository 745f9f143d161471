//! `[[sink]]` of kind s3: the loader's configuration in the original's form, and where its objects are kept.

use std::time::Duration;

use serde_json::{Map, Value, json};
use snowmelt_objects::LoaderFile;
use snowmelt_objects::s3::{Encryption, S3Options};

use super::build::{Table, batch};
use super::model::{Aws, BatchLimits, Gather, ObjectPlace, Objects, Purpose};
use super::problem::Problem;

/// Keys that say what `settings` says.
const IN_SETTINGS: [&str; 14] = [
    "purpose",
    "prefix",
    "partition",
    "bucket",
    "name_prefix",
    "naming",
    "partition_by",
    "compression",
    "compression_level",
    "retry_for",
    "max_bytes",
    "max_records",
    "max_age",
    "resolver",
];

/// The sink of a checked table, with its purpose and its batches' bounds.
pub(super) fn objects(
    sink: &Table<'_>,
    defaults: BatchLimits,
    aws: Option<&Aws>,
    problems: &mut Vec<Problem>,
) -> Option<(Purpose, BatchLimits, Gather, Objects)> {
    let before = problems.len();
    let place = place(sink, aws, problems);
    let (purpose, batch, gather, loader) = match sink.get("settings") {
        Some(settings) => as_original(sink, settings, problems)?,
        None => {
            let (purpose, loader) = own(sink, defaults, aws, problems)?;
            let batch = batch(sink, defaults.max_bytes, defaults.max_records, defaults.max_age);
            (purpose, batch, Gather::Limits(batch), loader)
        }
    };
    let retry_for_ms = sink.get("retry_for").map(|_| sink.duration("retry_for", Duration::ZERO).as_millis() as u64);
    let objects = Objects { loader, retry_for_ms, place };
    (problems.len() == before).then_some((purpose, batch, gather, objects))
}

/// The keys of a definition, as a file of generation 2.x would say them.
fn own(
    sink: &Table<'_>,
    defaults: BatchLimits,
    aws: Option<&Aws>,
    problems: &mut Vec<Problem>,
) -> Option<(Purpose, Value)> {
    let mut need = |name: &str, why: &str| {
        let text = sink.text(name);
        if text.is_none() {
            problems.push(sink.problem(name, format!("is missing: {why}")));
        }
        text
    };
    let in_directory = sink.text("store").as_deref() == Some("directory");
    let of_backend = aws.filter(|_| !in_directory).and_then(|aws| aws.bucket.clone());
    let bucket = sink.text("bucket").or(of_backend);
    if bucket.is_none() && aws.is_some() && !in_directory {
        need("bucket", "where objects go; or name one for all in [aws]")?;
    }
    let prefix = match &bucket {
        Some(_) => sink.text("prefix").unwrap_or_default(),
        None => need("prefix", "where objects go, or bucket, for a bucket of S3")?,
    };
    let purpose = Purpose::parse(&need("purpose", "what the source holds: raw, enriched or bad")?);
    let name = match purpose {
        Purpose::Raw => "RAW",
        Purpose::Enriched => "ENRICHED_EVENTS",
        Purpose::Bad => "SELF_DESCRIBING",
    };
    let path = bucket.map_or_else(|| prefix.clone(), |bucket| format!("{bucket}/{prefix}"));
    let mut s3 = json!({
        "path": path,
        "compression": sink.text("compression").unwrap_or_else(|| "gzip".to_owned()),
        // Not used: by default a store is waited for without end.
        "maxTimeout": 0,
    });
    for (key, name) in [("partition", "partitionFormat"), ("name_prefix", "filenamePrefix")] {
        if let Some(text) = sink.text(key) {
            s3[name] = Value::from(text);
        }
    }
    let mut extras = Map::new();
    extras.insert("naming".to_owned(), sink.text("naming").unwrap_or_else(|| "sequence".to_owned()).into());
    let given = [("partition_by", "partitionBy"), ("compression_level", "compressionLevel")];
    extras.extend(given.iter().filter_map(|(key, name)| Some(((*name).to_owned(), sink.get(key)?.clone()))));
    let limits = batch(sink, defaults.max_bytes, defaults.max_records, defaults.max_age);
    let loader = json!({
        "purpose": name,
        "input": { "appName": "", "streamName": "", "position": "TRIM_HORIZON", "maxRecords": 1 },
        "output": { "s3": s3, "bad": { "streamName": "" } },
        "buffer": {
            "byteLimit": limits.max_bytes, "recordLimit": limits.max_records,
            "timeLimit": limits.max_age.as_millis() as u64,
        },
        "snowmelt": extras,
    });
    Some((purpose, loader))
}

/// A configuration of the original; what belongs to reading stands elsewhere in the definition.
fn as_original(
    sink: &Table<'_>,
    settings: &Value,
    problems: &mut Vec<Problem>,
) -> Option<(Purpose, BatchLimits, Gather, Value)> {
    let before = problems.len();
    for key in IN_SETTINGS.into_iter().filter(|key| sink.get(key).is_some()) {
        problems.push(sink.problem(key, "is what `settings` says: write it there"));
    }
    let mut loader = settings.clone();
    let members = loader.as_object_mut()?;
    members.insert(
        "input".to_owned(),
        json!({ "appName": "", "streamName": "", "position": "TRIM_HORIZON", "maxRecords": 1 }),
    );
    if let Some(output) = members.get_mut("output").and_then(Value::as_object_mut) {
        let bad = output.entry("bad").or_insert_with(|| json!({}));
        if let Some(bad) = bad.as_object_mut() {
            bad.insert("streamName".to_owned(), "".into());
        }
    }
    // The version stands in bad rows only.
    let config = LoaderFile::from_value(&loader).and_then(|file| file.resolve("0.0.0"));
    match config {
        Err(error) => {
            let message = snowmelt_runtime::failure::explain(&error);
            problems.push(sink.hidden_problem("settings", message));
            None
        }
        Ok(_) if problems.len() > before => None,
        Ok(config) => {
            let purpose = match config.purpose {
                snowmelt_objects::Purpose::Raw => Purpose::Raw,
                snowmelt_objects::Purpose::EnrichedEvents => Purpose::Enriched,
                snowmelt_objects::Purpose::SelfDescribing => Purpose::Bad,
            };
            let max_bytes = usize::try_from(config.buffer.most_bytes()).unwrap_or(usize::MAX);
            let batch = BatchLimits { max_bytes, max_records: usize::MAX, max_age: Duration::MAX };
            Some((purpose, batch, Gather::AsOriginal, loader))
        }
    }
}

fn place(sink: &Table<'_>, aws: Option<&Aws>, problems: &mut Vec<Problem>) -> ObjectPlace {
    const OF_S3: [&str; 6] = ["endpoint", "region", "path_style", "storage_class", "encryption", "kms_key"];
    let named = sink.get("bucket").is_some() || sink.get("settings").is_some();
    let by_default = if named || aws.is_some() { "s3" } else { "directory" };
    if sink.text("store").as_deref().unwrap_or(by_default) == "directory" {
        if sink.text("store").is_none() {
            for key in OF_S3.into_iter().filter(|key| sink.get(key).is_some()) {
                problems.push(sink.problem(key, "is for a bucket of S3: name it in `bucket`"));
            }
        }
        return ObjectPlace::Directory;
    }
    let kms_key = sink.text("kms_key");
    let encryption = match sink.text("encryption").as_deref() {
        Some("AES256") if kms_key.is_some() => {
            problems.push(sink.problem("kms_key", "needs encryption = \"aws:kms\""));
            None
        }
        Some("AES256") => Some(Encryption::Aes256),
        Some(_) => Some(Encryption::Kms { key: kms_key }),
        None => kms_key.map(|key| Encryption::Kms { key: Some(key) }),
    };
    let endpoint = sink.text("endpoint").or_else(|| aws?.s3_endpoint.clone());
    ObjectPlace::S3(S3Options {
        // An endpoint of one's own seldom has a name for each bucket.
        path_style: sink.bool("path_style", endpoint.is_some()),
        endpoint,
        region: sink.text("region").or_else(|| aws?.region.clone()),
        storage_class: sink.text("storage_class"),
        encryption,
        ..S3Options::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::model::{Definition, Target, Work};
    use crate::definition::{Originals, Overrides, load};
    use crate::run::settings;
    use snowmelt_objects::{Framing, Naming, PartitionBy};

    fn loaded(sink: &str) -> Result<Definition, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("l.toml");
        let text = format!(
            "name = \"l\"\n[source]\nstream = \"s\"\n[bad]\nstream = \"bad-1\"\n[[sink]]\nkind = \"s3\"\n{sink}\n"
        );
        std::fs::write(&file, text).unwrap();
        let plan = load(&[file], &Originals::default(), &Overrides::default());
        plan.map(|plan| plan.definitions[0].clone()).map_err(|problems| {
            problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
        })
    }

    fn objects_of(definition: &Definition) -> Objects {
        let Work::Load(load) = &definition.work else { panic!("a loader") };
        let Target::S3(objects) = &load.sinks[0].target else { panic!("objects") };
        objects.clone()
    }

    #[test]
    fn a_bucket_has_the_services_options_and_a_directory_has_none() {
        let definition = loaded(
            "purpose = \"enriched\"\nbucket = \"acme\"\nprefix = \"e\"\nendpoint = \"http://127.0.0.1:9000\"\nregion = \"eu-west-1\"\n\
             storage_class = \"STANDARD_IA\"\nkms_key = \"k\"\npartition = \"{yyyy}/{mm}\"\npartition_by = \"derived_time\"\n\
             compression = \"zstd\"\ncompression_level = 7\nretry_for = \"90s\"\nname_prefix = \"n\"\nnaming = \"original\"",
        )
        .unwrap();
        let objects = objects_of(&definition);
        let ObjectPlace::S3(options) = &objects.place else { panic!("{objects:?}") };
        assert_eq!(
            *options,
            S3Options {
                endpoint: Some("http://127.0.0.1:9000".to_owned()),
                region: Some("eu-west-1".to_owned()),
                path_style: true,
                storage_class: Some("STANDARD_IA".to_owned()),
                encryption: Some(Encryption::Kms { key: Some("k".to_owned()) }),
                ..S3Options::default()
            }
        );
        assert_eq!(objects.path(), "acme/e");
        let Work::Load(load) = &definition.work else { panic!("a loader") };
        let config = settings::s3_loader(&load.sinks[0], &definition.file).unwrap();
        assert_eq!((config.keys.bucket(), config.framing), ("acme", Framing::Zstd { level: 7 }));
        assert_eq!((config.naming, config.partition_by), (Naming::Original, PartitionBy::DerivedTime));
        assert_eq!(config.put_retry_for_ms, Some(90_000));

        let plain = loaded("purpose = \"raw\"\nprefix = \"archive/raw\"\ncompression = \"lzo\"").unwrap();
        assert!(matches!(objects_of(&plain).place, ObjectPlace::Directory));
        let Work::Load(load) = &plain.work else { panic!("a loader") };
        let config = settings::s3_loader(&load.sinks[0], &plain.file).unwrap();
        assert_eq!((config.framing, config.put_retry_for_ms), (Framing::Lzo, None));
    }

    #[test]
    fn what_contradicts_itself_is_told_by_its_key() {
        for (sink, told) in [
            ("purpose = \"raw\"", "sink[0].prefix: is missing"),
            ("prefix = \"a\"", "sink[0].purpose: is missing"),
            ("purpose = \"raw\"\nprefix = \"a\"\nendpoint = \"http://x\"", "sink[0].endpoint: is for a bucket of S3"),
            ("purpose = \"raw\"\nbucket = \"a\"\nencryption = \"AES256\"\nkms_key = \"k\"", "sink[0].kms_key: needs"),
            ("settings = { purpose = \"RAW\" }", "sink[0].settings: neither output.s3"),
            (
                "prefix = \"a\"\nsettings = { purpose = \"ENRICHED_EVENTS\", output = { good = { path = \"s3://a\" } } }",
                "sink[0].prefix: is what `settings` says",
            ),
        ] {
            let problems = loaded(sink).unwrap_err();
            assert!(problems.iter().any(|problem| problem.starts_with(told)), "{sink}: {problems:?}");
        }
    }

    #[test]
    fn of_the_shipped_loaders_only_the_one_of_bad_rows_has_a_bad_stream_of_its_own() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
        for (name, read, bad) in
            [("s3-raw", "raw", "bad-1"), ("s3-enriched", "enriched", "bad-1"), ("s3-bad", "bad-1", "bad-2")]
        {
            let plan =
                load(&[folder.join(format!("{name}.toml"))], &Originals::default(), &Overrides::default()).unwrap();
            let definition = &plan.definitions[0];
            assert_eq!((definition.source().unwrap().stream.as_str(), definition.writes()), (read, vec![bad]));
        }
    }
}
