//! Runs the behaviour vectors of the S3 loader (`../shared/vectors/s3-loader.json`), every one of them.

#![allow(clippy::unwrap_used, reason = "a test may panic; clippy knows only the marked functions as tests")]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use snowmelt_objects::bad_rows::{ARTIFACT, BadRowRules};
use snowmelt_objects::framing::Encoder;
use snowmelt_objects::grouping;
use snowmelt_objects::metrics::{Statsd, latency_collector_to_load};
use snowmelt_objects::s3::S3Options;
use snowmelt_objects::{
    Batch, Buffer, BufferRules, DirectoryStore, Framing, LoaderFile, ObjectStore, Purpose, Rendered, S3LoaderConfig,
    StartPosition, render,
};
use snowmelt_protocol::badrow::Processor;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use support::Emulator;

/// Where we do otherwise, and why. The case is still run: it must come out as its reason says.
const DIFFERENCES: &[(&str, &str)] = &[
    ("K2-17", "no leading slash in the key, as the vector itself recommends"),
    ("K3-09", "refused when the configuration is read, not at each upload, as the vector recommends"),
    ("K3-10", "refused when the configuration is read, as K3-09"),
    ("F-05", "bytes stay unchanged, as in 2.x and as spec 2.1 recommends"),
    ("B-07", "the time of the replacement is an argument; all else is equal"),
    ("C-02", "no licence is asked for: the configuration is accepted"),
    ("C-03", "refused as in the original; printing \"Configuration error\" is the command line's"),
    ("C-06", "no licence is asked for: the configuration is accepted"),
    ("X-04", "sending again is the stream-writer's; here the configured back-off is checked"),
    ("X-05", "looking for the stream is the pipeline's start; here the stream's name is checked"),
];

type Outcome = Result<(), String>;

fn shared() -> Option<PathBuf> {
    if let Ok(path) = std::env::var("SNOWMELT_SHARED") {
        return Some(PathBuf::from(path)).filter(|path| path.is_dir());
    }
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    while !folder.join("Cargo.lock").is_file() {
        folder = folder.parent()?.to_path_buf();
    }
    Some(folder.parent()?.join("shared")).filter(|path| path.is_dir())
}

#[test]
fn every_vector_comes_out_as_written_or_as_a_named_difference() {
    let Some(shared) = shared() else {
        println!("skipped: ../shared is missing");
        return;
    };
    let text = std::fs::read_to_string(shared.join("vectors/s3-loader.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let mut failures = Vec::new();
    let mut different = 0;
    for vector in vectors {
        let id = text_of(&vector["id"]);
        different += usize::from(DIFFERENCES.iter().any(|(case, _)| *case == id));
        if let Err(problem) = run(vector) {
            failures.push(format!("{id} ({}): {problem}", text_of(&vector["title"])));
        }
    }
    for (case, _) in DIFFERENCES {
        assert!(vectors.iter().any(|vector| vector["id"] == *case), "no vector {case}");
    }
    let stores = STORES.lock().unwrap().take().unwrap();
    println!(
        "{} vectors, {different} of them with a named difference, objects in {} stores",
        vectors.len(),
        stores.all.len()
    );
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), vectors.len(), failures.join("\n"));
}

fn run(vector: &Value) -> Outcome {
    match text_of(&vector["group"]) {
        "key" => key(vector),
        "framing" => framing(vector),
        "lzo" => lzo(vector),
        "grouping" => grouped(vector),
        "bad-rows" => bad_row(vector),
        "decompression" => decompression(vector),
        "buffering" => buffering(vector),
        "failure" => failure(vector),
        "metrics" => metrics(vector),
        "config" => config(vector),
        other => Err(format!("unknown group {other}")),
    }
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn equal<T: PartialEq + std::fmt::Debug>(actual: T, expected: T) -> Outcome {
    if actual == expected { Ok(()) } else { Err(format!("expected {expected:?}, got {actual:?}")) }
}

fn is_v2(vector: &Value) -> bool {
    text_of(&vector["line"]).starts_with('2')
}

fn version(vector: &Value) -> &'static str {
    if is_v2(vector) { "2.3.0" } else { "3.2.0" }
}

