//! A real browser with the real browser tracker, on a page of another site than the collector's.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use snowmelt_tests::{Place, Warehouse, eventually, feed, has_browser, tools_dir};
use sqlx::{AssertSqlSafe, Row};

/// What a visit left behind in the browser.
#[derive(Deserialize)]
struct Visit {
    /// Id and type, as in the tracker protocol, of each event that was accepted.
    events: BTreeMap<String, String>,
    /// The collector's cookie.
    cookie: Option<String>,
}

/// What the page does besides page pings, of which there are as many as the visit is long.
const DONE: [&str; 6] = ["change_form", "change_form", "focus_form", "link_click", "page_view", "submit_form"];

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_two_visits_by_post_and_get_are_in_postgres_under_one_network_id() -> Result<()> {
    if tools_dir().is_none() || !has_browser() {
        return Ok(());
    }
    let place = Place::new().await?;
    let pipeline = place.start(&[]).await?;
    let warehouse = pipeline.warehouse().await?;
    let profile = place.path().join("profile");
    let profile = profile.to_str().context("a temporary directory has a plain name")?;
    let mut person = None;
    let mut all = 0;
    for method in ["post", "get"] {
        let app = format!("browser-{method}");
        let arguments = ["browser_tracker.cjs", &pipeline.info.collector_url, method, &app, profile];
        let visit: Visit = serde_json::from_str(&feed("node", &arguments, String::new()).await?)?;
        let network_id =
            visit.cookie.with_context(|| format!("{app}: the browser keeps no cookie of the collector's"))?;
        let landed = eventually(Duration::from_secs(10), async || {
            let landed = landed(&warehouse, &app).await?;
            ensure!(landed.len() >= visit.events.len(), "{app}: {landed:?} of {:?}", visit.events);
            Ok(landed)
        })
        .await
        .with_context(|| pipeline.log_tail())?;

        let ids: Vec<&String> = landed.iter().map(|event| &event.id).collect();
        assert_eq!(ids, visit.events.keys().collect::<Vec<_>>(), "{app}");
        let mut names: Vec<&str> = landed.iter().map(|event| event.name.as_str()).collect();
        names.sort_unstable();
        names.retain(|name| *name != "page_ping");
        assert_eq!(names, DONE, "{app}");
        assert!(names.len() < landed.len(), "{app}: no page ping");
        for event in &landed {
            assert_eq!(event.network_id, network_id, "{app}: {}", event.name);
        }
        assert_eq!(person.get_or_insert_with(|| network_id.clone()), &network_id, "{app}: another person");
        all += landed.len() as u64;
    }
    assert_eq!(warehouse.counts().await?, (all, 0));
    Ok(())
}

/// A row of `events`.
#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    network_id: String,
}

/// The events of an application, in the order of their ids.
async fn landed(warehouse: &Warehouse, app_id: &str) -> Result<Vec<Event>> {
    let table = warehouse.table("events").await?.context("no table of events")?;
    let sql = format!(
        "select event_id::text as id, event_name::text, network_userid::text from {table} where app_id = $1 order by id"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(app_id).fetch_all(&warehouse.pool).await?;
    let event = |row: &sqlx::postgres::PgRow| {
        anyhow::Ok(Event { id: row.try_get(0)?, name: row.try_get(1)?, network_id: row.try_get(2)? })
    };
    rows.iter().map(event).collect()
}
