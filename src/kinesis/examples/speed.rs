//! What reading and writing costs on top of the SDK's own calls: `cargo run --release -p snowmelt-kinesis --example speed`.
//!
//! A server in a process of its own answers every GetRecords with the same 1,000 records of 1,806 bytes (a good event's size) and
//! every PutRecords with 500 results. Against it, alternately: the SDK's calls with nothing done with the answers, and a cursor and
//! `put`. Compared is CPU time, since the machine may be busy. Before, it reads many shards at their tip, for the cost of an idle one.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{Credentials, Region, SharedCredentialsProvider};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use bytes::Bytes;
use snowmelt_kinesis::{KinesisOptions, KinesisStreams};
use snowmelt_streams::{PutEntry, PutOutcome, ReadLimit, ShardId, StartAt, Streams};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const RECORD_BYTES: usize = 1806;
const READ: usize = 1000;
const WRITTEN: usize = 500;
const ROUNDS: usize = 5;
const CALLS: usize = 60;
const IDLE_SHARDS: usize = 200;
const IDLE_SECONDS: u64 = 15;

type Done = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    if std::env::args().nth(1).as_deref() == Some("server") {
        return serve().await;
    }
    let mut server = Command::new(std::env::current_exe()?).arg("server").stdout(Stdio::piped()).spawn()?;
    let mut endpoint = String::new();
    BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut endpoint)?;
    let measured = measure(endpoint.trim()).await;
    server.kill()?;
    server.wait()?;
    measured
}

async fn measure(endpoint: &str) -> Done {
    let credentials = Credentials::new("test", "test", None, None, "speed");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::disabled())
        .build();
    let own = aws_sdk_kinesis::config::Builder::from(&config).endpoint_url(endpoint).build();
    let client = Client::from_conf(own);
    let options =
        KinesisOptions { endpoint: Some(endpoint.to_owned()), interval: Duration::ZERO, ..KinesisOptions::default() };
    let streams = KinesisStreams::with_config(&config, options);

    // First, while no answer has left its memory behind.
    idle(&streams).await?;
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        let costs = [
            [cost(read_with_sdk(&client), CALLS * READ).await?, cost(read(&streams), CALLS * READ).await?],
            [cost(write_with_sdk(&client), CALLS * WRITTEN).await?, cost(write(&streams), CALLS * WRITTEN).await?],
        ];
        if round == 0 {
            continue; // connections, caches
        }
        for (at, (name, [sdk, ours])) in ["read", "write"].iter().zip(costs).enumerate() {
            println!(
                "{name}: SDK {sdk:.2} µs, ours {ours:.2} µs of CPU a record: {:.3} of the SDK's speed",
                sdk / ours
            );
            ratios[at].push(sdk / ours);
        }
    }
    for (name, mut ratios) in ["read", "write"].iter().zip(ratios) {
        ratios.sort_by(f64::total_cmp);
        println!("{name}: median {:.3} of the SDK's speed", ratios[ROUNDS / 2]);
    }
    Ok(())
}

/// CPU microseconds an item.
async fn cost(work: impl Future<Output = Done>, items: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let before = cpu()?;
    work.await?;
    Ok((cpu()? - before).as_secs_f64() * 1e6 / items as f64)
}

/// CPU time of this process's only thread.
fn cpu() -> Result<Duration, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(stat.split(' ').next().ok_or("no time")?.parse()?))
}

async fn read_with_sdk(client: &Client) -> Done {
    let iterator = client.get_shard_iterator().stream_name("s").shard_id("shardId-000000000000");
    let iterator = iterator.shard_iterator_type(aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon).send().await?;
    let mut iterator = iterator.shard_iterator;
    for _ in 0..CALLS {
        let answer = client.get_records().set_shard_iterator(iterator).limit(READ as i32).send().await?;
        assert_eq!(answer.records.len(), READ);
        iterator = answer.next_shard_iterator;
    }
    Ok(())
}

async fn read(streams: &KinesisStreams) -> Done {
    let mut cursor = streams.open("s", &ShardId::from_index(0), &StartAt::TrimHorizon).await?;
    for _ in 0..CALLS {
        let page = cursor.next(ReadLimit { records: READ, bytes: 10 << 20 }, Duration::from_secs(10)).await?;
        assert_eq!(page.records.len(), READ);
    }
    Ok(())
}

fn payloads() -> Vec<(String, Bytes)> {
    (0..WRITTEN)
        .map(|n| (format!("6f1a3c52-0000-4000-8000-{n:012}"), Bytes::from(vec![n as u8; RECORD_BYTES])))
        .collect()
}

