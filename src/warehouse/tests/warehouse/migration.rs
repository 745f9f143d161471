//! Entity tables: made, migrated and taken over while events are loaded.

use std::sync::Arc;

use serde_json::json;

use crate::support::*;

const V0: &str = "iglu:com.acme/thing/jsonschema/1-0-0";
const V1: &str = "iglu:com.acme/thing/jsonschema/1-0-1";

fn thing(uri: &str, data: serde_json::Value) -> String {
    event(&[("contexts", &contexts(&[(uri, data)]))])
}

fn version_0() -> serde_json::Value {
    json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "maxLength": 5}}})
}

fn version_1() -> serde_json::Value {
    json!({"type": "object", "required": ["b"], "properties": {
        "a": {"type": "string", "maxLength": 50},
        "b": {"type": "integer"},
        "more": {"type": "object", "properties": {"x": {"type": "number"}}},
    }})
}

#[tokio::test]
async fn a_new_version_adds_columns_lengthens_texts_and_drops_not_null() {
    let database = Database::create("new_version").await;
    let warehouse = database.warehouse("atomic").await;
    let schemas = Schemas::of(&[(V0, version_0())]);
    let loader = event_loader(&warehouse, &schemas).await;
    load_events(&loader, &Lines::new(1, [thing(V0, json!({"a": "abc"}))]), "s").await.unwrap();
    assert_eq!(comment(&warehouse, "com_acme_thing_1").await.unwrap(), V0);

    schemas.add(V1, version_1());
    let lines = [thing(V1, json!({"b": 1, "more": {"x": 2.5}})), thing(V1, json!({"a": "a longer text", "b": 2}))];
    let (report, bad) = load_events(&loader, &Lines::new(2, lines), "s").await.unwrap();
    assert_eq!((report.records, bad.len()), (2, 0), "{bad:?}");
    assert_eq!(comment(&warehouse, "com_acme_thing_1").await.unwrap(), V1);
    let rows = rows(&warehouse, "com_acme_thing_1").await;
    assert_eq!(rows[1]["more.x"], 2.5);
    assert_eq!(rows[2]["a"], "a longer text");
}

#[tokio::test]
async fn a_table_that_is_migrated_in_the_middle_of_a_batch_is_no_hindrance_to_it() {
    let database = Database::create("middle").await;
    let warehouse = database.warehouse("atomic").await;
    let schemas = Schemas::of(&[(V0, version_0())]);
    let loader = event_loader(&warehouse, &schemas).await;
    load_events(&loader, &Lines::new(1, [thing(V0, json!({"a": "abc"}))]), "s").await.unwrap();

    // Many of the old version, then the new one, bad rows on both sides of the border, and a type of its own at the very end.
    schemas.add(V1, version_1());
    let other = "iglu:com.acme/other/jsonschema/1-0-0";
    schemas.add(other, version_0());
    let lines = (0..3000).map(|number| match number {
        1690 | 1710 => "no event".to_owned(),
        0..1700 => thing(V0, json!({"a": "abc"})),
        1700..2999 => thing(V1, json!({"a": "longer", "b": number})),
        _ => thing(other, json!({"a": "end"})),
    });
    let lines = Lines::new(2, lines);
    let (report, bad) = load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!((report.records, report.rows, report.skipped, report.bad), (2998, 5996, 0, 2));
    assert_eq!(bad.iter().map(|row| row.sequence.as_str()).collect::<Vec<_>>(), ["1692", "1712"]);
    assert_eq!(count(&warehouse, "events").await, 2999);
    assert_eq!(count(&warehouse, "com_acme_thing_1").await, 2998);
    assert_eq!(count(&warehouse, "com_acme_other_1").await, 1);
    let (report, _) = load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!((report.records, report.skipped), (0, 3000));
}

#[tokio::test]
async fn a_migration_that_a_view_forbids_makes_bad_rows_of_what_does_not_fit_only() {
    let database = Database::create("view").await;
    let warehouse = database.warehouse("atomic").await;
    let schemas = Schemas::of(&[(V0, version_0())]);
    let loader = event_loader(&warehouse, &schemas).await;
    load_events(&loader, &Lines::new(1, [thing(V0, json!({"a": "abc"}))]), "s").await.unwrap();
    execute(&warehouse, "CREATE VIEW atomic.v AS SELECT a FROM atomic.com_acme_thing_1").await;
    schemas.add(V1, version_1());
    let lines = [thing(V1, json!({"a": "short", "b": 1})), thing(V1, json!({"a": "a longer text", "b": 2}))];
    let (report, bad) = load_events(&loader, &Lines::new(2, lines), "s").await.unwrap();
    assert_eq!((report.records, bad.len()), (1, 1));
}