fn millis(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(text_of(value)).unwrap()
}

fn decoded_all(value: &Value) -> Vec<Vec<u8>> {
    value.as_array().unwrap().iter().map(decoded).collect()
}

/// A configuration file of the vector's generation with the given options of keys.
fn file(vector: &Value, given: &Value) -> Value {
    let purpose = given.get("purpose").cloned().unwrap_or_else(|| json!("ENRICHED_EVENTS"));
    let path = given.get("path").cloned().unwrap_or_else(|| json!("s3://arch"));
    let mut place = json!({ "path": path });
    for option in ["partitionFormat", "filenamePrefix"] {
        if let Some(value) = given.get(option) {
            place[option] = value.clone();
        }
    }
    if is_v2(vector) {
        place["compression"] = given.get("compression").cloned().unwrap_or_else(|| json!("GZIP"));
        place["maxTimeout"] = json!(2000);
        json!({
            "purpose": purpose,
            "input": {"appName": "app", "streamName": "in", "position": "LATEST", "maxRecords": 10},
            "output": {"s3": place, "bad": {"streamName": "bad"}},
            "buffer": {"byteLimit": 1, "recordLimit": 1, "timeLimit": 1}
        })
    } else {
        json!({
            "purpose": purpose,
            "input": {"streamName": "in"},
            "output": {"good": place, "bad": {"streamName": "bad"}}
        })
    }
}

fn resolved(vector: &Value, file: &Value) -> Result<S3LoaderConfig, String> {
    LoaderFile::from_value(file).and_then(|file| file.resolve(version(vector))).map_err(|error| error.to_string())
}

fn rendered(config: &S3LoaderConfig, records: &[&[u8]], first: &str, last: &str, now_ms: i64) -> Rendered {
    let batch = Batch { shard: "shardId-000000000000", first_sequence: first, last_sequence: last, records };
    let rendered = render(&batch, config, now_ms);
    stored(&rendered);
    rendered
}

/// Where objects of the vectors are put: a directory, and an emulator of S3.
struct Stores {
    runtime: tokio::runtime::Runtime,
    all: Vec<Arc<dyn ObjectStore>>,
    _directory: tempfile::TempDir,
    _emulator: Option<Emulator>,
}

static STORES: LazyLock<Mutex<Option<Stores>>> = LazyLock::new(|| {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut all: Vec<Arc<dyn ObjectStore>> = vec![Arc::new(DirectoryStore::open(directory.path()).unwrap())];
    let emulator = runtime.block_on(Emulator::start());
    if let Some(emulator) = &emulator {
        all.push(Arc::new(runtime.block_on(emulator.bucket("vectors", &S3Options::default()))));
    }
    Mutex::new(Some(Stores { runtime, all, _directory: directory, _emulator: emulator }))
});

/// Every store takes the objects under their keys and gives them back.
fn stored(rendered: &Rendered) {
    let stores = STORES.lock().unwrap();
    let stores = stores.as_ref().unwrap();
    for store in &stores.all {
        for object in &rendered.objects {
            stores.runtime.block_on(async {
                store.put(&object.key, object.bytes.clone(), object.headers).await.unwrap();
                assert_eq!(store.get(&object.key).await.unwrap(), object.bytes, "{}", object.key);
                let listed = store.list(&object.key, None, 1).await.unwrap();
                assert_eq!(listed[0].key, object.key);
            });
        }
    }
}

