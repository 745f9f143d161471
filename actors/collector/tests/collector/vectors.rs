//! shared/vectors/collector.json: every case, over a socket where it is about HTTP.

use std::{borrow::Cow, fmt::Write};

use base64::Engine;
use serde_json::Value;
use snowmelt_collector::{
    CollectorConfig,
    commit::{BatchLimits, Fill},
    decision::{Limits, check_size, payload_cookie_header, split_list},
};
use snowmelt_protocol::{badrow::Processor, payload::CollectorPayload};

use super::support::{Collector, Response, shared};

/// Cases in which we chose to differ, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "broken_percent_escape_rejected",
        "such requests are tracked, so that nothing is lost; enrich judges them (spec 1.2)",
    ),
    ("cookie_fallback_domain_empty_string", "an empty Domain is left out, which means the same to browsers (spec 2.3)"),
    ("hostname_absent_for_origin_form", "hostname is filled from Host, as the field was meant (spec 3.1)"),
    ("split_exact_fit_is_one_byte_over", "split records stay below maxBytes instead of one byte above it (spec 4.2)"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_vector_holds_but_for_the_listed_differences() {
    let Some(file) = shared("vectors/collector.json") else { return };
    let document: Value = serde_json::from_slice(&file).unwrap();
    let vectors = document["vectors"].as_array().unwrap();
    let mut report = String::new();
    let mut passed = 0;
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        let mut problems = Problems::default();
        match vector["kind"].as_str().unwrap() {
            "http" => http(vector, &mut problems).await,
            "thrift_serialize" => thrift_serialize(vector, &mut problems),
            "split" => split(vector, &mut problems),
            "split_list" => split_lists(vector, &mut problems),
            "cookie_filter" => cookie_filter(vector, &mut problems),
            "kinesis_buffer" => kinesis_buffer(vector, &mut problems),
            "sqs_batches" => sqs_batches(vector, &mut problems),
            "license" => license(vector, &mut problems),
            kind => problems.add(format!("kind {kind} is not known")),
        }
        let difference = DIFFERENCES.iter().find(|(case, _)| *case == name);
        match (problems.0.is_empty(), difference) {
            (true, None) => passed += 1,
            (true, Some(_)) => writeln!(report, "{name}: listed as a difference, but it holds").unwrap(),
            (false, Some((_, reason))) => println!("differs: {name}: {reason}"),
            (false, None) => {
                for problem in problems.0 {
                    writeln!(report, "{name}: {problem}").unwrap();
                }
            }
        }
    }
    println!("{passed} of {} vectors hold, {} differ by choice", vectors.len(), DIFFERENCES.len());
    assert!(report.is_empty(), "\n{report}");
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: String) {
        self.0.push(problem);
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, got: T, expected: T) {
        if got != expected {
            self.add(format!("{what} is {got:?}, not {expected:?}"));
        }
    }

    /// Compares with a matcher of the vectors' conventions.
    fn matches(&mut self, what: &str, got: Option<&str>, matcher: &Value) {
        let holds = match matcher {
            Value::String(text) => got == Some(text),
            Value::Null => got.is_none(),
            Value::Object(rules) if rules.contains_key("absent") => got.is_none(),
            Value::Object(rules) => got.is_some_and(|got| matches_pattern(got, rules["regex"].as_str().unwrap())),
            _ => false,
        };
        if !holds {
            self.add(format!("{what} is {got:?}, not {matcher}"));
        }
    }
}

fn matches_pattern(text: &str, pattern: &str) -> bool {
    // The one look-ahead in the vectors; the regex crate has none.
    match pattern.strip_prefix("^(?!.*").and_then(|rest| rest.strip_suffix(").*$")) {
        Some(forbidden) => !text.contains(forbidden),
        None => regex::Regex::new(pattern).unwrap().is_match(text),
    }
}

