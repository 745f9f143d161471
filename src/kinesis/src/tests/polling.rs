//! Polling against answers that only a service in trouble gives.

use std::time::Duration;

use serde_json::json;
use snowmelt_streams::{Page, ReadLimit, ShardCursor, ShardId, StartAt, StreamError, Streams};
use tokio::time::Instant;

use super::canned::{Answer, Call, Canned, children, record, records, usual};
use super::support::{options, streams, texts};
use crate::KinesisOptions;

const IDLE: Duration = Duration::from_millis(200);

/// A cursor at `from`, on a server that answers GetRecords as `answer` says.
async fn cursor_at(
    from: StartAt,
    shard: Option<bool>,
    answer: impl Fn(&Call, usize) -> Answer + Send + Sync + 'static,
) -> (Canned, Box<dyn ShardCursor>) {
    let server = Canned::start(move |call, before| match call.action.as_str() {
        "GetRecords" => answer(call, before),
        _ => usual(call, shard),
    })
    .await;
    let options = KinesisOptions {
        attempt_timeout: Duration::from_millis(400),
        throttled_for: Duration::from_secs(2),
        ..options(&server.endpoint)
    };
    let cursor = streams(options).open("s", &ShardId::from_index(0), &from).await.unwrap();
    (server, cursor)
}

async fn cursor(answer: impl Fn(&Call, usize) -> Answer + Send + Sync + 'static) -> (Canned, Box<dyn ShardCursor>) {
    cursor_at(StartAt::TrimHorizon, Some(false), answer).await
}

async fn next(cursor: &mut Box<dyn ShardCursor>, wait_ms: u64) -> Result<Page, StreamError> {
    cursor.next(ReadLimit::default(), Duration::from_millis(wait_ms)).await
}

/// The iterators that GetRecords was asked with.
fn iterators(server: &Canned) -> Vec<String> {
    server.calls("GetRecords").iter().map(|call| call.text("ShardIterator").to_owned()).collect()
}

fn is_unavailable(page: Result<Page, StreamError>) -> bool {
    page.is_err_and(|error| error.is_retriable())
}

#[tokio::test]
async fn throttled_reads_wait_and_keep_their_iterator() {
    let (server, mut cursor) = cursor(|_, before| match before {
        0..3 => Answer::Error("ProvisionedThroughputExceededException"),
        3 => Answer::Error("KMSThrottlingException"),
        _ => records(vec![record(1, "a")], Some("next"), 0),
    })
    .await;
    let began = Instant::now();
    let page = next(&mut cursor, 0).await.unwrap();
    assert!(page.records.is_empty() && page.millis_behind_latest > 0, "throttled is not the tip");
    assert_eq!(texts(&next(&mut cursor, 5000).await.unwrap().records), ["a"]);
    assert!(began.elapsed() > 4 * IDLE);
    assert_eq!(iterators(&server), ["TRIM_HORIZON/"; 5]);
    assert_eq!(server.calls("GetShardIterator").len(), 1);
}

#[tokio::test]
async fn throttled_for_too_long_is_told() {
    let (_server, mut cursor) = cursor(|_, _| Answer::Error("ProvisionedThroughputExceededException")).await;
    let began = Instant::now();
    assert!(is_unavailable(next(&mut cursor, 60_000).await));
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert!(is_unavailable(next(&mut cursor, 0).await), "and told again");
}

#[tokio::test]
async fn after_any_failure_the_cursor_stands_where_it_stood() {
    // Every other call fails, in another way each; the iterator does not move.
    let (server, mut cursor) = cursor(|_, before| match before {
        1 => Answer::Status(500, "{\"__type\":\"InternalFailure\"}"),
        3 => Answer::Status(503, "<html>"),
        5 => Answer::Cut,
        7 => Answer::Slow(Duration::from_secs(3), json!({"Records": []})),
        9 => Answer::Status(200, "{\"Records\":[{\"SequenceNumber\":\"1\",\"Data\":\"%%%\"}]}"),
        11 => Answer::Status(200, "{\"Records\": [{"),
        13 => records(vec![json!({"SequenceNumber": "x1", "Data": "YQ==", "PartitionKey": "k"})], Some("lost"), 5),
        15 => Answer::Error("SomethingNewException"),
        good => records(vec![record(good as u64, "a")], Some(&good.to_string()), 5),
    })
    .await;
    for call in 0..18 {
        let page = next(&mut cursor, 0).await;
        if call % 2 == 0 || call == 17 {
            assert_eq!(page.unwrap().records[0].sequence.to_string(), call.to_string());
        } else {
            assert!(is_unavailable(page.clone()), "{call}: {page:?}");
        }
    }
    let calls = server.calls("GetRecords");
    for call in (1..16).step_by(2) {
        assert_eq!(calls[call].text("ShardIterator"), calls[call + 1].text("ShardIterator"));
        assert!(calls[call + 1].at - calls[call].at >= IDLE, "after a failure the idle time is waited");
    }
}

