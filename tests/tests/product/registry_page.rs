//! The schema registry's page in a real browser: what is published there is what events are judged by, and the columns that it
//! shows are those of the table.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;
use snowmelt_tests::{Pipeline, Place, feed, has_browser, tools_dir};
use sqlx::Row;

/// What the page showed.
#[derive(Debug, Deserialize)]
struct Seen {
    fields: Vec<Vec<String>>,
    columns: Vec<Vec<String>>,
    comparison: String,
    verdicts: Vec<String>,
    list_ms: u64,
    find_ms: u64,
}

/// The page is a debug build's, on a machine that does other things too.
const QUICK_MS: u64 = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_published_in_the_page_becomes_the_table_that_the_page_showed() -> Result<()> {
    if tools_dir().is_none() || !has_browser() {
        return Ok(());
    }
    let place = Place::new().await?;
    let pipeline = place.start(&[]).await?;
    let warehouse = pipeline.warehouse().await?;
    // By others, while it runs.
    sqlx::query(
        "INSERT INTO public.iglu_schemas
         SELECT 'com.many' || n % 100, 'schema_' || n, 'jsonschema', 1, 0, 0, now(), now(), true, '{\"type\":\"object\"}'
         FROM generate_series(1, 10000) AS n",
    )
    .execute(&warehouse.pool)
    .await?;
    // That there is no such schema is remembered; publishing it ends that.
    signup(&pipeline, "1-0-1").await?;
    warehouse.wait_for(0, 1, Duration::from_secs(60)).await?;

    let key_file = pipeline.info.registry_key_file.as_ref().context("the registry has a key")?;
    let key = std::fs::read_to_string(key_file)?;
    let registry = pipeline.info.registry_url.as_deref().context("the quick start has a registry")?;
    let seen = feed("node", &["registry_page.cjs", registry], key).await.with_context(|| pipeline.log_tail())?;
    let seen: Seen = serde_json::from_str(&seen)?;
    println!("10,000 schemas are shown in {} ms, one of them is found in {} ms", seen.list_ms, seen.find_ms);
    ensure!(seen.list_ms < QUICK_MS && seen.find_ms < QUICK_MS, "{seen:?}");

    let field = |name: &str| seen.fields.iter().find(|row| row[0] == name).with_context(|| format!("{name}: {seen:?}"));
    let plan = field("plan")?;
    ensure!(plan[1] == "string" && plan[2] == "yes" && plan[4] == "at most 20 characters", "{plan:?}");
    ensure!(plan[3].starts_with("<img src=x onerror="), "shown as it is written: {plan:?}");
    ensure!(field("seats")?[4].contains("≤ 9223372036854775807"), "{seen:?}");
    ensure!(seen.comparison.contains("1-0-0 → 1-0-1 fits") && seen.comparison.contains("maxLength"), "{seen:?}");
    let [good, bad, wrapped, no_json] = seen.verdicts.as_slice() else { anyhow::bail!("{seen:?}") };
    ensure!(good.contains("valid iglu:com.acme/signup/jsonschema/1-0-1") && bad.contains("is invalid"), "{seen:?}");
    ensure!(wrapped.contains("signup/jsonschema/1-0-0") && no_json.starts_with("Not JSON"), "{seen:?}");

    signup(&pipeline, "1-0-1").await?;
    warehouse.wait_for(1, 1, Duration::from_secs(60)).await.with_context(|| pipeline.log_tail())?;
    ensure!(warehouse.count("atomic.com_acme_signup_1").await? == 1);
    let rows = sqlx::query(
        "SELECT column_name::text, upper(replace(data_type, 'character varying', 'varchar')), character_maximum_length::text,
                is_nullable = 'YES'
         FROM information_schema.columns
         WHERE table_schema = 'atomic' AND table_name = 'com_acme_signup_1' ORDER BY ordinal_position",
    )
    .fetch_all(&warehouse.pool)
    .await?;
    let mut real = Vec::new();
    for row in &rows {
        let (name, kind, length): (String, String, Option<String>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let kind = kind.trim_end_matches(" WITHOUT TIME ZONE").to_owned();
        let kind = length.map_or(kind.clone(), |length| format!("{kind}({length})"));
        real.push([name, kind, if row.try_get(3)? { "yes".to_owned() } else { "no".to_owned() }]);
    }
    let shown: Vec<&[String]> = seen.columns.iter().map(|row| &row[..3]).collect();
    ensure!(
        shown == real.iter().map(|row| row.as_slice()).collect::<Vec<_>>(),
        "{shown:?} is shown, {real:?} is there"
    );
    ensure!(pipeline.interrupt().await?.code == Some(0));
    Ok(())
}

/// Sends one event of the schema.
async fn signup(pipeline: &Pipeline, version: &str) -> Result<()> {
    let signup = json!({"schema": format!("iglu:com.acme/signup/jsonschema/{version}"), "data": {"plan": "gold"}});
    let wrapper = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0";
    let event =
        json!({"e": "ue", "p": "web", "tv": "x", "ue_pr": json!({"schema": wrapper, "data": signup}).to_string()});
    let payload =
        json!({"schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4", "data": [event]});
    let url = format!("{}/com.snowplowanalytics.snowplow/tp2", pipeline.info.collector_url);
    let request = snowmelt_tests::client()?.post(url).header("Content-Type", "application/json");
    let answer = request.body(payload.to_string()).send().await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    Ok(())
}
