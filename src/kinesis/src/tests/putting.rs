//! Puts against a service that takes some records and refuses others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use snowmelt_streams::{PutEntry, PutOutcome, Streams};

use super::canned::{Answer, Call, Canned, usual};
use super::support::{entry, options, streams};
use crate::{KinesisOptions, Order};

/// Keys of one call's records.
fn keys(call: &Call) -> Vec<String> {
    let records = call.body["Records"].as_array().unwrap();
    records.iter().map(|record| record["PartitionKey"].as_str().unwrap().to_owned()).collect()
}

fn answer(call: &Call, fails: impl Fn(usize, &Value) -> bool) -> Answer {
    let results = call.body["Records"].as_array().unwrap().iter().enumerate().map(|(at, record)| {
        if fails(at, record) {
            json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"})
        } else {
            json!({"ShardId": "shardId-000000000000", "SequenceNumber": at.to_string()})
        }
    });
    let results: Vec<Value> = results.collect();
    let failed = results.iter().filter(|result| result["ErrorCode"].is_string()).count();
    Answer::Json(json!({"Records": results, "FailedRecordCount": failed}))
}

fn shape(outcomes: &[PutOutcome]) -> String {
    let letter = |outcome: &PutOutcome| match outcome {
        PutOutcome::Stored { .. } => 'S',
        PutOutcome::Duplicate => 'D',
        PutOutcome::Rejected { retriable: true, .. } => 'r',
        PutOutcome::Rejected { retriable: false, .. } => 'X',
    };
    outcomes.iter().map(letter).collect()
}

#[tokio::test]
async fn what_stands_behind_a_failed_record_of_its_key_is_not_sent() {
    let server =
        Canned::start(|call, before| answer(call, |_, record| before == 0 && record["PartitionKey"] == "a")).await;
    let streams = streams(options(&server.endpoint));
    let entries: Vec<PutEntry> = ["a", "b", "a", "c", "b", "a"].iter().map(|key| entry(key, "x")).collect();
    let outcomes = streams.put("s", entries, None).await.unwrap();
    assert_eq!(shape(&outcomes), "rSrSSr");
    assert_eq!(server.calls("PutRecords").iter().map(keys).collect::<Vec<_>>(), [vec!["a", "b", "c"], vec!["b"]]);
}

#[tokio::test]
async fn what_is_refused_in_part_is_put_again_alone_and_in_order() {
    let server = Canned::start(|call, before| match before {
        0 => answer(call, |_, record| record["PartitionKey"] == "a"),
        1 => answer(call, |_, _| false),
        2 => Answer::Error("InternalFailure"),
        _ => answer(call, |_, _| false),
    })
    .await;
    let streams = streams(KinesisOptions { retry_parts_for: Duration::from_secs(9), ..options(&server.endpoint) });
    let entries: Vec<PutEntry> = ["a", "b", "a", "c", "b", "a"].iter().map(|key| entry(key, "x")).collect();
    assert_eq!(shape(&streams.put("s", entries, None).await.unwrap()), "SSSSSS");
    let sent: Vec<Vec<String>> = server.calls("PutRecords").iter().map(keys).collect();
    assert_eq!(sent, [vec!["a", "b", "c"], vec!["b"], vec!["a"], vec!["a"], vec!["a"], vec!["a"]]);

    let server = Canned::start(|call, _| answer(call, |_, record| record["PartitionKey"] == "a")).await;
    let streams = super::support::streams(KinesisOptions {
        retry_parts_for: Duration::from_millis(400),
        ..options(&server.endpoint)
    });
    assert_eq!(shape(&streams.put("s", vec![entry("a", 1), entry("b", 2)], None).await.unwrap()), "rS");
    assert_eq!(shape(&streams.put("s", vec![entry("a", 1), entry("a", 2)], None).await.unwrap()), "rr");
}

#[tokio::test]
async fn without_order_everything_goes_in_one_request() {
    let server = Canned::start(|call, _| answer(call, |at, _| at == 0)).await;
    let streams = streams(KinesisOptions { order: Order::None, ..options(&server.endpoint) });
    let outcomes = streams.put("s", (0..4).map(|n| entry("a", n)).collect(), None).await.unwrap();
    assert_eq!((shape(&outcomes).as_str(), server.calls("PutRecords").len()), ("rSSS", 1));
}

