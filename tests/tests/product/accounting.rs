//! Everything that is sent is accounted for: as a row, as a bad row of the right kind, and in objects.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use snowmelt_shop::{Shop, ShopConfig, ShopRequest};
use snowmelt_tests::{Ledger, Place, eventually, feed, run_to_end, send_all, tools_dir};

/// From the last request to everything being in its table.
const SETTLE: Duration = Duration::from_secs(10);

fn thousand() -> Vec<ShopRequest> {
    Shop::new(ShopConfig { seed: 2024, events: 1000, bad_percent: 5.0, ..ShopConfig::default() }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_events_with_bad_ones_are_rows_bad_rows_and_objects_within_ten_seconds() -> Result<()> {
    let place = Place::new().await?;
    let pipeline = place.start(&[]).await?;
    let warehouse = pipeline.warehouse().await?;
    let requests = thousand();
    let ledger = Ledger::of(&requests);
    assert_eq!(ledger.counts(), (950, 50));

    send_all(&pipeline.info.collector_url, &requests).await?;
    warehouse.wait_for(950, 50, SETTLE).await.with_context(|| pipeline.log_tail())?;
    ledger.check(&warehouse.landed().await?, &Ledger::default())?;

    // Entities are in tables of their own, both versions of one schema in the same.
    let products = warehouse.table("com_snowmelt_shop_product_1").await?.context("no table of products")?;
    let versions = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(format!(
        "select distinct p.schema_version::text from {products} p join {} e on e.event_id = p.root_id order by 1",
        warehouse.table("events").await?.context("no table of events")?
    )));
    assert_eq!(versions.fetch_all(&warehouse.pool).await?, ["1-0-0", "1-0-1"]);

    eventually(SETTLE, async || {
        ensure!(place.objects(&pipeline, "raw").await? > 0, "no raw objects");
        let enriched = place.archived(&pipeline, "enriched").await?;
        let bad = place.archived(&pipeline, "bad").await?;
        ensure!((enriched.len(), bad.len()) == (950, 50), "{} enriched lines, {} bad ones", enriched.len(), bad.len());
        let ids: HashSet<&str> = enriched.iter().filter_map(|line| line.split('\t').nth(6)).collect();
        ensure!(ids == ledger.good_ids(), "the enriched lines are of other events");
        for line in &bad {
            let row: Value = serde_json::from_str(line)?;
            ensure!(row["data"]["failure"].is_object(), "a bad row that says nothing: {line}");
        }
        Ok(())
    })
    .await?;
    assert_eq!(pipeline.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn send_plays_as_many_events_as_asked_and_sql_finds_them() -> Result<()> {
    let place = Place::new().await?;
    let pipeline = place.start(&[]).await?;
    let warehouse = pipeline.warehouse().await?;
    let to = &pipeline.info.collector_url;
    let sent = run_to_end(&["send", "--to", to, "--events", "400", "--bad", "5", "--seed", "7"]).await?;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    warehouse.wait_for(380, 20, SETTLE).await.with_context(|| pipeline.log_tail())?;

    let data = place.data();
    let data = data.to_str().context("a temporary directory has a plain name")?;
    let asked = run_to_end(&["sql", "--data-dir", data, "-c", "select count(*) from atomic.events"]).await?;
    assert_eq!(asked.code, Some(0), "{asked:?}");
    assert!(asked.stdout.contains("380"), "{asked:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_shows_what_is_in_each_stream_as_json() -> Result<()> {
    let place = Place::new().await?;
    let pipeline = place.start(&[]).await?;
    let warehouse = pipeline.warehouse().await?;
    let requests: Vec<_> =
        Shop::new(ShopConfig { seed: 5, events: 120, bad_percent: 10.0, ..ShopConfig::default() }).collect();
    send_all(&pipeline.info.collector_url, &requests).await?;
    warehouse.wait_for(108, 12, SETTLE).await.with_context(|| pipeline.log_tail())?;

    let data = place.data();
    let data = data.to_str().context("a temporary directory has a plain name")?;
    for (stream, lines, member) in
        [("raw", requests.len(), "path"), ("enriched", 108, "event_id"), ("bad-1", 12, "data")]
    {
        let tail = run_to_end(&["tail", stream, "--from", "oldest", "--data-dir", data]).await?;
        assert_eq!(tail.code, Some(0), "{tail:?}");
        let shown: Vec<Value> = tail.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        assert_eq!(shown.len(), lines, "{stream}");
        assert!(shown.iter().all(|value| !value[member].is_null()), "{stream}: {}", shown[0]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_analytics_sdk_parses_every_enriched_line() -> Result<()> {
    if tools_dir().is_none() {
        return Ok(());
    }
    let place = Place::new().await?;
    let pipeline = place.start(&[]).await?;
    let requests = thousand();
    let ledger = Ledger::of(&requests);
    send_all(&pipeline.info.collector_url, &requests).await?;
    let lines = eventually(SETTLE, async || {
        let lines = place.archived(&pipeline, "enriched").await?;
        ensure!(lines.len() == 950, "{} enriched lines", lines.len());
        Ok(lines)
    })
    .await
    .with_context(|| pipeline.log_tail())?;

    let parsed = feed("python", &["parse_enriched.py"], lines.join("\n") + "\n").await?;
    let parsed: Vec<Value> = parsed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(parsed.len(), 950);
    let ids: HashSet<&str> = parsed.iter().filter_map(|event| event["event_id"].as_str()).collect();
    assert_eq!(ids, ledger.good_ids());
    for event in &parsed {
        assert!(event["collector_tstamp"].is_string() && event["v_etl"].is_string(), "{event}");
        let page = &event["contexts_com_snowplowanalytics_snowplow_web_page_1"][0]["id"];
        assert!(page.is_string(), "{event}");
    }
    Ok(())
}
