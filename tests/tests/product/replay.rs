//! Requests recorded from the JavaScript, Node and Python trackers, replayed byte for byte.
//!
//! Which of their events are bad is decided here by rules on their content, not by what the program says.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;
use snowmelt_tests::{Place, shared};

/// A recorded request.
#[derive(Deserialize)]
struct Recorded {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

/// What has to come of a recorded event: nothing, or words that its bad row contains.
type Verdict = Option<&'static str>;

type Parameters = HashMap<String, String>;

const UNKNOWN_SCHEMA: &str = "ResolutionError";
const WRONG_DATA: &str = "ValidationError";
const OVERLONG: &str = "atomic_field_length_exceeded";

#[tokio::test(flavor = "multi_thread")]
async fn recorded_requests_arrive_and_only_the_known_bad_ones_are_bad_rows() -> Result<()> {
    let Some(file) = shared("data/tracker-requests.jsonl") else { return Ok(()) };
    let text = std::fs::read_to_string(file)?;
    let requests: Vec<Recorded> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut expected: HashMap<String, Verdict> = HashMap::new();
    for request in requests.iter().filter(|request| request.method != "OPTIONS") {
        for event in events(request)? {
            let id = event.get("eid").context("recorded trackers send an eid")?.clone();
            ensure!(expected.insert(id, verdict(&event)?).is_none(), "an event was recorded twice");
        }
    }
    let bad = expected.values().flatten().count();
    for rule in [UNKNOWN_SCHEMA, WRONG_DATA, OVERLONG] {
        assert!(expected.values().any(|verdict| *verdict == Some(rule)), "nothing recorded is bad by {rule}");
    }

    let place = Place::new().await?;
    // Some were recorded from a tracker that was told to post to a path of its own.
    let own_path = place.path().join("collector.hocon");
    std::fs::write(&own_path, r#"collector.paths { "/com.acme/track" = "/com.snowplowanalytics.snowplow/tp2" }"#)?;
    let pipeline = place.start(&["--set", &format!("collector.config={}", own_path.display())]).await?;
    let warehouse = pipeline.warehouse().await?;
    let address = pipeline.info.collector_url.trim_start_matches("http://").to_owned();
    tokio::task::spawn_blocking(move || requests.iter().try_for_each(|request| replay(&address, request))).await??;
    warehouse
        .wait_for((expected.len() - bad) as u64, bad as u64, Duration::from_secs(10))
        .await
        .with_context(|| pipeline.log_tail())?;

    let landed = warehouse.landed().await?;
    for (id, _) in &landed.events {
        assert_eq!(expected.get(id), Some(&None), "{id} is a row of events");
    }
    for row in &landed.bad {
        let id = row.event_id().context("a bad row that names no event")?;
        let Some(Some(why)) = expected.get(&id) else { bail!("{id} is bad: {}", row.why()) };
        assert_eq!(row.kind, "schema_violations", "{id}");
        assert!(row.why().contains(why), "{id}: {} does not say {why}", row.why());
    }
    Ok(())
}

/// The rules by which a recorded event is known to be bad.
fn verdict(event: &Parameters) -> Result<Verdict> {
    if event.iter().any(|(name, value)| name.starts_with("se_") && value.chars().count() > 1000) {
        return Ok(Some(OVERLONG));
    }
    let mut values = Vec::new();
    if let Some(envelope) = json(event, "ue_pr", "ue_px")? {
        values.push(envelope["data"].clone());
    }
    if let Some(envelope) = json(event, "co", "cx")? {
        values.extend(envelope["data"].as_array().context("entities are a list")?.iter().cloned());
    }
    for value in &values {
        let schema = value["schema"].as_str().context("a schema is a text")?;
        let data = &value["data"];
        // Nobody has published anything of this company.
        if schema.starts_with("iglu:com.acme") {
            return Ok(Some(UNKNOWN_SCHEMA));
        }
        let lacks_target = schema.contains("/link_click/") && data["targetUrl"].is_null();
        let price_is_text = schema.contains("/add_to_cart/") && data["unitPrice"].is_string();
        if lacks_target || price_is_text {
            return Ok(Some(WRONG_DATA));
        }
    }
    Ok(None)
}

/// The parameters of each event of a request; those of the query string win.
fn events(request: &Recorded) -> Result<Vec<Parameters>> {
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    let mut common = Parameters::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').context("a recorded parameter has a value")?;
        common.insert(decode(name)?, decode(value)?);
    }
    let Some(body) = request.body.as_deref().filter(|body| !body.is_empty()) else { return Ok(vec![common]) };
    let body: Value = serde_json::from_str(body)?;
    let mut events: Vec<Parameters> = serde_json::from_value(body["data"].clone())?;
    for event in &mut events {
        event.extend(common.clone());
    }
    Ok(events)
}

fn decode(text: &str) -> Result<String> {
    Ok(percent_decode_str(&text.replace('+', " ")).decode_utf8()?.into_owned())
}

/// The JSON of a parameter, sent plainly or in base64 of either alphabet.
fn json(event: &Parameters, plain: &str, encoded: &str) -> Result<Option<Value>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = match (event.get(plain), event.get(encoded)) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(text)) => {
            GeneralPurpose::new(&URL_SAFE, config).decode(text.replace('+', "-").replace('/', "_"))?
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(serde_json::from_slice(&text)?))
}

/// Writes the request as it was recorded and reads the answer, which must be a 200.
fn replay(address: &str, request: &Recorded) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(request.body.as_deref().unwrap_or_default().as_bytes())?;

    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut status = line.split(' ').skip(1);
    ensure!(status.next() == Some("200"), "{} {}: {line}", request.method, request.path);
    let mut length = 0;
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).context("the answer was cut off")
}
