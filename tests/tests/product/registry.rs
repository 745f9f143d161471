//! The schema registry of the quick start: what is published there is what events are judged by, and what tables are made of.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use snowmelt_tests::{Place, run_to_end};

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