#[tokio::test]
async fn an_expired_iterator_is_renewed_behind_what_was_read() {
    let (server, mut cursor) = cursor_at(StartAt::At("7".parse().unwrap()), Some(false), |_, before| match before {
        0 | 2 => Answer::Error("ExpiredIteratorException"),
        1 => records(vec![record(7, "a"), record(8, "b")], Some("next"), 5),
        3 => Answer::Error("InvalidArgumentException"),
        _ => records(vec![record(9, "c")], Some("next"), 0),
    })
    .await;
    assert_eq!(texts(&next(&mut cursor, 5000).await.unwrap().records), ["a", "b"]);
    // The second refusal in a row is told.
    assert!(next(&mut cursor, 5000).await.is_err());
    assert_eq!(texts(&next(&mut cursor, 5000).await.unwrap().records), ["c"]);
    let (at, after) = ("AT_SEQUENCE_NUMBER/7", "AFTER_SEQUENCE_NUMBER/8");
    assert_eq!(iterators(&server), [at, at, "next", after, after]);
}

#[tokio::test]
async fn latest_is_renewed_at_the_time_that_was_seen_to_be_empty() {
    let (server, mut cursor) = cursor_at(StartAt::Latest, Some(false), |_, before| match before {
        0 => records(vec![], Some("next"), 0),
        1 => Answer::Error("ExpiredIteratorException"),
        _ => records(vec![record(9, "c")], Some("next"), 0),
    })
    .await;
    assert_eq!(texts(&next(&mut cursor, 5000).await.unwrap().records), ["c"]);
    assert_eq!(iterators(&server), ["LATEST/", "next", "AT_TIMESTAMP/"]);
}

#[tokio::test]
async fn an_end_is_believed_with_children_or_when_the_shard_is_closed() {
    let (server, mut with_children) = cursor(|_, _| {
        Answer::Json(
            json!({"Records": [record(1, "a"), record(2, "b")], "MillisBehindLatest": 0, "ChildShards": children()}),
        )
    })
    .await;
    let page = with_children.next(ReadLimit { records: 1, bytes: 99 }, IDLE).await.unwrap();
    assert!(!page.end_of_shard && page.millis_behind_latest > 0, "one record is left");
    let page = next(&mut with_children, 0).await.unwrap();
    assert_eq!((texts(&page.records), page.end_of_shard), (vec!["b".to_owned()], true));
    assert!(next(&mut with_children, 0).await.unwrap().end_of_shard);
    assert_eq!((server.calls("ListShards").len(), server.calls("GetRecords").len()), (0, 1));

    for shard in [Some(true), None] {
        let (_server, mut closed) =
            cursor_at(StartAt::TrimHorizon, shard, |_, _| records(vec![record(1, "a")], None, 0)).await;
        let page = next(&mut closed, 0).await.unwrap();
        assert!(!page.end_of_shard && page.millis_behind_latest == 0, "{page:?}");
        assert!(next(&mut closed, 5000).await.unwrap().end_of_shard, "{shard:?}");
    }
}

#[tokio::test]
async fn an_open_shard_without_an_iterator_is_read_on() {
    let (server, mut cursor) = cursor(|_, before| match before {
        0 => records(vec![record(1, "a")], None, 0),
        _ => records(vec![record(2, "b")], Some("next"), 0),
    })
    .await;
    assert_eq!(texts(&next(&mut cursor, 0).await.unwrap().records), ["a"]);
    assert_eq!(texts(&next(&mut cursor, 5000).await.unwrap().records), ["b"]);
    assert_eq!(iterators(&server), ["TRIM_HORIZON/", "AFTER_SEQUENCE_NUMBER/1"]);
}

