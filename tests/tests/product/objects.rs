//! The S3 loader: every record of a stream is in exactly one object, whatever happens; bad rows of loaders are never dropped.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use snowmelt_standins::{Service, Standins};
use snowmelt_tests::{
    Aws, Bucket, FailingDisk, Pipeline, Place, client, eventually, files, gzip_lines, lzo_records, read_stream, root,
    run_to_end, send_all, tools_dir,
};

use crate::restart::{kills, send_until_refused, shop};

/// How long the last batches may take to be objects.
const SETTLE: Duration = Duration::from_secs(30);

fn pipelines(names: &[&str]) -> String {
    let all: Vec<String> =
        names.iter().map(|name| format!("{:?}", root().join(format!("pipelines/{name}.toml")))).collect();
    all.join(", ")
}

/// A loader's definition: enriched events go to a directory and, under names with times in larger batches, to S3.
fn write(folder: &Path, name: &str, stream: &str, bad: &str, sinks: &str) -> Result<()> {
    let text = format!("name = \"{name}\"\n[source]\nstream = \"{stream}\"\n[bad]\nstream = \"{bad}\"\n{sinks}\n");
    Ok(std::fs::write(folder.join(format!("{name}.toml")), text)?)
}

fn counted(lines: impl IntoIterator<Item = Vec<u8>>) -> BTreeMap<Vec<u8>, u32> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

/// Fails unless `objects` hold the records of `stream`, each as often as the stream does.
async fn same(pipeline: &Pipeline, stream: &str, objects: Vec<Vec<u8>>) -> Result<usize> {
    let records = read_stream(&pipeline.info.operator_url, stream).await?;
    let (expected, found) = (counted(records.into_iter().map(|read| read.data)), counted(objects));
    let missing = expected.iter().filter(|(line, _)| !found.contains_key(*line)).count();
    let repeated: u32 = found.iter().map(|(line, count)| count - expected.get(line).unwrap_or(count).min(count)).sum();
    ensure!(expected == found, "{stream}: of {} records {missing} are missing, {repeated} repeated", expected.len());
    Ok(expected.len())
}

