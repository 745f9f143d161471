//! The resolver against registries that answer, fail, lie and stall.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::server::{Reply, Server};
use serde_json::{Value, json};
use snowmelt_iglu::{
    Clock, Lookup, Overlay, RegistryError, Resolver, ResolverConfig, ResolverOptions, SchemaKey, SchemaSource,
};

const PATH: &str = "/schemas/com.acme/x/jsonschema/1-0-0";
const EMBEDDED: &str = "Iglu Client Embedded";

/// A resolver over one HTTP registry named Acme, on a clock that the test moves.
struct Setup {
    server: Server,
    resolver: Arc<Resolver>,
    now: Arc<AtomicI64>,
}

async fn setup(ttl: Value) -> Setup {
    let server = Server::start().await;
    let repository = json!({"name": "Acme", "priority": 5, "vendorPrefixes": [],
        "connection": {"http": {"uri": format!("{}/", server.address), "apikey": "k-1"}}});
    let (resolver, now) = resolver(&json!({"cacheSize": 10, "cacheTtl": ttl, "repositories": [repository]}), quick());
    Setup { server, resolver, now }
}

fn quick() -> ResolverOptions {
    ResolverOptions {
        request_timeout: Duration::from_secs(5),
        max_retries: 0,
        max_retry_wait: Duration::from_millis(2),
        max_body_bytes: 10_000,
        ..ResolverOptions::default()
    }
}

fn resolver(data: &Value, options: ResolverOptions) -> (Arc<Resolver>, Arc<AtomicI64>) {
    let document = json!({"schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3", "data": data});
    let config = ResolverConfig::parse(&document).unwrap();
    let now = Arc::new(AtomicI64::new(1_700_000_000_000));
    let clock: Clock = {
        let now = Arc::clone(&now);
        Arc::new(move || now.load(Ordering::SeqCst))
    };
    (Arc::new(Resolver::new(&config, options, clock).unwrap()), now)
}

fn key(version: &str) -> SchemaKey {
    format!("iglu:com.acme/x/jsonschema/{version}").parse().unwrap()
}

fn errors(lookup: &Lookup, registry: &str) -> Vec<RegistryError> {
    lookup.as_ref().unwrap_err().history[registry].errors.clone()
}

impl Setup {
    async fn resolve(&self) -> Lookup {
        self.resolver.resolve(&key("1-0-0")).await
    }

    fn pass(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.server.requests().len()
    }
}

