//! Every endpoint with every kind of key.

use serde_json::{Value, json};

use super::support::{SUPER, Server, config, tidy};

/// Kinds of keys, in the order of the table's columns.
const KINDS: [&str; 9] = ["none", "unknown", "read", "write", "other", "bump", "key-maker", "key-deleter", "super"];

/// An endpoint and the status it gives to each kind of key.
type Row = (&'static str, &'static str, Option<fn() -> Value>, [u16; 9]);

fn vendor_prefix() -> Value {
    json!({"vendorPrefix": "com.acme.team"})
}

fn all_vendors() -> Value {
    json!({"vendorPrefix": "*"})
}

fn described() -> Value {
    let mut schema = tidy();
    schema["$schema"] = json!(snowmelt_iglu::META_SCHEMA);
    schema["self"] = json!({"vendor": "com.acme", "name": "posted", "format": "jsonschema", "version": "1-0-0"});
    schema
}

fn instance() -> Value {
    json!({"schema": "iglu:com.acme/private/jsonschema/1-0-0", "data": {}})
}

/// `{kind}` is replaced by the kind, so that each publishes something of its own.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    //                                                              none unkn read writ othr bump kmak kdel supr
    ("GET",    "/api/schemas/com.acme/private/jsonschema/1-0-0", None, [404, 404, 200, 200, 404, 200, 200, 200, 200]),
    ("GET",    "/api/schemas/com.acme/public/jsonschema/1-0-0", None,  [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET",    "/api/schemas/com.acme/private/jsonschema/1", None,     [404, 404, 200, 200, 404, 200, 200, 200, 200]),
    ("GET",    "/api/schemas/com.acme/private?repr=canonical", None,   [404, 404, 200, 200, 404, 200, 200, 200, 200]),
    ("GET",    "/api/schemas/com.acme?repr=meta", None,                [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET",    "/api/schemas", None,                                   [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("PUT",    "/api/schemas/com.acme/{kind}/jsonschema/1-0-0", Some(tidy), [403, 403, 403, 201, 403, 201, 201, 201, 201]),
    ("PUT",    "/api/schemas/com.acme.sub/{kind}/jsonschema/1-0-0", Some(tidy), [403, 403, 403, 201, 403, 201, 201, 201, 201]),
    ("PUT",    "/api/schemas/com.acmecorp/{kind}/jsonschema/1-0-0", Some(tidy), [403, 403, 403, 403, 403, 403, 403, 403, 201]),
    ("POST",   "/api/schemas", Some(tidy),                             [400, 400, 400, 400, 400, 400, 400, 400, 400]),
    ("POST",   "/api/schemas", Some(described),                        [403, 403, 403, 201, 403, 200, 200, 200, 200]),
    ("DELETE", "/api/schemas/com.acme/nothing/jsonschema/1-0-0", None, [401, 401, 401, 401, 401, 401, 401, 401, 200]),
    ("POST",   "/api/schemas/validate/a/b/jsonschema/1-0-0", Some(tidy), [403, 403, 200, 200, 200, 200, 200, 200, 200]),
    ("POST",   "/api/validation/validate/schema/jsonschema", Some(tidy), [403, 403, 200, 200, 200, 200, 200, 200, 200]),
    ("POST",   "/api/validation/validate/instance", Some(instance),    [404, 404, 200, 200, 404, 200, 200, 200, 200]),
    ("POST",   "/api/auth/keygen", Some(vendor_prefix),                [403, 403, 403, 403, 403, 403, 200, 403, 200]),
    ("POST",   "/api/auth/keygen", Some(all_vendors),                  [403, 403, 403, 403, 403, 403, 403, 403, 200]),
    ("DELETE", "/api/auth/keygen?key=00000000-0000-4000-8000-000000000000", None, [403, 403, 403, 403, 403, 403, 403, 200, 200]),
    ("GET",    "/api/meta/health", None,                               [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET",    "/api/meta/health/db", None,                            [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET",    "/api/meta/server", None,                               [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("PUT",    "/api/drafts/com.acme/{kind}/jsonschema/1", Some(tidy), [403, 403, 403, 201, 403, 201, 201, 201, 201]),
    ("GET",    "/api/drafts/com.acme/write/jsonschema/1", None,        [404, 404, 200, 200, 404, 200, 200, 200, 200]),
    ("GET",    "/api/drafts", None,                                    [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET",    "/ui/schemas/com.acme/private/jsonschema/1-0-0", None,  [404, 404, 200, 200, 404, 200, 200, 200, 200]),
    ("GET",    "/ui/schemas/com.acme/public/jsonschema/1-0-0", None,   [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET",    "/ui/compare/com.acme/private/jsonschema/1-0-0/1-0-0", None, [404, 404, 200, 200, 404, 200, 200, 200, 200]),
    ("GET",    "/", None,                                              [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET",    "/ui/main.js", None,                                    [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET",    "/static/swagger-ui/index.html", None,                  [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET",    "/api/openapi.json", None,                              [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET",    "/api/schemas/swagger.json", None,                      [200, 200, 200, 200, 200, 200, 200, 200, 200]),
];

async fn keys(server: &Server) -> Vec<Option<String>> {
    let pair = async |prefix: &str| {
        let answer = server.call("POST", "/api/auth/keygen", Some(SUPER), Some(json!({"vendorPrefix": prefix}))).await;
        let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
        (text("read"), text("write"))
    };
    let (read, write) = pair("com.acme").await;
    let (_, other) = pair("com.other").await;
    // Rights that only SQL gives.
    let by_hand = [
        ("11111111-1111-4111-8111-111111111111", Some("BUMP"), vec![]),
        ("22222222-2222-4222-8222-222222222222", None, vec!["CREATE"]),
        ("33333333-3333-4333-8333-333333333333", None, vec!["DELETE"]),
    ];
    for (key, schema, key_actions) in &by_hand {
        sqlx::query(
            "INSERT INTO iglu_permissions VALUES
             ($1::text::uuid, 'com.acme', false, $2::text::schema_action, $3::text[]::key_action[])",
        )
        .bind(*key)
        .bind(*schema)
        .bind(key_actions.clone())
        .execute(server.storage.pool())
        .await
        .unwrap();
    }
    let mut keys =
        vec![None, Some("99999999-9999-4999-8999-999999999999".to_owned()), Some(read), Some(write), Some(other)];
    keys.extend(by_hand.iter().map(|(key, ..)| Some((*key).to_owned())));
    keys.push(Some(SUPER.to_owned()));
    keys
}

#[tokio::test]
async fn every_endpoint_gives_each_kind_of_key_what_it_may_have() {
    let config = snowmelt_iglu_server::ServerConfig { patches_allowed: true, ..config() };
    let server = Server::start("access", config).await;
    assert_eq!(server.put("com.acme/private/jsonschema/1-0-0", tidy()).await.status, 201);
    assert_eq!(server.put("com.acme/public/jsonschema/1-0-0?isPublic=true", tidy()).await.status, 201);
    let keys = keys(&server).await;
    // The rows made by hand are seen through a notification.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while server.get("/api/schemas/com.acme/private", keys[7].as_deref()).await.status != 200 {
        assert!(std::time::Instant::now() < deadline, "the server does not see the keys");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let mut wrong = Vec::new();
    for (method, target, body, statuses) in TABLE {
        for ((kind, key), expected) in KINDS.iter().zip(&keys).zip(statuses) {
            let target = target.replace("{kind}", kind);
            let answer = server.call(method, &target, key.as_deref(), body.map(|body| body())).await;
            if answer.status != *expected {
                wrong.push(format!(
                    "{method} {target} as {kind}: {} instead of {expected}, {}",
                    answer.status, answer.text
                ));
            }
        }
        let answer =
            server.call(method, &target.replace("{kind}", "x"), Some("no-uuid"), body.map(|body| body())).await;
        // Files and the description are for everybody, whatever is sent with the request.
        let open = matches!(*target, "/" | "/ui/main.js" | "/static/swagger-ui/index.html" | "/api/openapi.json");
        if answer.status != if open { 200 } else { 400 } {
            wrong.push(format!("{method} {target} with a text for a key: {}", answer.status));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn keys_are_stored_as_hashes_and_end_with_their_deletion() {
    let server = Server::start("hashes", config()).await;
    let made =
        server.call("POST", "/api/auth/keygen", Some(SUPER), Some(json!({"vendorPrefix": "com.acme"}))).await.json();
    let (read, write) = (made["read"].as_str().unwrap(), made["write"].as_str().unwrap());
    let dump: Vec<String> =
        sqlx::query_scalar("SELECT k::text FROM snowmelt_iglu_keys k UNION ALL SELECT p::text FROM iglu_permissions p")
            .fetch_all(server.storage.pool())
            .await
            .unwrap();
    assert_eq!(dump.len(), 2);
    let plain = |key: &str| dump.iter().any(|row| row.contains(key) || row.contains(&key.replace('-', "")));
    assert!(!plain(read) && !plain(write), "{dump:?}");

    let put =
        async || server.call("PUT", "/api/schemas/com.acme/k/jsonschema/1-0-0", Some(write), Some(tidy())).await.status;
    assert_eq!(put().await, 201);
    let deleted = server.call("DELETE", &format!("/api/auth/keygen?key={write}"), Some(SUPER), None).await;
    assert_eq!(deleted.json()["message"], "Keys have been deleted");
    assert_eq!(put().await, 403);
    assert_eq!(server.get("/api/schemas/com.acme", Some(read)).await.status, 200, "the other key of the pair stays");
}