async fn write_with_sdk(client: &Client) -> Done {
    let payloads = payloads();
    for _ in 0..CALLS {
        let mut request = client.put_records().stream_name("s");
        for (key, data) in &payloads {
            let record =
                PutRecordsRequestEntry::builder().partition_key(key).data(Blob::from_maybe_shared(data.clone()));
            request = request.records(record.build()?);
        }
        let answer = request.send().await?;
        assert_eq!(answer.records.len(), WRITTEN);
    }
    Ok(())
}

async fn write(streams: &KinesisStreams) -> Done {
    let entries: Vec<PutEntry> = payloads().into_iter().map(|(key, data)| PutEntry::new(key, data)).collect();
    for _ in 0..CALLS {
        let outcomes = streams.put("s", entries.clone(), None).await?;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, PutOutcome::Stored { .. })));
    }
    Ok(())
}

/// Reads shards that have nothing, as readers do.
async fn idle(streams: &KinesisStreams) -> Done {
    let before = resident()?;
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..IDLE_SHARDS {
        let mut cursor = streams.open("idle", &ShardId::from_index(index as u64), &StartAt::Latest).await?;
        tasks.spawn(async move {
            loop {
                if cursor.next(ReadLimit::default(), Duration::from_millis(500)).await.is_err() {
                    return;
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (began, spent) = (Instant::now(), cpu()?);
    tokio::time::sleep(Duration::from_secs(IDLE_SECONDS)).await;
    let share = (cpu()? - spent).as_secs_f64() / began.elapsed().as_secs_f64() / IDLE_SHARDS as f64;
    let memory = resident()?.saturating_sub(before) / IDLE_SHARDS;
    println!("idle, polled each 1.5 s: {:.4} % of a core and {memory} KiB a shard, of {IDLE_SHARDS}", share * 100.0);
    Ok(())
}

/// KiB of memory.
fn resident() -> Result<usize, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

async fn serve() -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let data = base64_simd::STANDARD.encode_to_string([7; RECORD_BYTES]);
    let record = |n: usize| {
        format!(
            "{{\"SequenceNumber\":\"4903985730770844346746710486880989387579965190987{n:07}\",\"PartitionKey\":\"6f1a3c52-0000-4000-8000-{n:012}\",\
             \"ApproximateArrivalTimestamp\":1700000000.123,\"Data\":\"{data}\"}}"
        )
    };
    let records: Vec<String> = (0..READ).map(record).collect();
    let result = |n: usize| {
        format!(
            "{{\"ShardId\":\"shardId-000000000000\",\"SequenceNumber\":\"4903985730770844346746710486880989387579965190987{n:07}\"}}"
        )
    };
    let results: Vec<String> = (0..WRITTEN).map(result).collect();
    let answers = std::sync::Arc::new([
        (
            "GetRecords",
            format!("{{\"Records\":[{}],\"NextShardIterator\":\"busy\",\"MillisBehindLatest\":9}}", records.join(",")),
        ),
        ("PutRecords", format!("{{\"Records\":[{}],\"FailedRecordCount\":0}}", results.join(","))),
        ("GetShardIterator", "{\"ShardIterator\":\"busy\"}".to_owned()),
        ("Idle", "{\"Records\":[],\"NextShardIterator\":\"idle\",\"MillisBehindLatest\":0}".to_owned()),
        ("GetShardIteratorLATEST", "{\"ShardIterator\":\"idle\"}".to_owned()),
    ]);
    loop {
        let (connection, _) = listener.accept().await?;
        let answers = std::sync::Arc::clone(&answers);
        tokio::spawn(async move {
            // Whoever goes away is gone.
            answer(connection, &answers[..]).await.ok();
        });
    }
}

async fn answer(mut connection: TcpStream, answers: &[(&str, String)]) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if connection.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let header =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        let length: usize = header("content-length:").parse().unwrap_or(0);
        while buffer.len() < end + length {
            connection.read_buf(&mut buffer).await?;
        }
        let target = header("x-amz-target: kinesis_20131202.");
        let has = |word: &[u8]| buffer[end..end + length.min(400)].windows(word.len()).any(|found| found == word);
        let name = match target.as_str() {
            "getrecords" if has(b"idle") => "Idle",
            "getrecords" => "GetRecords",
            "putrecords" => "PutRecords",
            _ if has(b"LATEST") => "GetShardIteratorLATEST",
            _ => "GetShardIterator",
        };
        buffer.drain(..end + length);
        let body = answers.iter().find(|(of, _)| *of == name).map_or("{}", |(_, body)| body.as_str());
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).await?;
        connection.write_all(body.as_bytes()).await?;
    }
}
