//! Requests recorded from real trackers, byte for byte.

use snowmelt_collector::CollectorConfig;
use snowmelt_protocol::payload::CollectorPayload;

use super::support::{Collector, shared};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_request_is_accepted_and_its_payload_holds_all_of_it() {
    let Some(file) = shared("data/tracker-requests.jsonl") else { return };
    let collector = Collector::start(CollectorConfig::default());
    let mut client = collector.connect().await;
    let mut count = 0;
    for line in std::str::from_utf8(&file).unwrap().lines() {
        let request: serde_json::Value = serde_json::from_str(line).unwrap();
        let (method, target) = (request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
        let headers: Vec<String> = request["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|header| format!("{}: {}", header[0].as_str().unwrap(), header[1].as_str().unwrap()))
            .collect();
        let body = request["body"].as_str();
        let bytes = format!("{method} {target} HTTP/1.1\r\n{}\r\n\r\n{}", headers.join("\r\n"), body.unwrap_or(""));
        // Connections are kept: framing must hold from request to request.
        client.send(bytes.as_bytes()).await;
        let Some(response) = client.receive(method == "HEAD").await else {
            panic!("no answer to line {count}: {bytes}");
        };
        assert_eq!(response.status, 200, "{bytes}");
        if response.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
            || headers.iter().any(|header| header.eq_ignore_ascii_case("Connection: close"))
        {
            client = collector.connect().await;
        }
        count += 1;
        if method == "OPTIONS" {
            continue;
        }

        let records = collector.good.take();
        assert_eq!(records.len(), 1, "{bytes}");
        let payload = CollectorPayload::decode(&records[0].data).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        assert_eq!(payload.path.as_deref(), Some(path));
        assert_eq!(payload.querystring.as_deref(), Some(query));
        assert_eq!(payload.body_text().as_deref(), body.filter(|_| method == "POST"));
        let kept: Vec<&str> = headers.iter().map(String::as_str).filter(|line| !line.starts_with("Cookie")).collect();
        let got: Vec<&str> =
            payload.headers().iter().map(AsRef::as_ref).filter(|line| !line.starts_with("Cookie")).collect();
        assert_eq!(&got[..kept.len()], &kept[..]);
    }
    assert!(count >= 80);
    assert!(collector.bad.take().is_empty());
    collector.stop().await.unwrap();
}