fn key(vector: &Value) -> Outcome {
    let (given, expect) = (&vector["given"], &vector["expect"]);
    let config = match (resolved(vector, &file(vector, given)), expect.get("error")) {
        (Ok(config), None) => config,
        (Ok(_), Some(error)) => return Err(format!("accepted, but expected: {error}")),
        // K3-09 and K3-10 describe a failing upload; we refuse, which is what the note asks for.
        (Err(error), Some(expected)) => {
            let expected = text_of(expected);
            let same = error.contains(expected) || expected.starts_with("upload fails") && error.contains("is unknown");
            return if same { Ok(()) } else { Err(format!("expected error {expected:?}, got {error:?}")) };
        }
        (Err(error), None) => return Err(error),
    };
    equal(config.keys.bucket(), text_of(&expect["bucket"]))?;
    let record = match (given.get("group"), given.get("schema")) {
        (Some(Value::Object(group)), _) => {
            let part = |name| text_of(&group[name]);
            let (vendor, name, format) = (part("vendor"), part("name"), part("format"));
            format!(r#"{{"schema":"iglu:{vendor}/{name}/{format}/{}-0-0"}}"#, group["model"])
        }
        (None, Some(schema)) => json!({ "schema": schema }).to_string(),
        _ => "no schema".to_owned(),
    };
    let now = given.get("now").or(given.get("upload_time")).map(text_of).unwrap_or_default();
    let (first, last) = (text_of(&given["first_sequence"]), text_of(&given["last_sequence"]));
    let objects = rendered(&config, &[record.as_bytes()], first, last, millis(now)).objects;
    let keys: Vec<&str> = objects.iter().map(|object| object.key.as_str()).collect();
    if let Some(pattern) = expect.get("key_pattern") {
        let (head, tail) = text_of(pattern).split_once("<uuid>").unwrap();
        let [key] = keys[..] else { return Err(format!("expected one key, got {keys:?}")) };
        let middle = key.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail)).unwrap_or_default();
        let uuid = middle.parse::<uuid::Uuid>().map_err(|error| format!("{key}: {error}"))?;
        equal(uuid.get_version_num(), 4)?;
        return equal(uuid.to_string().as_str(), middle);
    }
    let expected = expect["keys"].as_array().unwrap().iter().map(text_of);
    // K2-17: without the leading slash.
    equal(keys, expected.map(|key| key.trim_start_matches('/')).collect())
}

fn framing(vector: &Value) -> Outcome {
    let records = decoded_all(&vector["given"]["records_base64"]);
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let config = resolved(vector, &file(vector, &vector["given"]))?;
    let objects = rendered(&config, &records, "1", "2", 0).objects;
    equal(objects.len(), 1)?;
    let mut members = 0;
    let mut rest = objects[0].bytes.as_ref();
    let mut plain = Vec::new();
    while !rest.is_empty() {
        let mut decoder = flate2::bufread::GzDecoder::new(rest);
        decoder.read_to_end(&mut plain).map_err(|error| error.to_string())?;
        rest = decoder.into_inner();
        members += 1;
    }
    equal(members, 1)?;
    // F-05: our bytes stay as they were.
    let different = vector["id"] == "F-05";
    let expected = if different { b"\x80a\n".to_vec() } else { decoded(&vector["expect"]["gunzipped_base64"]) };
    equal(plain, expected)
}

