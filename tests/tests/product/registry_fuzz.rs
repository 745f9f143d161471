//! Schemathesis on the registry's own description of its interface: whatever is sent, the server does not fail.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use snowmelt_tests::{Place, eventually, tools_dir};
use tokio::process::Command;

/// For how long: `SNOWMELT_SCHEMATHESIS`, in seconds, or so short that the test is quick.
fn seconds() -> Result<u64> {
    match std::env::var("SNOWMELT_SCHEMATHESIS") {
        Ok(seconds) => seconds.parse().context("SNOWMELT_SCHEMATHESIS"),
        Err(_) => Ok(10),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_of_schemathesis_is_a_failure_of_the_registry() -> Result<()> {
    let Some(tools) = tools_dir() else { return Ok(()) };
    let seconds = seconds()?;
    let place = Place::new().await?;
    let pipeline = place.start(&["--set", "iglu.patches_allowed=true"]).await?;
    let registry = pipeline.info.registry_url.as_deref().context("the quick start has a registry")?;
    let key = std::fs::read_to_string(pipeline.info.registry_key_file.as_ref().context("the registry has a key")?)?;
    // Not by the script's own first line: it names the Python of the directory where it was installed first.
    let running = Command::new(tools.join("python/bin/python"))
        .arg(tools.join("python/bin/schemathesis"))
        .args(["run", &format!("{registry}/api/openapi.json"), "--no-color", "--continue-on-failure"])
        .args(["--header", &format!("apikey: {}", key.trim())])
        .args(["--max-time", &seconds.to_string(), "--max-examples", "1000000", "--workers", "1"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        // It keeps what it has learnt where it runs.
        .current_dir(place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting schemathesis")?;
    let within = Duration::from_secs(seconds + 60);
    let output =
        tokio::time::timeout(within, running.wait_with_output()).await.context("schemathesis does not end")??;
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().filter(|line| !line.is_empty()).take(200).collect::<Vec<_>>().join("\n");
    ensure!(output.status.success(), "{told}\n{}", pipeline.log_tail());
    let cases = text.lines().find(|line| line.contains(" generated, ")).unwrap_or_default().trim();
    println!("{seconds} s of schemathesis: {cases}");
    ensure!(cases.contains("passed"), "{told}");

    let health = format!("{registry}/api/meta/health/db");
    eventually(Duration::from_secs(10), async || {
        ensure!(reqwest::get(&health).await?.status().is_success());
        Ok(())
    })
    .await?;
    ensure!(pipeline.interrupt().await?.code == Some(0));
    Ok(())
}
