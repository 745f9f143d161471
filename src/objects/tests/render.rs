//! What the loader promises beyond the vectors: nothing is lost, repeats overwrite, partitions by event time.

#![allow(clippy::unwrap_used, reason = "a test may panic; clippy knows only the marked functions as tests")]

use proptest::prelude::*;
use serde_json::{Value, json};
use snowmelt_objects::{Batch, DirectoryStore, LoaderFile, Object, ObjectStore, Rendered, S3LoaderConfig, render};
use std::io::Read;
use std::process::Command;

const NOW: i64 = 1_709_629_687_250;

fn v3(purpose: &str, good: Value, snowmelt: Value) -> S3LoaderConfig {
    let mut place = json!({"path": "s3://arch/out"});
    place.as_object_mut().unwrap().extend(good.as_object().unwrap().clone());
    resolved(&json!({
        "purpose": purpose,
        "input": {"streamName": "in"},
        "output": {"good": place, "bad": {"streamName": "bad"}},
        "snowmelt": snowmelt
    }))
}

fn v2(purpose: &str, compression: &str, snowmelt: Value) -> S3LoaderConfig {
    resolved(&json!({
        "purpose": purpose,
        "input": {"appName": "app", "streamName": "in", "position": "LATEST", "maxRecords": "10"},
        "output": {
            "s3": {"path": "arch/out", "compression": compression, "maxTimeout": "2000"},
            "bad": {"streamName": "bad"}
        },
        "buffer": {"byteLimit": 1, "recordLimit": 1, "timeLimit": 1},
        "snowmelt": snowmelt
    }))
}

fn resolved(file: &Value) -> S3LoaderConfig {
    LoaderFile::from_value(file).unwrap().resolve("3.2.0").unwrap()
}

fn rendered(config: &S3LoaderConfig, records: &[&[u8]], now_ms: i64) -> Rendered {
    let batch = Batch { shard: "shardId-000000000007", first_sequence: "100", last_sequence: "199", records };
    render(&batch, config, now_ms)
}

fn gunzipped(object: &Object) -> String {
    let mut plain = String::new();
    flate2::read::GzDecoder::new(object.bytes.as_ref()).read_to_string(&mut plain).unwrap();
    plain
}

fn keys(rendered: &Rendered) -> Vec<&str> {
    rendered.objects.iter().map(|object| object.key.as_str()).collect()
}

fn event(collector: &str, derived: &str) -> String {
    let mut fields = vec![""; 131];
    fields[3] = collector;
    fields[124] = derived;
    fields.join("\t")
}

#[test]
fn a_repeat_of_a_batch_at_its_first_load_time_overwrites_whatever_the_naming() {
    let first = br#"{"schema":"iglu:a/b/jsonschema/1-0-0"}"#.as_slice();
    let second = br#"{"schema":"iglu:a/c/jsonschema/1-0-0"}"#.as_slice();
    let no_json = b"{".as_slice();
    let good = json!({"partitionFormat": "{vendor}/{yyyy}-{MM}-{dd}"});
    for naming in ["sequence", "original"] {
        let config = v3("SELF_DESCRIBING", good.clone(), json!({"naming": naming}));
        let once = rendered(&config, &[first, no_json, second], NOW);
        assert_eq!(once, rendered(&config, &[first, no_json, second], NOW), "{naming}");
        assert_eq!(once.bad_rows.len(), 1);
    }
    let named = v3("SELF_DESCRIBING", good, json!({"naming": "sequence"}));
    let once = rendered(&named, &[first, second], NOW);
    assert_eq!(keys(&once), ["out/a/2024-03-05/shardId-000000000007-100-199.gz"]);
    let lzo = v2("RAW", "LZO", json!({"naming": "sequence"}));
    assert_eq!(rendered(&lzo, &[first], NOW), rendered(&lzo, &[first], NOW));
}

#[test]
fn names_of_different_batches_differ() {
    let config = v3("ENRICHED_EVENTS", json!({}), json!({}));
    let batch = Batch { shard: "shardId-000000000007", first_sequence: "100", last_sequence: "200", records: &[b"x"] };
    assert_ne!(render(&batch, &config, NOW).objects[0].key, rendered(&config, &[b"x"], NOW).objects[0].key);
}

