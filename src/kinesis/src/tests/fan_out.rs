//! Enhanced fan-out: ends, take-overs, silence, refusals; against kinesis-mock what it can do.

use std::time::Duration;

use serde_json::{Value, json};
use snowmelt_streams::{Page, ReadLimit, ShardCursor, ShardId, StartAt, StreamError, Streams};
use tokio::time::Instant;

use super::canned::{Answer, Call, Canned, Frame, children, record, records, usual};
use super::mock::mock;
use super::support::{entry, options, read, store, streams, texts};
use crate::{KinesisOptions, Reading};

const FAN_OUT: Reading = Reading::FanOut { fall_back: false };

fn event(records: Vec<Value>, continuation: &str, lag_ms: u64) -> Frame {
    Frame::Event(json!({
        "Records": records, "ContinuationSequenceNumber": continuation, "MillisBehindLatest": lag_ms,
    }))
}

fn last(records: Vec<Value>) -> Frame {
    Frame::Event(json!({"Records": records, "MillisBehindLatest": 0, "ChildShards": children()}))
}

async fn cursor_at(
    from: StartAt,
    shard: Option<bool>,
    answer: impl Fn(&Call, usize) -> Answer + Send + Sync + 'static,
) -> (Canned, Box<dyn ShardCursor>) {
    let server = Canned::start(move |call, before| match call.action.as_str() {
        "SubscribeToShard" => answer(call, before),
        _ => usual(call, shard),
    })
    .await;
    let options = KinesisOptions {
        reading: FAN_OUT,
        silence: Duration::from_millis(700),
        unread: Duration::from_millis(300),
        ..options(&server.endpoint)
    };
    let cursor = streams(options).reading_as("app").open("s", &ShardId::from_index(0), &from).await.unwrap();
    (server, cursor)
}

async fn cursor(answer: impl Fn(&Call, usize) -> Answer + Send + Sync + 'static) -> (Canned, Box<dyn ShardCursor>) {
    cursor_at(StartAt::TrimHorizon, Some(false), answer).await
}

async fn next(cursor: &mut Box<dyn ShardCursor>, wait_ms: u64) -> Result<Page, StreamError> {
    cursor.next(ReadLimit::default(), Duration::from_millis(wait_ms)).await
}

fn positions(server: &Canned) -> Vec<String> {
    let position = |call: Call| {
        let at = &call.body["StartingPosition"];
        format!("{}/{}", at["Type"].as_str().unwrap(), at["SequenceNumber"].as_str().unwrap_or_default())
    };
    server.calls("SubscribeToShard").into_iter().map(position).collect()
}

#[tokio::test]
async fn a_subscription_that_ends_is_taken_up_where_it_ended_and_children_end_the_shard() {
    let (server, mut cursor) = cursor_at(StartAt::After("5".parse().unwrap()), Some(false), |_, before| {
        Answer::Events(match before {
            0 => vec![event(vec![record(5, "old"), record(6, "a")], "6", 10), event(vec![], "8", 0)],
            _ => vec![event(vec![record(9, "b")], "9", 0), last(vec![record(10, "c")])],
        })
    })
    .await;
    let began = Instant::now();
    let (read, ended) = read(&mut cursor, 9).await;
    assert_eq!((texts(&read), ended), (["a", "b", "c"].map(str::to_owned).to_vec(), true));
    assert!(next(&mut cursor, 0).await.unwrap().end_of_shard);
    assert_eq!(positions(&server), ["AT_SEQUENCE_NUMBER/5", "AFTER_SEQUENCE_NUMBER/8"]);
    assert!(began.elapsed() >= Duration::from_secs(1), "sooner the service refuses it");
}

#[tokio::test]
async fn an_end_without_children_is_believed_of_a_closed_shard() {
    let no_continuation = || Frame::Event(json!({"Records": [record(1, "a")], "MillisBehindLatest": 0}));
    let (_server, mut closed) =
        cursor_at(StartAt::TrimHorizon, Some(true), move |_, _| Answer::Events(vec![no_continuation()])).await;
    let (records, ended) = read(&mut closed, 9).await;
    assert_eq!((records.len(), ended), (1, true));
}

#[tokio::test]
async fn a_take_over_and_a_refusal_are_tried_again_without_an_error() {
    let (server, mut cursor) = cursor(|_, before| match before {
        0 => Answer::Error("ResourceInUseException"),
        1 => Answer::Events(vec![event(vec![record(1, "a")], "1", 0), Frame::Exception("ResourceInUseException")]),
        _ => Answer::Events(vec![last(vec![record(2, "b")])]),
    })
    .await;
    let (records, ended) = read(&mut cursor, 9).await;
    assert_eq!((texts(&records), ended), (vec!["a".to_owned(), "b".to_owned()], true));
    assert_eq!(positions(&server), ["TRIM_HORIZON/", "TRIM_HORIZON/", "AFTER_SEQUENCE_NUMBER/1"]);
}

