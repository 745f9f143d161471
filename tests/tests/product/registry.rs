//! The schema registry of the quick start: what is published there is what events are judged by, and what tables are made of.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use snowmelt_tests::{Place, eventually, run_to_end};

#[tokio::test(flavor = "multi_thread")]
async fn events_with_a_schema_that_was_just_published_become_its_table() -> Result<()> {
    let place = Place::new().await?;
    let pipeline = place.start(&[]).await?;
    let folder = place.path().join("schemas");
    let file = folder.join("com.acme/signup/jsonschema/1-0-0");
    std::fs::create_dir_all(file.parent().context("a path with folders")?)?;
    let schema = json!({
        "$schema": "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#",
        "self": {"vendor": "com.acme", "name": "signup", "format": "jsonschema", "version": "1-0-0"},
        "type": "object",
        "description": "d",
        "properties": {"plan": {"type": "string", "maxLength": 20, "description": "p"}},
        "required": ["plan"],
        "additionalProperties": false
    });
    std::fs::write(&file, schema.to_string())?;
    let (folder, data) = (folder.display().to_string(), place.data().display().to_string());
    let pushed = run_to_end(&["iglu", "push", &folder, "--data-dir", &data]).await?;
    ensure!(pushed.code == Some(0) && pushed.stdout.contains("1 published"), "{pushed:?}");

    let event = |data: serde_json::Value| {
        let signup = json!({"schema": "iglu:com.acme/signup/jsonschema/1-0-0", "data": data});
        let wrapper = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0";
        json!({"e": "ue", "p": "web", "tv": "x", "ue_pr": json!({"schema": wrapper, "data": signup}).to_string()})
    };
    let payload = json!({
        "schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
        "data": [event(json!({"plan": "gold"})), event(json!({"plan": 5}))]
    });
    let url = format!("{}/com.snowplowanalytics.snowplow/tp2", pipeline.info.collector_url);
    let request = snowmelt_tests::client()?.post(url).header("Content-Type", "application/json");
    let answer = request.body(payload.to_string()).send().await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    let warehouse = pipeline.warehouse().await?;
    warehouse.wait_for(1, 1, Duration::from_secs(60)).await?;
    ensure!(warehouse.count("atomic.com_acme_signup_1").await? == 1);
    ensure!(pipeline.interrupt().await?.code == Some(0));
    Ok(())
}

/// The tables of the original before 0.6, with one schema and one key.
const OLD_TABLES: &str = r#"
CREATE SCHEMA old;
SET search_path = old;
CREATE TABLE schemas (vendor VARCHAR(200), name VARCHAR(50), format VARCHAR(50), version VARCHAR(50), schema TEXT,
    draftnumber VARCHAR(50), createdat TIMESTAMP, updatedat TIMESTAMP, ispublic BOOLEAN);
CREATE TABLE apikeys (uid UUID, vendor_prefix VARCHAR(200), permission VARCHAR(20), createdat TIMESTAMP);
INSERT INTO apikeys VALUES ('22222222-2222-4222-8222-222222222222', 'com.acme', 'write', now());
INSERT INTO schemas VALUES ('com.acme', 'e', 'jsonschema', '1-0-0',
    '{"$schema":"http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#",
      "self":{"vendor":"com.acme","name":"e","format":"jsonschema","version":"1-0-0"},"type":"object"}',
    '0', now(), now(), TRUE);
RESET search_path"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_of_0_5_is_moved_by_one_command_and_a_node_whose_registry_is_in_trouble_is_not_ready() -> Result<()>
{
    let place = Place::new().await?;
    let pipeline = place.start(&[]).await?;
    let warehouse = pipeline.warehouse().await?;
    sqlx::raw_sql(OLD_TABLES).execute(&warehouse.pool).await?;
    let data = place.data().display().to_string();
    let setup = ["iglu", "setup", "--schema", "old", "--data-dir", &data];
    let wrong = run_to_end(&[&setup[..], &["--migrate", "0.4.0"]].concat()).await?;
    ensure!(wrong.code == Some(2) && wrong.stderr.contains("0.4.0"), "{wrong:?}");
    let moved = run_to_end(&[&setup[..], &["--migrate", "0.5.0"]].concat()).await?;
    ensure!(moved.code == Some(0) && moved.stdout.contains("1 schemas, 0 drafts, 1 keys"), "{moved:?}");

    // Its tables are in trouble: what is in memory is still read, and the node says that it is not ready.
    let registry = pipeline.info.registry_url.clone().context("the quick start has a registry")?;
    let status = format!("{}/status", pipeline.info.operator_url);
    let registries = async || {
        let text = reqwest::get(&status).await?.text().await?;
        anyhow::Ok(serde_json::from_str::<serde_json::Value>(&text)?["registries"].take())
    };
    let good = registries().await?;
    ensure!(good == json!([{"registry": "iglu", "ready": true, "reason": null}]), "{good}");
    sqlx::query("ALTER TABLE public.snowmelt_iglu_state RENAME TO elsewhere").execute(&warehouse.pool).await?;
    eventually(Duration::from_secs(20), async || {
        let now = registries().await?;
        ensure!(now[0]["ready"] == false && now[0]["reason"].is_string(), "{now}");
        Ok(())
    })
    .await?;
    let ready = reqwest::get(format!("{}/ready", pipeline.info.operator_url)).await?;
    ensure!(ready.status() == 503 && ready.text().await?.contains("iglu: the registry's database failed"));
    ensure!(reqwest::get(format!("{registry}/api/schemas")).await?.status().is_success());
    sqlx::query("ALTER TABLE public.elsewhere RENAME TO snowmelt_iglu_state").execute(&warehouse.pool).await?;
    eventually(Duration::from_secs(30), async || {
        let now = registries().await?;
        ensure!(now == good, "{now}");
        Ok(())
    })
    .await?;
    ensure!(pipeline.interrupt().await?.code == Some(0));
    Ok(())
}
