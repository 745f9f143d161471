//! Databases that others made.

use serde_json::json;
use snowmelt_iglu_server::storage::{MigrateError, Migrated};
use snowmelt_iglu_server::{ServerConfig, Storage};

use super::support::{SUPER, Server, config, shared, tidy};

/// The tables as the original made them before it knew of supersession, with what it lets in.
const ORIGINAL: &str = "
CREATE SCHEMA original;
SET search_path = original;
CREATE TYPE key_action AS ENUM ('CREATE', 'DELETE');
CREATE TYPE schema_action AS ENUM ('READ', 'BUMP', 'CREATE', 'CREATE_VENDOR');
CREATE TABLE iglu_permissions (apikey UUID NOT NULL, vendor VARCHAR(128), wildcard BOOL NOT NULL,
    schema_action schema_action, key_action key_action[] NOT NULL, PRIMARY KEY (apikey));
CREATE TABLE iglu_schemas (vendor VARCHAR(128) NOT NULL, name VARCHAR(128) NOT NULL, format VARCHAR(128) NOT NULL,
    model INTEGER NOT NULL, revision INTEGER NOT NULL, addition INTEGER NOT NULL, created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL, is_public BOOLEAN NOT NULL, body JSON NOT NULL);
CREATE TABLE iglu_drafts (vendor VARCHAR(128) NOT NULL, name VARCHAR(128) NOT NULL, format VARCHAR(128) NOT NULL,
    version INTEGER NOT NULL, created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL,
    is_public BOOLEAN NOT NULL, body JSON NOT NULL);
INSERT INTO iglu_permissions VALUES ('11111111-1111-4111-8111-111111111111', 'com.acme', TRUE, 'READ', '{}');
INSERT INTO iglu_schemas VALUES
    ('com.acme', 'e', 'jsonschema', 1, 0, 0, '2020-01-01', '2020-01-01', FALSE, '{\"type\": \"object\", \"n\": 1.50}'),
    ('com.acme', 'twice', 'jsonschema', 1, 0, 0, '2020-01-02', '2020-01-02', FALSE, '{\"description\": \"old\"}'),
    ('com.acme', 'twice', 'jsonschema', 1, 0, 0, '2020-01-03', '2020-01-03', FALSE, '{\"description\": \"new\"}');
";

