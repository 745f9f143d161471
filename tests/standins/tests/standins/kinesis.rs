//! Kinesis: each fault of polling and writing.

use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType, StreamStatus};
use serde_json::json;
use snowmelt_standins::{Fault, Kind, Service};

use crate::{kinesis_client, standins, unique};

/// A new stream of one shard.
pub async fn stream(client: &Client) -> String {
    let name = unique("stream");
    client.create_stream().stream_name(&name).shard_count(1).send().await.unwrap();
    active(client, &name).await;
    name
}

/// Waits until a stream is at rest.
pub async fn active(client: &Client, stream: &str) {
    let began = Instant::now();
    loop {
        let answer = client.describe_stream_summary().stream_name(stream).send().await.unwrap();
        if *answer.stream_description_summary().unwrap().stream_status() == StreamStatus::Active {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{stream} does not become active");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn put(client: &Client, stream: &str, data: &str) -> Result<String, String> {
    let sent = client.put_record().stream_name(stream).partition_key(data).data(Blob::new(data)).send().await;
    sent.map(|answer| answer.sequence_number).map_err(|error| error.code().unwrap_or("none").to_owned())
}

/// Splits the only shard in the middle.
pub async fn split(client: &Client, stream: &str) {
    let split = client.split_shard().stream_name(stream).shard_to_split("shardId-000000000000");
    split.new_starting_hash_key((u128::MAX / 2).to_string()).send().await.unwrap();
    active(client, stream).await;
}

async fn iterator(client: &Client, stream: &str) -> Option<String> {
    let asked = client.get_shard_iterator().stream_name(stream).shard_id("shardId-000000000000");
    asked.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap().shard_iterator
}

/// All that is in the first shard.
async fn texts(client: &Client, stream: &str) -> Vec<String> {
    let answer = client.get_records().set_shard_iterator(iterator(client, stream).await).send().await.unwrap();
    answer.records().iter().map(|record| String::from_utf8(record.data().as_ref().to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn each_third_read_is_throttled() {
    let Some((standins, _turn)) = standins().await else { return };
    let client = kinesis_client(standins.endpoint(Service::Kinesis).unwrap());
    let stream = stream(&client).await;
    let faults = standins.faults(Service::Kinesis).unwrap();
    faults.set(vec![Fault::new("GetRecords", Kind::Throttle).every(3)]);
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        let asked = client.get_records().set_shard_iterator(iterator(&client, &stream).await).send().await;
        outcomes.push(asked.map_err(|error| error.into_service_error().is_provisioned_throughput_exceeded_exception()));
    }
    let outcomes: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(outcomes, [None, None, Some(&true), None, None, Some(&true)]);
    assert_eq!(faults.report().done(Kind::Throttle), 2);
}

#[tokio::test]
async fn an_error_has_the_name_and_status_of_the_plan() {
    let Some((standins, _turn)) = standins().await else { return };
    let client = kinesis_client(standins.endpoint(Service::Kinesis).unwrap());
    let stream = stream(&client).await;
    let faults = standins.faults(Service::Kinesis).unwrap();
    let denied = Fault::new("PutRecord", Kind::Error).answer(400, "AccessDeniedException").times(1);
    faults.set(vec![denied, Fault::new("PutRecord", Kind::Error).times(1)]);
    assert_eq!(put(&client, &stream, "a").await, Err("AccessDeniedException".to_owned()));
    assert_eq!(put(&client, &stream, "a").await, Err("InternalFailure".to_owned()));
    assert!(put(&client, &stream, "a").await.is_ok());
    assert_eq!(texts(&client, &stream).await, ["a"]);
}

#[tokio::test]
async fn a_lost_answer_fails_what_was_done() {
    let Some((standins, _turn)) = standins().await else { return };
    let client = kinesis_client(standins.endpoint(Service::Kinesis).unwrap());
    let stream = stream(&client).await;
    standins.faults(Service::Kinesis).unwrap().set(vec![Fault::new("PutRecord", Kind::Lost).times(1)]);
    assert_eq!(put(&client, &stream, "a").await, Err("InternalFailure".to_owned()));
    assert_eq!(texts(&client, &stream).await, ["a"]);
}

#[tokio::test]
async fn some_records_of_a_request_fail_and_the_others_are_stored() {
    let Some((standins, _turn)) = standins().await else { return };
    let client = kinesis_client(standins.endpoint(Service::Kinesis).unwrap());
    let stream = stream(&client).await;
    let faults = standins.faults(Service::Kinesis).unwrap();
    faults.set(vec![Fault::new("PutRecords", Kind::Partial).records(3)]);
    let (before, mut waiting) = (faults.report().refused_records, (0..10).collect::<Vec<u32>>());
    let mut rounds = 0;
    while !waiting.is_empty() {
        let entries = waiting.iter().map(|n| {
            let entry = PutRecordsRequestEntry::builder().partition_key(n.to_string());
            entry.data(Blob::new(n.to_string())).build().unwrap()
        });
        let sent = client.put_records().stream_name(&stream).set_records(Some(entries.collect())).send().await.unwrap();
        assert_eq!(sent.records().len(), waiting.len());
        let failed: Vec<bool> = sent.records().iter().map(|entry| entry.error_code().is_some()).collect();
        assert_eq!(sent.failed_record_count(), Some(failed.iter().filter(|failed| **failed).map(|_| 1).sum()));
        waiting = waiting.into_iter().zip(failed).filter_map(|(n, failed)| failed.then_some(n)).collect();
        rounds += 1;
    }
    // Each third of all records that came, whichever request they were in.
    assert!(rounds > 1);
    assert!(faults.report().refused_records - before >= 4);
    let mut stored: Vec<u32> = texts(&client, &stream).await.iter().map(|text| text.parse().unwrap()).collect();
    stored.sort_unstable();
    assert_eq!(stored, (0..10).collect::<Vec<u32>>());
}

#[tokio::test]
async fn a_delayed_answer_comes_late() {
    let Some((standins, _turn)) = standins().await else { return };
    let client = kinesis_client(standins.endpoint(Service::Kinesis).unwrap());
    let stream = stream(&client).await;
    standins.faults(Service::Kinesis).unwrap().set(vec![Fault::new("PutRecord", Kind::Delay).ms(300)]);
    let began = Instant::now();
    assert!(put(&client, &stream, "a").await.is_ok());
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_cut_answer_ends_in_its_middle() {
    let Some((standins, _turn)) = standins().await else { return };
    let client = kinesis_client(standins.endpoint(Service::Kinesis).unwrap());
    let stream = stream(&client).await;
    assert!(put(&client, &stream, "a").await.is_ok());
    standins.faults(Service::Kinesis).unwrap().set(vec![Fault::new("GetRecords", Kind::Cut).times(1)]);
    let iterator = iterator(&client, &stream).await;
    let cut = client.get_records().set_shard_iterator(iterator.clone()).send().await.unwrap_err();
    assert!(cut.code().is_none(), "{cut:?}");
    let whole = client.get_records().set_shard_iterator(iterator).send().await.unwrap();
    assert_eq!(whole.records().len(), 1);
}

#[tokio::test]
async fn an_iterator_expires_when_the_plan_says_so() {
    let Some((standins, _turn)) = standins().await else { return };
    let client = kinesis_client(standins.endpoint(Service::Kinesis).unwrap());
    let stream = stream(&client).await;
    standins.faults(Service::Kinesis).unwrap().set(vec![Fault::new("GetRecords", Kind::ExpiredIterator)]);
    let expired = client.get_records().set_shard_iterator(iterator(&client, &stream).await).send().await;
    assert!(expired.unwrap_err().into_service_error().is_expired_iterator_exception());
}

#[tokio::test]
async fn an_open_shard_ends_early_and_a_closed_one_without_children() {
    let Some((standins, _turn)) = standins().await else { return };
    let client = kinesis_client(standins.endpoint(Service::Kinesis).unwrap());
    let stream = stream(&client).await;
    let faults = standins.faults(Service::Kinesis).unwrap();
    faults.set(vec![Fault::new("GetRecords", Kind::NullIterator).times(1)]);
    let early = client.get_records().set_shard_iterator(iterator(&client, &stream).await).send().await.unwrap();
    assert_eq!((early.next_shard_iterator(), early.child_shards().len()), (None, 0));

    split(&client, &stream).await;
    let ended = client.get_records().set_shard_iterator(iterator(&client, &stream).await).send().await.unwrap();
    assert_eq!((ended.next_shard_iterator(), ended.child_shards().len()), (None, 2));
    faults.set(vec![Fault::new("GetRecords", Kind::NoChildren)]);
    let childless = client.get_records().set_shard_iterator(iterator(&client, &stream).await).send().await.unwrap();
    assert_eq!((childless.next_shard_iterator(), childless.child_shards().len()), (None, 0));
}

#[tokio::test]
async fn an_answer_is_edited_and_the_plan_is_set_over_http() {
    let Some((standins, _turn)) = standins().await else { return };
    let endpoint = standins.endpoint(Service::Kinesis).unwrap();
    let client = kinesis_client(endpoint);
    let stream = stream(&client).await;
    let plan = json!({ "faults": [
        { "action": "Get*", "kind": "edit", "pointer": "/MillisBehindLatest", "value": 123_456, "after": 1 },
    ] });
    let url = format!("{endpoint}/_faults");
    let http = reqwest::Client::new();
    assert!(http.post(&url).body(plan.to_string()).send().await.unwrap().status().is_success());
    let answer = client.get_records().set_shard_iterator(iterator(&client, &stream).await).send().await.unwrap();
    assert_eq!(answer.millis_behind_latest(), Some(123_456));
    let report: serde_json::Value =
        serde_json::from_str(&http.get(&url).send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(report["faults"][0]["done"], 1);
    assert_eq!(report["faults"][0]["seen"], 2);
    let wrong = http.post(&url).body(r#"{"faults":[{"action":"A","kind":"burn"}]}"#).send().await.unwrap();
    assert_eq!(wrong.status(), 400);
}