#[tokio::test]
async fn a_silent_subscription_is_given_up_and_told() {
    let (server, mut cursor) = cursor(|_, before| match before {
        0 => Answer::Events(vec![event(vec![record(1, "a")], "1", 0), Frame::Silence]),
        _ => Answer::Events(vec![event(vec![record(2, "b")], "2", 0), Frame::Silence]),
    })
    .await;
    assert_eq!(texts(&next(&mut cursor, 5000).await.unwrap().records), ["a"]);
    assert!(next(&mut cursor, 5000).await.unwrap_err().is_retriable());
    assert_eq!(texts(&next(&mut cursor, 9000).await.unwrap().records), ["b"]);
    assert_eq!(positions(&server), ["TRIM_HORIZON/", "AFTER_SEQUENCE_NUMBER/1"]);
}

#[tokio::test]
async fn errors_within_a_subscription_are_told_and_it_goes_on() {
    let (_server, mut cursor) = cursor(|_, before| match before {
        0 => Answer::Events(vec![event(vec![], "1", 0), Frame::Exception("InternalFailureException")]),
        1 => Answer::Cut,
        _ => Answer::Events(vec![
            event(vec![json!({"SequenceNumber": "1", "PartitionKey": "k", "Data": "YQ=="})], "1", 0),
            Frame::Silence,
        ]),
    })
    .await;
    let mut errors = 0;
    let page = loop {
        match next(&mut cursor, 9000).await {
            Ok(page) if page.records.is_empty() => {}
            Ok(page) => break page,
            Err(error) => {
                assert!(error.is_retriable(), "{error}");
                errors += 1;
            }
        }
    };
    assert_eq!((texts(&page.records), errors), (vec!["a".to_owned()], 2));
}

#[tokio::test]
async fn a_subscription_ends_with_its_cursor() {
    let (server, mut cursor) =
        cursor(|_, _| Answer::Events(vec![event(vec![record(1, "a")], "1", 0), Frame::Silence])).await;
    assert_eq!(next(&mut cursor, 5000).await.unwrap().records.len(), 1);
    assert_eq!(server.gone(), 0);
    drop(cursor);
    let until = Instant::now() + Duration::from_secs(5);
    while server.gone() == 0 {
        assert!(Instant::now() < until, "the connection stays open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_nobody_reads_is_given_back_and_subscribed_to_again_later() {
    let (server, mut cursor) = cursor(|_, before| match before {
        0 => {
            let pause = || Frame::Pause(Duration::from_millis(5));
            let mut frames = Vec::new();
            for n in 1..5 {
                frames.extend([event(vec![record(n, &n.to_string())], &n.to_string(), 9), pause()]);
            }
            frames.push(Frame::Silence);
            Answer::Events(frames)
        }
        _ => Answer::Events(vec![event(vec![record(2, "2")], "2", 0), last(vec![record(3, "3")])]),
    })
    .await;
    let until = Instant::now() + Duration::from_secs(5);
    while server.gone() == 0 {
        assert!(Instant::now() < until, "the subscription stays open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (records, _) = read(&mut cursor, 9).await;
    assert_eq!(texts(&records), ["1", "2", "3"]);
    assert_eq!(positions(&server), ["TRIM_HORIZON/", "AFTER_SEQUENCE_NUMBER/1"]);
}

#[tokio::test]
async fn a_refused_consumer_is_an_error_or_polls_as_it_is_said() {
    let server = Canned::start(|call, _| match call.action.as_str() {
        "DescribeStreamConsumer" => Answer::Error("ResourceNotFoundException"),
        "RegisterStreamConsumer" => Answer::Error("AccessDeniedException"),
        "GetRecords" => records(vec![record(1, "polled")], Some("next"), 0),
        _ => usual(call, Some(false)),
    })
    .await;
    let open = async |fall_back| {
        let options = KinesisOptions { reading: Reading::FanOut { fall_back }, ..options(&server.endpoint) };
        streams(options).reading_as("app").open("s", &ShardId::from_index(0), &StartAt::TrimHorizon).await
    };
    assert!(!open(false).await.err().unwrap().is_retriable());
    assert_eq!(texts(&next(&mut open(true).await.unwrap(), 0).await.unwrap().records), ["polled"]);
    let nobody = streams(KinesisOptions { reading: FAN_OUT, ..options(&server.endpoint) });
    assert!(nobody.open("s", &ShardId::from_index(0), &StartAt::TrimHorizon).await.is_err(), "a consumer has a name");
}

#[tokio::test]
async fn an_independent_service_sends_records_to_a_registered_consumer() {
    let Some(mock) = mock() else { return };
    let options = KinesisOptions { reading: FAN_OUT, ..options(&mock.endpoint) };
    let streams = streams(options).reading_as("app");
    streams.create("sent", 1, Duration::from_secs(24 * 3600)).await.unwrap();
    store(&streams, "sent", (0..50).map(|n| entry(&n.to_string(), n)).collect()).await;
    let shard = ShardId::from_index(0);
    let mut cursor = streams.open("sent", &shard, &StartAt::TrimHorizon).await.unwrap();
    let (records, _) = read(&mut cursor, 50).await;
    assert_eq!(records.len(), 50);
    store(&streams, "sent", vec![entry("k", "more")]).await;
    assert_eq!(texts(&read(&mut cursor, 1).await.0), ["more"]);
    drop(cursor);
    // Another application reads for itself, from within.
    let mut cursor =
        streams.reading_as("other").open("sent", &shard, &StartAt::After(records[48].sequence)).await.unwrap();
    assert_eq!(texts(&read(&mut cursor, 2).await.0)[1], "more");
}