#[test]
fn groups_with_the_same_key_share_one_object() {
    // In the original the second object replaces the first.
    let records: [&[u8]; 3] = [
        br#"{"schema":"iglu:a/b/jsonschema/1-0-0","n":0}"#,
        br#"{"schema":"iglu:a/b/jsonschema/2-0-0","n":1}"#,
        br#"{"schema":"iglu:a/b/jsonschema/1-0-1","n":2}"#,
    ];
    let rendered = rendered(&v2("SELF_DESCRIBING", "GZIP", json!({})), &records, NOW);
    assert_eq!(keys(&rendered), ["out/a.b/2024-03-05-090807-100-199.gz"]);
    let lines: Vec<String> = records.iter().map(|record| String::from_utf8_lossy(record).into_owned()).collect();
    assert_eq!(gunzipped(&rendered.objects[0]).lines().collect::<Vec<_>>(), lines);
    assert_eq!(rendered.objects[0].events, 3);
}

#[test]
fn enriched_events_can_be_filed_by_their_own_time() {
    let good = json!({"partitionFormat": "{yyyy}-{MM}-{dd}/{HH}"});
    let records = [
        event("2024-03-04 23:59:59.999", "2023-01-01 10:00:00.000"),
        event("2024-03-05 00:00:00.000", "2023-01-01 10:59:59.000"),
        event("2024-03-04 23:00:00.000", ""),
    ];
    let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
    let collector = v3("ENRICHED_EVENTS", good.clone(), json!({"partitionBy": "collector_time", "naming": "sequence"}));
    let by_collector = rendered(&collector, &records, NOW);
    assert_eq!(
        keys(&by_collector),
        ["out/2024-03-04/23/shardId-000000000007-100-199.gz", "out/2024-03-05/00/shardId-000000000007-100-199.gz"]
    );
    assert_eq!(by_collector.objects[0].events, 2);
    assert_eq!(by_collector.earliest_collector_ms, Some(1_709_593_200_000));
    let derived = v3("ENRICHED_EVENTS", good, json!({"partitionBy": "derived_time", "naming": "sequence"}));
    assert_eq!(
        keys(&rendered(&derived, &records, NOW)),
        // The event without a derived time is filed under the time of the load.
        ["out/2023-01-01/10/shardId-000000000007-100-199.gz", "out/2024-03-05/09/shardId-000000000007-100-199.gz"]
    );
}

#[test]
fn wild_clocks_cannot_open_more_partitions_than_the_bound() {
    let snowmelt = json!({"partitionBy": "derived_time", "naming": "sequence"});
    let config = v3("ENRICHED_EVENTS", json!({"partitionFormat": "{yyyy}"}), snowmelt);
    let records: Vec<String> = (1000..3000).map(|year| event("", &format!("{year}-01-01 00:00:00.000"))).collect();
    let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
    let rendered = rendered(&config, &records, NOW);
    assert_eq!(rendered.objects.len(), 257);
    assert_eq!(rendered.objects.iter().map(|object| object.events).sum::<usize>(), 2000);
}

#[test]
fn compressed_input_keeps_its_place_and_what_was_read_before_damage() {
    let container = |events: &[&[u8]]| {
        let mut inner = vec![1, 1];
        for event in events {
            inner.extend((event.len() as u32).to_be_bytes());
            inner.extend_from_slice(event);
        }
        inner
    };
    let zstd = zstd::encode_all(container(&[b"b", b"", b"c"]).as_slice(), 3).unwrap();
    let mut cut = container(&[b"e", b"lost"]);
    cut.truncate(cut.len() - 1);
    let cut = zstd::encode_all(cut.as_slice(), 3).unwrap();
    let unknown = zstd::encode_all([2u8, 1].as_slice(), 3).unwrap();
    let config = v3("ENRICHED_EVENTS", json!({}), json!({}));
    let rendered = rendered(&config, &[b"a", &zstd, b"d", &cut, &unknown, b"f"], NOW);
    assert_eq!(gunzipped(&rendered.objects[0]), "a\nb\n\nc\nd\ne\nf\n");
    assert_eq!(rendered.bad_rows.len(), 2);
    assert!(rendered.bad_rows[0].contains("corrupt zstd-compressed payload"), "{}", rendered.bad_rows[0]);
    assert!(
        rendered.bad_rows[1].contains("unsupported versions in zstd-compressed record header: 2, 1"),
        "{}",
        rendered.bad_rows[1]
    );
}