/// The plain content of an lzop file.
fn unlzo(file: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut at = 38;
    let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    while word(at) != 0 {
        let (length, stored) = (word(at), &file[at + 8..at + 8 + word(at + 4)]);
        if stored.len() == length {
            plain.extend_from_slice(stored);
        } else {
            plain.extend(lzokay_native::decompress_all(stored, Some(length)).unwrap());
        }
        at += 8 + stored.len();
    }
    assert_eq!(at + 4, file.len());
    plain
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lzo(vector: &Value) -> Outcome {
    let (given, expect) = (&vector["given"], &vector["expect"]);
    let records = match (given.get("records_base64"), given["record_count"].as_u64()) {
        (Some(records), _) => decoded_all(records),
        (None, Some(count)) => (0..count).map(|number| format!("{number:04}").into_bytes()).collect(),
        (None, None) => Vec::new(),
    };
    let written_ms = given["mtime"].as_i64().unwrap_or(0) * 1000;
    let encoded = Encoder::new(Framing::Lzo).encode(records.iter().map(Vec::as_slice), written_ms);
    let (file, index) = (encoded.bytes, encoded.index.unwrap());
    let inner = unlzo(&file);
    let markers =
        || inner.windows(16).enumerate().filter(|(_, bytes)| hex(bytes) == "29d8d50658cd4c29b2bc57992171bdff");
    for (what, expected) in expect.as_object().unwrap() {
        let actual = match what.as_str() {
            "inner_hex" => json!(hex(&inner)),
            "file_hex" => json!(hex(&file)),
            "index_hex" => json!(hex(&index)),
            "header_hex" => json!(hex(&file[..38])),
            "fields" => {
                let whole: String = expected.as_array().unwrap().iter().map(|field| text_of(&field[1])).collect();
                equal(whole, hex(&file[..38]))?;
                continue;
            }
            "blocks" => json!(markers().count()),
            "marker_offsets" => json!(markers().map(|(at, _)| at).collect::<Vec<_>>()),
            "records_per_block" => {
                let starts: Vec<usize> = markers().map(|(at, _)| at).chain([inner.len()]).collect();
                json!(starts.windows(2).map(|pair| (pair[1] - pair[0] - 30) / 6).collect::<Vec<_>>())
            }
            "inner_length" => json!(inner.len()),
            "inner_sha256" => json!(hex(&Sha256::digest(&inner))),
            other => return Err(format!("unknown expectation {other}")),
        };
        equal(&actual, expected).map_err(|problem| format!("{what}: {problem}"))?;
    }
    Ok(())
}

fn grouped(vector: &Value) -> Outcome {
    let (given, expect) = (&vector["given"], &vector["expect"]);
    let config = resolved(vector, &file(vector, given))?;
    let records: Vec<&[u8]> =
        given["records"].as_array().unwrap().iter().map(|text| text_of(text).as_bytes()).collect();
    let grouped = grouping::group(&records, &config);
    let groups: Vec<Value> = grouped
        .groups
        .iter()
        .map(|group| {
            let key = match &group.schema {
                None => json!("unknown"),
                Some(schema) if is_v2(vector) => json!([schema.vendor, schema.name, schema.format, schema.model]),
                Some(schema) => json!(schema.to_string()),
            };
            json!({"key": key, "records": group.events})
        })
        .collect();
    equal(&json!(groups), &expect["groups"])?;
    equal(json!(grouped.refused.len()), expect["bad_rows"].clone())?;
    let objects = rendered(&config, &records, "1", "2", 0);
    equal(json!(objects.bad_rows.len()), expect["bad_rows"].clone())?;
    let events: usize = objects.objects.iter().map(|object| object.events).sum();
    equal(events + objects.bad_rows.len(), records.len())
}

/// The row without what the vectors do not fix: the parser's own words.
fn without_parser_message(row: &str) -> String {
    const HEAD: &str = "Can't parse JSON holding self-describing event: ";
    let Some(start) = row.find(HEAD).map(|at| at + HEAD.len()) else { return row.to_owned() };
    let end = row[start..].find("\"]").map_or(row.len(), |length| start + length);
    format!("{}…{}", &row[..start], &row[end..])
}

fn one_bad_row(rendered: &Rendered, expect: &Value) -> Outcome {
    let [row] = &rendered.bad_rows[..] else { return Err(format!("expected one bad row, got {rendered:?}")) };
    equal(without_parser_message(row), without_parser_message(text_of(&expect["bad_row_text"])))
}

fn bad_row(vector: &Value) -> Outcome {
    let (given, expect) = (&vector["given"], &vector["expect"]);
    let rules = |max_record_size| BadRowRules { processor: Processor::new(ARTIFACT, version(vector)), max_record_size };
    if let Some(limit) = given.get("maxRecordSize") {
        // B-07: from the same record and error comes the same too large text, which is replaced.
        let original: Value = serde_json::from_str(text_of(&given["bad_row_text"])).unwrap();
        let replaced: Value = serde_json::from_str(text_of(&expect["bad_row_text"])).unwrap();
        let record = decoded(&original["data"]["payload"]);
        let error = text_of(&original["data"]["failure"]["errors"][0]).to_owned();
        let made = millis(text_of(&original["data"]["failure"]["timestamp"]));
        let whole = rules(usize::MAX).generic_error(error.clone(), &record, made);
        equal(whole.as_str(), text_of(&given["bad_row_text"]))?;
        let row = rules(limit.as_u64().unwrap() as usize).generic_error(error, &record, made);
        let mut row: Value = serde_json::from_str(&row).unwrap();
        row["data"]["failure"]["timestamp"] = replaced["data"]["failure"]["timestamp"].clone();
        return equal(row.to_string().as_str(), text_of(&expect["bad_row_text"]));
    }
    let now = millis(text_of(&given["now"]));
    if let Some(exception) = given.get("exception") {
        // B-06: writing into memory cannot fail here; the form of the row is checked all the same.
        let error = format!("IO error writing raw event to output stream. {}", text_of(exception));
        let row = rules(usize::MAX).generic_error(error, &decoded(&given["record_base64"]), now);
        return equal(row.as_str(), text_of(&expect["bad_row_text"]));
    }
    let config = resolved(vector, &file(vector, given))?;
    let rendered = rendered(&config, &[text_of(&given["record"]).as_bytes()], "1", "2", now);
    equal(rendered.objects.len(), 0)?;
    one_bad_row(&rendered, expect)
}

fn decompression(vector: &Value) -> Outcome {
    let (given, expect) = (&vector["given"], &vector["expect"]);
    let record = decoded(&given["record_base64"]);
    let config = resolved(vector, &file(vector, given))?;
    let rendered = rendered(&config, &[&record], "1", "2", 0);
    let expected = match (expect.get("records_base64"), expect.get("passes_through")) {
        (Some(records), _) => decoded_all(records),
        (None, Some(_)) => vec![record],
        (None, None) => return one_bad_row(&rendered, expect),
    };
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(rendered.objects[0].bytes.as_ref()).read_to_end(&mut plain).unwrap();
    let lines: Vec<u8> = expected.iter().flat_map(|record| record.iter().copied().chain([b'\n'])).collect();
    equal(plain, lines)
}

fn buffering(vector: &Value) -> Outcome {
    let (given, expect) = (&vector["given"], &vector["expect"]);
    let number = |value: &Value| value.as_u64().unwrap();
    if let Some(limits) = given.get("buffer") {
        let mut buffer = Buffer::new(
            BufferRules::V2 {
                byte_limit: number(&limits["byteLimit"]),
                record_limit: number(&limits["recordLimit"]),
                time_limit_ms: number(&limits["timeLimit"]) as i64,
            },
            0,
        );
        let mut flushed = Vec::new();
        for (call, delivery) in given["calls"].as_array().unwrap().iter().enumerate() {
            let at = number(&delivery["at_ms"]) as i64;
            if buffer.add(number(&delivery["records"]), number(&delivery["bytes"]), at) {
                flushed.push(call + 1);
                buffer.flushed(at);
            }
        }
        return equal(json!(flushed), expect["flush_after_call"].clone());
    }
    let limits = &given["batching"];
    let mut buffer = Buffer::new(
        BufferRules::V3 {
            max_bytes: number(&limits["maxBytes"]),
            max_delay_ms: number(&limits["maxDelay_ms"]) as i64,
            max_plain_bytes: u64::MAX,
        },
        0,
    );
    // Before the first flush plain bytes are taken as incompressible, so totals can be given directly.
    let mut emitted = Vec::new();
    let mut total = 0;
    for chunk in given["chunks"].as_array().unwrap() {
        let (at, after) = (number(&chunk["at_ms"]) as i64, number(&chunk["compressed_total_after"]));
        if buffer.add(1, after - total, at) {
            emitted.push(at);
            buffer.flushed(at);
        }
        total = after;
    }
    emitted.extend(buffer.due_at_ms());
    equal(json!(emitted), expect["emit_at_ms"].clone())
}

fn failure(vector: &Value) -> Outcome {
    let file = LoaderFile::from_value(&file(vector, &vector["given"])).map_err(|error| error.to_string())?;
    match (text_of(&vector["id"]), file) {
        ("X-04", LoaderFile::V3(file)) => {
            let backoff = file.output.bad.throttled_backoff_policy;
            equal((backoff.min_ms, backoff.max_ms), (100, 1000))
        }
        ("X-05", file @ LoaderFile::V2(_)) => equal(file.bad_stream(), "bad"),
        (other, _) => Err(format!("unknown case {other}")),
    }
}

fn metrics(vector: &Value) -> Outcome {
    let (given, expect) = (&vector["given"], &vector["expect"]);
    if let Some(records) = given["records"].as_array() {
        let config = resolved(vector, &file(vector, given))?;
        let records: Vec<&[u8]> = records.iter().map(|text| text_of(text).as_bytes()).collect();
        let rendered = rendered(&config, &records, "1", "2", 1_000_000);
        equal(json!(rendered.objects[0].events), expect["count"].clone())?;
        let latency = latency_collector_to_load(rendered.earliest_collector_ms, 1_000_000);
        return equal(json!(latency), expect["latency"].clone());
    }
    let tags = given["tags"].as_object().unwrap().iter().map(|(name, value)| (name.as_str(), text_of(value)));
    let statsd = if is_v2(vector) {
        Statsd::v2(given["prefix"].as_str(), tags)
    } else {
        Statsd::v3(given["prefix"].as_str(), tags)
    };
    if let Some(datagrams) = expect.get("datagrams") {
        let objects = given["objects"].as_u64().unwrap();
        return equal(json!((0..objects).map(|_| statsd.counter("count", 0)).collect::<Vec<_>>()), datagrams.clone());
    }
    let datagram = statsd.counter("count", given["events"].as_u64().unwrap());
    let expected = expect["contains"].as_str().unwrap_or_else(|| text_of(&expect["contains"][0]));
    equal(datagram.as_str(), expected)
}

fn config(vector: &Value) -> Outcome {
    let (given, expect) = (&vector["given"], &vector["expect"]);
    let file = LoaderFile::from_value(&given["config"]);
    let outcome = file
        .as_ref()
        .map_err(ToString::to_string)
        .and_then(|file| file.resolve(version(vector)).map_err(|error| error.to_string()));
    let no_licence = matches!(text_of(&vector["id"]), "C-02" | "C-06");
    if expect.get("exit_code").is_some() && !no_licence {
        let Err(error) = outcome else { return Err("accepted".to_owned()) };
        let expected = expect.get("message_contains").map(text_of).unwrap_or_default();
        return if error.contains(expected) { Ok(()) } else { Err(format!("expected {expected:?}, got {error:?}")) };
    }
    let config = outcome?;
    let file = file.map_err(|error| error.to_string())?;
    for (what, expected) in expect.as_object().unwrap() {
        let actual = match what.as_str() {
            "purpose" => match config.purpose {
                Purpose::Raw => json!("RAW"),
                Purpose::EnrichedEvents => json!("ENRICHED_EVENTS"),
                Purpose::SelfDescribing => json!("SELF_DESCRIBING"),
            },
            "compression" => json!(if matches!(config.framing, Framing::Gzip { .. }) { "GZIP" } else { "other" }),
            "position" => json!(position(file.start_position())),
            "resolved" => json!(resolved_defaults(&file, given["env"]["HOSTNAME"].as_str())),
            "starts" | "exit_code" | "message_contains" => continue,
            other => return Err(format!("unknown expectation {other}")),
        };
        equal(&actual, expected).map_err(|problem| format!("{what}: {problem}"))?;
    }
    Ok(())
}

fn position(position: StartPosition) -> String {
    match position {
        StartPosition::Latest => "LATEST".to_owned(),
        StartPosition::TrimHorizon => "TRIM_HORIZON".to_owned(),
        StartPosition::AtTimestampMs(millis) => {
            format!("AT_TIMESTAMP {}", jiff::Timestamp::from_millisecond(millis).unwrap())
        }
    }
}

fn resolved_defaults(file: &LoaderFile, hostname: Option<&str>) -> Value {
    let LoaderFile::V3(v3) = file else { return Value::Null };
    json!({
        "appName": file.app_name(),
        "workerIdentifier": v3.worker_identifier(hostname),
        "initialPosition": position(file.start_position()),
        "retrievalMode": {
            "type": format!("{:?}", v3.input.retrieval_mode.kind),
            "maxRecords": v3.input.retrieval_mode.max_records
        },
        "batching": {"maxBytes": v3.batching.max_bytes, "maxDelay_ms": v3.batching.max_delay_ms},
        "cpuParallelismFactor": v3.cpu_parallelism_factor as u64,
        "uploadParallelismFactor": v3.upload_parallelism_factor as u64,
        "badMaxRecordSize": v3.output.bad.max_record_size,
        "healthPort": v3.monitoring.health_probe.port
    })
}
