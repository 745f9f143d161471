//! Real trackers, from PyPI and npm, send to the collector; their events are in Postgres.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use snowmelt_tests::{Place, Warehouse, eventually, feed, tools_dir};
use sqlx::{AssertSqlSafe, Row};

/// The types of the events of an application, sorted.
async fn event_types(warehouse: &Warehouse, app_id: &str) -> Result<Vec<String>> {
    let table = warehouse.table("events").await?.context("no table of events")?;
    let sql = format!("select event_name::text from {table} where app_id = $1 order by 1");
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(app_id).fetch_all(&warehouse.pool).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Waits until exactly these have landed.
async fn expect(warehouse: &Warehouse, app_id: &str, types: &[&str]) -> Result<()> {
    eventually(Duration::from_secs(10), async || {
        let landed = event_types(warehouse, app_id).await?;
        ensure!(landed == types, "{app_id}: {landed:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_the_python_tracker_are_in_postgres() -> Result<()> {
    if tools_dir().is_none() {
        return Ok(());
    }
    let place = Place::new().await?;
    let pipeline = place.start(&[]).await?;
    let warehouse = pipeline.warehouse().await?;
    let address = pipeline.info.collector_url.trim_start_matches("http://");
    let (host, port) = address.split_once(':').context("the collector's address has a port")?;
    for method in ["get", "post"] {
        let app = format!("python-{method}");
        let sent = feed("python", &["python_tracker.py", host, port, method, &app], String::new()).await?;
        assert_eq!(sent.trim(), "5");
        expect(&warehouse, &app, &["event", "link_click", "link_click", "page_ping", "page_view"]).await?;
    }
    assert_eq!(warehouse.counts().await?, (10, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_the_node_tracker_are_in_postgres() -> Result<()> {
    if tools_dir().is_none() {
        return Ok(());
    }
    let place = Place::new().await?;
    let pipeline = place.start(&[]).await?;
    let warehouse = pipeline.warehouse().await?;
    for method in ["get", "post"] {
        let app = format!("node-{method}");
        let sent =
            feed("node", &["node_tracker.cjs", &pipeline.info.collector_url, method, &app], String::new()).await?;
        assert_eq!(sent.trim(), "5");
        expect(&warehouse, &app, &["event", "link_click", "page_ping", "page_view", "site_search"]).await?;
    }
    assert_eq!(warehouse.counts().await?, (10, 0));
    Ok(())
}