#[tokio::test]
async fn a_database_of_the_original_is_taken_over_as_it_is() {
    let shared = shared();
    let storage = Storage::open(&shared.options("takeover")).await.unwrap();
    let mut connection = storage.pool().acquire().await.unwrap();
    sqlx::raw_sql(ORIGINAL).execute(&mut *connection).await.unwrap();
    drop(connection.close().await);

    let server = Server::start("original", ServerConfig { patches_allowed: true, ..config() }).await;
    let key = Some("11111111-1111-4111-8111-111111111111");
    let read = server.get("/api/schemas/com.acme/e/jsonschema/1-0-0?repr=meta", key).await;
    assert!(read.text.ends_with(r#""metadata":{"createdAt":"2020-01-01T00:00:00Z","updatedAt":"2020-01-01T00:00:00Z","isPublic":false},"type":"object","n":1.50}"#), "{}", read.text);
    let twice = server.get("/api/schemas/com.acme/twice/jsonschema/1-0-0", key).await;
    assert_eq!(twice.json()["description"], "new", "the latest counts");
    assert_eq!(server.get("/api/schemas", key).await.json().as_array().unwrap().len(), 2);

    let mut newer = tidy();
    newer["$supersedes"] = json!(["1-0-0"]);
    assert_eq!(server.put("com.acme/e/jsonschema/1-0-1", newer).await.status, 201);
    assert_eq!(server.get("/api/schemas/com.acme/e/jsonschema/1-0-0", key).await.json()["$supersededBy"], "1-0-1");
    // What the original would read of ours.
    let row: (String, Option<Vec<String>>) =
        sqlx::query_as("SELECT body::text, supersedes::text[] FROM iglu_schemas WHERE name = 'e' AND addition = 1")
            .fetch_one(server.storage.pool())
            .await
            .unwrap();
    assert_eq!(row, (tidy().to_string(), Some(vec!["1-0-0".to_owned()])));
    assert_eq!(server.put("com.acme/twice/jsonschema/1-0-0", tidy()).await.status, 200);
    assert_eq!(server.get("/api/schemas/com.acme/twice/jsonschema/1-0-0", key).await.json()["description"], "d");
}

#[tokio::test]
async fn set_up_can_be_repeated_and_done_by_several_at_once() {
    let shared = shared();
    let options = shared.options("again");
    let (one, two, three) = tokio::join!(Storage::open(&options), Storage::open(&options), Storage::open(&options));
    for storage in [one.unwrap(), two.unwrap(), three.unwrap()] {
        storage.ping().await.unwrap();
    }
}

/// The tables before 0.6.
const OLD: &str = "
CREATE TABLE schemas (vendor VARCHAR(200), name VARCHAR(50), format VARCHAR(50), version VARCHAR(50), schema TEXT,
    draftnumber VARCHAR(50), createdat TIMESTAMP, updatedat TIMESTAMP, ispublic BOOLEAN);
CREATE TABLE apikeys (uid UUID, vendor_prefix VARCHAR(200), permission VARCHAR(20), createdat TIMESTAMP);
INSERT INTO apikeys VALUES
    ('11111111-1111-4111-8111-111111111111', '*', 'super', now()),
    ('22222222-2222-4222-8222-222222222222', 'com.acme', 'write', now()),
    ('33333333-3333-4333-8333-333333333333', 'com.acme', 'read', now());
";

fn old_schema(version: &str) -> String {
    json!({
        "$schema": snowmelt_iglu::META_SCHEMA,
        "self": {"vendor": "com.acme", "name": "e", "format": "jsonschema", "version": version},
        "type": "object"
    })
    .to_string()
}

async fn insert_old(storage: &Storage, version: &str, draft: &str, body: &str, day: i32) {
    sqlx::query(
        "INSERT INTO schemas VALUES ('com.acme', 'e', 'jsonschema', $1, $2, $3,
         '2018-01-01'::timestamp + $4 * interval '1 day', '2018-02-01', FALSE)",
    )
    .bind(version)
    .bind(body)
    .bind(draft)
    .bind(day)
    .execute(storage.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn tables_before_0_6_are_moved_all_or_not_at_all() {
    let server = Server::start("old", ServerConfig { patches_allowed: true, ..config() }).await;
    sqlx::raw_sql(OLD).execute(&mut *server.storage.pool().acquire().await.unwrap()).await.unwrap();
    insert_old(&server.storage, "1-0-1", "0", &old_schema("1-0-1"), 2).await;
    insert_old(&server.storage, "1-0-0", "3", r#"{"draft": true}"#, 0).await;
    let error = server.storage.migrate_from_0_5().await.unwrap_err();
    assert!(matches!(&error, MigrateError::Inconsistent(wrong) if wrong.len() == 1), "{error}");
    assert!(error.to_string().starts_with("Inconsistent entities found:"), "{error}");
    assert_eq!(server.get("/api/schemas", Some(SUPER)).await.json(), json!([]));

    insert_old(&server.storage, "1-0-0", "0", &old_schema("1-0-0"), 1).await;
    let moved = server.storage.migrate_from_0_5().await.unwrap();
    assert_eq!(moved, Migrated { schemas: 2, drafts: 1, keys: 3 });
    let path = "/api/schemas/com.acme/e/jsonschema/1-0-1?repr=meta";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let key = Some("33333333-3333-4333-8333-333333333333");
    while server.get(path, key).await.status != 200 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(server.get(path, key).await.json()["metadata"]["createdAt"], "2018-01-03T00:00:00Z");
    let deleted = server
        .call("DELETE", "/api/schemas/com.acme/e/jsonschema/9-9-9", Some("11111111-1111-4111-8111-111111111111"), None)
        .await;
    assert_eq!(deleted.status, 200, "an old super key is one still: {}", deleted.text);
    assert_eq!(server.get("/api/drafts/com.acme/e/jsonschema/3", key).await.json()["body"], json!({"draft": true}));
}

#[tokio::test]
async fn drafts_are_replaced_and_listed() {
    let server = Server::start("drafts", config()).await;
    let put = async |query: &str, body: serde_json::Value| {
        server.call("PUT", &format!("/api/drafts/com.acme/d/jsonschema/0{query}"), Some(SUPER), Some(body)).await.status
    };
    assert_eq!((put("", json!({"b": 1, "a": 2})).await, put("?isPublic=true", json!([1.0])).await), (201, 200));
    let listed = server.get("/api/drafts", None).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["body"], json!([1.0]));
    assert_eq!(
        listed[0]["schemaMap"],
        json!({"vendor": "com.acme", "name": "d", "format": "jsonschema", "version": 0})
    );
}
