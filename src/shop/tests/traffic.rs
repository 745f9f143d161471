//! What the shop promises of its traffic, checked against the shipped schemas.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use snowmelt_shop::{BadKind, EventKind, Expect, Method, Shop, ShopConfig, ShopRequest};

fn play(events: u64, bad_percent: f64, seed: u64) -> Vec<ShopRequest> {
    Shop::new(ShopConfig { seed, events, bad_percent, ..ShopConfig::default() }).collect()
}

/// The parameters of each event of a request, as a collector's reader gets them.
fn parameters(request: &ShopRequest) -> Vec<HashMap<String, String>> {
    match &request.body {
        None => {
            let (_, query) = request.path_and_query.split_once('?').unwrap();
            vec![
                query
                    .split('&')
                    .map(|pair| {
                        let (name, value) = pair.split_once('=').unwrap();
                        let value = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
                        (name.to_owned(), value.into_owned())
                    })
                    .collect(),
            ]
        }
        Some(body) => {
            let body: Value = serde_json::from_str(body).unwrap();
            let events = body["data"].as_array().unwrap();
            events.iter().map(|event| serde_json::from_value(event.clone()).unwrap()).collect()
        }
    }
}

/// The text of a JSON parameter, sent plainly or in base64.
fn json_text(event: &HashMap<String, String>, plain: &str, encoded: &str) -> Option<String> {
    let decoded = event.get(encoded).map(|text| String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap());
    decoded.or_else(|| event.get(plain).cloned())
}

#[derive(Default)]
struct Schemas(HashMap<String, Option<jsonschema::Validator>>);

impl Schemas {
    /// Whether the shipped schemas accept a self-describing value and all that its envelope holds; `None`: not shipped.
    fn accept(&mut self, value: &Value) -> Option<bool> {
        let uri = value["schema"].as_str().unwrap();
        let validator = self.0.entry(uri.to_owned()).or_insert_with(|| {
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/iglu/schemas").join(&uri[5..]);
            let mut schema: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).unwrap();
            schema.as_object_mut().unwrap().remove("$schema");
            Some(jsonschema::draft4::options().should_validate_formats(true).build(&schema).unwrap())
        });
        if !validator.as_ref()?.is_valid(&value["data"]) {
            return Some(false);
        }
        match &value["data"] {
            Value::Array(entities) if uri.contains("/contexts/") => {
                entities.iter().map(|entity| self.accept(entity)).reduce(|a, b| Some(a? && b?)).unwrap_or(Some(true))
            }
            inner if uri.contains("/unstruct_event/") => self.accept(inner),
            _ => Some(true),
        }
    }
}

#[test]
fn the_same_seed_plays_the_same_requests() {
    let (one, two, other) = (play(300, 5.0, 9), play(300, 5.0, 9), play(300, 5.0, 10));
    assert_eq!(format!("{one:?}"), format!("{two:?}"));
    assert_ne!(format!("{one:?}"), format!("{other:?}"));
}

#[test]
fn as_many_events_are_played_as_asked_and_exactly_so_many_are_bad() {
    for (events, percent, bad) in [(1000, 5.0, 50), (1, 100.0, 1), (333, 1.0, 3), (200, 0.0, 0), (1000, 0.5, 5)] {
        let requests = play(events, percent, 3);
        let all: Vec<_> = requests.iter().flat_map(|request| &request.events).collect();
        assert_eq!(all.len() as u64, events);
        assert_eq!(all.iter().filter(|event| event.expect != Expect::Good).count(), bad, "{percent} % of {events}");
        assert!(requests.iter().all(|request| (1..=10).contains(&request.events.len())));
    }
}

#[test]
fn event_ids_are_unique_and_are_what_is_sent() {
    let mut seen = HashSet::new();
    for request in play(2000, 10.0, 4) {
        let sent = parameters(&request);
        assert_eq!(sent.len(), request.events.len());
        for (event, sent) in request.events.iter().zip(sent) {
            assert_eq!(sent["eid"], event.event_id);
            assert!(seen.insert(event.event_id.clone()));
        }
    }
}

#[test]
fn good_events_meet_the_shipped_schemas_and_bad_ones_are_bad_as_predicted() {
    let mut schemas = Schemas::default();
    let mut kinds = HashSet::new();
    for request in play(4000, 10.0, 5) {
        for (event, sent) in request.events.iter().zip(parameters(&request)) {
            let unstruct = json_text(&sent, "ue_pr", "ue_px");
            let entities: Value = serde_json::from_str(&json_text(&sent, "co", "cx").unwrap()).unwrap();
            assert_eq!(schemas.accept(&entities), Some(true), "{entities}");
            let whole = ["tv", "p", "e"].iter().all(|name| sent.contains_key(*name));
            let known_path = ["/i?", "/com.snowplowanalytics.snowplow/tp2"];
            let verdict = match unstruct.as_deref().map(serde_json::from_str::<Value>) {
                Some(Err(_)) => Some(BadKind::NotJson),
                Some(Ok(value)) => match schemas.accept(&value) {
                    None => Some(BadKind::UnknownSchema),
                    Some(false) => Some(BadKind::InvalidData),
                    Some(true) => None,
                },
                None => None,
            };
            let verdict = verdict
                .or_else(|| (sent.get("se_ac").is_some_and(|text| text.len() > 1000)).then_some(BadKind::OverlongField))
                .or_else(|| sent.get("e").is_some_and(|e| e == "teleport").then_some(BadKind::UnknownEventType))
                .or_else(|| (!sent.contains_key("e")).then_some(BadKind::NoEventType))
                .or_else(|| (!whole).then_some(BadKind::BrokenPayload))
                .or_else(|| {
                    let known = known_path.iter().any(|path| request.path_and_query.starts_with(path));
                    (!known).then_some(BadKind::UnknownPath)
                });
            assert_eq!(event.expect, verdict.map_or(Expect::Good, Expect::Bad), "{sent:?}");
            if verdict.is_none() {
                assert_eq!(sent["e"], event.kind.code());
            }
            kinds.insert((request.method.name(), sent.contains_key("cx"), event.kind, verdict));
        }
    }
    for bad in BadKind::ALL {
        assert!(kinds.iter().any(|(_, _, _, verdict)| *verdict == Some(bad)), "{bad:?} was not played");
    }
    for (method, base64) in [("GET", true), ("GET", false), ("POST", true), ("POST", false)] {
        for kind in [EventKind::PageView, EventKind::PagePing, EventKind::Structured, EventKind::SelfDescribing] {
            assert!(kinds.contains(&(method, base64, kind, None)), "no good {kind:?} by {method}, base64: {base64}");
        }
    }
    assert!(kinds.iter().any(|(_, _, kind, _)| *kind == EventKind::Transaction));
    assert!(kinds.iter().any(|(_, _, kind, _)| *kind == EventKind::TransactionItem));
}

#[test]
fn a_bad_request_carries_one_event_only() {
    let alone = [BadKind::NoEventType, BadKind::UnknownPath, BadKind::BrokenPayload];
    for request in play(2000, 20.0, 6) {
        let spoilt = request.events.iter().any(|event| alone.iter().any(|bad| event.expect == Expect::Bad(*bad)));
        assert!(!spoilt || request.events.len() == 1, "{:?}", request.events);
        assert_eq!(request.method == Method::Post, request.body.is_some());
    }
}
