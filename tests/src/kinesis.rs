//! What a test itself asks of the stand-ins of Kinesis and DynamoDB, past the proxies before them: no fault hits it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use snowmelt_standins::{Service, Standins};

use crate::eventually;

const SETTLE: Duration = Duration::from_secs(20);
/// Emulators look whether a request is signed, not how.
const CREDENTIAL: &str =
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0";

async fn ask(url: &str, target: &str, body: &Value) -> Result<Value> {
    let asked = reqwest::Client::new()
        .post(url)
        .header("X-Amz-Target", target)
        .header("X-Amz-Date", "20260101T000000Z")
        .header("Authorization", CREDENTIAL)
        .header("Content-Type", "application/x-amz-json-1.1")
        .body(body.to_string());
    let answer = asked.send().await.with_context(|| target.to_owned())?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status.is_success(), "{target}: {status} {text}");
    if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text).context(text) }
}

/// A stream of the stand-in.
#[derive(Clone, Debug)]
pub struct KinesisStream {
    url: String,
    name: String,
}

/// A shard of it.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Its id.
    pub id: String,
    /// The first hash key of its range, and the last.
    pub range: (u128, u128),
    /// Whether it takes records.
    pub is_open: bool,
}

impl KinesisStream {
    /// Makes a stream and waits until it is there.
    pub async fn create(standins: &Standins, name: &str, shards: u32) -> Result<Self> {
        let stream = Self { url: standins.emulator(Service::Kinesis)?.to_owned(), name: name.to_owned() };
        stream.ask("CreateStream", json!({ "ShardCount": shards })).await?;
        stream.at_rest().await?;
        Ok(stream)
    }

    async fn ask(&self, operation: &str, mut body: Value) -> Result<Value> {
        body["StreamName"] = json!(self.name);
        ask(&self.url, &format!("Kinesis_20131202.{operation}"), &body).await
    }

    /// Waits until it is neither being made nor changed.
    pub async fn at_rest(&self) -> Result<()> {
        eventually(SETTLE, async || {
            let seen = self.ask("DescribeStreamSummary", json!({})).await?;
            let status = &seen["StreamDescriptionSummary"]["StreamStatus"];
            ensure!(status == "ACTIVE", "{} is {status}", self.name);
            Ok(())
        })
        .await
    }

    /// Puts records, each a partition key and a text, in their order.
    pub async fn put(&self, records: &[(String, String)]) -> Result<()> {
        let entries = records.iter().map(|(key, text)| json!({ "PartitionKey": key, "Data": STANDARD.encode(text) }));
        let put = self.ask("PutRecords", json!({ "Records": entries.collect::<Vec<_>>() })).await?;
        ensure!(put["FailedRecordCount"] == 0, "{put}");
        Ok(())
    }

    /// All its shards.
    pub async fn shards(&self) -> Result<Vec<Shard>> {
        let listed = self.ask("ListShards", json!({})).await?;
        let listed = listed["Shards"].as_array().context("no shards")?;
        let number = |value: &Value| -> Result<u128> { Ok(value.as_str().context("a hash key")?.parse()?) };
        let shard = |shard: &Value| -> Result<Shard> {
            let range = &shard["HashKeyRange"];
            Ok(Shard {
                id: shard["ShardId"].as_str().context("a shard's id")?.to_owned(),
                range: (number(&range["StartingHashKey"])?, number(&range["EndingHashKey"])?),
                is_open: shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null(),
            })
        };
        listed.iter().map(shard).collect()
    }

    /// Splits a shard in its middle.
    pub async fn split(&self, shard: &Shard) -> Result<()> {
        let middle = shard.range.0 + (shard.range.1 - shard.range.0) / 2;
        self.ask("SplitShard", json!({ "ShardToSplit": shard.id, "NewStartingHashKey": middle.to_string() })).await?;
        self.at_rest().await
    }

    /// Merges two neighbours.
    pub async fn merge(&self, lower: &Shard, upper: &Shard) -> Result<()> {
        let asked = json!({ "ShardToMerge": lower.id, "AdjacentShardToMerge": upper.id });
        self.ask("MergeShards", asked).await?;
        self.at_rest().await
    }

    /// Splits the largest shard, or merges the two smallest neighbours where there are many.
    pub async fn reshard(&self, most: usize) -> Result<String> {
        let mut open: Vec<Shard> = self.shards().await?.into_iter().filter(|shard| shard.is_open).collect();
        open.sort_by_key(|shard| shard.range.0);
        let width = |shard: &Shard| shard.range.1 - shard.range.0;
        if open.len() < most {
            let largest = open.iter().max_by_key(|shard| width(shard)).context("no open shard")?;
            self.split(largest).await?;
            return Ok(format!("split {}", largest.id));
        }
        let pair = open.windows(2).min_by_key(|pair| width(&pair[0]).saturating_add(width(&pair[1])));
        let [lower, upper] = pair.context("one shard alone")? else { unreachable!("a window of two") };
        self.merge(lower, upper).await?;
        Ok(format!("merged {} and {}", lower.id, upper.id))
    }
}

/// A lease as it stands in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// Who reads the shard.
    pub owner: Option<String>,
    /// How far it was read.
    pub checkpoint: String,
    /// How often it was written.
    pub counter: u64,
}

/// The leases of an application by shard; rows of other kinds are left out. Empty when there is no table yet.
pub async fn lease_rows(standins: &Standins, application: &str) -> Result<BTreeMap<String, LeaseRow>> {
    let url = standins.emulator(Service::DynamoDb)?;
    let scan = json!({ "TableName": application, "ConsistentRead": true });
    let scanned = match ask(url, "DynamoDB_20120810.Scan", &scan).await {
        Ok(scanned) => scanned,
        Err(error) if format!("{error:#}").contains("ResourceNotFoundException") => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let text = |item: &Value, name: &str, kind: &str| item[name][kind].as_str().map(str::to_owned);
    let row = |item: &Value| {
        let counter = text(item, "leaseCounter", "N")?.parse().ok()?;
        let checkpoint = text(item, "checkpoint", "S")?;
        Some((text(item, "leaseKey", "S")?, LeaseRow { owner: text(item, "leaseOwner", "S"), checkpoint, counter }))
    };
    Ok(scanned["Items"].as_array().context("no items")?.iter().filter_map(row).collect())
}