proptest! {
    #[test]
    fn every_record_is_in_one_object_or_one_bad_row(
        records in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                (0u8..4, 0u8..4).prop_map(|(name, model)| {
                    format!(r#"{{"schema":"iglu:v/n{name}/jsonschema/{model}-0-0"}}"#).into_bytes()
                }),
                "[{}\\[\\]\",:a-z0-9\t]{0,30}".prop_map(String::into_bytes),
            ],
            0..30,
        ),
    ) {
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let by_time = json!({"partitionBy": "collector_time", "naming": "sequence"});
        for config in [
            v3("SELF_DESCRIBING", json!({"partitionFormat": "{name}/{model}"}), json!({})),
            v2("SELF_DESCRIBING", "GZIP", json!({})),
            v3("ENRICHED_EVENTS", json!({"partitionFormat": "{HH}"}), by_time),
        ] {
            let rendered = rendered(&config, &records, NOW);
            let events: usize = rendered.objects.iter().map(|object| object.events).sum();
            // Random bytes may by chance begin like a compressed record; such a one may be all bad.
            prop_assert_eq!(events + rendered.bad_rows.len(), records.len());
            let mut keys = keys(&rendered);
            keys.sort_unstable();
            keys.dedup();
            prop_assert_eq!(keys.len(), rendered.objects.len());
        }
    }
}

#[test]
fn an_empty_batch_gives_nothing() {
    for config in [v3("ENRICHED_EVENTS", json!({}), json!({})), v2("RAW", "LZO", json!({}))] {
        assert_eq!(rendered(&config, &[], NOW), Rendered::default());
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let refused = |purpose: &str, good: Value, snowmelt: Value| {
        let mut place = json!({"path": "s3://arch"});
        place.as_object_mut().unwrap().extend(good.as_object().unwrap().clone());
        LoaderFile::from_value(&json!({"snowplow": {
            "purpose": purpose,
            "input": {"streamName": "in"},
            "output": {"good": place, "bad": {"streamName": "bad"}},
            "snowmelt": snowmelt
        }}))
        .and_then(|file| file.resolve("3.2.0"))
        .unwrap_err()
        .to_string()
    };
    let by_time = json!({"partitionBy": "collector_time"});
    assert!(refused("ENRICHED_EVENTS", json!({}), by_time.clone()).contains("no placeholder for a time"));
    assert!(refused("SELF_DESCRIBING", json!({}), by_time).contains("only enriched events"));
    assert!(refused("ENRICHED_EVENTS", json!({}), json!({"compressionLevel": 13})).contains("gzip has levels 1 to 12"));
    assert!(refused("ENRICHED_EVENTS", json!({}), json!({"nameing": "sequence"})).contains("nameing"));
    assert!(LoaderFile::from_value(&json!({"output": {}})).is_err());
}

#[tokio::test]
async fn rendered_objects_are_put_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(folder.path().join("arch")).unwrap();
    let config = v3("ENRICHED_EVENTS", json!({"compressionType": "zstd"}), json!({"naming": "sequence"}));
    for object in rendered(&config, &[b"a\tb", b"c"], NOW).objects {
        store.put(&object.key, object.bytes, object.headers).await.unwrap();
    }
    let listed = store.list("out/", None, 10).await.unwrap();
    assert_eq!(listed[0].key, "out/shardId-000000000007-100-199.zst");
    let bytes = store.get(&listed[0].key).await.unwrap();
    assert_eq!(zstd::decode_all(bytes.as_ref()).unwrap(), b"a\tb\nc\n");
}

#[test]
fn lzop_reads_our_lzo_objects() {
    if Command::new("lzop").arg("--version").output().is_err() {
        println!("skipped: lzop is not installed");
        return;
    }
    let line = b"app\tweb\t2024-03-05 09:08:07.250\thttps://shop.example/p/".repeat(40);
    let mut noise = 1u32;
    let records: Vec<Vec<u8>> = (0..800usize)
        .map(|number| {
            let mut record = line[..number * 2].to_vec();
            for _ in 0..number {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                record.push((noise >> 24) as u8);
            }
            record
        })
        .collect();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let objects = rendered(&v2("RAW", "LZO", json!({})), &records, NOW).objects;
    assert_eq!(objects[1].key, format!("{}.index", objects[0].key));
    assert!(objects[1].bytes.len() >= 16, "several blocks");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("object.lzo");
    std::fs::write(&path, &objects[0].bytes).unwrap();
    let output = Command::new("lzop").args(["-dc"]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut inner = output.stdout.as_slice();
    let mut read = Vec::new();
    while !inner.is_empty() {
        let length = u32::from_le_bytes(inner[16..20].try_into().unwrap()) as usize;
        let mut message = &inner[20 + 10..20 + length];
        while !message.is_empty() {
            assert_eq!(message[0], 0x1A);
            let (mut size, mut shift, mut at) = (0usize, 0, 1);
            loop {
                size |= usize::from(message[at] & 0x7F) << shift;
                shift += 7;
                at += 1;
                if message[at - 1] < 0x80 {
                    break;
                }
            }
            read.push(&message[at..at + size]);
            message = &message[at + size..];
        }
        inner = &inner[20 + length..];
    }
    assert!(read == records, "{} records of {}", read.len(), records.len());
}