#[tokio::test]
async fn a_found_schema_is_asked_for_once_and_then_cached() {
    let it = setup(json!(600)).await;
    it.server.json(PATH, r#"{"type":"object"}"#);
    assert!(it.resolver.cached(&key("1-0-0")).is_none());
    let schema = it.resolve().await.unwrap();
    assert!(schema.is_valid(&json!({})) && !schema.is_valid(&json!([])));
    assert!(it.resolver.cached(&key("1-0-0")).unwrap().is_ok());
    assert!(it.resolver.lookup_uri("iglu:com.acme/x/jsonschema/1-0-0").unwrap().is_ok());
    it.resolve().await.unwrap();
    assert_eq!(it.server.requests(), [(PATH.to_owned(), Some("k-1".to_owned()))]);
}

#[tokio::test]
async fn concurrent_lookups_of_one_key_send_one_request() {
    let it = setup(json!(600)).await;
    it.server.json(PATH, "{}");
    let lookups = (0..50).map(|_| {
        let resolver = Arc::clone(&it.resolver);
        tokio::spawn(async move { resolver.resolve(&key("1-0-0")).await.is_ok() })
    });
    for lookup in lookups.collect::<Vec<_>>() {
        assert!(lookup.await.unwrap());
    }
    assert_eq!(it.asked(), 1);
}

#[tokio::test]
async fn a_cancelled_lookup_leaves_the_next_one_free() {
    let it = setup(json!(600)).await;
    it.server.reply(PATH, Reply::Slow(Duration::from_secs(60)));
    assert!(tokio::time::timeout(Duration::from_millis(100), it.resolve()).await.is_err());
    it.server.json(PATH, "{}");
    assert!(it.resolve().await.is_ok());
}

#[tokio::test]
async fn not_found_is_remembered_until_the_ttl_ends() {
    let it = setup(json!(600)).await;
    let first = it.resolve().await;
    assert_eq!(errors(&first, "Acme"), [RegistryError::NotFound]);
    assert_eq!(errors(&first, EMBEDDED), [RegistryError::NotFound]);
    assert!(!first.unwrap_err().is_system_failure());
    it.pass(599_999);
    assert!(it.resolver.cached(&key("1-0-0")).unwrap().is_err());
    it.server.json(PATH, "{}");
    it.pass(1);
    assert!(it.resolver.cached(&key("1-0-0")).is_none());
    assert!(it.resolve().await.is_ok());
}

#[tokio::test]
async fn a_server_error_is_asked_again_after_the_back_off_and_its_history_grows() {
    let it = setup(Value::Null).await;
    it.server.reply(PATH, Reply::Plain(500, b"boom".into()));
    let first = it.resolve().await;
    assert_eq!(errors(&first, "Acme"), [RegistryError::RepoFailure("Unexpected server response: boom".into())]);
    assert!(first.unwrap_err().is_system_failure());
    it.pass(504);
    assert!(it.resolve().await.is_err());
    assert_eq!(it.asked(), 1, "exactly the back-off is not enough");
    it.server.reply(PATH, Reply::Plain(401, b"no".into()));
    it.pass(1);
    let second = it.resolve().await;
    let history = &second.as_ref().unwrap_err().history;
    assert_eq!((history["Acme"].attempts, history["Acme"].errors.len()), (2, 2));
    assert_eq!(history[EMBEDDED].attempts, 1, "a registry that has not got it is not asked again");
    it.pass(517);
    it.server.json(PATH, "{}");
    assert!(it.resolve().await.is_ok());
    assert_eq!(it.asked(), 3);
}

#[tokio::test]
async fn an_expired_schema_stays_in_use_while_the_registry_is_out() {
    let it = setup(json!(10)).await;
    it.server.json(PATH, r#"{"type":"object"}"#);
    it.resolve().await.unwrap();
    it.server.reply(PATH, Reply::Hangs);
    it.pass(10_000);
    assert!(it.resolver.cached(&key("1-0-0")).is_none());
    assert!(it.resolve().await.is_ok());
    assert!(it.resolver.cached(&key("1-0-0")).unwrap().is_ok());
    assert_eq!(it.resolver.stats().stale_served, 1);
    it.pass(10_000);
    it.server.json(PATH, r#"{"type":"array"}"#);
    assert!(it.resolve().await.unwrap().is_valid(&json!([])));
}

#[tokio::test]
async fn schemas_in_use_are_refreshed_before_they_expire() {
    let it = setup(json!(100)).await;
    it.server.json(PATH, r#"{"type":"object"}"#);
    it.server.json("/schemas/com.acme/x/jsonschema/1-0-1", "{}");
    it.resolve().await.unwrap();
    it.resolver.resolve(&key("1-0-1")).await.unwrap();
    it.pass(95_000);
    assert!(it.resolver.cached(&key("1-0-0")).unwrap().is_ok());
    assert_eq!(it.resolver.refresh_expiring(Duration::from_secs(1)).await, 0);
    assert_eq!(it.resolver.refresh_expiring(Duration::from_secs(10)).await, 1, "the other was not used");
    it.pass(95_000);
    assert!(it.resolver.cached(&key("1-0-0")).unwrap().is_ok());
    assert!(it.resolver.cached(&key("1-0-1")).is_none());
}

#[tokio::test]
async fn hostile_answers_become_failures_in_bounded_time_and_space() {
    let it = setup(json!(600)).await;
    let replies = [
        ("1-0-0", Reply::Plain(200, b"<html>".into()), "Could not decode server response. "),
        ("1-0-1", Reply::Plain(200, vec![b' '; 10_001]), "Could not decode server response. body is larger"),
        ("1-0-2", Reply::Endless, "Could not decode server response. body is larger"),
        ("1-0-3", Reply::Lying, ""),
        ("1-0-4", Reply::Hangs, ""),
        ("1-0-5", Reply::Plain(302, b"over there".into()), "Unexpected response: over there"),
        ("1-0-6", Reply::Plain(200, format!("{}1{}", "[".repeat(200), "]".repeat(200)).into()), "Could not decode"),
        ("1-0-7", Reply::Plain(200, br#"{"$supersededBy":7}"#.into()), "Error while trying to decode superseding"),
    ];
    for (version, reply, start) in replies {
        it.server.reply(&format!("/schemas/com.acme/x/jsonschema/{version}"), reply);
        match errors(&it.resolver.resolve(&key(version)).await, "Acme").as_slice() {
            [RegistryError::ClientFailure(text)] => {
                assert!(text.starts_with(start) && text.len() <= 256, "{version}: {text}")
            }
            other => panic!("{version}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_slow_registry_is_given_up() {
    let server = Server::start().await;
    server.reply("*", Reply::Slow(Duration::from_secs(60)));
    let repository =
        json!({"name": "Acme", "priority": 5, "vendorPrefixes": [], "connection": {"http": {"uri": server.address}}});
    let options = ResolverOptions { request_timeout: Duration::from_millis(150), ..quick() };
    let (resolver, _) = resolver(&json!({"cacheSize": 1, "repositories": [repository]}), options);
    let lookup = tokio::time::timeout(Duration::from_secs(5), resolver.resolve(&key("1-0-0"))).await.unwrap();
    assert!(
        matches!(errors(&lookup, "Acme").as_slice(), [RegistryError::ClientFailure(text)] if !text.contains("127.0.0.1"))
    );
}

#[tokio::test]
async fn passing_failures_are_retried_within_a_lookup_and_lasting_ones_are_not() {
    let server = Server::start().await;
    let repository =
        json!({"name": "Acme", "priority": 5, "vendorPrefixes": [], "connection": {"http": {"uri": server.address}}});
    let options = ResolverOptions { max_retries: 2, ..quick() };
    let (resolver, _) = resolver(&json!({"cacheSize": 10, "repositories": [repository]}), options);
    server.reply(PATH, Reply::Plain(503, Vec::new()));
    server.reply("/schemas/com.acme/x/jsonschema/1-0-1", Reply::Plain(403, Vec::new()));
    let failing = resolver.resolve(&key("1-0-0")).await;
    assert_eq!(failing.unwrap_err().history["Acme"].attempts, 1);
    assert!(resolver.resolve(&key("1-0-1")).await.is_err());
    assert_eq!(server.paths().iter().filter(|path| *path == PATH).count(), 3);
    assert_eq!(server.paths().len(), 4);
}

#[tokio::test]
async fn what_was_published_just_now_is_found_once_its_name_is_forgotten() {
    let it = setup(json!(600)).await;
    assert_eq!(errors(&it.resolve().await, "Acme"), [RegistryError::NotFound]);
    it.server.json(PATH, r#"{"type":"object"}"#);
    assert!(it.resolve().await.is_err(), "that there is none is kept");
    it.resolver.forget("com.acme", "y");
    assert!(it.resolve().await.is_err(), "another name says nothing");
    it.resolver.forget("com.acme", "x");
    assert!(it.resolve().await.is_ok());
    it.server.reply(PATH, Reply::Hangs);
    it.resolver.forget_all();
    assert!(it.resolve().await.is_ok(), "without a registry what was good stays");
}

#[tokio::test]
async fn a_directory_is_a_registry_and_cannot_be_left() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("reg/schemas/com.acme/x/jsonschema");
    std::fs::create_dir_all(&folder).unwrap();
    for version in ["1-0-0", "1-0-1", "1-1-0", "2-0-0"] {
        std::fs::write(folder.join(version), r#"{"type":"object"}"#).unwrap();
    }
    std::fs::write(folder.join("3-0-0"), "no json").unwrap();
    std::fs::write(folder.join("4-0-0"), vec![b' '; 10_001]).unwrap();
    std::fs::create_dir_all(root.path().join("reg/secret/jsonschema")).unwrap();
    std::fs::write(root.path().join("reg/secret/jsonschema/1-0-0"), "{}").unwrap();
    let repository =
        json!({"name": "Local", "priority": 1, "vendorPrefixes": [], "connection": {"embedded": {"path": "/reg"}}});
    let options = ResolverOptions { embedded_root: Some(root.path().into()), ..quick() };
    let (resolver, _) = resolver(&json!({"cacheSize": 10, "repositories": [repository]}), options);
    assert!(resolver.resolve(&key("1-0-1")).await.is_ok());
    assert_eq!(errors(&resolver.resolve(&key("1-0-7")).await, "Local"), [RegistryError::NotFound]);
    assert!(matches!(errors(&resolver.resolve(&key("3-0-0")).await, "Local")[..], [RegistryError::RepoFailure(_)]));
    assert!(matches!(errors(&resolver.resolve(&key("4-0-0")).await, "Local")[..], [RegistryError::RepoFailure(_)]));
    assert!("iglu:../secret/jsonschema/1-0-0".parse::<SchemaKey>().is_err(), "what would lead out is no key");
    assert!(resolver.list("..", "secret", 1).await.is_err());
    let list = resolver.list("com.acme", "x", 1).await.unwrap();
    assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1-0-0", "1-0-1", "1-1-0"]);
    assert_eq!(resolver.schemas_up_to(&key("1-0-1")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn lists_come_from_the_registry_and_must_be_lists() {
    let it = setup(json!(600)).await;
    let list = r#"["iglu:com.acme/x/jsonschema/1-0-0","iglu:com.acme/x/jsonschema/1-0-1"]"#;
    it.server.json("/schemas/com.acme/x/jsonschema/1", list);
    assert_eq!(it.resolver.list("com.acme", "x", 1).await.unwrap().len(), 2);
    for (model, bad) in [
        (2, "[]"),
        (3, r#"["iglu:com.acme/x/jsonschema/3-0-1"]"#),
        (4, "{}"),
        (5, r#"["iglu:com.acme/x/jsonschema/6-0-0"]"#),
    ] {
        it.server.json(&format!("/schemas/com.acme/x/jsonschema/{model}"), bad);
        let error = it.resolver.list("com.acme", "x", model).await.unwrap_err();
        assert!(matches!(error.history["Acme"].errors[..], [RegistryError::ClientFailure(_)]), "{bad}");
    }
}

#[tokio::test]
async fn a_model_is_read_from_a_list_or_by_trying_versions() {
    let it = setup(json!(600)).await;
    for version in ["1-0-0", "1-0-1", "1-1-0", "1-1-1"] {
        it.server.json(&format!("/schemas/com.acme/x/jsonschema/{version}"), &format!(r#"{{"title":"{version}"}}"#));
    }
    let titles = |schemas: Arc<[Arc<snowmelt_iglu::Schema>]>| -> Vec<String> {
        schemas.iter().map(|schema| schema.document()["title"].as_str().unwrap().to_owned()).collect()
    };
    let probed = it.resolver.schemas_up_to(&key("1-1-0")).await.unwrap();
    assert_eq!(titles(probed), ["1-0-0", "1-0-1", "1-1-0"]);
    assert!(it.resolver.schemas_up_to(&key("1-2-0")).await.is_err());
    assert!(it.resolver.schemas_up_to(&key("2-0-0")).await.is_err());
    let list = r#"["iglu:com.acme/x/jsonschema/1-0-0","iglu:com.acme/x/jsonschema/1-1-1"]"#;
    it.server.json("/schemas/com.acme/x/jsonschema/1", list);
    assert_eq!(titles(it.resolver.schemas_up_to(&key("1-1-1")).await.unwrap()), ["1-0-0", "1-1-1"]);
}

#[tokio::test]
async fn without_a_cache_an_overlay_carries_the_answer() {
    let it = setup(json!(0)).await;
    it.server.json(PATH, "{}");
    let answer = it.resolve().await;
    assert!(it.resolver.cached(&key("1-0-0")).is_none());
    let mut overlay = Overlay::new(&*it.resolver);
    overlay.insert(key("1-0-0"), answer);
    assert!(overlay.lookup(&key("1-0-0")).unwrap().is_ok());
    assert!(overlay.lookup(&key("1-0-1")).is_none());
    it.resolve().await.unwrap();
    assert_eq!(it.asked(), 2);
}

#[tokio::test]
async fn the_cache_has_a_bound() {
    let it = setup(json!(600)).await;
    for n in 0..50 {
        assert!(it.resolver.resolve(&key(&format!("1-0-{n}"))).await.is_err());
    }
    assert_eq!(it.resolver.stats().entries, 10);
}