fn body_of(value: &Value) -> Option<Vec<u8>> {
    if let Some(text) = value["body"].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    if let Some(text) = value["body_base64"].as_str() {
        return Some(base64::engine::general_purpose::STANDARD.decode(text).unwrap());
    }
    let repeat = value["body_repeat"].as_object()?;
    Some(repeat["char"].as_str().unwrap().repeat(repeat["count"].as_u64().unwrap() as usize).into_bytes())
}

async fn http(vector: &Value, problems: &mut Problems) {
    let config: CollectorConfig = serde_json::from_value(vector["config"].clone()).unwrap();
    let collector = Collector::start(config);
    let down = |sink: &str| vector["sink_state"][sink]["kinesis"] == Value::Bool(false);
    collector.good.unhealthy.store(down("good"), std::sync::atomic::Ordering::Relaxed);
    collector.bad.unhealthy.store(down("bad"), std::sync::atomic::Ordering::Relaxed);

    let request = &vector["request"];
    let mut headers: Vec<(&str, String)> = request["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|header| (header[0].as_str().unwrap(), header[1].as_str().unwrap().to_owned()))
        .collect();
    let given = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let body = body_of(request);
    let mut added = Vec::new();
    if !given("Host") {
        added.push(("Host", "collector.example".to_owned()));
    }
    if let Some(body) = &body
        && !given("Content-Length")
    {
        added.push(("Content-Length", body.len().to_string()));
    }
    headers.extend(added.iter().cloned());
    let mut bytes =
        format!("{} {} HTTP/1.1\r\n", request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
    for (name, value) in &headers {
        write!(bytes, "{name}: {value}\r\n").unwrap();
    }
    let mut bytes = format!("{bytes}\r\n").into_bytes();
    bytes.extend(body.unwrap_or_default());
    let response = collector.request(&bytes).await;

    response_holds(&response, &vector["expect"], problems);
    let (good, bad) = (collector.good.take(), collector.bad.take());
    if let Some(payloads) = vector["expect"]["payloads"].as_array() {
        problems.equal("number of payloads", good.len(), payloads.len());
        for (record, expected) in good.iter().zip(payloads) {
            let added: Vec<String> = added.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            payload_holds(&CollectorPayload::decode(&record.data).unwrap(), expected, &added, problems);
        }
    }
    if let Some(matcher) = vector["expect"].get("partition_key") {
        problems.matches("partition key", good.first().map(|record| record.partition_key.as_str()), matcher);
    }
    if let Some(count) = vector["expect"]["bad_rows"].as_u64() {
        problems.equal("number of bad rows", bad.len() as u64, count);
    }
    collector.stop().await.unwrap();
}

fn response_holds(response: &Response, expect: &Value, problems: &mut Problems) {
    problems.equal("status", u64::from(response.status), expect["status"].as_u64().unwrap());
    for (name, matcher) in expect["headers"].as_object().into_iter().flatten() {
        problems.matches(name, response.header(name), matcher);
    }
    if let Some(body) = body_of(expect) {
        problems.equal("body", String::from_utf8_lossy(&response.body), String::from_utf8_lossy(&body));
    }
    if let Some(expected) = expect["set_cookie"].as_array() {
        let cookies: Vec<&str> = response.all("Set-Cookie").collect();
        problems.equal("number of cookies", cookies.len(), expected.len());
        for (cookie, matcher) in cookies.iter().zip(expected) {
            problems.matches("Set-Cookie", Some(cookie), matcher);
        }
    }
}

fn payload_holds(payload: &CollectorPayload<'_>, expect: &Value, added: &[String], problems: &mut Problems) {
    let lines: Vec<&str> = payload.headers().iter().map(AsRef::as_ref).collect();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    for (field, matcher) in expect.as_object().unwrap() {
        let body = payload.body_text();
        let got = match field.as_str() {
            "ipAddress" => payload.ip_address.as_deref(),
            "encoding" => payload.encoding.as_deref(),
            "userAgent" => payload.user_agent.as_deref(),
            "refererUri" => payload.referer_uri.as_deref(),
            "path" => payload.path.as_deref(),
            "querystring" => payload.querystring.as_deref(),
            "body" => body.as_deref(),
            "contentType" => payload.content_type.as_deref(),
            "hostname" => payload.hostname.as_deref(),
            "networkUserId" => payload.network_userid.as_deref(),
            "headers_equals" => {
                let kept: Vec<&str> =
                    lines.iter().copied().filter(|line| !added.iter().any(|own| own == line)).collect();
                problems.equal("headers", kept, texts(matcher).iter().map(String::as_str).collect());
                continue;
            }
            "headers_contains" => {
                for line in texts(matcher).iter().filter(|line| !lines.contains(&line.as_str())) {
                    problems.add(format!("header {line:?} is not in {lines:?}"));
                }
                continue;
            }
            "headers_excludes" => {
                for line in texts(matcher).iter().filter(|line| lines.contains(&line.as_str())) {
                    problems.add(format!("header {line:?} is in {lines:?}"));
                }
                continue;
            }
            "headers_excludes_prefix" => {
                for prefix in
                    texts(matcher).iter().filter(|prefix| lines.iter().any(|line| line.starts_with(prefix.as_str())))
                {
                    problems.add(format!("a header begins with {prefix:?} in {lines:?}"));
                }
                continue;
            }
            other => {
                problems.add(format!("payload field {other} is not known"));
                continue;
            }
        };
        problems.matches(field, got, matcher);
    }
}

/// A payload from the vectors' JSON; only what it names is set.
fn payload_of(value: &Value) -> CollectorPayload<'static> {
    let text = |field: &str| -> Option<String> {
        match &value[field] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            Value::Object(rules) => {
                let repeat = rules["repeat"].as_array().unwrap();
                Some(repeat[0].as_str().unwrap().repeat(repeat[1].as_u64().unwrap() as usize))
            }
            other => panic!("{field}: {other}"),
        }
    };
    let field = |name: &str| text(name).map(Cow::Owned);
    CollectorPayload {
        schema: field("schema"),
        ip_address: field("ipAddress"),
        timestamp: value["timestamp"].as_i64().unwrap_or(0),
        encoding: field("encoding"),
        collector: field("collector"),
        user_agent: field("userAgent"),
        referer_uri: field("refererUri"),
        path: field("path"),
        querystring: field("querystring"),
        body: text("body").map(|body| body.into_bytes().into()),
        headers: value["headers"]
            .as_array()
            .map(|lines| lines.iter().map(|line| line.as_str().unwrap().to_owned().into()).collect()),
        content_type: field("contentType"),
        hostname: field("hostname"),
        network_userid: field("networkUserId"),
    }
}