#[tokio::test]
async fn a_whole_failure_is_an_error_while_nothing_is_stored_and_rejects_the_rest_later() {
    for failure in ["LimitExceededException", "InternalFailure", "ProvisionedThroughputExceededException"] {
        let server = Canned::start(move |call, before| match before {
            0 | 2 => Answer::Error(failure),
            _ => answer(call, |_, _| false),
        })
        .await;
        let streams = streams(options(&server.endpoint));
        let entries = || ["a", "b", "a", "a"].iter().map(|key| entry(key, "x")).collect::<Vec<_>>();
        assert!(streams.put("s", entries(), None).await.unwrap_err().is_retriable(), "{failure}");
        assert_eq!(shape(&streams.put("s", entries(), None).await.unwrap()), "SSrr", "{failure}");
    }
    let server = Canned::start(|_, _| Answer::Error("AccessDeniedException")).await;
    let denied = streams(options(&server.endpoint)).put("s", vec![entry("a", "x")], None).await.unwrap_err();
    assert!(!denied.is_retriable(), "{denied}");
    let server = Canned::start(|_, _| Answer::Json(json!({"Records": [], "FailedRecordCount": 0}))).await;
    let odd = streams(options(&server.endpoint)).put("s", vec![entry("a", "x")], None).await.unwrap_err();
    assert!(odd.is_retriable(), "{odd}");
}

#[tokio::test]
async fn the_largest_record_is_what_the_stream_says() {
    let server = Canned::start(|call, _| match call.action.as_str() {
        "PutRecords" => answer(call, |_, _| false),
        _ => usual(call, Some(false)),
    })
    .await;
    let streams = streams(options(&server.endpoint));
    let entries = vec![entry("a", "small"), entry("b", "x".repeat((2 << 20) - 1)), entry("c", "x".repeat(2 << 20))];
    assert_eq!(shape(&streams.put("s", entries.clone(), None).await.unwrap()), "SSX");
    assert_eq!(shape(&streams.put("s", entries, None).await.unwrap()), "SSX");
    assert_eq!(server.calls("DescribeStreamSummary").len(), 1, "it is remembered");
}

/// As the stream writer does it: what was rejected is put again before anything newer.
#[tokio::test]
async fn order_per_key_holds_through_failures_of_every_kind() {
    let stored: Arc<Mutex<HashMap<String, Vec<u64>>>> = Arc::default();
    let (of_server, random) = (Arc::clone(&stored), Mutex::new(fastrand::Rng::with_seed(11)));
    let server = Canned::start(move |call, _| {
        let mut random = random.lock().unwrap();
        if random.u8(0..10) == 0 {
            return Answer::Error("InternalFailure");
        }
        let failing: Vec<bool> = (0..500).map(|_| random.u8(0..8) == 0).collect();
        // The service stores in an order of its own.
        let mut records: Vec<&Value> = call.body["Records"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
            .filter(|(at, _)| !failing[*at])
            .map(|(_, record)| record)
            .collect();
        random.shuffle(&mut records);
        let mut stored = of_server.lock().unwrap();
        for record in records {
            let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
            let number = String::from_utf8(data).unwrap().parse().unwrap();
            stored.entry(record["PartitionKey"].as_str().unwrap().to_owned()).or_default().push(number);
        }
        answer(call, |at, _| failing[at])
    })
    .await;
    let streams = streams(options(&server.endpoint));
    for batch in 0..10u64 {
        let mut rest: Vec<PutEntry> =
            (0..300).map(|n| entry(&format!("key {}", (n * n) % 70), batch * 300 + n)).collect();
        let mut tries = 0;
        while !rest.is_empty() {
            tries += 1;
            assert!(tries < 200);
            let Ok(outcomes) = streams.put("s", rest.clone(), None).await else { continue };
            rest = rest
                .into_iter()
                .zip(outcomes)
                .filter(|(_, outcome)| !matches!(outcome, PutOutcome::Stored { .. }))
                .map(|(entry, _)| entry)
                .collect();
        }
    }
    let stored = stored.lock().unwrap();
    assert_eq!(stored.values().map(Vec::len).sum::<usize>(), 3000);
    assert!(stored.values().all(|numbers| numbers.is_sorted()));
}
