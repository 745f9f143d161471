//! Several servers on one registry, and what others do to its database.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::json;
use snowmelt_iglu_server::{Changed, ServerConfig, WebHook};

use super::support::{SUPER, Server, config, tidy};

/// Waits until it holds, for at most ten seconds; how long it took.
async fn until(what: &str, holds: impl AsyncFn() -> bool) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}: not within 10 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_show_the_same() {
    // The safety check is too far off to help: notifications do it.
    let config = || ServerConfig { patches_allowed: true, check_every: Duration::from_secs(3600), ..config() };
    let (one, two) = (Server::start("both", config()).await, Server::start("both", config()).await);
    let path = "/api/schemas/com.acme/e/jsonschema/1-0-0";
    assert_eq!(two.get(path, Some(SUPER)).await.status, 404);
    assert_eq!(one.put("com.acme/e/jsonschema/1-0-0", tidy()).await.status, 201);
    assert_eq!(one.get(path, Some(SUPER)).await.status, 200, "whoever writes sees it at once");
    until("the other sees a new schema", async || two.get(path, Some(SUPER)).await.status == 200).await;

    let mut changed = tidy();
    changed["description"] = json!("changed");
    assert_eq!(two.put("com.acme/e/jsonschema/1-0-0", changed).await.status, 200);
    let seen = async || one.get(path, Some(SUPER)).await.json()["description"] == "changed";
    until("the other sees a patch", seen).await;

    let made =
        one.call("POST", "/api/auth/keygen", Some(SUPER), Some(json!({"vendorPrefix": "com.acme"}))).await.json();
    let read = made["read"].as_str().unwrap();
    until("the other knows a key", async || two.get(path, Some(read)).await.status == 200).await;
    one.call("DELETE", &format!("/api/auth/keygen?key={read}"), Some(SUPER), None).await;
    until("the other forgets it", async || two.get(path, Some(read)).await.status == 404).await;

    // Somebody works on the tables by hand.
    sqlx::query("DELETE FROM iglu_schemas").execute(one.storage.pool()).await.unwrap();
    until("both see a deletion", async || {
        one.get(path, Some(SUPER)).await.status == 404 && two.get(path, Some(SUPER)).await.status == 404
    })
    .await;
    assert_eq!(one.put("com.acme/e/jsonschema/1-0-0", tidy()).await.status, 201);
    until("both see it again", async || two.get(path, Some(SUPER)).await.status == 200).await;
    sqlx::query("TRUNCATE iglu_schemas").execute(one.storage.pool()).await.unwrap();
    until("both see a truncation", async || {
        one.get(path, Some(SUPER)).await.status == 404 && two.get(path, Some(SUPER)).await.status == 404
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_a_schema_those_who_listen_hear_its_name() {
    let (changes, mut heard) = tokio::sync::broadcast::channel(8);
    let one = Server::start("heard", ServerConfig { changes: Some(changes), ..config() }).await;
    let two = Server::start("heard", config()).await;
    for (server, name) in [(&one, "mine"), (&two, "theirs")] {
        assert_eq!(server.put(&format!("com.acme/{name}/jsonschema/1-0-0"), tidy()).await.status, 201);
        let changed = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await.unwrap().unwrap();
        assert_eq!(changed, Changed::Names([("com.acme".to_owned(), name.to_owned())].into()));
        let path = format!("/api/schemas/com.acme/{name}/jsonschema/1-0-0");
        assert_eq!(one.get(&path, Some(SUPER)).await.status, 200, "what is told shows already");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_notifications_are_made_up_for() {
    let config = ServerConfig { check_every: Duration::from_millis(200), ..config() };
    let server = Server::start("deaf", config).await;
    // As if the connection had broken in a bad moment.
    let cut = async || {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'snowmelt-iglu' AND query LIKE 'LISTEN%' AND datname = current_database()",
        )
        .execute(server.storage.pool())
        .await
        .unwrap();
    };
    cut().await;
    sqlx::query(
        "INSERT INTO iglu_schemas VALUES ('com.acme', 'by_hand', 'jsonschema', 1, 0, 0, now(), now(), true, '{\"type\":\"object\"}')",
    )
    .execute(server.storage.pool())
    .await
    .unwrap();
    until("it is seen", async || {
        server.get("/api/schemas/com.acme/by_hand/jsonschema/1-0-0", None).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_writers_one_wins() {
    let (one, two) = (Server::start("race", config()).await, Server::start("race", config()).await);
    for version in ["1-0-0", "1-0-1", "1-0-2"] {
        let path = format!("com.acme/e/jsonschema/{version}");
        let (a, b, c, d) = tokio::join!(
            one.put(&path, tidy()),
            two.put(&path, tidy()),
            one.put(&path, tidy()),
            two.put(&path, tidy())
        );
        let mut statuses = [a.status, b.status, c.status, d.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409]);
    }
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM iglu_schemas").fetch_one(one.storage.pool()).await.unwrap();
    assert_eq!(rows, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_schemas_are_listed_within_a_second() {
    let server = Server::start("many", config()).await;
    sqlx::query(
        "INSERT INTO iglu_schemas
         SELECT 'com.v' || n % 100, 'schema_' || n, 'jsonschema', 1, 0, 0, now(), now(), true,
                json_build_object('type', 'object', 'description', repeat('x', 1000))
         FROM generate_series(1, 10000) AS n",
    )
    .execute(server.storage.pool())
    .await
    .unwrap();
    until("all are there", async || server.get("/api/schemas", None).await.json().as_array().unwrap().len() == 10_000)
        .await;
    let began = Instant::now();
    let listed = server.get("/api/schemas", None).await;
    let (uris, took) = (listed.json(), began.elapsed());
    let distinct: HashSet<&str> = uris.as_array().unwrap().iter().map(|uri| uri.as_str().unwrap()).collect();
    assert_eq!(distinct.len(), 10_000);
    assert!(took < Duration::from_secs(1), "{took:?}");
    let began = Instant::now();
    let whole = server.get("/api/schemas?repr=canonical", None).await;
    println!(
        "10,000 schemas: uris in {took:?}, {} bytes of canonical schemas in {:?}",
        whole.text.len(),
        began.elapsed()
    );
    assert_eq!(whole.json().as_array().unwrap().len(), 10_000);
    assert_eq!(server.get("/api/schemas/com.v7", None).await.json().as_array().unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn web_hooks_are_told_and_never_fail_a_publication() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = |prefixes: &[&str], use_post: bool, uri: String| WebHook {
        uri,
        vendor_prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
        use_post,
    };
    let here = format!("http://{}/hook", listener.local_addr().unwrap());
    let web_hooks = vec![
        hook(&["com.nobody"], true, "http://127.0.0.1:9/not-asked".into()),
        hook(&[], true, here.clone()),
        hook(&["com.ac"], false, here),
        hook(&[], true, "http://127.0.0.1:9/refuses".into()),
    ];
    let server = Server::start("hooks", ServerConfig { web_hooks, ..config() }).await;
    assert_eq!(server.put("com.acme/e/jsonschema/1-0-0", tidy()).await.status, 201);
    for method in ["POST", "GET"] {
        let accepted = tokio::time::timeout(Duration::from_secs(10), listener.accept()).await.unwrap();
        let (mut stream, _) = accepted.unwrap();
        let mut request = vec![0; 4096];
        let mut length = 0;
        let body = r#"{"schemaKey":"iglu:com.acme/e/jsonschema/1-0-0","updated":false}"#;
        while !String::from_utf8_lossy(&request[..length]).contains(body) {
            let read = tokio::io::AsyncReadExt::read(&mut stream, &mut request[length..]).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&request[..length]));
            length += read;
        }
        assert!(request.starts_with(method.as_bytes()), "{}", String::from_utf8_lossy(&request[..length]));
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
    }
}

#[tokio::test]
async fn answers_can_be_kept_and_asked_for_again() {
    let server = Server::start("kept", ServerConfig { patches_allowed: true, ..config() }).await;
    server.put("com.acme/e/jsonschema/1-0-0?isPublic=true", tidy()).await;
    let path = "/api/schemas/com.acme/e/jsonschema/1-0-0";
    let first = server.get(path, None).await;
    let etag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.header("cache-control"), Some("private, no-cache"));
    assert_eq!(first.header("vary"), Some("Origin, apikey"));
    let again = server.send("GET", path, &[("If-None-Match", &etag)], None).await;
    assert_eq!((again.status, again.text.as_str()), (304, ""));
    let mut changed = tidy();
    changed["description"] = json!("changed");
    assert_eq!(server.put("com.acme/e/jsonschema/1-0-0?isPublic=true", changed).await.status, 200);
    let again = server.send("GET", path, &[("If-None-Match", &etag)], None).await;
    assert_eq!((again.status, again.json()["description"].as_str()), (200, Some("changed")));
}

#[tokio::test]
async fn pages_of_other_origins_may_ask_with_what_is_allowed() {
    let server = Server::start("origins", ServerConfig { hsts: Some(Duration::from_secs(60)), ..config() }).await;
    let preflight = async |origin: &str, headers: &str| {
        let asked =
            [("Origin", origin), ("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", headers)];
        server.send("OPTIONS", "/anything", &asked, None).await
    };
    let allowed = preflight("https://ui.example", "apikey, Content-Type").await;
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://ui.example"));
    assert!(allowed.header("access-control-allow-credentials").is_none());
    assert_eq!(allowed.header("strict-transport-security"), Some("max-age=60; includeSubDomains"));
    for refused in [preflight("https://ui.example", "x-other").await, preflight("null", "apikey").await] {
        assert!(refused.header("access-control-allow-origin").is_none());
        assert!(refused.header("access-control-allow-methods").is_none());
    }
    let missing =
        server.send("GET", "/api/schemas/a/b/jsonschema/1-0-0", &[("Origin", "https://ui.example")], None).await;
    assert_eq!((missing.status, missing.header("access-control-allow-origin")), (404, Some("https://ui.example")));
}