#[tokio::test]
async fn loaders_that_make_and_migrate_one_table_at_once_do_not_hinder_each_other() {
    let database = Database::create("at_once").await;
    let mut loaders = Vec::new();
    for _ in 0..3 {
        let schemas = Schemas::of(&[(V0, version_0())]);
        let warehouse = database.warehouse("atomic").await;
        loaders.push((event_loader(&warehouse, &schemas).await, schemas, warehouse));
    }
    for round in 0..2u64 {
        let uri = if round == 0 { V0 } else { V1 };
        let loads = loaders.iter().enumerate().map(|(at, (loader, schemas, _))| {
            if round == 1 {
                schemas.add(V1, version_1());
            }
            let lines = Lines::new(round * 10 + 1, [thing(uri, json!({"a": "abc", "b": at}))]);
            let (loader, shard) = (loader.clone(), format!("s{at}"));
            tokio::spawn(async move { load_events(&loader, &lines, &shard).await })
        });
        let loads: Vec<_> = loads.collect();
        for load in loads {
            let (report, bad) = load.await.unwrap().unwrap();
            assert_eq!((report.records, bad.len()), (1, 0), "{bad:?}");
        }
    }
    let warehouse = &loaders[0].2;
    assert_eq!(count(warehouse, "com_acme_thing_1").await, 6);
    assert_eq!(comment(warehouse, "com_acme_thing_1").await.unwrap(), V1);
}

#[tokio::test]
async fn a_loader_with_an_older_list_leaves_the_newer_comment_and_loads() {
    let database = Database::create("older_list").await;
    let warehouse = database.warehouse("atomic").await;
    let newer = event_loader(&warehouse, &Schemas::of(&[(V0, version_0()), (V1, version_1())])).await;
    load_events(&newer, &Lines::new(1, [thing(V1, json!({"b": 1}))]), "s").await.unwrap();
    let older = event_loader(&warehouse, &Schemas::of(&[(V0, version_0())])).await;
    let (report, _) = load_events(&older, &Lines::new(2, [thing(V0, json!({"a": "x"}))]), "s").await.unwrap();
    assert_eq!(report.records, 1);
    assert_eq!(comment(&warehouse, "com_acme_thing_1").await.unwrap(), V1);
}

#[tokio::test]
async fn a_table_that_the_original_spoilt_is_repaired() {
    // The original moves the comment on without adding the columns.
    let database = Database::create("spoilt").await;
    let warehouse = database.warehouse("atomic").await;
    execute(
        &warehouse,
        &format!(
            "CREATE TABLE atomic.com_acme_thing_1 (\"schema_vendor\" VARCHAR(128) NULL, \"schema_name\" VARCHAR(128) NULL, \
             \"schema_format\" VARCHAR(128) NULL, \"schema_version\" VARCHAR(128) NULL, \"root_id\" UUID NULL, \
             \"root_tstamp\" TIMESTAMP NULL, \"a\" VARCHAR(5) NOT NULL); \
             COMMENT ON TABLE atomic.com_acme_thing_1 IS '{V1}'"
        ),
    )
    .await;
    let loader = event_loader(&warehouse, &Schemas::of(&[(V0, version_0()), (V1, version_1())])).await;
    let (report, bad) = load_events(&loader, &Lines::new(1, [thing(V1, json!({"b": 3}))]), "s").await.unwrap();
    assert_eq!((report.records, bad.len()), (1, 0), "{bad:?}");
    assert_eq!(rows(&warehouse, "com_acme_thing_1").await[0]["b"], 3);
}

#[tokio::test]
async fn a_column_of_another_type_decides_how_its_values_are_written() {
    let database = Database::create("other_type").await;
    let warehouse = database.warehouse("atomic").await;
    execute(&warehouse, "CREATE TABLE atomic.com_acme_thing_1 (\"a\" TEXT, \"b\" TEXT)").await;
    let loader = event_loader(&warehouse, &Schemas::of(&[(V0, version_0()), (V1, version_1())])).await;
    let lines =
        Lines::new(1, [thing(V1, json!({"a": "a text of any length at all, since the column is TEXT", "b": 3}))]);
    let (report, bad) = load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!((report.records, bad.len()), (1, 0), "{bad:?}");
    assert_eq!(rows(&warehouse, "com_acme_thing_1").await[0]["b"], "3");
    // The table had no comment; now it has.
    assert_eq!(comment(&warehouse, "com_acme_thing_1").await.unwrap(), V1);
}

#[tokio::test]
async fn names_equal_in_63_bytes_give_two_tables() {
    let database = Database::create("long_names").await;
    let warehouse = database.warehouse("atomic").await;
    let long = "a_really_long_name_of_an_entity_that_goes_on_and_on_beyond";
    let uris: Vec<String> =
        ["one", "two"].iter().map(|end| format!("iglu:com.acme/{long}_{end}/jsonschema/1-0-0")).collect();
    let schemas = Schemas::of(&[(&uris[0], version_0()), (&uris[1], version_0())]);
    let loader = event_loader(&warehouse, &schemas).await;
    let line = event(&[("contexts", &contexts(&[(&uris[0], json!({"a": "1"})), (&uris[1], json!({"a": "2"}))]))]);
    let (report, bad) = load_events(&loader, &Lines::new(1, [line]), "s").await.unwrap();
    assert_eq!((report.rows, bad.len()), (3, 0), "{bad:?}");
    let names: Vec<String> = sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'atomic'")
        .fetch_all(warehouse.pool())
        .await
        .unwrap();
    assert_eq!(names.iter().filter(|name| name.starts_with("com_acme_a_really")).count(), 2, "{names:?}");
}