fn thrift_serialize(vector: &Value, problems: &mut Problems) {
    let (payload, expect) = (payload_of(&vector["input"]), &vector["expect"]);
    let mut bytes = Vec::new();
    payload.encode(&mut bytes);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    problems.equal("bytes", hex.as_str(), expect["hex"].as_str().unwrap());
    problems.equal("length", bytes.len() as u64, expect["length"].as_u64().unwrap());
    let mut text = String::new();
    payload.write_text(&mut text);
    problems.equal("text", text.as_str(), expect["to_string"].as_str().unwrap());
}

fn split(vector: &Value, problems: &mut Problems) {
    let (input, expect) = (&vector["input"], &vector["expect"]);
    let payload = payload_of(&input["payload"]);
    let limit = |name: &str| input[name].as_u64().unwrap() as usize;
    let limits = Limits { max_bytes: limit("maxBytes"), max_payload_size: limit("maxPayloadSize") };
    problems.equal("size", payload.encoded_len() as u64, expect["serialized_size"].as_u64().unwrap());
    let checked = check_size(&payload, limits, &Processor::new("snowmelt-collector", "0.1.0"), 0);
    if let Some(count) = expect["good"].as_u64() {
        problems.equal("number of records", checked.good.len() as u64, count);
    }
    if let Some(bodies) = expect["good_bodies"].as_array() {
        let got: Vec<String> = checked
            .good
            .iter()
            .map(|record| CollectorPayload::decode(record).unwrap().body_text().unwrap().into_owned())
            .collect();
        problems.equal(
            "bodies",
            got.iter().map(String::as_str).collect::<Vec<_>>(),
            bodies.iter().map(|body| body.as_str().unwrap()).collect(),
        );
    }
    let bad = expect["bad"].as_array().unwrap();
    problems.equal("number of bad rows", checked.bad.len(), bad.len());
    for (line, expected) in checked.bad.iter().zip(bad) {
        let row: Value = serde_json::from_str(line).unwrap();
        let (failure, payload) = (&row["data"]["failure"], row["data"]["payload"].as_str().unwrap());
        for (field, value) in expected.as_object().unwrap() {
            let begins = |text: &str| text.starts_with(value.as_str().unwrap());
            let holds = match field.as_str() {
                "expectation_prefix" => begins(failure["expectation"].as_str().unwrap()),
                "payload_prefix" => begins(payload),
                _ => failure[field] == *value,
            };
            if !holds {
                problems.add(format!("{field} is not {value} in {line}"));
            }
        }
        problems.equal("length of the text", payload.encode_utf16().count() <= limits.max_bytes / 10, true);
    }
}

