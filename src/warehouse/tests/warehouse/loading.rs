//! Loading: exactly once whatever breaks, bad rows found and delivered, no wait without a limit.

use sqlx::Connection as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use snowmelt_warehouse::{BadRow, BadSink, CollectBad, EventLoader, InputRecord, LoadError, Warehouse};

use crate::support::*;

const FLAG: &str = "iglu:com.acme/flag/jsonschema/1-0-0";

fn flag_schemas() -> Arc<Schemas> {
    let document = json!({"type": "object", "properties": {"on": {"type": "boolean"}, "note": {"type": "string", "maxLength": 8}}});
    Schemas::of(&[(FLAG, document)])
}

fn flagged(id: usize, note: &str) -> String {
    event(&[
        ("event_id", &format!("00000000-0000-0000-0000-{id:012}")),
        ("contexts", &contexts(&[(FLAG, json!({"on": true, "note": note}))])),
    ])
}

async fn setup(database: &str) -> (Database, Warehouse, EventLoader) {
    let database = Database::create(database).await;
    let warehouse = database.warehouse("atomic").await;
    let loader = event_loader(&warehouse, &flag_schemas()).await;
    (database, warehouse, loader)
}

/// A sink which never takes anything, in one way or the other.
enum NoSink {
    Refuses,
    Hangs,
}

#[async_trait]
impl BadSink for NoSink {
    async fn deliver(&self, _: &[BadRow]) -> Result<(), String> {
        match self {
            Self::Refuses => Err("the stream is gone".to_owned()),
            Self::Hangs => std::future::pending().await,
        }
    }
}

#[tokio::test]
async fn records_at_or_below_the_progress_are_skipped() {
    let (_database, warehouse, loader) = setup("skipping").await;
    let lines = Lines::new(1, (0..10).map(|id| flagged(id, "a")));
    let (report, bad) = load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!((report.records, report.rows, report.skipped, report.bad), (10, 20, 0, 0));
    assert!(bad.is_empty());
    let (report, _) = load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!((report.records, report.skipped), (0, 10));
    let longer = Lines::new(5, (4..15).map(|id| flagged(id, "a")));
    let (report, _) = load_events(&loader, &longer, "s").await.unwrap();
    assert_eq!((report.records, report.skipped), (5, 6));
    assert_eq!(count(&warehouse, "events").await, 15);
    assert_eq!(loader.stored_progress(&progress_key("s")).await.unwrap().unwrap(), "15");
    // Another shard has a progress of its own.
    let (report, _) = load_events(&loader, &lines, "other").await.unwrap();
    assert_eq!(report.records, 10);
}

#[tokio::test]
async fn parts_of_an_aggregated_record_are_told_apart() {
    let (_database, warehouse, loader) = setup("parts").await;
    let line = flagged(1, "a");
    let record = |sequence| InputRecord { sequence, data: line.as_bytes() };
    let bad = CollectBad::default();
    let key = progress_key("s");
    loader.load(&[record("7:0"), record("7:1")], &key, "7:1", &bad).await.unwrap();
    let report = loader.load(&[record("7:1"), record("7:2"), record("8")], &key, "8", &bad).await.unwrap();
    assert_eq!((report.records, report.skipped), (2, 1));
    let report = loader.load(&[record("8:5")], &key, "8", &bad).await.unwrap();
    assert_eq!(report.skipped, 1);
    assert_eq!(count(&warehouse, "events").await, 4);
    let refused = loader.load(&[record("x")], &key, "8", &bad).await.unwrap_err();
    assert!(!refused.is_retriable() && matches!(refused, LoadError::Sequence { .. }));
}

#[tokio::test]
async fn rows_that_the_database_refuses_are_found_and_all_others_loaded() {
    let (_database, warehouse, loader) = setup("halving").await;
    let wrong = [0, 37, 38, 99];
    let lines = Lines::new(
        100,
        (0..100).map(|id| flagged(id, if wrong.contains(&id) { "too long" } else { "ok" }.repeat(2).as_str())),
    );
    let (report, bad) = load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!((report.records, report.rows, report.bad), (96, 192, 4));
    let sequences: Vec<&str> = bad.iter().map(|row| row.sequence.as_str()).collect();
    assert_eq!(sequences, ["100", "137", "138", "199"]);
    let line: Value = serde_json::from_str(&bad[1].line).unwrap();
    assert_eq!(line["schema"], "iglu:com.snowplowanalytics.snowplow.badrows/loader_runtime_error/jsonschema/1-0-1");
    assert_eq!(line["data"]["failure"], "ERROR: value too long for type character varying(8)");
    let ids: Vec<Value> = rows(&warehouse, "events").await.iter().map(|row| row["event_id"].clone()).collect();
    let expected: Vec<Value> = (0..100)
        .filter(|id| !wrong.contains(id))
        .map(|id| json!(format!("00000000-0000-0000-0000-{id:012}")))
        .collect();
    assert_eq!(ids, expected, "rows keep the order of the records");
}

