//! The web page: its files, and what it asks for.

use serde_json::json;

use super::support::{SUPER, Server, config, tidy};

#[tokio::test]
async fn the_page_is_bound_by_its_own_rules_and_its_files_are_kept() {
    let server = Server::start("page", config()).await;
    let page = server.get("/", None).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=UTF-8")));
    let policy = page.header("content-security-policy").unwrap();
    for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let named: Vec<&str> = page.text.split('"').filter(|text| text.starts_with("ui/")).collect();
    assert!(named.len() >= 3, "{named:?}");
    for name in named {
        assert_eq!(server.get(&format!("/{name}"), None).await.status, 200, "{name}");
    }
    let script = server.get("/ui/main.js", None).await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=UTF-8"));
    assert_eq!(script.header("x-content-type-options"), Some("nosniff"));
    let imports = script.text.lines().filter_map(|line| line.split("from './").nth(1));
    for name in imports.filter_map(|rest| rest.split('\'').next()) {
        assert_eq!(server.get(&format!("/ui/{name}"), None).await.status, 200, "{name}");
    }
    let etag = script.header("etag").unwrap();
    assert_eq!(server.send("GET", "/ui/main.js", &[("If-None-Match", etag)], None).await.status, 304);
    let moved = server.get("/static/swagger-ui/index.html", None).await;
    assert!(moved.status == 200 && moved.text.contains("../../#interface"), "{}", moved.text);
}

#[tokio::test]
async fn the_page_sees_what_its_key_may_see() {
    let server = Server::start("page_details", config()).await;
    assert_eq!(server.put("com.acme/e/jsonschema/1-0-0", tidy()).await.status, 201);
    let mut wider = tidy();
    wider["properties"]["n"] = json!({"type": "integer", "maximum": 9_223_372_036_854_775_807_u64, "description": "n"});
    wider["$supersedes"] = json!(["1-0-0"]);
    assert_eq!(server.put("com.acme/e/jsonschema/1-0-1", wider).await.status, 201);
    let details = "/ui/schemas/com.acme/e/jsonschema/1-0-1";
    let comparison = "/ui/compare/com.acme/e/jsonschema/1-0-1/1-0-0";
    for path in [details, comparison] {
        assert_eq!(server.get(path, None).await.status, 404, "{path}");
        assert_eq!(server.get(path, Some("no key")).await.status, 400, "{path}");
        assert_eq!(server.call("POST", path, Some(SUPER), None).await.status, 405, "{path}");
    }
    let shown = server.get(details, Some(SUPER)).await.json();
    let fields: Vec<&str> =
        shown["fields"].as_array().unwrap().iter().map(|field| field["path"].as_str().unwrap()).collect();
    assert_eq!(fields, ["", "a", "n"]);
    assert_eq!(shown["fields"][2]["limits"], json!({"maximum": "9223372036854775807"}), "no digit is lost");
    assert!(shown["text"].as_str().unwrap().contains("9223372036854775807"));
    assert_eq!(shown["table"]["name"], "atomic.com_acme_e_1");
    let columns = shown["table"]["columns"].as_array().unwrap();
    assert_eq!(columns.last().unwrap(), &json!({"name": "n", "type": "BIGINT", "nullable": true, "from": ["n"]}));
    assert!(shown["issues"].as_array().unwrap().iter().all(|issue| issue["level"] != "ERROR"));
    let older = server.get("/ui/schemas/com.acme/e/jsonschema/1-0-0", Some(SUPER)).await.json();
    assert_eq!(
        (older["supersededBy"].as_str(), older["table"]["columns"].as_array().unwrap().len()),
        (Some("1-0-1"), 7)
    );

    let compared = server.get(comparison, Some(SUPER)).await.json();
    assert_eq!(compared["versions"], json!({"older": "1-0-0", "newer": "1-0-1"}), "in order, however they are named");
    let comparison = &compared["comparison"];
    assert_eq!((comparison["needs"].as_str(), comparison["fits"].as_bool()), (Some("addition"), Some(true)));
    assert_eq!((&comparison["changes"][0]["path"], &comparison["changes"][0]["kind"]), (&json!("n"), &json!("added")));
    assert_eq!(server.get("/ui/compare/com.acme/e/jsonschema/1-0-1/1-0-7", Some(SUPER)).await.status, 404);
}

#[tokio::test]
async fn a_schema_that_gives_no_table_says_why() {
    let server = Server::start("page_odd", config()).await;
    assert_eq!(server.put("com.acme/e/jsonschema/1-0-0?isPublic=true", tidy()).await.status, 201);
    sqlx::query("UPDATE iglu_schemas SET body = '{\"type\":\"object\",\"properties\":7}'")
        .execute(server.storage.pool())
        .await
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let shown = server.get("/ui/schemas/com.acme/e/jsonschema/1-0-0", None).await;
        assert_eq!(shown.status, 200);
        if shown.json()["table"].is_null() {
            let why = shown.json()["noTable"].as_str().unwrap().to_owned();
            return assert!(why.starts_with("1-0-0: ") && why.contains("properties"), "{why}");
        }
        assert!(std::time::Instant::now() < deadline, "the change is not seen");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
