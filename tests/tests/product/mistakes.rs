//! What the user does wrong, and what the machine does: one clear message each, the right exit code, never a backtrace.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result};
use snowmelt_tests::{Finished, Place, root, run_to_end};

/// A mistake of the user.
const USER: i32 = 2;
/// Trouble of the machine.
const MACHINE: i32 = 1;

/// It ended with this code and one message, which has all of these words.
fn assert_one_message(finished: &Finished, code: i32, words: &[&str]) {
    let text = &finished.stderr;
    assert_eq!(finished.code, Some(code), "{finished:?}");
    for noise in ["panicked", "backtrace", "RUST_BACKTRACE", "stack"] {
        assert!(!text.contains(noise), "{noise}: {text}");
    }
    for word in words {
        assert!(text.contains(word), "nothing about {word}: {text}");
    }
    let messages = text.lines().filter(|line| line.starts_with("error")).count();
    assert_eq!(messages, 1, "not one message: {text}");
}

/// A definition of an application that copies `raw` to `enriched`, with one line of it replaced.
fn definition(dir: &Path, replace: &str, by: &str) -> Result<String> {
    let good = std::fs::read_to_string(root().join("pipelines/enrich.toml"))?;
    anyhow::ensure!(good.contains(replace), "pipelines/enrich.toml has no {replace}");
    let mistaken = good.replacen(replace, by, 1);
    // The copy lies elsewhere: what it names beside itself has to be named in full.
    let pipelines = root().join("pipelines");
    let named = |name: &str| format!("\"{}/{name}", pipelines.display());
    let mistaken =
        mistaken.replace("\"iglu/", &named("iglu/")).replace("\"enrichments\"", &format!("{}\"", named("enrichments")));
    let file = dir.join("mistaken.toml");
    std::fs::write(&file, mistaken)?;
    Ok(file.to_str().context("a temporary directory has a plain name")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_named_with_its_file_and_the_nearest_right_name() -> Result<()> {
    let place = Place::new().await?;
    let file = definition(place.path(), "\nstream ", "\nstraem ")?;
    for command in ["check", "run"] {
        assert_one_message(&run_to_end(&[command, &file]).await?, USER, &["mistaken.toml", "straem", "stream"]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_a_wrong_type_is_named_with_its_file_and_key() -> Result<()> {
    let place = Place::new().await?;
    let file = definition(place.path(), "\"trim_horizon\"", "[7]")?;
    for command in ["check", "run"] {
        assert_one_message(&run_to_end(&[command, &file]).await?, USER, &["mistaken.toml", "start"]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_definition_is_named() -> Result<()> {
    let _turn = Place::new().await?;
    for command in ["check", "run"] {
        assert_one_message(&run_to_end(&[command, "no/such/pipeline.toml"]).await?, USER, &["no/such/pipeline.toml"]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_resolver_is_named() -> Result<()> {
    let place = Place::new().await?;
    let file = definition(place.path(), "iglu/resolver.json", "iglu/resolvre.json")?;
    assert_one_message(&run_to_end(&["check", &file]).await?, USER, &["mistaken.toml", "resolvre.json"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_an_enrichments_file_is_named_by_check_with_its_key_and_value() -> Result<()> {
    let place = Place::new().await?;
    let enrichments = place.path().join("enrichments");
    std::fs::create_dir(&enrichments)?;
    let good = std::fs::read_to_string(root().join("pipelines/enrichments/anon_ip.json"))?;
    let mistaken = good.replace("\"anonOctets\": 1", "\"anonOctets\": \"one\"");
    anyhow::ensure!(mistaken != good, "pipelines/enrichments/anon_ip.json has changed");
    std::fs::write(enrichments.join("anon.json"), mistaken)?;
    let by = format!("enrichments = {:?}", enrichments.display().to_string());
    let file = definition(place.path(), "enrichments = \"enrichments\"", &by)?;
    let finished = run_to_end(&["check", &file]).await?;
    assert_one_message(&finished, USER, &["anon.json", "parameters.anonOctets", "\"one\""]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_setting_on_the_command_line_is_named() -> Result<()> {
    let _turn = Place::new().await?;
    let run = run_to_end(&["check", "pipelines/quickstart.toml", "--set", "collector.lisen=127.0.0.1:0"]).await?;
    assert_one_message(&run, USER, &["collector.lisen", "listen"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_the_machines_trouble() -> Result<()> {
    let place = Place::new().await?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let run = quickstart(&place, &[&format!("collector.listen={address}"), "backend.operator=127.0.0.1:0"]).await?;
    assert_one_message(&run, MACHINE, &[&address, "in use"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_not_there_is_the_machines_trouble() -> Result<()> {
    let place = Place::new().await?;
    let run = quickstart(
        &place,
        &[
            "backend.postgres=postgres://nobody@127.0.0.1:9/nothing",
            "collector.listen=127.0.0.1:0",
            "backend.operator=127.0.0.1:0",
        ],
    )
    .await?;
    assert_one_message(&run, MACHINE, &["127.0.0.1:9"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_shards_is_a_mistake() -> Result<()> {
    let place = Place::new().await?;
    let collector = root().join("pipelines/collector.toml");
    let file = place.path().join("shardless.toml");
    let text = format!("include = [{collector:?}]\n[[stream]]\nname = \"raw\"\nshards = 0\n");
    std::fs::write(&file, text)?;
    let file = file.to_str().context("a temporary directory has a plain name")?;
    let run = run_to_end(&["run", file]).await?;
    assert_one_message(&run, USER, &["shardless.toml", "shards"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_command_or_option_is_a_mistake() -> Result<()> {
    let _turn = Place::new().await?;
    assert_one_message(&run_to_end(&["rum"]).await?, USER, &["rum"]);
    assert_one_message(&run_to_end(&["send", "--evnts", "5"]).await?, USER, &["--evnts", "--events"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_to_nobody_is_the_machines_trouble() -> Result<()> {
    let _turn = Place::new().await?;
    let run = run_to_end(&["send", "--to", "http://127.0.0.1:9", "--events", "5"]).await?;
    assert_one_message(&run, MACHINE, &["127.0.0.1:9"]);
    Ok(())
}

/// Runs the quick start in a place with these settings, until it ends.
async fn quickstart(place: &Place, settings: &[&str]) -> Result<Finished> {
    let data = place.data();
    let data = data.to_str().context("a temporary directory has a plain name")?;
    let mut arguments = vec!["run", "pipelines/quickstart.toml", "--data-dir", data];
    arguments.extend(["--set", "iglu.listen=127.0.0.1:0"]);
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    run_to_end(&arguments).await
}
