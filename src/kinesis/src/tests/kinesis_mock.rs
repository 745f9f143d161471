//! Against kinesis-mock: an independent service, with realistic numbers and states of streams.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_kinesis::primitives::Blob;
use snowmelt_streams::{HashKeyRange, PutOutcome, ReadLimit, ShardId, StartAt, StreamError, Streams, hash_key};

use super::mock::mock;
use super::support::{entry, options, read, read_with, store, streams, texts};
use crate::aggregate::encode::aggregate;
use crate::{KinesisOptions, Order};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_stream_is_made_once_and_takes_a_new_retention() {
    let Some(mock) = mock() else { return };
    let streams = streams(options(&mock.endpoint));
    for retention in [2 * DAY, DAY, Duration::from_secs(60)] {
        streams.create("made", 3, retention).await.unwrap();
        let described = streams.describe("made").await.unwrap();
        assert_eq!(described.retention, retention.max(DAY));
        assert_eq!(
            described.shards.iter().map(|shard| shard.range).collect::<Vec<_>>(),
            HashKeyRange::even(3),
            "shards stay"
        );
        assert!(described.shards.iter().all(|shard| !shard.closed && shard.parents.is_empty()));
    }
    assert!(streams.list().await.unwrap().contains(&"made".to_owned()));
    assert_eq!(streams.describe("none").await.unwrap_err(), StreamError::StreamNotFound { stream: "none".to_owned() });
    let missing = streams.open("none", &ShardId::from_index(0), &StartAt::TrimHorizon).await.err().unwrap();
    assert_eq!(missing, StreamError::StreamNotFound { stream: "none".to_owned() });
    let missing = streams.open("made", &ShardId::from_index(9), &StartAt::TrimHorizon).await.err().unwrap();
    assert!(matches!(missing, StreamError::ShardNotFound { .. }), "{missing}");
    assert!(streams.put("none", vec![entry("k", "v")], None).await.is_err());
}

#[tokio::test]
async fn records_of_a_key_are_read_in_the_order_they_were_put() {
    let Some(mock) = mock() else { return };
    let streams = streams(options(&mock.endpoint));
    streams.create("ordered", 2, DAY).await.unwrap();
    let entries: Vec<_> = (0..300).map(|n| entry(&format!("key {}", n % 100), n)).collect();
    let shards = store(&streams, "ordered", entries).await;
    let mut by_key: HashMap<String, Vec<u32>> = HashMap::new();
    for shard in streams.describe("ordered").await.unwrap().shards {
        let count = shards.iter().filter(|of| **of == shard.id).count();
        let mut cursor = streams.open("ordered", &shard.id, &StartAt::TrimHorizon).await.unwrap();
        let (records, _) = read_with(&mut cursor, count, ReadLimit { records: 17, bytes: 200 }).await.unwrap();
        assert_eq!(records.len(), count);
        for record in records {
            assert!(shard.range.contains(hash_key(&record.partition_key)));
            let number = String::from_utf8(record.data.to_vec()).unwrap().parse().unwrap();
            by_key.entry(record.partition_key).or_default().push(number);
        }
        let page = cursor.next(ReadLimit::default(), Duration::ZERO).await.unwrap();
        assert!(page.records.is_empty() && page.millis_behind_latest == 0 && !page.end_of_shard);
    }
    assert_eq!(by_key.len(), 100);
    assert!(by_key.values().all(|numbers| numbers.len() == 3 && numbers.is_sorted()), "{by_key:?}");
}

#[tokio::test]
async fn reading_goes_on_at_every_position_also_within_an_aggregate() {
    let Some(mock) = mock() else { return };
    let streams = streams(options(&mock.endpoint));
    streams.create("resumed", 1, DAY).await.unwrap();
    let three = aggregate(&["a", "b"], &[], &[(0, None, b"x"), (1, None, b"y"), (0, None, b"z")]);
    let before_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 - 1000;
    let shard = ShardId::from_index(0);
    let mut latest = streams.open("resumed", &shard, &StartAt::Latest).await.unwrap();
    for data in [&b"first"[..], &three, b"last"] {
        let request = streams.client().put_records().stream_name("resumed");
        let record = aws_sdk_kinesis::types::PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new(data));
        request.records(record.build().unwrap()).send().await.unwrap();
    }
    let all = ["first", "x", "y", "z", "last"];
    let mut cursor = streams.open("resumed", &shard, &StartAt::TrimHorizon).await.unwrap();
    let (records, _) = read(&mut cursor, 5).await;
    assert_eq!(texts(&records), all);
    assert_eq!(texts(&read(&mut latest, 5).await.0), all);
    for (at, record) in records.iter().enumerate() {
        let mut cursor = streams.open("resumed", &shard, &StartAt::At(record.sequence)).await.unwrap();
        assert_eq!(texts(&read(&mut cursor, 5 - at).await.0), all[at..]);
        if at < 4 {
            let mut cursor = streams.open("resumed", &shard, &StartAt::After(record.sequence)).await.unwrap();
            assert_eq!(texts(&read(&mut cursor, 4 - at).await.0), all[at + 1..]);
        }
    }
    let mut cursor = streams.open("resumed", &shard, &StartAt::AtTimestampMs(before_ms)).await.unwrap();
    assert_eq!(texts(&read(&mut cursor, 5).await.0), all);
    let mut cursor = streams.open("resumed", &shard, &StartAt::Latest).await.unwrap();
    store(&streams, "resumed", vec![entry("k", "new")]).await;
    assert_eq!(texts(&read(&mut cursor, 1).await.0), ["new"]);
}