fn split_lists(vector: &Value, problems: &mut Problems) {
    let (input, expect) = (&vector["input"], &vector["expect"]);
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let number = |name: &str| input[name].as_u64().unwrap() as usize;
    // Sizes in the vectors are of items as JSON strings, with their quotes.
    let (batches, too_big) =
        split_list(texts(&input["items"]), number("maximum"), number("joinSize"), |item| item.len() + 2);
    problems.equal("batches", batches, expect["batches"].as_array().unwrap().iter().map(texts).collect());
    problems.equal("too big", too_big, texts(&expect["too_big"]));
}

fn cookie_filter(vector: &Value, problems: &mut Problems) {
    let value = payload_cookie_header(vector["input"]["cookie"].as_str().unwrap().as_bytes());
    problems.matches("cookies", value.as_deref(), &vector["expect"]["value"]);
}

/// Fills batches with sizes.
fn fill(sizes: impl Iterator<Item = u64>, limits: BatchLimits) -> Vec<Vec<u64>> {
    let mut batches = vec![Vec::new()];
    let mut fill = Fill::default();
    for size in sizes {
        if fill.add(size as usize, limits) {
            batches.push(Vec::new());
        }
        batches.last_mut().unwrap().push(size);
    }
    batches
}

fn sizes(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).collect()
}

fn kinesis_buffer(vector: &Value, problems: &mut Problems) {
    let (input, expect) = (&vector["input"], &vector["expect"]);
    let limits = BatchLimits {
        records: input["recordLimit"].as_u64().unwrap() as usize,
        bytes: input["byteLimit"].as_u64().unwrap() as usize,
    };
    let mut batches = fill(input["stores"].as_array().unwrap().iter().map(|store| store[1].as_u64().unwrap()), limits);
    problems.equal("left", batches.pop().unwrap(), sizes(&expect["left"]));
    problems.equal("flushes", batches, expect["flushes"].as_array().unwrap().iter().map(sizes).collect());
}

fn sqs_batches(vector: &Value, problems: &mut Problems) {
    let (input, expect) = (&vector["input"], &vector["expect"]);
    let limits = BatchLimits {
        records: input["maxRecords"].as_u64().unwrap() as usize,
        bytes: input["maxBytes"].as_u64().unwrap() as usize,
    };
    let batches = fill(sizes(&input["sizes"]).into_iter(), limits);
    problems.equal("batches", batches, expect["batches"].as_array().unwrap().iter().map(sizes).collect());
}

fn license(vector: &Value, problems: &mut Problems) {
    for text in vector["input"]["ACCEPT_LIMITED_USE_LICENSE"].as_array().unwrap() {
        let config = serde_json::from_value::<CollectorConfig>(serde_json::json!({"license": {"accept": text}}));
        problems.equal("accepted", config.is_ok_and(|config| config.check().is_ok()), true);
    }
}
