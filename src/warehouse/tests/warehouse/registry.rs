//! The loader with a real resolver over a registry in a folder.

use std::sync::Arc;

use serde_json::json;
use snowmelt_iglu::{Resolver, ResolverConfig, ResolverOptions};
use snowmelt_warehouse::{CollectBad, EventLoader};

use crate::support::*;

fn publish(registry: &std::path::Path, version: &str, properties: serde_json::Value) {
    let folder = registry.join("schemas/com.acme/thing/jsonschema");
    std::fs::create_dir_all(&folder).unwrap();
    let document = json!({
        "$schema": "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#",
        "self": {"vendor": "com.acme", "name": "thing", "format": "jsonschema", "version": version},
        "type": "object", "properties": properties,
    });
    std::fs::write(folder.join(version), document.to_string()).unwrap();
}

fn resolver(registry: &std::path::Path) -> Arc<Resolver> {
    let config = json!({
        "schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-1",
        "data": {"cacheSize": 50, "repositories": [{
            "name": "folder", "priority": 0, "vendorPrefixes": [],
            "connection": {"embedded": {"path": registry.display().to_string()}},
        }]},
    });
    let config = ResolverConfig::parse(&config).unwrap();
    Arc::new(Resolver::new(&config, ResolverOptions::default(), Arc::new(|| NOW_MS)).unwrap())
}

fn thing(version: &str, data: serde_json::Value) -> String {
    event(&[("contexts", &contexts(&[(&format!("iglu:com.acme/thing/jsonschema/{version}"), data)]))])
}

#[tokio::test]
async fn schemas_come_from_the_resolver() {
    let registry = tempfile::tempdir().unwrap();
    publish(registry.path(), "1-0-0", json!({"a": {"type": "string"}}));
    publish(registry.path(), "1-0-1", json!({"a": {"type": "string"}, "b": {"type": "integer"}}));
    let database = Database::create("resolver").await;
    let warehouse = database.warehouse("atomic").await;
    let loader = EventLoader::new(warehouse.clone(), resolver(registry.path()), loader_options());
    let lines = [
        thing("1-0-1", json!({"a": "x", "b": 7})),
        event(&[("contexts", &contexts(&[("iglu:com.acme/unknown/jsonschema/1-0-0", json!({}))]))]),
    ];
    let (report, bad) = load_events(&loader, &Lines::new(1, lines), "s").await.unwrap();
    assert_eq!((report.records, report.bad), (1, 1));
    assert_eq!(rows(&warehouse, "com_acme_thing_1").await[0]["b"], 7);
    assert_eq!(comment(&warehouse, "com_acme_thing_1").await.unwrap(), "iglu:com.acme/thing/jsonschema/1-0-1");
    assert!(
        bad[0].line.contains(
            r#""schemaCriterion":"iglu:com.acme/unknown/jsonschema/1-*-*","error":{"error":"ResolutionError""#
        ),
        "{}",
        bad[0].line
    );
}

#[tokio::test]
async fn our_own_bad_rows_fit_the_tables_of_their_published_schemas() {
    let Some(shared) = shared_folder() else { return };
    let central = shared.join("data/iglu-central");
    let database = Database::create("own_bad_rows").await;
    let events = database.warehouse("atomic").await;
    let loader = EventLoader::new(events, resolver(&central), loader_options());
    let lines = [
        "no tsv".to_owned(),
        event(&[("geo_country", "too long")]),
        event(&[("contexts", &contexts(&[("iglu:com.acme/unknown/jsonschema/1-0-0", json!({}))]))]),
    ];
    let (_, bad) = load_events(&loader, &Lines::new(1, lines), "s").await.unwrap();
    let warehouse = database.warehouse("bad").await;
    let loader = snowmelt_warehouse::BadRowLoader::new(warehouse.clone(), resolver(&central), loader_options());
    let lines = Lines::new(1, bad.into_iter().map(|row| row.line));
    let refused = CollectBad::default();
    let report = loader.load(&lines.records(), &progress_key("b"), lines.last(), &refused).await.unwrap();
    assert_eq!((report.records, report.bad), (3, 0), "{:?}", refused.take());
    assert_eq!(tables(&warehouse).await.len(), 3);
}
