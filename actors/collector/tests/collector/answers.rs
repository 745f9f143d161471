//! What clients see, and what of them is recorded; stands alone without the shared vectors.

use snowmelt_collector::CollectorConfig;
use snowmelt_protocol::payload::{CollectorPayload, SCHEMA};

use super::support::{Collector, MemorySink, NOW_MS};

fn config(json: serde_json::Value) -> CollectorConfig {
    serde_json::from_value(json).unwrap()
}

/// The one record that came, as (path, network user id, ip address, header lines).
fn recorded(sink: &MemorySink) -> (String, String, String, Vec<String>) {
    let records = sink.take();
    assert_eq!(records.len(), 1);
    let payload = CollectorPayload::decode(&records[0].data).unwrap();
    assert_eq!((payload.schema.as_deref(), payload.timestamp), (Some(SCHEMA), NOW_MS));
    let text = |field: Option<std::borrow::Cow<'_, str>>| field.unwrap().into_owned();
    let lines = payload.headers().iter().map(|line| line.to_string()).collect();
    (text(payload.path), text(payload.network_userid), text(payload.ip_address), lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_carry_the_originals_headers_in_its_spelling_and_no_others() {
    let collector = Collector::start(CollectorConfig::default());
    let names = |response: &super::support::Response| {
        let mut names: Vec<String> = response.headers.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names.join(" ")
    };
    let post = collector.post("/com.snowplowanalytics.snowplow/tp2", b"{}").await;
    assert_eq!(
        names(&post),
        "Access-Control-Allow-Credentials Access-Control-Allow-Origin Content-Length Content-Type Date Set-Cookie"
    );
    let cookie = post.header("Set-Cookie").unwrap();
    let (_, id, address, _) = recorded(&collector.good);
    assert_eq!(
        cookie,
        format!("sp={id}; Expires=Sat, 03 Apr 2027 10:00:00 GMT; Path=/; SameSite=None; Secure; HttpOnly")
    );
    assert_eq!(address, "127.0.0.1");
    let pixel = collector.get("/i").await;
    assert_eq!(pixel.body.len(), 43);
    assert_eq!(
        names(&pixel),
        "Access-Control-Allow-Credentials Access-Control-Allow-Origin Cache-Control Content-Length Content-Type Date Set-Cookie"
    );
    assert_eq!(names(&collector.get("/nope").await), "Content-Length Content-Type Date");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_paths_stand_for_others_and_may_redirect() {
    let collector = Collector::start(config(serde_json::json!({
        "paths": {"/com.acme/track": "/com.snowplowanalytics.snowplow/tp2", "/com.acme/go": "/r/tp2"},
        "redirectMacro": {"enabled": true, "placeholder": "[TOKEN]"},
        "redirectDomains": ["acme.example"],
    })));
    assert_eq!(collector.post("/com.acme/track", b"{}").await.status, 200);
    assert_eq!(recorded(&collector.good).0, "/com.snowplowanalytics.snowplow/tp2");

    let id = "6f0e6d0a-3c1e-4b43-9a55-0c7f1f2d9b11";
    let target = format!("/com.acme/go?nuid={id}&u=https%3A%2F%2Facme.example%2F%3Fid%3D%5BTOKEN%5D%23a%2520b");
    let response = collector.get(&target).await;
    assert_eq!((response.status, response.body.len()), (302, 0));
    assert_eq!(response.header("Location"), Some(format!("https://acme.example/?id={id}#a%20b").as_str()));
    assert_eq!(recorded(&collector.good).0, "/r/tp2");

    let refused = collector.get("/com.acme/go?u=https%3A%2F%2Fwww.acme.example%2F").await;
    assert_eq!((refused.status, refused.header("Location")), (400, None));
    assert_eq!(recorded(&collector.good).0, "/r/tp2");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anonymous_requests_leave_no_trace_of_the_person() {
    let collector = Collector::start(CollectorConfig::default());
    let response = collector
        .request(
            b"GET /i?nuid=x HTTP/1.1\r\nHost: a\r\nSP-Anonymous: *\r\ncookie: sp=1\r\nx-forwarded-for: 198.51.100.7\r\n\
            Forwarded: for=198.51.100.7\r\nX-Real-IP: 198.51.100.7\r\nUser-Agent: u\r\n\r\n",
        )
        .await;
    // The cookie that came is deleted.
    assert!(response.header("Set-Cookie").unwrap().starts_with("sp=; Expires=Thu, 03 Apr 2025 10:00:00 GMT; Path=/"));
    let (_, id, address, lines) = recorded(&collector.good);
    assert_eq!((id.as_str(), address.as_str()), ("00000000-0000-0000-0000-000000000000", "unknown"));
    assert_eq!(lines, ["Host: a", "SP-Anonymous: *", "User-Agent: u"]);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_without_cookies_bounces_once() {
    let collector = Collector::start(config(serde_json::json!({"cookieBounce": {"enabled": true}})));
    let first = collector.get("/i?e=pv&url=http%3A%2F%2Fa%2F%3Fn3pc").await;
    // The marker inside a page's address is not the marker.
    assert_eq!((first.status, first.header("Location")), (302, Some("/i?e=pv&url=http%3A//a/?n3pc&n3pc=true")));
    assert!(collector.good.take().is_empty());
    let second = collector.get(first.header("Location").unwrap()).await;
    assert_eq!(second.status, 200);
    assert_eq!(recorded(&collector.good).1, "00000000-0000-4000-A000-000000000000");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_root_answers_what_is_configured() {
    let collector = Collector::start(config(serde_json::json!({
        "rootResponse": {"enabled": true, "statusCode": 302, "headers": {"Location": "https://acme.example/"}, "body": "moved"},
        "hsts": {"enable": true, "maxAge": "1 day"},
    })));
    let response = collector.get("/").await;
    assert_eq!((response.status, response.body.as_slice()), (302, &b"moved"[..]));
    assert_eq!(response.header("Location"), Some("https://acme.example/"));
    assert_eq!(response.header("Content-Type"), None);
    assert_eq!(response.header("Strict-Transport-Security"), Some("max-age=86400; includeSubDomains"));
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absolute_targets_and_http_1_0_are_understood() {
    let collector = Collector::start(CollectorConfig::default());
    let absolute = b"GET HTTP://c.acme.example:80/i?e=pv HTTP/1.1\r\nHost: other\r\n\r\n";
    assert_eq!(collector.request(absolute).await.status, 200);
    let records = collector.good.take();
    let payload = CollectorPayload::decode(&records[0].data).unwrap();
    assert_eq!((payload.hostname.as_deref(), payload.path.as_deref()), (Some("c.acme.example"), Some("/i")));
    assert_eq!(payload.headers(), ["Host: other"]);

    assert_eq!(collector.request(b"GET /i HTTP/1.0\r\nX-A: b\r\n\r\n").await.status, 200);
    assert_eq!(recorded(&collector.good).3, ["X-A: b"]);
    assert_eq!(collector.request(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_ones_own_are_on_every_answer() {
    let collector = Collector::start(config(serde_json::json!({
        "responseHeaders": {"Timing-Allow-Origin": "*", "X-Served-By": "collector"},
        "cors": {"allowedHeaders": ["Content-Type", "SP-Anonymous", "traceparent"]},
    })));
    for (request, status) in [
        ("GET /i HTTP/1.1", 200),
        ("POST /a/b HTTP/1.1", 200),
        ("OPTIONS /a/b HTTP/1.1", 200),
        ("GET /health HTTP/1.1", 200),
        ("GET /nope HTTP/1.1", 404),
    ] {
        let answer = collector.request(format!("{request}\r\nHost: a\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(answer.header("Timing-Allow-Origin"), Some("*"), "{request}");
        assert_eq!(answer.header("X-Served-By"), Some("collector"), "{request}");
        if request.starts_with("OPTIONS") {
            let allowed = answer.header("Access-Control-Allow-Headers");
            assert_eq!(allowed, Some("Content-Type, SP-Anonymous, traceparent"));
        }
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_address_comes_from_the_header_that_is_chosen_for_it() {
    let collector = Collector::start(config(serde_json::json!({"clientAddressHeader": "CF-Connecting-IP"})));
    let ask = async |headers: &str| {
        let request = format!("GET /i HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.7\r\n{headers}\r\n");
        assert_eq!(collector.request(request.as_bytes()).await.status, 200);
        let (_, _, address, lines) = recorded(&collector.good);
        (address, lines)
    };
    let (address, lines) = ask("cf-connecting-ip: 2001:DB8::1\r\n").await;
    assert_eq!(address, "[2001:db8::1]");
    // Enrich takes the first line of this name.
    let expected =
        ["X-Forwarded-For: [2001:db8::1]", "Host: a", "X-Forwarded-For: 198.51.100.7", "cf-connecting-ip: 2001:DB8::1"];
    assert_eq!(lines, expected);
    assert_eq!(ask("").await.0, "198.51.100.7");
    assert_eq!(ask("CF-Connecting-IP: junk\r\n").await.0, "198.51.100.7");
    let (address, lines) = ask("CF-Connecting-IP: 192.0.2.1\r\nSP-Anonymous: *\r\n").await;
    assert_eq!((address.as_str(), lines), ("unknown", vec!["Host: a".to_owned(), "SP-Anonymous: *".to_owned()]));
    collector.stop().await.unwrap();
}
