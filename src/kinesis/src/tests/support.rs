//! What the tests share.

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_kinesis::config::{Credentials, Region, SharedCredentialsProvider};
use snowmelt_streams::{PutEntry, PutOutcome, ReadLimit, Record, ShardCursor, ShardId, StreamError, Streams};

use crate::{KinesisOptions, KinesisStreams};

/// No test looks for real credentials.
pub fn config() -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "tests");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .sleep_impl(aws_sdk_kinesis::config::SharedAsyncSleep::new(TokioSleep))
        .build()
}

#[derive(Debug)]
struct TokioSleep;

impl aws_sdk_kinesis::config::AsyncSleep for TokioSleep {
    fn sleep(&self, duration: Duration) -> aws_sdk_kinesis::config::Sleep {
        aws_sdk_kinesis::config::Sleep::new(tokio::time::sleep(duration))
    }
}

/// Quick ones, so that tests are.
pub fn options(endpoint: &str) -> KinesisOptions {
    KinesisOptions {
        endpoint: Some(endpoint.to_owned()),
        idle: Duration::from_millis(200),
        attempt_timeout: Duration::from_secs(10),
        active_timeout: Duration::from_secs(30),
        retry_parts_for: Duration::ZERO,
        ..KinesisOptions::default()
    }
}

pub fn streams(options: KinesisOptions) -> KinesisStreams {
    KinesisStreams::with_config(&config(), options)
}

pub fn entry(key: &str, data: impl std::fmt::Display) -> PutEntry {
    PutEntry::new(key, data.to_string().into_bytes())
}

/// Puts, and wants all of it stored.
pub async fn store(streams: &KinesisStreams, stream: &str, entries: Vec<PutEntry>) -> Vec<ShardId> {
    let outcomes = streams.put(stream, entries, None).await.unwrap();
    let shard = |outcome| match outcome {
        PutOutcome::Stored { shard, .. } => shard,
        other => panic!("{other:?}"),
    };
    outcomes.into_iter().map(shard).collect()
}

pub const WAIT: Duration = Duration::from_secs(20);

/// Reads until there are `count` records, or the shard ends; says whether it did.
pub async fn read(cursor: &mut Box<dyn ShardCursor>, count: usize) -> (Vec<Record>, bool) {
    read_with(cursor, count, ReadLimit::default()).await.unwrap()
}

pub async fn read_with(
    cursor: &mut Box<dyn ShardCursor>,
    count: usize,
    limit: ReadLimit,
) -> Result<(Vec<Record>, bool), StreamError> {
    let mut records = Vec::new();
    let reading = async {
        while records.len() < count {
            let page = cursor.next(limit, WAIT).await?;
            records.extend(page.records);
            if page.end_of_shard {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let ended = tokio::time::timeout(2 * WAIT, reading).await.expect("the records come in time")?;
    Ok((records, ended))
}

pub fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
}