#[tokio::test]
async fn bad_rows_of_every_kind_come_in_the_order_of_their_records() {
    let (_database, warehouse, loader) = setup("bad_order").await;
    // Over several slices: refused by the database, of a wrong type, no event.
    let line = |id: usize| match id % 7 {
        1 => flagged(id, "much too long"),
        3 => event(&[("contexts", &contexts(&[(FLAG, json!({"on": "no flag"}))]))]),
        5 => "no event".to_owned(),
        _ => flagged(id, "ok"),
    };
    let lines = Lines::new(1000, (0..1400).map(line));
    let (report, bad) = load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!((report.records, report.bad), (800, 600));
    let sequences: Vec<usize> = bad.iter().map(|row| row.sequence.parse().unwrap()).collect();
    let expected: Vec<usize> = (0..1400).filter(|id| [1, 3, 5].contains(&(id % 7))).map(|id| 1000 + id).collect();
    assert_eq!(sequences, expected);
    assert_eq!(count(&warehouse, "events").await, 800);
}

#[tokio::test]
async fn bad_rows_are_delivered_before_the_progress_is_stored() {
    let (_database, warehouse, loader) = setup("delivery").await;
    let lines = Lines::new(1, ["no tsv".to_owned(), flagged(1, "ok")]);
    let refused = loader.load(&lines.records(), &progress_key("s"), "2", &NoSink::Refuses).await.unwrap_err();
    assert!(refused.is_retriable() && matches!(refused, LoadError::BadSink { .. }), "{refused}");
    assert_eq!(count(&warehouse, "events").await, 0);
    let (records, key) = (lines.records(), progress_key("s"));
    let hanging = loader.load(&records, &key, "2", &NoSink::Hangs);
    assert!(tokio::time::timeout(Duration::from_millis(300), hanging).await.is_err());
    let (report, bad) = load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!((report.records, report.bad, bad.len()), (1, 1, 1));
    assert_eq!(count(&warehouse, "events").await, 1);
}

#[tokio::test]
async fn a_load_gives_up_after_its_time() {
    let database = Database::create("giving_up").await;
    let warehouse = database.warehouse("atomic").await;
    let mut options = loader_options();
    options.load_timeout = Duration::from_millis(300);
    let loader = EventLoader::new(warehouse.clone(), flag_schemas(), options);
    let lines = Lines::new(1, ["no tsv".to_owned()]);
    let late = loader.load(&lines.records(), &progress_key("s"), "1", &NoSink::Hangs).await.unwrap_err();
    assert!(late.is_retriable() && matches!(late, LoadError::Timeout { .. }), "{late}");
}

/// Cuts all connections of the loader when the batch is complete but not committed.
struct CutBeforeCommit<'a>(&'a Warehouse);

#[async_trait]
impl BadSink for CutBeforeCommit<'_> {
    async fn deliver(&self, _: &[BadRow]) -> Result<(), String> {
        cut_connections(self.0).await;
        Ok(())
    }
}

