//! Registries that are down, slow, wrong or lying: events wait, in bounded memory, and go on without a restart.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use snowmelt_enrich::enrichments::Enrichments;

use crate::server::{Reply, Server};
use crate::support::{USER_ID, column, entity, page_view, path, post, resolver, schema, start, with_contexts};

/// Events that need a schema, among others that need none.
fn batches() -> Vec<Vec<Vec<u8>>> {
    let needy = |n: usize| with_contexts(&n.to_string(), &[entity("thing", json!({"n": n}))]);
    (0..3).map(|batch| (0..20).map(|n| post(&[needy(batch * 20 + n), page_view("any")])).collect()).collect()
}

/// Nothing is written or acknowledged while the registry gives this; all is when it gives the schema.
async fn goes_on_after(what: &str, reply: Reply) {
    let server = Server::start().await;
    server.reply(&path("thing"), reply);
    let mut running = start(Enrichments::default(), resolver(&server.address, 100), batches(), false);
    let asked = async {
        while server.paths().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.expect("the registry is asked");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(running.counts(), (0, 0, 0), "{what}");
    assert!(running.ledger.progress().durable.is_none(), "{what}: nothing is acknowledged");
    assert!(
        server.paths().len() <= 12,
        "{what}: it is asked again with a back-off, not {} times",
        server.paths().len()
    );

    server.json(&path("thing"), &schema("thing", json!({"type": "object", "properties": {"n": {"type": "integer"}}})));
    running.end(Duration::from_secs(90)).await;
    assert_eq!(running.counts(), (120, 0, 0), "{what}");
    let users: Vec<String> = running.good.lines().iter().map(|line| column(line, USER_ID).to_owned()).collect();
    let expected: Vec<String> = (0..60).flat_map(|n| [n.to_string(), "any".to_owned()]).collect();
    assert_eq!(users, expected, "{what}: in order");
}

#[actix::test]
async fn events_wait_while_a_registry_is_out_and_go_on_without_a_restart() {
    let huge = format!("[{}]", " ".repeat(2 << 20));
    join_all([
        goes_on_after("it hangs up", Reply::Hangs),
        goes_on_after("it does not answer", Reply::Slow(Duration::from_secs(600))),
        goes_on_after("HTTP 500", Reply::Plain(500, b"<html>oops".into())),
        goes_on_after("HTTP 403", Reply::Plain(403, Vec::new())),
        goes_on_after("it redirects", Reply::Plain(302, Vec::new())),
        goes_on_after("no JSON", Reply::Plain(200, b"<html>hello".into())),
        goes_on_after("a huge body", Reply::Plain(200, huge.into())),
        goes_on_after("a body without end", Reply::Endless),
        goes_on_after("half a body", Reply::Lying),
    ])
    .await;
}

#[actix::test]
async fn a_registry_that_is_not_there_yet_is_found_when_it_comes() {
    // A free port that nobody listens on.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut running = start(Enrichments::default(), resolver(&format!("http://{address}"), 100), batches(), false);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(running.counts(), (0, 0, 0));
    let server = Server::listen(&address.to_string()).await;
    server.json(&path("thing"), &schema("thing", json!({"type": "object"})));
    running.end(Duration::from_secs(90)).await;
    assert_eq!(running.counts(), (120, 0, 0));
}

#[actix::test]
async fn what_a_registry_says_under_a_wrong_name_or_wrongly_is_used_or_told_and_holds_nothing_up() {
    let server = Server::start().await;
    // Of another name: used as it came, as in the original, which does not compare (iglu-client 5).
    let lie = schema("other", json!({"type": "object", "required": ["id"]})).replace("1-0-0", "7-7-7");
    let lie = lie.replace("self-desc/schema/jsonschema/7-7-7", "self-desc/schema/jsonschema/1-0-0");
    server.json(&path("liar"), &lie);
    server.json(&path("broken"), &schema("broken", json!({"type": "nonsense"})));
    server.json(&path("array"), "[]");
    let contexts = |name: &str, data| with_contexts(name, &[entity(name, data)]);
    let events = [
        contexts("liar", json!({"id": 1})),
        contexts("liar", json!({})),
        contexts("broken", json!({})),
        contexts("array", json!({})),
    ];
    let mut running = start(Enrichments::default(), resolver(&server.address, 100), vec![vec![post(&events)]], false);
    running.end(Duration::from_secs(60)).await;
    let rows = running.bad.rows();
    let told: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| {
            let message = &row["data"]["failure"]["messages"][0];
            let issue = ["dataReports", "schemaIssues"].into_iter().find(|kind| message["error"].get(kind).is_some());
            (message["schemaKey"].as_str().unwrap(), issue.unwrap_or("none"))
        })
        .collect();
    let key = |name: &str| format!("iglu:com.acme/{name}/jsonschema/1-0-0");
    let (liar, broken, array) = (key("liar"), key("broken"), key("array"));
    assert_eq!(told, [(liar.as_str(), "dataReports"), (&broken, "schemaIssues"), (&array, "schemaIssues")]);
    assert_eq!(running.counts(), (1, 3, 3));
}

#[actix::test]
async fn a_schema_that_nobody_has_gives_bad_rows_and_is_asked_for_once() {
    let server = Server::start().await;
    let event = with_contexts("u", &[entity("nobody_has", json!({}))]);
    let batches = (0..4).map(|_| vec![post(&[event.clone(), page_view("u")]); 25]).collect();
    let mut running = start(Enrichments::default(), resolver(&server.address, 100), batches, false);
    running.end(Duration::from_secs(60)).await;
    assert_eq!(running.counts(), (100, 100, 100));
    assert_eq!(server.paths(), [path("nobody_has")]);
    let message = &running.bad.rows()[0]["data"]["failure"]["messages"][0]["error"];
    assert_eq!(message["error"], "ResolutionError");
    assert_eq!(message["lookupHistory"][1]["repository"], "Test");
    assert_eq!(message["lookupHistory"][1]["errors"], json!([{"error": "NotFound"}]));
}

#[actix::test]
async fn thousands_of_schemas_at_a_registry_that_does_not_answer_cost_it_few_requests() {
    let server = Server::start().await;
    server.reply("*", Reply::Slow(Duration::from_secs(600)));
    let event = |n: usize| with_contexts(&n.to_string(), &[entity(&format!("thing{n}"), json!({}))]);
    let events: Vec<_> = (0..3_000).map(event).collect();
    let resolver = resolver(&server.address, 500);
    let mut running = start(Enrichments::default(), resolver.clone(), vec![vec![post(&events)]], false);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let asked = server.paths().len();
    assert!((1..=600).contains(&asked), "{asked} requests to a registry that does not answer");
    assert_eq!(running.counts(), (0, 0, 0));
    server.json("*", r#"{"type": "object"}"#);
    let again = Instant::now();
    running.end(Duration::from_secs(120)).await;
    println!("3,000 schemas after the registry came back: {:?}", again.elapsed());
    assert_eq!(running.counts(), (3_000, 0, 0));
    assert!(resolver.stats().entries <= 500);
}