#[tokio::test]
async fn empty_answers_in_the_middle_are_followed_and_are_not_the_tip() {
    let (_server, mut cursor) = cursor(|_, before| match before {
        0..5 => records(vec![], Some("next"), 60_000),
        _ => records(vec![record(1, "a")], Some("next"), 1000),
    })
    .await;
    let page = next(&mut cursor, 0).await.unwrap();
    assert!(page.records.is_empty() && page.millis_behind_latest >= 60_000);
    let page = next(&mut cursor, 9000).await.unwrap();
    assert_eq!((texts(&page.records), page.millis_behind_latest), (vec!["a".to_owned()], 1000));
}

#[tokio::test]
async fn a_position_older_than_the_retention_goes_on_with_the_oldest_record() {
    let day_ms = 24 * 3600 * 1000;
    let (server, mut cursor) =
        cursor_at(StartAt::At("7".parse().unwrap()), Some(false), move |call, _| match call.text("ShardIterator") {
            "TRIM_HORIZON/" => records(vec![record(99, "oldest")], Some("next"), 0),
            _ => records(vec![], Some("stuck"), day_ms),
        })
        .await;
    assert_eq!(texts(&next(&mut cursor, 20_000).await.unwrap().records), ["oldest"]);
    assert_eq!(server.calls("GetRecords").len(), 21);
}

#[tokio::test]
async fn a_read_that_is_dropped_loses_nothing() {
    let (server, mut cursor) = cursor(|call, before| match (before % 2, call.text("ShardIterator")) {
        (0, _) => Answer::Slow(
            Duration::from_millis(150),
            json!({"Records": [record(9, "never")], "NextShardIterator": "wrong"}),
        ),
        (_, "TRIM_HORIZON/") => records(vec![record(1, "a")], Some("second"), 5),
        _ => records(vec![record(2, "b")], Some("third"), 0),
    })
    .await;
    let mut read = Vec::new();
    while read.len() < 2 {
        // The call is due, is under way and is dropped.
        tokio::time::sleep(IDLE).await;
        tokio::time::timeout(Duration::from_millis(50), next(&mut cursor, 0)).await.unwrap_err();
        read.extend(texts(&next(&mut cursor, 0).await.unwrap().records));
    }
    assert_eq!(read, ["a", "b"]);
    assert_eq!(iterators(&server), ["TRIM_HORIZON/", "TRIM_HORIZON/", "second", "second"]);
}

#[tokio::test]
async fn at_the_tip_calls_begin_the_idle_time_apart_and_pages_are_empty_in_between() {
    let (server, mut cursor) = cursor(|_, _| records(vec![], Some("next"), 0)).await;
    let began = Instant::now();
    let mut pages = 0;
    while began.elapsed() < 5 * IDLE {
        let page = next(&mut cursor, 20).await.unwrap();
        assert!(page.records.is_empty() && page.millis_behind_latest == 0);
        pages += 1;
    }
    let calls = server.calls("GetRecords");
    assert!((4..=6).contains(&calls.len()) && pages > 20, "{} calls, {pages} pages", calls.len());
    assert!(calls.windows(2).all(|two| two[1].at - two[0].at >= IDLE - Duration::from_millis(10)));
}

#[tokio::test]
async fn what_an_operator_has_to_allow_is_told_and_tried_slowly() {
    let (server, mut cursor) = cursor(|_, _| Answer::Error("KMSAccessDeniedException")).await;
    let told = next(&mut cursor, 0).await.unwrap_err();
    assert!(told.is_retriable() && told.to_string().contains("KMSAccessDeniedException"), "{told}");
    tokio::time::timeout(Duration::from_secs(2), next(&mut cursor, 0)).await.unwrap_err();
    assert_eq!(server.calls("GetRecords").len(), 1);
}

#[tokio::test]
async fn a_shard_that_is_gone_has_ended_and_a_stream_that_is_gone_is_told() {
    let (_server, mut gone) =
        cursor_at(StartAt::TrimHorizon, None, |_, _| Answer::Error("ResourceNotFoundException")).await;
    assert!(next(&mut gone, 0).await.unwrap().end_of_shard);

    let server = Canned::start(|call, _| match call.action.as_str() {
        "GetShardIterator" => usual(call, None),
        _ => Answer::Error("ResourceNotFoundException"),
    })
    .await;
    let streams = streams(options(&server.endpoint));
    let mut cursor = streams.open("s", &ShardId::from_index(0), &StartAt::TrimHorizon).await.unwrap();
    assert_eq!(next(&mut cursor, 0).await.unwrap_err(), StreamError::StreamNotFound { stream: "s".to_owned() });
}
