//! No 200 for what is not durable; health; shutdown.

use std::{sync::atomic::Ordering, time::Duration};

use snowmelt_collector::{CollectorConfig, CollectorError, Durability};

use super::support::Collector;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_sink_gives_503_and_a_recovered_one_200() {
    let collector = Collector::start(CollectorConfig::default());
    collector.good.failing.store(true, Ordering::Relaxed);
    for response in [collector.get("/i?e=pv").await, collector.post("/com.acme/v1", b"{}").await] {
        assert_eq!(response.status, 503);
        assert_eq!(response.header("Retry-After"), Some("5"));
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(response.header("Set-Cookie"), None);
    }
    assert_eq!(collector.get("/health").await.status, 200);
    collector.good.failing.store(false, Ordering::Relaxed);
    assert_eq!(collector.get("/i?e=pv").await.status, 200);
    assert_eq!(collector.good.take().len(), 1);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_memory_durability_the_answer_does_not_wait() {
    let mut config = CollectorConfig { durability: Durability::Memory, ..CollectorConfig::default() };
    config.streams.good.buffer.time_limit = 10;
    let collector = Collector::start(config);
    collector.good.failing.store(true, Ordering::Relaxed);
    assert_eq!(collector.get("/i?e=pv").await.status, 200);
    assert!(collector.good.take().is_empty());
    collector.good.failing.store(false, Ordering::Relaxed);
    let good = collector.good.clone();
    collector.stop().await.unwrap();
    assert_eq!(good.take().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_buffer_gives_503() {
    let mut config = CollectorConfig::default();
    config.group_commit.max_pending_bytes = 1;
    config.group_commit.wait_for_room = Duration::from_millis(100);
    config.termination_deadline = Duration::from_millis(500);
    let collector = Collector::start(config);
    collector.good.hanging.store(true, Ordering::Relaxed);
    let mut stuck = collector.connect().await;
    stuck.send(b"GET /i HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(collector.get("/i").await.status, 503);
    drop(stuck);
    // What was never stored is reported, not forgotten.
    assert!(matches!(collector.stop().await, Err(CollectorError::NotDrained { records: 1 })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sink_health_tells_the_truth_of_both_sinks() {
    let collector = Collector::start(CollectorConfig::default());
    assert_eq!(collector.get("/sink-health").await.body, b"ok");
    collector.good.unhealthy.store(true, Ordering::Relaxed);
    assert_eq!(collector.get("/sink-health").await.status, 503);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_way_at_shutdown_are_answered() {
    let mut config = CollectorConfig::default();
    config.group_commit.linger = Duration::from_millis(300);
    let collector = Collector::start(config);
    let mut client = collector.connect().await;
    client.send(b"GET /i?e=pv HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let good = collector.good.clone();
    let stopped = tokio::spawn(collector.stop());
    assert_eq!(client.receive(false).await.unwrap().status, 200);
    assert_eq!(good.take().len(), 1);
    drop(client);
    stopped.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_post_becomes_several_records_and_bad_rows() {
    let mut config = CollectorConfig::default();
    config.streams.good.max_bytes = 2000;
    let collector = Collector::start(config);
    let event = |size: usize| format!("{{\"e\":\"{}\"}}", "x".repeat(size));
    let events = [event(900), event(900), event(3000), event(10)].join(" , ");
    let body = format!(
        "{{\"schema\":\"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4\", \"data\": [{events}]}}"
    );
    let response = collector.post("/com.snowplowanalytics.snowplow/tp2", body.as_bytes()).await;
    assert_eq!(response.status, 200);
    let (good, bad) = (collector.good.take(), collector.bad.take());
    assert_eq!((good.len(), bad.len()), (2, 1));
    assert!(good.iter().all(|record| record.data.len() < 2000 && record.partition_key == bad[0].partition_key));
    let row: serde_json::Value = serde_json::from_slice(&bad[0].data).unwrap();
    assert_eq!(row["data"]["failure"]["actualSizeBytes"], 3008);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_post_is_split_off_the_event_loop() {
    let collector = Collector::start(CollectorConfig::default());
    let event = format!("{{\"e\":\"ue\",\"x\":\"{}\"}}", "y".repeat(1000));
    let body = format!(
        "{{\"schema\":\"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4\",\"data\":[{}]}}",
        vec![event; 2000].join(",")
    );
    assert_eq!(collector.post("/com.snowplowanalytics.snowplow/tp2", body.as_bytes()).await.status, 200);
    let good = collector.good.take();
    assert_eq!(good.len(), 3);
    assert!(good.iter().all(|record| record.data.len() < 1_000_000));
    assert!(collector.bad.take().is_empty());
    collector.stop().await.unwrap();
}
