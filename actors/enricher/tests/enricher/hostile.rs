//! Requests that are as large and as varied as they can be.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use snowmelt_enrich::enrichments::Enrichments;

use crate::server::Server;
use crate::support::{USER_ID, column, entity, page_view, path, post, resolver, schema, start, with_contexts};

/// Far more than any of these takes, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(240);

#[actix::test]
async fn a_post_of_2000_events_gives_each_of_them_in_order() {
    let server = Server::start().await;
    server.json(&path("user"), &schema("user", json!({"type": "object", "required": ["id"]})));
    let event = |n: usize| match n % 4 {
        0 => page_view(&n.to_string()),
        1 => with_contexts(&n.to_string(), &[entity("user", json!({"id": n}))]),
        2 => with_contexts(&n.to_string(), &[entity("user", json!({}))]),
        _ => json!({"e": "nonsense", "p": "web", "tv": "t", "uid": n.to_string()}),
    };
    let events: Vec<Value> = (0..2_000).map(event).collect();
    let began = Instant::now();
    let mut running = start(Enrichments::default(), resolver(&server.address, 100), vec![vec![post(&events)]], false);
    running.end(PATIENCE).await;
    println!("2,000 events in one request: {:?}", began.elapsed());
    assert_eq!(running.counts(), (1_000, 1_000, 1_000));
    let users: Vec<usize> = running.good.lines().iter().map(|line| column(line, USER_ID).parse().unwrap()).collect();
    assert_eq!(users, (0..2_000).filter(|n| n % 4 < 2).collect::<Vec<_>>());
    let origins: Vec<_> = running.bad.get().iter().map(|entry| entry.origin.unwrap().index).collect();
    assert_eq!(origins, (0..1_000).collect::<Vec<_>>());
    for (row, n) in running.bad.rows().iter().zip((0..2_000).filter(|n| n % 4 >= 2)) {
        assert_eq!(row["data"]["payload"]["enriched"]["user_id"], n.to_string());
        let message = &row["data"]["failure"]["messages"][0]["error"]["dataReports"][0];
        let expected = if n % 4 == 2 { "required" } else { "atomic_field_parse_error" };
        assert_eq!(message["keyword"], expected, "{n}");
    }
    assert_eq!(server.paths(), [path("user")], "one schema is asked for once");
}

#[actix::test]
async fn a_large_context_is_a_good_event_up_to_the_limit_of_records_and_a_size_violation_above_it() {
    let server = Server::start().await;
    let body = json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "integer"}}}});
    server.json(&path("large"), &schema("large", body));
    let event = |numbers: usize| with_contexts("u", &[entity("large", json!({"list": vec![123_456_789; numbers]}))]);
    let began = Instant::now();
    let batches = vec![vec![post(&[event(95_000), page_view("other")]), post(&[event(120_000)])]];
    let mut running = start(Enrichments::default(), resolver(&server.address, 100), batches, false);
    running.end(PATIENCE).await;
    println!("contexts of 950 KB and 1.2 MB: {:?}", began.elapsed());
    assert_eq!(running.counts(), (2, 1, 0));
    assert!(running.good.lines()[0].len() > 950_000);
    let row = &running.bad.rows()[0];
    assert!(row["schema"].as_str().unwrap().contains("/size_violation/"), "{}", row["schema"]);
    assert!(row.to_string().len() < 200_000);
}

#[actix::test]
async fn ten_thousand_schemas_are_asked_for_once_each_and_drive_out_none_that_is_in_use() {
    let server = Server::start().await;
    server.json(&path("used"), &schema("used", json!({"type": "object"})));
    let used = |n: usize| with_contexts(&n.to_string(), &[entity("used", json!({}))]);
    let unknown = |n: usize| with_contexts(&n.to_string(), &[entity(&format!("unknown{n}"), json!({}))]);
    // 2,000 a request, as many as a tracker sends at most, then one request for the known schema.
    let many = (0..5).map(|nth| vec![post(&(nth * 2_000..(nth + 1) * 2_000).map(unknown).collect::<Vec<_>>())]);
    let mut batches = vec![vec![post(&[used(0)])]];
    batches.extend(many);
    batches.push(vec![post(&[used(1)])]);
    let resolver = resolver(&server.address, 200);
    let began = Instant::now();
    let mut running = start(Enrichments::default(), resolver.clone(), batches, false);
    running.end(PATIENCE).await;
    println!("10,000 schemas that nobody has: {:?}", began.elapsed());
    assert_eq!(running.counts(), (2, 10_000, 10_000));
    let mut paths = server.paths();
    assert_eq!(paths.len(), 10_001);
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 10_001);
    assert!(resolver.stats().entries <= 200, "{:?}", resolver.stats());
    assert!(resolver.cached(&"iglu:com.acme/used/jsonschema/1-0-0".parse().unwrap()).is_some());
}