async fn cut_connections(admin: &Warehouse) {
    execute(
        admin,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
}

#[tokio::test]
async fn a_crash_between_copy_and_commit_loads_nothing_and_the_repetition_all() {
    let (database, warehouse, loader) = setup("crash_before").await;
    let admin = database.warehouse("atomic").await;
    let lines = Lines::new(1, (0..50).map(|id| flagged(id, "a")).chain(["no tsv".to_owned()]));
    load_events(&loader, &Lines::new(0, ["no tsv".to_owned()]), "s").await.unwrap();
    let key = progress_key("s");
    let failed = loader.load(&lines.records(), &key, lines.last(), &CutBeforeCommit(&admin)).await.unwrap_err();
    assert!(failed.is_retriable() && matches!(failed, LoadError::Database { .. }), "{failed}");
    assert_eq!(count(&admin, "events").await, 0);
    let (report, bad) = load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!((report.records, report.skipped, bad.len()), (50, 0, 1));
    assert_eq!(count(&warehouse, "events").await, 50);
}

#[tokio::test]
async fn a_crash_after_the_commit_does_not_load_twice() {
    let (database, warehouse, loader) = setup("crash_after").await;
    let admin = database.warehouse("atomic").await;
    let lines = Lines::new(1, (0..50).map(|id| flagged(id, "a")));
    load_events(&loader, &lines, "s").await.unwrap();
    // The process dies before it hears of the commit: a new one repeats the batch.
    cut_connections(&admin).await;
    let restarted = event_loader(&database.warehouse("atomic").await, &flag_schemas()).await;
    let (report, _) = load_events(&restarted, &lines, "s").await.unwrap();
    assert_eq!((report.records, report.skipped), (0, 50));
    // The old one, whose connections are gone, recovers too.
    let (report, _) = load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!(report.skipped, 50);
    assert_eq!(count(&warehouse, "events").await, 50);
}

#[tokio::test]
async fn loads_dropped_at_any_moment_leave_nothing_half_done() {
    let (_database, warehouse, loader) = setup("dropped").await;
    let lines = Lines::new(1, (0..400).map(|id| flagged(id, "a")));
    let bad = CollectBad::default();
    let key = progress_key("s");
    for step in 0..40 {
        let limit = Duration::from_micros(500 * step);
        if let Ok(report) = tokio::time::timeout(limit, loader.load(&lines.records(), &key, lines.last(), &bad)).await {
            report.unwrap();
            break;
        }
        let events = count(&warehouse, "events").await;
        assert!(events == 0 || events == 400, "{events} after {limit:?}");
    }
    load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!(count(&warehouse, "events").await, 400);
    assert_eq!(count(&warehouse, "com_acme_flag_1").await, 400);
}

#[tokio::test]
async fn two_owners_of_a_shard_load_each_record_once() {
    let (database, warehouse, first) = setup("two_owners").await;
    let second = event_loader(&database.warehouse("atomic").await, &flag_schemas()).await;
    for round in 0..10 {
        let lines = Lines::new(round * 20 + 1, (0..20).map(|id| flagged(id, "a")));
        let (one, other) = tokio::join!(load_events(&first, &lines, "s"), load_events(&second, &lines, "s"));
        let loaded = one.unwrap().0.records + other.unwrap().0.records;
        assert_eq!(loaded, 20, "round {round}");
    }
    assert_eq!(count(&warehouse, "events").await, 200);
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_waited_for_and_then_given_up() {
    let database = Database::create("patience").await;
    let warehouse = database.warehouse("atomic").await;
    let schemas = flag_schemas();
    schemas.unanswering.store(true, Ordering::SeqCst);
    let mut options = loader_options();
    options.registry_patience = Duration::from_millis(400);
    let loader = EventLoader::new(warehouse.clone(), schemas.clone(), options);
    let lines = Lines::new(1, [flagged(1, "a")]);
    let waiting = load_events(&loader, &lines, "s").await.unwrap_err();
    assert!(waiting.is_retriable() && matches!(waiting, LoadError::Registry { .. }), "{waiting}");
    assert_eq!(count(&warehouse, "events").await, 0);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (report, bad) = load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!((report.records, report.bad), (0, 1));
    assert!(bad[0].line.contains("loader_iglu_error"));
    schemas.unanswering.store(false, Ordering::SeqCst);
    let (report, _) = load_events(&loader, &Lines::new(2, [flagged(2, "a")]), "s").await.unwrap();
    assert_eq!(report.records, 1);
}

#[tokio::test]
async fn a_table_dropped_behind_our_back_is_made_again() {
    let (_database, warehouse, loader) = setup("dropped_table").await;
    load_events(&loader, &Lines::new(1, [flagged(1, "a")]), "s").await.unwrap();
    execute(&warehouse, "DROP TABLE atomic.com_acme_flag_1").await;
    let lines = Lines::new(2, [flagged(2, "a")]);
    let failed = load_events(&loader, &lines, "s").await.unwrap_err();
    assert!(failed.is_retriable(), "{failed}");
    load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!(count(&warehouse, "com_acme_flag_1").await, 1);
    assert_eq!(count(&warehouse, "events").await, 2);
}

#[tokio::test]
async fn an_events_table_with_other_columns_is_loaded_as_far_as_it_goes() {
    let database = Database::create("own_events").await;
    let warehouse = database.warehouse("atomic").await;
    event_loader(&warehouse, &flag_schemas()).await;
    execute(
        &warehouse,
        "ALTER TABLE atomic.events DROP COLUMN se_label; \
         ALTER TABLE atomic.events ADD COLUMN load_tstamp TIMESTAMP NOT NULL DEFAULT '2020-01-01'",
    )
    .await;
    let loader = event_loader(&warehouse, &flag_schemas()).await;
    let line = event(&[("se_label", "lost"), ("se_action", "kept")]);
    load_events(&loader, &Lines::new(1, [line]), "s").await.unwrap();
    let row = &rows(&warehouse, "events").await[0];
    assert_eq!(row["se_action"], "kept");
    assert_eq!(row["load_tstamp"], "2020-01-01T00:00:00");
}

#[tokio::test]
async fn ten_thousand_events_are_loaded_at_a_pace_worth_printing() {
    let (_database, warehouse, loader) = setup("speed").await;
    let lines: Vec<String> = (0..10_000)
        .map(|id| {
            event(&[
                ("app_id", "shop"),
                ("platform", "web"),
                ("event_id", &format!("00000000-0000-0000-0000-{id:012}")),
                ("page_url", "https://shop.example/products/1234?utm_source=newsletter"),
                ("page_title", "A product\\with a backslash"),
                ("useragent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36"),
                ("contexts", &contexts(&[(FLAG, json!({"on": id % 2 == 0, "note": "x"}))])),
            ])
        })
        .collect();
    let started = Instant::now();
    for (batch, chunk) in lines.chunks(500).enumerate() {
        let lines = Lines::new(batch as u64 * 500 + 1, chunk.to_vec());
        let (report, _) = load_events(&loader, &lines, "s").await.unwrap();
        assert_eq!(report.records, 500);
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("10000 events with one entity each in {seconds:.2} s: {:.0} events/s, batches of 500", 10_000.0 / seconds);
    assert_eq!(count(&warehouse, "events").await, 10_000);
}

#[tokio::test]
async fn values_are_cut_or_left_out_as_the_original_does() {
    let (_database, warehouse, loader) = setup("values").await;
    let long = "é".repeat(2000);
    let line = event(&[
        ("event_id", "1-2-3-4-5"),
        ("page_title", &long),
        ("geo_latitude", "NaN"),
        ("se_value", "1e3"),
        ("dvce_ismobile", "1"),
        ("true_tstamp", "2024-03-05T10:15:30.1234567"),
    ]);
    load_events(&loader, &Lines::new(1, [line]), "s").await.unwrap();
    let row = &rows(&warehouse, "events").await[0];
    assert_eq!(row["page_title"].as_str().unwrap().chars().count(), 1024);
    assert_eq!(row["event_id"], "00000001-0002-0003-0004-000000000005");
    assert_eq!(row.get("geo_latitude"), None);
    assert_eq!(row["se_value"], json!(1000));
    assert_eq!(row["dvce_ismobile"], true);
    assert_eq!(row["true_tstamp"], "2024-03-05T10:15:30.123457");
}

#[tokio::test]
async fn all_faults_of_a_line_are_told_in_the_order_of_its_fields() {
    let (_database, warehouse, loader) = setup("faults").await;
    let unstruct = json!({"schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0", "data": []});
    let line = event(&[
        ("collector_tstamp", "yesterday"),
        ("event_id", "x"),
        ("v_etl", ""),
        ("page_urlport", "80a"),
        ("contexts", "{"),
        ("unstruct_event", &unstruct.to_string()),
        ("br_cookies", "yes"),
        ("tr_total", "much"),
    ]);
    let (report, bad) = load_events(&loader, &Lines::new(1, [line.clone()]), "s").await.unwrap();
    assert_eq!((report.records, report.bad), (0, 1));
    let row: Value = serde_json::from_str(&bad[0].line).unwrap();
    assert_eq!(row["data"]["payload"], line);
    let errors = row["data"]["failure"]["errors"].as_array().unwrap();
    let told: Vec<(&str, &str)> =
        errors.iter().map(|e| (e["key"].as_str().unwrap(), e["message"].as_str().unwrap())).collect();
    assert_eq!(
        told[0],
        ("Symbol(collector_tstamp)", "Cannot parse key Symbol(collector_tstamp) with value yesterday into datetime")
    );
    assert_eq!(told[1], ("Symbol(event_id)", "Cannot parse key Symbol(event_id) with value x into UUID"));
    assert_eq!(told[2], ("Symbol(v_etl)", "Field Symbol(v_etl) cannot be empty"));
    assert_eq!(told[3].1, "Cannot parse key Symbol(page_urlport) with value 80a into integer");
    assert_eq!(told[4].0, "Symbol(contexts)");
    assert!(told[5].1.starts_with("Unknown payload: iglu:"), "{}", told[5].1);
    assert_eq!(told[6].1, "Cannot parse key Symbol(tr_total) with value much into double");
    assert_eq!(told[7].1, "Cannot parse key Symbol(br_cookies) with value yes into boolean");
    assert_eq!(count(&warehouse, "events").await, 0);
}

#[tokio::test]
async fn bytes_of_every_kind_become_rows_or_bad_rows() {
    let (_database, warehouse, loader) = setup("bytes").await;
    let key = progress_key("s");
    let bad = CollectBad::default();
    let mut inputs: Vec<Vec<u8>> = vec![vec![], vec![0], vec![b'\t'; 130], vec![0xff; 300], vec![b'\n'; 5]];
    inputs.extend((0..=255).map(|byte| {
        let mut line = flagged(1, "a").into_bytes();
        let at = line.iter().position(|b| *b == b'c').unwrap();
        line[at] = byte;
        line
    }));
    let sequences: Vec<String> = (1..=inputs.len()).map(|n| n.to_string()).collect();
    let records: Vec<InputRecord<'_>> =
        inputs.iter().zip(&sequences).map(|(data, sequence)| InputRecord { sequence, data }).collect();
    let report = loader.load(&records, &key, sequences.last().unwrap(), &bad).await.unwrap();
    assert_eq!(report.records + report.bad, inputs.len() as u64);
    for row in bad.take() {
        serde_json::from_str::<Value>(&row.line).unwrap();
    }
    assert_eq!(count(&warehouse, "events").await as u64, report.records);
}

#[tokio::test]
async fn a_bad_row_too_long_for_its_stream_becomes_one_about_its_size() {
    let database = Database::create("long_bad").await;
    let warehouse = database.warehouse("atomic").await;
    let mut options = loader_options();
    options.max_bad_row_bytes = 2000;
    let loader = EventLoader::new(warehouse, flag_schemas(), options);
    let (_, bad) = load_events(&loader, &Lines::new(1, ["x".repeat(5000)]), "s").await.unwrap();
    assert!(bad[0].line.len() <= 2000 && bad[0].line.contains("/size_violation/"), "{}", bad[0].line);
}

#[tokio::test]
async fn events_changed_behind_our_back_is_looked_at_again() {
    let (_database, warehouse, loader) = setup("changed_events").await;
    execute(&warehouse, "ALTER TABLE atomic.events DROP COLUMN se_label").await;
    let lines = Lines::new(1, [flagged(1, "a")]);
    assert!(load_events(&loader, &lines, "s").await.unwrap_err().is_retriable());
    assert_eq!(load_events(&loader, &lines, "s").await.unwrap().0.records, 1);
    execute(&warehouse, "DROP TABLE atomic.events").await;
    let lines = Lines::new(2, [flagged(2, "a")]);
    assert!(load_events(&loader, &lines, "s").await.is_err());
    assert_eq!(load_events(&loader, &lines, "s").await.unwrap().0.records, 1);
    assert_eq!(count(&warehouse, "events").await, 1);
}

#[tokio::test]
async fn a_forgotten_progress_lets_a_stream_begin_anew() {
    let (_database, warehouse, loader) = setup("anew").await;
    let lines = Lines::new(1, [flagged(1, "a")]);
    load_events(&loader, &lines, "s").await.unwrap();
    assert_eq!(warehouse.progress().await.unwrap(), [(progress_key("s"), "1".to_owned())]);
    warehouse.forget_progress(&progress_key("s")).await.unwrap();
    assert_eq!(load_events(&loader, &lines, "s").await.unwrap().0.records, 1);
}

/// Each supervised group runs on a thread of its own that may be torn down while others use the same loader.
#[test]
fn a_loader_outlives_the_runtime_that_made_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (_database, warehouse, loader) = first.block_on(setup("runtimes"));
    first.block_on(load_events(&loader, &Lines::new(1, [flagged(1, "a")]), "s")).unwrap();
    drop(first);
    for round in 2..6 {
        let next = runtime();
        let lines = Lines::new(round, [flagged(1, "a")]);
        let (report, _) = next.block_on(load_events(&loader, &lines, "s")).unwrap();
        assert_eq!(report.records, 1);
        // Torn down in the middle of a load.
        let hanging = Lines::new(round + 1, ["no tsv".to_owned()]);
        next.block_on(async {
            let (records, key) = (hanging.records(), progress_key("s"));
            let load = loader.load(&records, &key, hanging.last(), &NoSink::Hangs);
            assert!(tokio::time::timeout(Duration::from_millis(100), load).await.is_err());
        });
    }
    // The pool still holds connections of runtimes that are gone; loaders pass over them, a plain query may not.
    let sql = format!("SELECT count(*) FROM \"{}\".events", warehouse.schema());
    let rows: i64 = runtime().block_on(async {
        let options = warehouse.pool().connect_options();
        let mut connection = sqlx::PgConnection::connect_with(&options).await.unwrap();
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap()
    });
    assert_eq!(rows, 5);
}