#[tokio::test]
async fn names_and_values_are_never_taken_for_sql() {
    let database = Database::create("quoting").await;
    let schema = "we\"ird; DROP";
    let warehouse = database.warehouse(schema).await;
    let document = json!({"type": "object", "properties": {"x\"); DROP TABLE events; --": {"type": "string"}}});
    let uri = "iglu:com.acme/odd/jsonschema/1-0-0";
    let loader = event_loader(&warehouse, &Schemas::of(&[(uri, document)])).await;
    let data = json!({"x\"); DROP TABLE events; --": "\\.\n\\N\t'; DROP TABLE events; --"});
    let line = event(&[("contexts", &contexts(&[(uri, data)])), ("se_label", "\\.")]);
    let (report, bad) = load_events(&loader, &Lines::new(1, [line]), "s").await.unwrap();
    assert_eq!((report.rows, bad.len()), (2, 0), "{bad:?}");
    let text: String =
        sqlx::query_scalar("SELECT \"x\"\"); drop table events; __\" FROM \"we\"\"ird; DROP\".com_acme_odd_1")
            .fetch_one(warehouse.pool())
            .await
            .unwrap();
    assert_eq!(text, "\\.\n\\N\t'; DROP TABLE events; --");
}

#[tokio::test]
async fn tables_of_bad_rows_have_no_meta_columns_and_may_have_none_at_all() {
    let database = Database::create("bad_tables").await;
    let warehouse = database.warehouse("bad").await;
    let schemas =
        Schemas::of(&[("iglu:com.acme/empty/jsonschema/1-0-0", json!({"type": "object"})), (V0, version_0())]);
    let loader = bad_row_loader(&warehouse, &schemas);
    let lines = Lines::new(
        1,
        [
            json!({"schema": "iglu:com.acme/empty/jsonschema/1-0-0", "data": {"x": 1}}).to_string(),
            json!({"schema": V0, "data": {"a": "1"}}).to_string(),
        ],
    );
    let bad = Arc::new(snowmelt_warehouse::CollectBad::default());
    let report = loader.load(&lines.records(), &progress_key("s"), lines.last(), &*bad).await.unwrap();
    assert_eq!((report.rows, report.bad), (2, 0), "{:?}", bad.take());
    assert_eq!(count(&warehouse, "com_acme_empty_1").await, 1);
    assert_eq!(rows(&warehouse, "com_acme_thing_1").await, [json!({"a": "1"})]);
}

#[tokio::test]
async fn a_table_that_is_in_use_is_migrated_later_and_no_row_is_lost_to_that() {
    let database = Database::create("in_use").await;
    let mut options = database.options("atomic");
    options.lock_timeout = std::time::Duration::from_millis(200);
    let warehouse = snowmelt_warehouse::Warehouse::connect(&options).await.unwrap();
    let schemas = Schemas::of(&[(V0, version_0())]);
    let loader = event_loader(&warehouse, &schemas).await;
    load_events(&loader, &Lines::new(1, [thing(V0, json!({"a": "abc"}))]), "s").await.unwrap();
    schemas.add(V1, version_1());

    let mut reader = warehouse.pool().begin().await.unwrap();
    sqlx::raw_sql("SELECT * FROM atomic.com_acme_thing_1").execute(&mut *reader).await.unwrap();
    let lines = Lines::new(2, [thing(V1, json!({"a": "a longer text", "b": 1}))]);
    let waiting = load_events(&loader, &lines, "s").await.unwrap_err();
    assert!(waiting.is_retriable(), "{waiting}");
    reader.rollback().await.unwrap();
    let (report, bad) = load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!((report.records, bad.len()), (1, 0), "{bad:?}");
}

#[tokio::test]
async fn somebody_who_may_only_insert_can_load() {
    let database = Database::create("only_insert").await;
    let warehouse = database.warehouse("atomic").await;
    let loader = event_loader(&warehouse, &Schemas::of(&[(V0, version_0())])).await;
    load_events(&loader, &Lines::new(1, [thing(V0, json!({"a": "1"}))]), "s").await.unwrap();
    execute(
        &warehouse,
        "COMMENT ON TABLE atomic.com_acme_thing_1 IS NULL; \
         CREATE ROLE loader LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA atomic, snowmelt TO loader; \
         GRANT INSERT ON ALL TABLES IN SCHEMA atomic TO loader; \
         GRANT SELECT, INSERT, UPDATE ON snowmelt.progress TO loader",
    )
    .await;
    let mut options = database.options("atomic");
    let (_, rest) = options.url.split_once('@').unwrap();
    options.url = format!("postgres://loader:secret@{rest}");
    let warehouse = snowmelt_warehouse::Warehouse::connect(&options).await.unwrap();
    let loader = event_loader(&warehouse, &Schemas::of(&[(V0, version_0())])).await;
    let (report, bad) = load_events(&loader, &Lines::new(2, [thing(V0, json!({"a": "2"}))]), "s").await.unwrap();
    assert_eq!((report.records, bad.len()), (1, 0), "{bad:?}");
}