fn lzo(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    for file in files(folder)?.iter().filter(|file| file.extension().is_some_and(|extension| extension == "lzo")) {
        let index = std::fs::read(file.with_extension("lzo.index")).context("its index")?;
        ensure!(index.len() >= 8 && index[..8] == 38_u64.to_be_bytes(), "the first block begins behind the header");
        records.extend(lzo_records(file).with_context(|| file.display().to_string())?);
    }
    Ok(records)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_it_has_every_record_in_exactly_one_object() -> Result<()> {
    let Some(tools) = tools_dir() else { return Ok(()) };
    let s3 = Standins::start(&tools, &[Service::S3]).await?;
    let bucket = Bucket::of(&s3, "archive")?;
    bucket.make().await?;
    let seed =
        std::env::var("SNOWMELT_KILL_SEED").map_or_else(|_| Ok(fastrand::u64(..1_000_000)), |seed| seed.parse())?;
    println!("SNOWMELT_KILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let place = Place::new().await?;
    let small = "max_bytes = \"64 KiB\"\nmax_age = \"150ms\"";
    write(
        place.path(),
        "s3-enriched",
        "enriched",
        "bad-1",
        &format!(
            "[[sink]]\nkind = \"s3\"\npurpose = \"enriched\"\nprefix = \"archive/enriched\"\npartition = \"{{yyyy}}/{{mm}}/{{dd}}\"\n{small}\n\
             [[sink]]\nkind = \"s3\"\npurpose = \"enriched\"\nbucket = \"archive\"\nprefix = \"enriched\"\nnaming = \"original\"\n\
             endpoint = \"{}\"\nmax_bytes = \"256 KiB\"\nmax_age = \"400ms\"",
            s3.endpoint(Service::S3)?
        ),
    )?;
    let one = |purpose: &str, more: &str| {
        format!("[[sink]]\nkind = \"s3\"\npurpose = \"{purpose}\"\nprefix = \"archive/{purpose}\"\n{small}\n{more}")
    };
    write(place.path(), "s3-raw", "raw", "bad-1", &one("raw", "compression = \"lzo\""))?;
    write(place.path(), "s3-bad", "bad-1", "bad-2", &one("bad", ""))?;
    let all = place.path().join("all.toml");
    let text = format!(
        "include = [{}, \"s3-enriched.toml\", \"s3-raw.toml\", \"s3-bad.toml\"]\n\
         [[stream]]\nname = \"raw\"\nshards = 2\n[[stream]]\nname = \"enriched\"\nshards = 2\n",
        pipelines(&["collector", "enrich"])
    );
    std::fs::write(&all, text)?;
    let definition = all.to_str().context("a temporary directory has a plain name")?;
    for round in 0..kills(3)? {
        let pipeline = place.start_definition(definition, &[], Aws::environment()).await?;
        let trackers: Vec<_> = (0..4)
            .map(|tracker| {
                let requests = shop(seed + round * 4 + tracker, 4000);
                tokio::spawn(send_until_refused(pipeline.info.collector_url.clone(), requests))
            })
            .collect();
        let wait = Duration::from_millis(random.u64(50..1500));
        tokio::time::sleep(wait).await;
        pipeline.kill().await?;
        for tracker in trackers {
            tracker.await??;
        }
    }
    let pipeline = place.start_definition(definition, &[], Aws::environment()).await?;
    let archive = pipeline.info.objects_dir.join("archive");
    let counts = eventually(SETTLE, async || {
        let lines = |folder: &str| -> Result<Vec<Vec<u8>>> {
            Ok(gzip_lines(&archive.join(folder))?.into_iter().map(String::into_bytes).collect())
        };
        Ok([
            same(&pipeline, "enriched", lines("enriched")?).await.context("directory")?,
            same(&pipeline, "enriched", bucket.gzip_lines("").await?).await.context("S3")?,
            same(&pipeline, "bad-1", lines("bad")?).await?,
            same(&pipeline, "raw", lzo(&archive.join("raw"))?).await?,
        ])
    })
    .await
    .with_context(|| format!("seed {seed}\n{}", pipeline.log_tail()))?;
    println!(
        "records of enriched (directory, S3), bad-1 and raw, each in one object: {counts:?}; {} objects in S3",
        bucket.keys("").await?.len()
    );
    ensure!(counts.iter().all(|count| *count > 0), "{counts:?}");
    let stopped = pipeline.interrupt().await?;
    ensure!(stopped.code == Some(0), "{stopped:?}");
    Ok(())
}

/// The original's loader of self-describing data, before a stream that has none: everything of it is bad.
const WRONG_STREAM: &str = r#"{
  "license": { "accept": true }
  "purpose": "SELF_DESCRIBING"
  "input": { "streamName": "raw", "appName": "acme-loader", "initialPosition": { "type": "TRIM_HORIZON" } }
  "output": { "good": { "path": "s3://acme/bad/" }, "bad": { "streamName": "bad-2" } }
  "batching": { "maxBytes": 10000, "maxDelay": "200 ms" }
}"#;

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_of_a_loader_wait_for_their_stream_and_none_is_dropped() -> Result<()> {
    let place = Place::new().await?;
    let disk = FailingDisk::new(place.path(), "/streams/bad-2/")?;
    let file = place.path().join("config.hocon");
    std::fs::write(&file, WRONG_STREAM)?;
    let name = file.to_str().context("a temporary directory has a plain name")?;
    // As it is, beside a collector; and converted, it is the same.
    let converted = run_to_end(&["convert", "s3-loader", name]).await?;
    ensure!(
        converted.code == Some(0) && converted.stderr.contains("license: no licence is asked for"),
        "{converted:?}"
    );
    let toml = place.path().join("converted.toml");
    std::fs::write(&toml, &converted.stdout)?;
    let check = run_to_end(&["check", &toml.display().to_string()]).await?;
    ensure!(check.code == Some(0) && check.stdout.contains("s3-writer s3://acme/bad/ (bad)"), "{check:?}");

    let collector = root().join("pipelines/collector.toml");
    let collector = collector.to_str().context("the workspace has a plain name")?;
    let more = ["--s3-loader-config", name, "--set", "acme-loader.sink[0].store=directory"];
    let pipeline = place.start_definition(collector, &more, disk.environment()).await?;
    disk.fail()?;
    let requests = shop(7, 300);
    send_all(&pipeline.info.collector_url, &requests).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let raw = read_stream(&pipeline.info.operator_url, "raw").await?.len();
    ensure!(read_stream(&pipeline.info.operator_url, "bad-2").await?.is_empty());
    ensure!(raw > 0);
    // Killed while the stream is down: what was read is read again.
    pipeline.kill().await?;
    disk.heal()?;
    let pipeline = place.start_definition(collector, &more, disk.environment()).await?;
    let rows = eventually(SETTLE, async || {
        let rows = read_stream(&pipeline.info.operator_url, "bad-2").await?;
        ensure!(rows.len() >= raw, "{} bad rows of {raw} records", rows.len());
        Ok(rows)
    })
    .await
    .with_context(|| pipeline.log_tail())?;
    let mut payloads = std::collections::BTreeSet::new();
    for row in &rows {
        let row: Value = serde_json::from_slice(&row.data)?;
        ensure!(row["schema"] == "iglu:com.snowplowanalytics.snowplow.badrows/generic_error/jsonschema/1-0-0", "{row}");
        ensure!(row["data"]["processor"]["artifact"] == "snowplow-s3-loader", "{row}");
        payloads.insert(row["data"]["payload"].to_string());
    }
    ensure!(rows.len() == raw && payloads.len() == raw, "{} bad rows, {} records of {raw}", rows.len(), payloads.len());
    ensure!(read_stream(&pipeline.info.operator_url, "bad-1").await?.is_empty());
    ensure!(client()?.get(format!("{}/ready", pipeline.info.operator_url)).send().await?.status() == 200);
    let stopped = pipeline.interrupt().await?;
    ensure!(stopped.code == Some(0), "{stopped:?}");
    Ok(())
}
