//! Data models of dbt on what the product has loaded.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use snowmelt_shop::{Shop, ShopConfig, ShopRequest};
use snowmelt_tests::{Place, root, send_all, tools_dir};
use sqlx::postgres::PgConnectOptions;
use tokio::process::Command;

const SETTLE: Duration = Duration::from_secs(15);

/// The program that `tests/run.sh` installs; prints that the test is skipped where it is not.
fn dbt() -> Option<PathBuf> {
    let program = tools_dir()?.join("dbt/bin/dbt");
    if program.is_file() {
        return Some(program);
    }
    println!("skipped: {} is missing; bash tests/run.sh installs it", program.display());
    None
}

/// How often the models are built on a database that grows: `SNOWMELT_DBT_BUILDS`, or once, since each start of dbt takes
/// seconds.
fn builds() -> Result<u64> {
    match std::env::var("SNOWMELT_DBT_BUILDS") {
        Ok(builds) => builds.parse().context("SNOWMELT_DBT_BUILDS"),
        Err(_) => Ok(1),
    }
}

fn shop(seed: u64) -> Vec<ShopRequest> {
    Shop::new(ShopConfig { seed, events: 500, bad_percent: 0.0, ..ShopConfig::default() }).collect()
}

/// Runs `dbt build` on a database, and gives how many models and tests there were, all of them good.
async fn build(program: &Path, out: &Path, url: &str) -> Result<(usize, usize)> {
    let to: PgConnectOptions = url.parse()?;
    let password = url.split_once("://").and_then(|(_, rest)| rest.split('@').next()?.split_once(':'));
    let (_, password) = password.context("the database's URL has a password")?;
    let project = root().join("tests/dbt");
    let run = Command::new(program)
        .args(["--quiet", "build", "--target-path"])
        .arg(out.join("target"))
        .arg("--log-path")
        .arg(out.join("logs"))
        .args(["--project-dir"])
        .arg(&project)
        .arg("--profiles-dir")
        .arg(&project)
        .env("DBT_HOST", "127.0.0.1")
        .env("DBT_PORT", to.get_port().to_string())
        .env("DBT_USER", to.get_username())
        .env("DBT_ENV_SECRET_PASSWORD", password)
        .env("DBT_DATABASE", to.get_database().context("the database's name")?)
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(Duration::from_secs(120), run).await.context("dbt build is too slow")??;
    let said = || format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    ensure!(run.status.success(), "dbt build: {}\n{}", run.status, said());
    let results: Value = serde_json::from_slice(&std::fs::read(out.join("target/run_results.json"))?)?;
    let results = results["results"].as_array().context("dbt's results")?;
    let of_kind = |kind: &str| {
        let kind = format!("{kind}.");
        results.iter().filter(|result| result["unique_id"].as_str().is_some_and(|id| id.starts_with(&kind))).count()
    };
    let good = results.iter().all(|result| matches!(result["status"].as_str(), Some("success" | "pass")));
    ensure!(good, "{results:#?}\n{}", said());
    Ok((of_kind("model"), of_kind("test")))
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_dbt_are_green_on_a_loaded_database() -> Result<()> {
    let Some(program) = dbt() else { return Ok(()) };
    let place = Place::new().await?;
    let pipeline = place.start(&[]).await?;
    let warehouse = pipeline.warehouse().await?;
    let url = pipeline.info.postgres_url.clone().context("the quick start has a database")?;
    for round in 1..=builds()? {
        let loaded = 500 * round;
        send_all(&pipeline.info.collector_url, &shop(70 + round)).await?;
        warehouse.wait_for(loaded, 0, SETTLE).await.with_context(|| pipeline.log_tail())?;
        let began = std::time::Instant::now();
        let (models, tests) = build(&program, place.path(), &url).await?;
        println!("dbt build of {models} models and {tests} tests on {loaded} events: {:?}", began.elapsed());
        ensure!((models, tests) == (3, 15), "{models} models, {tests} tests");
        let modelled = warehouse.count("derived.shop_events").await?;
        ensure!(modelled == loaded, "{modelled} of {loaded} events are in the model");
    }
    ensure!(pipeline.interrupt().await?.code == Some(0));
    Ok(())
}
