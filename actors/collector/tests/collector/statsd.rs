//! Metrics as a StatsD server gets them.

use std::time::Duration;

use snowmelt_collector::CollectorConfig;
use tokio::net::UdpSocket;

use super::support::Collector;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_once_a_period_and_the_rest_at_the_end() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut config = CollectorConfig::default();
    let statsd = &mut config.monitoring.metrics.statsd;
    statsd.enabled = true;
    statsd.hostname = "127.0.0.1".to_owned();
    statsd.port = server.local_addr().unwrap().port();
    statsd.period = Duration::from_secs(3600);
    statsd.tags.insert("app".to_owned(), "shop".to_owned());
    let collector = Collector::start(config);
    for _ in 0..3 {
        assert_eq!(collector.post("/com.snowplowanalytics.snowplow/tp2", b"{}").await.status, 200);
    }
    collector.get("/i").await;
    collector.get("/health").await;
    collector.get("/sink-health").await;
    collector.get("/nope").await;
    collector.stop().await.unwrap();

    let mut packet = vec![0; 2000];
    let length = tokio::time::timeout(Duration::from_secs(10), server.recv(&mut packet)).await.unwrap().unwrap();
    let text = String::from_utf8(packet[..length].to_vec()).unwrap();
    let counts: Vec<&str> = text.lines().filter(|line| line.contains("requests_count")).collect();
    let name = "snowplow.collector.requests_count";
    assert_eq!(
        counts,
        [
            format!("{name}:1|c|#method:GET,status_bucket:2xx,status_code:200,app:shop"),
            format!("{name}:1|c|#method:GET,status_bucket:4xx,status_code:404,app:shop"),
            format!("{name}:3|c|#method:POST,status_bucket:2xx,status_code:200,app:shop"),
        ]
    );
    assert!(text.starts_with("snowplow.collector.active_requests:0|g|#app:shop\n"), "{text}");
    assert_eq!(text.matches("snowplow.collector.requests_latency:").count(), 5);
}
