//! Requests that mean harm, or come from somebody careless.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{SUPER, Server, config, tidy};

/// Texts for every place that takes one.
const INJECTIONS: &[&str] = &[
    "'; DROP TABLE iglu_schemas; --",
    "x' OR '1'='1",
    "..",
    "../../etc/passwd",
    "%00",
    "a%00b",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%ff%fe",
    "\u{202e}drow",
    "$1",
    "*",
    "com.acme%0d%0aSet-Cookie: a=b",
];

/// Sends a request as it is, which clients would tidy up.
fn raw(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"%.*-".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn injections_find_nothing_and_break_nothing() {
    let server = Server::start("injections", config()).await;
    assert_eq!(server.put("com.acme/e/jsonschema/1-0-0", tidy()).await.status, 201);
    for text in INJECTIONS {
        let text = encoded(text);
        for (method, path) in [
            ("GET", format!("/api/schemas/{text}")),
            ("GET", format!("/api/schemas/com.acme/{text}")),
            ("GET", format!("/api/schemas/com.acme/{text}/jsonschema/1")),
            ("GET", format!("/api/schemas/com.acme/e/{text}/1-0-0")),
            ("GET", format!("/api/schemas/com.acme/e/jsonschema/{text}")),
            ("GET", format!("/api/schemas?repr={text}")),
            ("PUT", format!("/api/schemas/{text}/e/jsonschema/1-0-0")),
            ("PUT", format!("/api/schemas/com.acme/{text}/jsonschema/1-0-0")),
            ("PUT", format!("/api/schemas/com.acme/e/{text}/1-0-0")),
            ("PUT", format!("/api/drafts/{text}/e/jsonschema/1")),
            ("GET", format!("/api/drafts/com.acme/{text}/jsonschema/1")),
            ("DELETE", format!("/api/schemas/com.acme/{text}/jsonschema/1-0-0")),
            ("DELETE", format!("/api/auth/keygen?key={text}")),
            ("GET", format!("/static/{text}")),
            ("GET", format!("/ui/{text}")),
            ("GET", format!("/ui/schemas/com.acme/{text}/jsonschema/1-0-0")),
            ("GET", format!("/ui/schemas/com.acme/e/jsonschema/{text}")),
            ("GET", format!("/ui/compare/{text}/e/jsonschema/1-0-0/1-0-0")),
            ("GET", format!("/ui/compare/com.acme/e/jsonschema/1-0-0/{text}")),
        ] {
            let body = if method == "PUT" { tidy().to_string() } else { String::new() };
            let length = body.len();
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\napikey: {SUPER}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            let answer = tokio::task::block_in_place(|| raw(&server, &request));
            let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
            assert!(status.starts_with('4'), "{method} {path}: {answer}");
            let head = answer.split("\r\n\r\n").next().unwrap_or_default();
            assert!(!head.contains("Set-Cookie"), "{answer}");
        }
        let prefix = json!({"vendorPrefix": text, "schema": text});
        let answer = server.call("POST", "/api/auth/keygen", Some(SUPER), Some(prefix)).await;
        assert!(matches!(answer.status, 200 | 422), "{text}: {}", answer.text);
    }
    assert_eq!(server.get("/api/schemas", Some(SUPER)).await.json(), json!(["iglu:com.acme/e/jsonschema/1-0-0"]));
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_refused_and_its_sender_told() {
    let server = Server::start("large", config()).await;
    let large = json!({"type": "object", "description": "x".repeat(10 << 20)});
    for (method, target) in [
        ("PUT", "/api/schemas/com.acme/e/jsonschema/1-0-0"),
        ("POST", "/api/schemas"),
        ("POST", "/api/validation/validate/schema/jsonschema"),
        ("POST", "/api/validation/validate/instance"),
        ("POST", "/api/auth/keygen"),
        ("PUT", "/api/drafts/com.acme/e/jsonschema/1"),
    ] {
        let answer = server.call(method, target, Some(SUPER), Some(large.clone())).await;
        assert_eq!(
            (answer.status, answer.json()["message"].as_str()),
            (413, Some("The payload is too large")),
            "{target}"
        );
    }
    assert_eq!(server.get("/api/meta/health", None).await.status, 200);
}

#[tokio::test]
async fn deep_and_wide_schemas_are_judged_quickly() {
    let server = Server::start("deep", config()).await;
    let deep = "{\"items\":".repeat(9_000);
    let headers = [("apikey", SUPER)];
    let answer = server.send("PUT", "/api/schemas/com.acme/e/jsonschema/1-0-0", &headers, Some(deep)).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    let properties: serde_json::Map<String, Value> =
        (0..2_000).map(|at| (format!("p{at}"), json!({"type": "null", "description": "d"}))).collect();
    let wide = json!({"type": "object", "description": "d", "properties": properties});
    assert_eq!(server.put("com.acme/wide/jsonschema/1-0-0", wide).await.status, 201);
    // Patterns that take others' engines for ever.
    let slow = json!({"type": "object", "description": "d", "properties": {
        "a": {"type": "string", "maxLength": 100, "description": "d", "pattern": "^(a+)+$"}}});
    assert_eq!(server.put("com.acme/slow/jsonschema/1-0-0", slow).await.status, 201);
    let data = json!({"schema": "iglu:com.acme/slow/jsonschema/1-0-0", "data": {"a": format!("{}b", "a".repeat(60))}});
    let began = std::time::Instant::now();
    let answer = server.call("POST", "/api/validation/validate/instance", Some(SUPER), Some(data)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn references_that_lead_nowhere_or_round_are_refused_and_foreign_ones_never_followed() {
    let server = Server::start("references", config()).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let remote = format!("http://{}/schema.json", listener.local_addr().unwrap());
    let with = |reference: &str| {
        json!({"type": "object", "description": "d", "properties": {"a": {"$ref": reference, "description": "d"}},
            "definitions": {"round": {"$ref": "#/definitions/again"}, "again": {"$ref": "#/definitions/round"}}})
    };
    for (name, reference, why) in [
        ("nowhere", "#/definitions/none", "cannot be resolved"),
        ("round", "#/definitions/round", "without end"),
        ("file", "file:///etc/passwd", "cannot be resolved"),
        ("remote", &remote, "leads to another document and is not followed"),
    ] {
        let answer = server.put(&format!("com.acme/{name}/jsonschema/1-0-0"), with(reference)).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        let report = answer.json()["report"].to_string();
        assert!(report.contains(why), "{report}");
    }
    // A tree is no circle: each step goes one level down in the data.
    let tree = json!({"type": "object", "description": "d", "properties": {"child": {"$ref": "#"}}});
    assert_eq!(server.put("com.acme/tree/jsonschema/1-0-0", tree).await.status, 201);
    let nested = json!({"schema": "iglu:com.acme/tree/jsonschema/1-0-0", "data": {"child": {"child": {"child": 1}}}});
    let answer = server.call("POST", "/api/validation/validate/instance", Some(SUPER), Some(nested)).await;
    assert_eq!(answer.json()["report"][0]["path"], "$.child.child.child", "{}", answer.text);

    // Schemas of Iglu Central refer to these, so that they may be published; nobody goes there either.
    let known = with("http://json-schema.org/draft-04/schema#");
    assert_eq!(server.put("com.acme/known/jsonschema/1-0-0", known).await.status, 201);
    // What an original server has taken stays in its database.
    sqlx::query("UPDATE iglu_schemas SET body = $1::json WHERE name = 'known'")
        .bind(with(&remote).to_string())
        .execute(server.storage.pool())
        .await
        .unwrap();
    let path = "/api/schemas/com.acme/known/jsonschema/1-0-0";
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !server.get(path, Some(SUPER)).await.text.contains(&remote) {
        assert!(std::time::Instant::now() < deadline, "the change is not seen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let data = json!({"schema": "iglu:com.acme/known/jsonschema/1-0-0", "data": {"a": 5}});
    let answer = server.call("POST", "/api/validation/validate/instance", Some(SUPER), Some(data)).await;
    assert_eq!(answer.json()["message"], "Instance is valid iglu:com.acme/known/jsonschema/1-0-0");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody called");
}