#[tokio::test]
async fn a_split_and_a_merge_end_shards_and_readers_find_their_ends() {
    let Some(mock) = mock() else { return };
    let streams = streams(options(&mock.endpoint));
    streams.create("cut", 1, DAY).await.unwrap();
    let (parent, low, high, merged) =
        (ShardId::from_index(0), ShardId::from_index(1), ShardId::from_index(2), ShardId::from_index(3));
    store(&streams, "cut", vec![entry("a", 1)]).await;
    let mut tail = streams.open("cut", &parent, &StartAt::TrimHorizon).await.unwrap();
    assert_eq!(read(&mut tail, 1).await.0.len(), 1);
    store(&streams, "cut", vec![entry("a", 2)]).await;
    streams.split("cut", &parent, 1 << 127).await.unwrap();
    // What was written before the split is read before the end, by a reader that stands there and by a new one.
    let (records, ended) = read(&mut tail, 9).await;
    assert_eq!((texts(&records), ended), (vec!["2".to_owned()], true));
    let mut again = streams.open("cut", &parent, &StartAt::TrimHorizon).await.unwrap();
    assert!(read(&mut again, 9).await.1);
    let page = again.next(ReadLimit::default(), Duration::ZERO).await.unwrap();
    assert!(page.end_of_shard && page.records.is_empty());

    let shards = streams.describe("cut").await.unwrap().shards;
    let ids: Vec<_> = shards.iter().map(|shard| (shard.id.clone(), shard.closed)).collect();
    assert_eq!(ids, [(parent.clone(), true), (low.clone(), false), (high.clone(), false)]);
    assert_eq!(shards[1].parents, std::slice::from_ref(&parent));
    let shards = store(&streams, "cut", (0..20).map(|n| entry(&n.to_string(), n)).collect()).await;
    assert!(shards.iter().all(|shard| [&low, &high].contains(&shard)));

    streams.merge("cut", &low, &high).await.unwrap();
    let described = streams.describe("cut").await.unwrap().shards;
    let child = described.iter().find(|shard| shard.id == merged).unwrap();
    assert_eq!((child.parents.len(), child.range), (2, HashKeyRange::ALL));
    for shard in [&low, &high] {
        let mut cursor = streams.open("cut", shard, &StartAt::TrimHorizon).await.unwrap();
        let (records, ended) = read(&mut cursor, 99).await;
        assert_eq!((records.len(), ended), (shards.iter().filter(|of| of == &shard).count(), true));
    }
    let unknown = streams.split("cut", &ShardId::from_index(77), 5).await.unwrap_err();
    assert!(matches!(unknown, StreamError::ShardNotFound { .. }), "{unknown}");
    let closed = streams.split("cut", &parent, 5).await.unwrap_err();
    assert!(!closed.is_retriable(), "{closed}");
}

#[tokio::test]
async fn what_is_too_large_is_refused_for_good_and_the_rest_is_stored() {
    let Some(mock) = mock() else { return };
    let options = KinesisOptions { order: Order::None, ..options(&mock.endpoint) };
    let streams = streams(options);
    streams.create("large", 1, DAY).await.unwrap();
    let entries =
        vec![entry("a", "fits"), entry("b", "x".repeat((1 << 20) + 1)), entry("c", "too"), entry("", "no key")];
    let outcomes = streams.put("large", entries, None).await.unwrap();
    let stored: Vec<bool> = outcomes.iter().map(|outcome| matches!(outcome, PutOutcome::Stored { .. })).collect();
    assert_eq!(stored, [true, false, true, false]);
    for at in [1, 3] {
        assert!(matches!(outcomes[at], PutOutcome::Rejected { retriable: false, .. }), "{:?}", outcomes[at]);
    }
}
