//! Clients that are slow, wrong or wicked. None of them makes the collector lose another's event.

use std::{io::Write, time::Duration};

use snowmelt_collector::CollectorConfig;
use snowmelt_protocol::payload::CollectorPayload;

use tokio::io::AsyncWriteExt;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_head_that_drips_ends_its_connection() {
    let mut config = CollectorConfig::default();
    config.networking.response_header_timeout = Duration::from_millis(1000);
    let collector = Collector::start(config);
    let mut client = collector.connect().await;
    client.send(b"GET /i?first HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.receive(false).await.unwrap().status, 200);
    let dripping = async {
        client.send(b"GET /i?later HTTP/1.1\r\nHost: a\r\nX: ").await;
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if client.stream.write_all(b"x").await.is_err() {
                return;
            }
        }
        panic!("a connection is held by a byte now and then");
    };
    tokio::time::timeout(Duration::from_secs(9), dripping).await.unwrap();
    // One that takes its time between requests, but not for their heads, stays.
    let mut patient = collector.connect().await;
    for cut in [5, 30] {
        let request = b"GET /i?patient HTTP/1.1\r\nHost: a\r\n\r\n";
        patient.send(&request[..cut]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        patient.send(&request[cut..]).await;
        assert_eq!(patient.receive(false).await.unwrap().status, 200);
        tokio::time::sleep(Duration::from_millis(1300)).await;
    }
    assert_eq!(collector.good.take().len(), 3);
    still_works(&collector).await;
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_json_is_data() {
    let collector = Collector::start(CollectorConfig::default());
    // Nobody looks into a body that fits; one that must be split is parsed, without recursion to its depth.
    for (depth, good, bad) in [(400_000, 1, 0), (1_500_000, 0, 1)] {
        for deep in ["[".repeat(depth), "{\"a\":".repeat(depth / 5), "[".repeat(depth / 2) + &"]".repeat(depth / 2)] {
            assert_eq!(collector.post("/com.acme/v1", deep.as_bytes()).await.status, 200);
            assert_eq!((collector.good.take().len(), collector.bad.take().len()), (good, bad), "{}", &deep[..20]);
        }
    }
    // Deep events inside a batch that is split.
    let event = format!("{{\"e\":\"ue\",\"x\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    let body = format!(
        "{{\"schema\":\"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4\",\"data\":[{}]}}",
        [event.as_str(); 4].join(",")
    );
    assert_eq!(collector.post("/com.snowplowanalytics.snowplow/tp2", body.as_bytes()).await.status, 200);
    let (good, bad) = (collector.good.take(), collector.bad.take());
    assert!(!good.is_empty() || !bad.is_empty());
    still_works(&collector).await;
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_of_gigabytes_in_many_members_is_cut_off() {
    let collector = Collector::start(CollectorConfig::default());
    let member = gzip(&vec![0; 100_000_000]);
    let members = 2_000_000 / member.len();
    assert!(members * 100_000_000 > 1_900_000_000, "{} bytes a member", member.len());
    assert_eq!(collector.request(&gzip_post(&member.repeat(members))).await.status, 413);
    // Just below the limit, and just at it.
    for (length, status) in [(2_097_151, 200), (2_097_152, 413)] {
        assert_eq!(collector.request(&gzip_post(&gzip(&vec![b' '; length]))).await.status, status);
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_utf8_become_text() {
    let collector = Collector::start(CollectorConfig::default());
    let request =
        b"POST /com.\xffacme/v\xc3\xa9?\xfe=1 HTTP/1.1\r\nHost: a\r\nX-\xc3: b\r\nContent-Length: 3\r\n\r\na\xffb";
    // A header's name is ASCII.
    assert_eq!(collector.request(request).await.status, 400);
    let request =
        b"POST /com.\xffacme/v\xc3\xa9?\xfe=1 HTTP/1.1\r\nHost: a\r\nX: \xc3\r\nContent-Length: 3\r\n\r\na\xffb";
    assert_eq!(collector.request(request).await.status, 200);
    let records = collector.good.take();
    let payload = CollectorPayload::decode(&records[0].data).unwrap();
    assert_eq!(payload.path.as_deref(), Some("/com.\u{fffd}acme/v\u{e9}"));
    assert_eq!(payload.querystring.as_deref(), Some("%FE=1"));
    assert_eq!(payload.body_text().as_deref(), Some("a\u{fffd}b"));
    assert!(payload.headers().contains(&"X: \u{c3}".into()));
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abused_chunks_are_refused_or_bounded() {
    let collector = Collector::start(CollectorConfig::default());
    let chunked = |body: &[u8]| {
        let mut request = b"POST /a/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        request.extend_from_slice(body);
        request
    };
    for body in [
        &b"ffffffffffffffff\r\nx"[..],
        b"fffffffffffffffffff\r\nx",
        b"-1\r\nx\r\n0\r\n\r\n",
        b"0x1\r\nx\r\n0\r\n\r\n",
        b"1\r\nxx\r\n0\r\n\r\n",
        b"\r\n\r\n",
        b"zz\r\n",
    ] {
        let mut client = collector.connect().await;
        client.send(&chunked(body)).await;
        client.stream.shutdown().await.ok();
        let status = client.receive(false).await.map(|response| response.status);
        assert!(matches!(status, None | Some(400 | 413)), "{status:?} {}", String::from_utf8_lossy(body));
        assert!(collector.good.take().is_empty(), "{}", String::from_utf8_lossy(body));
    }
    // Chunks of one byte are slow, but right.
    let response = collector.request(&chunked(&[&b"1\r\nx\r\n".repeat(20_000)[..], b"0\r\n\r\n"].concat())).await;
    assert_eq!(response.status, 200);
    let records = collector.good.take();
    assert_eq!(CollectorPayload::decode(&records[0].data).unwrap().body.unwrap().len(), 20_000);
    // Extensions and trailers without end are not kept.
    for flood in
        ["1;".to_owned() + &"x".repeat(20_000_000), "1\r\nx\r\n0\r\n".to_owned() + &"T: x\r\n".repeat(3_000_000)]
    {
        let mut client = collector.connect().await;
        let sent = tokio::time::timeout(Duration::from_secs(60), client.send(&chunked(flood.as_bytes()))).await;
        assert!(sent.is_ok(), "the collector neither reads nor closes");
    }
    still_works(&collector).await;
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_lead_to_listed_hosts_only() {
    let config: CollectorConfig = serde_json::from_value(serde_json::json!({
        "enableDefaultRedirect": true, "redirectDomains": ["acme.example"],
        "paths": {"/com.acme/go": "/r/tp2"}
    }))
    .unwrap();
    let collector = Collector::start(config);
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    for (path, target) in [
        ("/r/tp2", "https://acme.example/a?b=c#d"),
        ("/com.acme/go", "http://acme.example:8080"),
        ("/r/tp2", "//acme.example/x"),
    ] {
        let response = collector.get(&format!("{path}?u={}", encode(target))).await;
        assert_eq!((response.status, response.header("Location")), (302, Some(target)));
    }
    for target in [
        "https://evil.example/",
        "//evil.example/",
        "https://acme.example@evil.example/",
        "https://acme.example:x@evil.example/",
        "https://acme.example.evil.example/",
        "https://evilacme.example/",
        "https://evil.example/acme.example",
        "https://evil.example?acme.example",
        "https://evil.example#@acme.example/",
        "https://evil.example\\@acme.example/",
        "https:\\\\evil.example",
        "/\\evil.example",
        "https:evil.example",
        "https:///evil.example",
        "https://acme.example%2eevil.example/",
        "https://acme.example%00.evil.example/",
        "\thttps://evil.example/",
        " https://evil.example/",
        "javascript:alert(1)//acme.example",
        "data:text/html,acme.example",
        "https://[acme.example]/",
        "https://ac\u{ad}me.example/",
        "https://acme.example\r\nSet-Cookie: a=b",
        "https://acme.example/\r\n\r\n<script>",
        "",
    ] {
        for path in ["/r/tp2", "/com.acme/go"] {
            let response = collector.get(&format!("{path}?u={}", encode(target))).await;
            assert_eq!((response.status, response.header("Location")), (400, None), "{target:?}");
            assert!(response.all("Set-Cookie").all(|cookie| cookie.starts_with("sp=")), "{target:?}");
        }
    }
    // The first `u` decides, however it is spelt.
    let response = collector.get("/r/tp2?%75=https%3A%2F%2Fevil.example&u=https%3A%2F%2Facme.example").await;
    assert_eq!((response.status, response.header("Location")), (400, None));
    collector.stop().await.unwrap();
}
