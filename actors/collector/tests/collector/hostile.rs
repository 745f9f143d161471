//! Clients that are slow, wrong or wicked. None of them makes the collector lose another's event.

use std::{io::Write, time::Duration};

use snowmelt_collector::CollectorConfig;
use snowmelt_protocol::payload::CollectorPayload;

use super::support::Collector;

async fn still_works(collector: &Collector) {
    collector.good.take();
    assert_eq!(collector.get("/i?e=pv").await.status, 200);
    assert_eq!(collector.good.take().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_get_408() {
    let mut config = CollectorConfig::default();
    config.networking.response_header_timeout = Duration::from_millis(1000);
    let collector = Collector::start(config);

    let mut slow_body = collector.connect().await;
    slow_body.send(b"POST /a/b HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").await;
    let response = slow_body.receive(false).await.unwrap();
    assert_eq!((response.status, response.body.as_slice()), (408, &b"Response timed out"[..]));
    assert_eq!(response.header("Content-Type"), Some("text/plain; charset=UTF-8"));

    let mut slow_head = collector.connect().await;
    slow_head.send(b"GET /i HTTP/1.1\r\nHo").await;
    assert_eq!(slow_head.receive(false).await.unwrap().status, 408);
    still_works(&collector).await;
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_heads_are_refused_and_the_connection_closed() {
    let collector = Collector::start(CollectorConfig::default());
    for request in [
        format!("GET /i?{} HTTP/1.1\r\nHost: a\r\n\r\n", "q".repeat(20_480)),
        format!("GET /i HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "h".repeat(40_960)),
        format!("GET /i HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(20_000)),
        // Never ending.
        "GET /i HTTP/1.1\r\nHost: a\r\nX: ".to_owned() + &"h".repeat(300_000),
    ] {
        let mut client = collector.connect().await;
        client.send(request.as_bytes()).await;
        // A reset instead of an answer is as good: the client has sent more than was read.
        if let Some(response) = client.receive(false).await {
            // 431 where actix sees more than its 96 headers before the limit is reached.
            assert!(matches!(response.status, 400 | 431), "{}", &request[..40]);
            assert!(client.closed().await);
        }
    }
    assert!(collector.good.take().is_empty());
    // Just below.
    assert_eq!(collector.get(&format!("/i?{}", "q".repeat(20_000))).await.status, 200);
    still_works(&collector).await;
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_bodies_get_413_unread() {
    let collector = Collector::start(CollectorConfig::default());
    assert_eq!(collector.post("/a/b", &vec![b'x'; 10_000_000]).await.status, 413);

    let mut chunked = b"POST /a/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..40 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend(vec![b'x'; 0x10000]);
        chunked.extend_from_slice(b"\r\n");
    }
    assert_eq!(collector.request(&chunked).await.status, 413);
    assert!(collector.good.take().is_empty());
    still_works(&collector).await;
    collector.stop().await.unwrap();
}

fn gzip_post(body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /com.acme/v1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gzip_bodies_are_read_and_bombs_are_not() {
    let collector = Collector::start(CollectorConfig::default());
    assert_eq!(collector.request(&gzip_post(&gzip(b"{\"a\":1}"))).await.status, 200);
    // Broken gzip is data: it is for enrich to say so.
    assert_eq!(collector.request(&gzip_post(b"{\"b\":2}")).await.status, 200);
    let records = collector.good.take();
    let bodies: Vec<String> = records
        .iter()
        .map(|record| CollectorPayload::decode(&record.data).unwrap().body_text().unwrap().into_owned())
        .collect();
    assert_eq!(bodies, ["{\"a\":1}", "{\"b\":2}"]);
    let bomb = gzip(&vec![0; 200_000_000]);
    assert!(bomb.len() < 300_000);
    assert_eq!(collector.request(&gzip_post(&bomb)).await.status, 413);
    assert!(collector.good.take().is_empty());
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_bytes_are_recorded_not_refused() {
    let collector = Collector::start(CollectorConfig::default());
    let mut request =
        b"GET /i?a=\xff&b=\xc3\xa9&c=\"{<|>}`^\\#%zz HTTP/1.1\r\nHost: a\r\nUser-Agent: caf\xc3\xa9 \xff\r\n\r\n"
            .to_vec();
    assert_eq!(collector.request(&request).await.status, 200);
    let records = collector.good.take();
    let payload = CollectorPayload::decode(&records[0].data).unwrap();
    assert_eq!(payload.querystring.as_deref(), Some("a=%FF&b=é&c=\"{<|>}`^\\#%zz"));
    // Header bytes are ISO-8859-1, as in the original.
    assert_eq!(payload.user_agent.as_deref(), Some("caf\u{c3}\u{a9} \u{ff}"));

    request[4] = 0;
    assert_eq!(collector.request(&request).await.status, 400);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_from_a_request_gets_into_answer_headers_unchecked() {
    let config: CollectorConfig = serde_json::from_value(serde_json::json!({
        "enableDefaultRedirect": true, "cookieBounce": {"enabled": true}, "cookie": {"domains": ["acme.example"]}
    }))
    .unwrap();
    let collector = Collector::start(config);
    let injected = |target: &str, header: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
    for request in [
        injected("/r/tp2?u=https%3A%2F%2Fa%0D%0ASet-Cookie%3A%20x%3Dy", "A: b"),
        injected("/i?nuid=x%3B%20Domain%3Devil.example%0D%0AX-Evil%3A%201", "A: b"),
        injected("/i?nuid=x", "Cookie: sp=a\"b; Domain=evil.example"),
        injected("/i?%0D%0AX-Evil:1=%0AX-Evil:1", "A: b"),
        injected("/a%0D%0AX-Evil:1/b", "Origin: https://x\"><script>"),
        injected("/i", "Cookie: sp=caf\u{e9}"),
    ] {
        let response = collector.request(request.as_bytes()).await;
        assert!(response.header("X-Evil").is_none(), "{request}");
        for (_, value) in &response.headers {
            assert!(!value.contains("evil.example") && !value.contains('<'), "{request}: {value}");
        }
        if request.contains("nuid=") {
            assert!(response.header("Set-Cookie").is_none(), "{request}");
        }
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smuggled_request_is_part_of_a_body_or_refused() {
    let collector = Collector::start(CollectorConfig::default());
    let hidden = "GET /i?hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    for (headers, body) in [
        (format!("Content-Length: {}\r\nTransfer-Encoding: chunked", hidden.len() + 5), format!("0\r\n\r\n{hidden}")),
        (format!("Content-Length: 0\r\nContent-Length: {}", hidden.len()), hidden.to_owned()),
        (format!("Content-Length : {}", hidden.len()), hidden.to_owned()),
        (format!("Content-Length: +{}", hidden.len()), hidden.to_owned()),
        ("Transfer-Encoding: xchunked".to_owned(), format!("0\r\n\r\n{hidden}")),
        (format!("X: a\r\n Content-Length: {}", hidden.len()), hidden.to_owned()),
    ] {
        let request = format!("POST /a/b HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}");
        let response = collector.request(request.as_bytes()).await;
        assert_eq!(response.status, 400, "{request}");
        assert!(collector.good.take().is_empty(), "{request}");
    }
    let request = format!(
        "POST /a/b HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{hidden}GET /c/d HTTP/1.1\r\nhOST: a\r\n\r\n",
        hidden.len()
    );
    let mut client = collector.connect().await;
    client.send(request.as_bytes()).await;
    assert_eq!(client.receive(false).await.unwrap().body, b"ok");
    assert_eq!(client.receive(false).await.unwrap().header("Content-Type"), Some("image/gif"));
    let records = collector.good.take();
    let payloads: Vec<_> = records.iter().map(|record| CollectorPayload::decode(&record.data).unwrap()).collect();
    assert_eq!(payloads[0].body_text().as_deref(), Some(hidden));
    assert_eq!(payloads[1].path.as_deref(), Some("/c/d"));
    assert_eq!(payloads[1].headers(), ["hOST: a"]);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_keep_their_own_heads() {
    let collector = Collector::start(CollectorConfig::default());
    let mut client = collector.connect().await;
    let mut requests = Vec::new();
    for number in 0..200 {
        match number % 3 {
            0 => requests.extend(format!("GET /i?{number} HTTP/1.1\r\nHost: a\r\nX-N: {number}\r\n\r\n").bytes()),
            1 => requests.extend(format!("POST /a/b?{number} HTTP/1.1\r\nhost: a\r\nx-n: {number}\r\nContent-Length: 4\r\n\r\n\r\n\r\n").bytes()),
            _ => requests.extend(
                format!("POST /a/b?{number} HTTP/1.1\r\nHOST: a\r\nX-n: {number}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").bytes(),
            ),
        }
    }
    client.send(&requests).await;
    for _ in 0..200 {
        assert_eq!(client.receive(false).await.unwrap().status, 200);
    }
    let records = collector.good.take();
    assert_eq!(records.len(), 200);
    for (number, record) in records.iter().enumerate() {
        let payload = CollectorPayload::decode(&record.data).unwrap();
        assert_eq!(payload.querystring.as_deref(), Some(number.to_string().as_str()));
        let name = ["X-N", "x-n", "X-n"][number % 3];
        assert!(payload.headers().contains(&format!("{name}: {number}").into()), "{:?}", payload.headers());
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoded_slash_does_not_open_redirects() {
    let collector = Collector::start(CollectorConfig::default());
    let response = collector.get("/r%2Ftp2/x?u=https%3A%2F%2Fevil.example%2F").await;
    assert_eq!((response.status, response.header("Location")), (200, None));
    assert_eq!(collector.get("/%72/tp2?u=https%3A%2F%2Fevil.example%2F").await.status, 404);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_go_away_do_no_harm() {
    let collector = Collector::start(CollectorConfig::default());
    for cut in 1..60 {
        let request = b"POST /a/b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        let mut client = collector.connect().await;
        client.send(&request[..cut.min(request.len() - 1)]).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(collector.good.take().is_empty());
    still_works(&collector).await;
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_client_that_does_not_wait_is_recorded() {
    // What browsers do with a beacon when the page goes away.
    let collector = Collector::start(CollectorConfig::default());
    for _ in 0..20 {
        let mut client = collector.connect().await;
        client.send(b"POST /a/b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        drop(client);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(collector.good.take().len(), 20);
    collector.stop().await.unwrap();
}
