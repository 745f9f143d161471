//! Removal of duplicates: of events with one id that are loaded within the window the first stays, whoever loads it.

use std::time::Duration;

use serde_json::json;
use snowmelt_warehouse::{EventLoader, LoaderOptions, Warehouse};

use crate::support::*;

const NOTE: &str = "iglu:com.acme/note/jsonschema/1-0-0";

/// An event with a note; a note of more than 8 characters is refused by the database.
fn noted(id: usize, note: &str) -> String {
    event(&[
        ("event_id", &format!("00000000-0000-0000-0000-{id:012}")),
        ("contexts", &contexts(&[(NOTE, json!({"note": note}))])),
    ])
}

async fn setup(database: &str, window: Duration) -> (Database, Warehouse, EventLoader) {
    let database = Database::create(database).await;
    let warehouse = database.warehouse("atomic").await;
    let loader = loader(&warehouse, window);
    (database, warehouse, loader)
}

fn loader(warehouse: &Warehouse, window: Duration) -> EventLoader {
    let document = json!({"type": "object", "properties": {"note": {"type": "string", "maxLength": 8}}});
    let options = LoaderOptions { deduplicate: Some(window), ..loader_options() };
    EventLoader::new(warehouse.clone(), Schemas::of(&[(NOTE, document)]), options)
}

async fn rows_of_both(warehouse: &Warehouse) -> (i64, i64) {
    (count(warehouse, "events").await, count(warehouse, "com_acme_note_1").await)
}

#[tokio::test]
async fn an_id_counts_once_within_the_window_in_one_batch_and_over_shards() {
    let (_database, warehouse, loader) = setup("duplicates", Duration::from_secs(3600)).await;
    let lines = Lines::new(1, [1, 2, 1, 3, 3, 3].map(|id| noted(id, "a")));
    let (report, bad) = load_events(&loader, &lines, "one").await.unwrap();
    assert_eq!((report.records, report.duplicates, bad.len()), (3, 3, 0));
    assert_eq!(rows_of_both(&warehouse).await, (3, 3));
    let (report, _) = load_events(&loader, &Lines::new(1, [3, 4, 5].map(|id| noted(id, "b"))), "other").await.unwrap();
    assert_eq!((report.records, report.duplicates), (2, 1));
    assert_eq!(rows_of_both(&warehouse).await, (5, 5));
    // The first has stayed.
    let third = rows(&warehouse, "com_acme_note_1").await;
    assert_eq!(third.iter().filter(|row| row["note"] == "a").count(), 3);
    // Only then is it a repetition of the same batch.
    let (report, _) = load_events(&loader, &lines, "one").await.unwrap();
    assert_eq!((report.skipped, report.duplicates), (6, 0));
}

#[tokio::test]
async fn after_the_window_an_id_counts_again() {
    let (_database, warehouse, loader) = setup("duplicates_later", Duration::from_millis(50)).await;
    for round in 1..=3 {
        tokio::time::sleep(Duration::from_millis(120)).await;
        let (report, _) = load_events(&loader, &Lines::new(round, [noted(1, "a")]), "one").await.unwrap();
        assert_eq!((report.records, report.duplicates), (1, 0));
    }
    assert_eq!(rows_of_both(&warehouse).await, (3, 3));
}

#[tokio::test]
async fn an_event_that_is_refused_is_no_first_and_nothing_is_lost_to_it() {
    let (_database, warehouse, loader) = setup("duplicates_refused", Duration::from_secs(3600)).await;
    let lines = Lines::new(1, [noted(1, "a"), noted(2, "much too long"), noted(2, "b"), noted(1, "c"), noted(3, "d")]);
    let (report, bad) = load_events(&loader, &lines, "one").await.unwrap();
    // What has the id of a refused event in the same batch is told with it.
    assert_eq!((report.records, report.bad, report.duplicates), (2, 2, 1));
    assert_eq!(bad.iter().map(|row| row.sequence.as_str()).collect::<Vec<_>>(), ["2", "3"]);
    let (report, _) = load_events(&loader, &Lines::new(6, [noted(2, "e")]), "one").await.unwrap();
    assert_eq!((report.records, report.duplicates), (1, 0));
    assert_eq!(rows_of_both(&warehouse).await, (3, 3));
}

#[tokio::test]
async fn two_loaders_with_the_same_ids_in_other_orders_load_each_once() {
    let (database, warehouse, _) = setup("duplicates_race", Duration::from_secs(3600)).await;
    let mut loads = Vec::new();
    for shard in 0..4_usize {
        let loader = loader(&database.warehouse("atomic").await, Duration::from_secs(3600));
        loads.push(tokio::spawn(async move {
            let mut records = 0;
            for batch in 0..5_usize {
                let ids = (0..200).map(|at| (at * 7 + shard * 13 + batch * 40) % 400);
                let lines = Lines::new(1 + 200 * batch as u64, ids.map(|id| noted(id, "a")));
                let (report, _) = load_events(&loader, &lines, &format!("shard {shard}")).await.unwrap();
                records += report.records;
            }
            records
        }));
    }
    let mut loaded = 0;
    for load in loads {
        loaded += load.await.unwrap();
    }
    let ids: i64 = sqlx::query_scalar("SELECT count(DISTINCT event_id) FROM atomic.events")
        .fetch_one(warehouse.pool())
        .await
        .unwrap();
    assert_eq!(rows_of_both(&warehouse).await, (ids, ids));
    assert_eq!((loaded, ids), (400, 400));
}
