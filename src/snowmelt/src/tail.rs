//! `snowmelt tail`: what is in a stream, decoded, one JSON object a line. It asks the running pipeline's operator API.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use snowmelt_protocol::container::{Compression, ContainerReader, Limits, Next};
use snowmelt_protocol::event::TsvRow;
use snowmelt_protocol::payload::CollectorPayload;

use crate::cli::{From, TailArgs};
use crate::status::client::Client;
use crate::trouble::{Outcome, Trouble};

/// Records asked for at once.
const PAGE: usize = 1000;

/// A page of one shard, as the operator API gives it.
#[derive(Debug, Serialize, Deserialize)]
pub struct RecordPage {
    /// The records.
    pub records: Vec<RecordJson>,
    /// The shard is closed and read to its end.
    pub end_of_shard: bool,
    /// How far this page is behind the newest record, in milliseconds.
    pub millis_behind_latest: u64,
}

/// One record as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct RecordJson {
    /// Its shard.
    pub shard: String,
    /// Its sequence number.
    pub sequence: String,
    /// Its partition key.
    pub partition_key: String,
    /// When it came, in milliseconds since the epoch.
    pub arrived_ms: i64,
    /// Its bytes in base64.
    pub data: String,
}

struct Shard {
    id: String,
    after: Option<String>,
    done: bool,
}

/// Runs the command.
pub fn tail(args: &TailArgs) -> Outcome {
    let client = Client::of(&args.data_dir, Duration::from_secs(30))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::machine("the event loop can't be started", error))?;
    match runtime.block_on(follow(args, &client)) {
        // `snowmelt tail … | head` is no error.
        Err(Trouble::Machine(message)) if message.contains("Broken pipe") => Ok(()),
        outcome => outcome,
    }
}

async fn follow(args: &TailArgs, client: &Client) -> Outcome {
    let base = format!("/streams/{}", args.stream);
    let mut shards = shards(client, &base).await?;
    // "From now on" is a time, not a position: it stays the same until the first record comes.
    let started_ms = (args.from == From::Latest).then(|| snowmelt_runtime::Clock::system().now_ms());
    let mut out = BufWriter::new(io::stdout().lock());
    loop {
        let mut got = 0;
        for shard in shards.iter_mut().filter(|shard| !shard.done) {
            let page = page(client, &base, shard, started_ms, args).await?;
            for record in &page.records {
                print(record, args.json, &mut out)?;
            }
            got += page.records.len();
            if let Some(last) = page.records.last() {
                shard.after = Some(last.sequence.clone());
            }
            shard.done =
                page.end_of_shard || (!args.follow && page.records.len() < PAGE && page.millis_behind_latest == 0);
        }
        out.flush().map_err(|error| Trouble::machine("standard output", error))?;
        if shards.iter().all(|shard| shard.done) && !args.follow {
            return Ok(());
        }
        if got == 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn shards(client: &Client, base: &str) -> Outcome<Vec<Shard>> {
    let ids: Vec<String> = client.get(base).await?;
    Ok(ids.into_iter().map(|id| Shard { id, after: None, done: false }).collect())
}

async fn page(
    client: &Client,
    base: &str,
    shard: &Shard,
    started_ms: Option<i64>,
    args: &TailArgs,
) -> Outcome<RecordPage> {
    let from = match (&shard.after, started_ms) {
        (Some(after), _) => format!("after={after}"),
        (None, Some(at_ms)) => format!("at_ms={at_ms}"),
        (None, None) => "from=oldest".to_owned(),
    };
    let wait = if args.follow { 1000 } else { 0 };
    client.get(&format!("{base}/shards/{}?{from}&limit={PAGE}&wait_ms={wait}", shard.id)).await
}

fn print(record: &RecordJson, raw: bool, out: &mut impl Write) -> Outcome {
    let broken = |error: io::Error| Trouble::machine("standard output", error);
    if raw {
        let line = serde_json::to_string(record).map_err(|error| Trouble::caused("record", error))?;
        return writeln!(out, "{line}").map_err(broken);
    }
    let data = STANDARD.decode(&record.data).map_err(|error| Trouble::caused("record", error))?;
    for line in decode(&data) {
        writeln!(out, "{line}").map_err(broken)?;
    }
    Ok(())
}

/// A record as JSON, whatever it is: payload, container of payloads, enriched event, bad row. What can't be decoded is
/// shown in base64 with the reason.
pub fn decode(data: &[u8]) -> Vec<String> {
    if let Some(compression) = Compression::detect(data) {
        return unpack(data, compression);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if text.starts_with('{') {
            return vec![text.to_owned()];
        }
        if let Ok(row) = TsvRow::parse(text) {
            let mut json = String::new();
            return match row.write_json(&mut json) {
                Ok(()) => vec![json],
                Err(error) => vec![unreadable(data, &error.to_string())],
            };
        }
    }
    vec![payload(data)]
}

fn unpack(data: &[u8], compression: Compression) -> Vec<String> {
    let mut reader = match ContainerReader::open(data, compression, Limits::default()) {
        Ok(reader) => reader,
        Err(error) => return vec![unreadable(data, &error.to_string())],
    };
    let (mut lines, mut buffer) = (Vec::new(), Vec::new());
    loop {
        match reader.next_payload(&mut buffer) {
            Ok(Next::Payload) => lines.push(payload(&buffer)),
            Ok(Next::Skipped { announced }) => {
                lines.push(unreadable(&[], &format!("a payload of {announced} bytes is too large")))
            }
            Ok(Next::End) => return lines,
            Err(error) => {
                lines.push(unreadable(data, &error.to_string()));
                return lines;
            }
        }
    }
}

fn payload(data: &[u8]) -> String {
    match CollectorPayload::decode(data) {
        Ok(payload) => serde_json::json!({
            "schema": payload.schema, "ipAddress": payload.ip_address, "timestamp": payload.timestamp,
            "encoding": payload.encoding, "collector": payload.collector, "userAgent": payload.user_agent,
            "refererUri": payload.referer_uri, "path": payload.path, "querystring": payload.querystring,
            "body": payload.body.as_deref().map(String::from_utf8_lossy), "headers": payload.headers,
            "contentType": payload.content_type, "hostname": payload.hostname, "networkUserId": payload.network_userid,
        })
        .to_string(),
        Err(error) => unreadable(data, &error.to_string()),
    }
}

fn unreadable(data: &[u8], reason: &str) -> String {
    serde_json::json!({ "unreadable": reason, "base64": STANDARD.encode(data) }).to_string()
}
