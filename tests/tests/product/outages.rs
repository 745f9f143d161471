//! The stream is down and trackers do not notice: the collector answers from its spool, and nothing that it accepted is lost,
//! doubled or out of order. `SNOWMELT_OUTAGE_SECONDS` sets how long the stream is down (8 by default, so that the tests are quick).

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use snowmelt_tests::{Clients, FailingDisk, Pipeline, Place, eventually, files, read_stream, root, run_to_end};

/// How long what a spool holds may take to reach the stream, beyond the length of the outage.
const DRAIN: Duration = Duration::from_secs(60);

/// How long the stream is down.
fn outage() -> Result<Duration> {
    let seconds = match std::env::var("SNOWMELT_OUTAGE_SECONDS") {
        Ok(seconds) => seconds.parse().context("SNOWMELT_OUTAGE_SECONDS")?,
        Err(_) => 8,
    };
    Ok(Duration::from_secs(seconds))
}

/// A collector before a raw stream of two shards, whose disk can be made to fail.
struct Rig {
    place: Place,
    disk: FailingDisk,
    definition: String,
}

impl Rig {
    /// `under` says which files can fail, by a part of their paths.
    async fn new(under: &'static str) -> Result<Self> {
        let place = Place::new().await?;
        let disk = FailingDisk::new(place.path(), under)?;
        let file = place.path().join("collector-alone.toml");
        let text = format!(
            "include = [{:?}]\n[[stream]]\nname = \"raw\"\nshards = 2\n",
            root().join("pipelines/collector.toml")
        );
        std::fs::write(&file, text)?;
        let definition = file.to_str().context("a temporary directory has a plain name")?.to_owned();
        Ok(Self { place, disk, definition })
    }

    /// Starts it with these keys of the collector's configuration.
    async fn start(&self, settings: &[&str]) -> Result<Pipeline> {
        let keys: Vec<String> = std::iter::once(&"streams.useIpAddressAsPartitionKey=true")
            .chain(settings)
            .map(|setting| format!("collector.settings.{setting}"))
            .collect();
        let arguments: Vec<&str> = keys.iter().flat_map(|key| ["--set", key]).collect();
        self.place.start_definition(&self.definition, &arguments, self.disk.environment()).await
    }
}

async fn status_of(url: &str) -> Result<u16> {
    Ok(reqwest::get(url).await?.status().as_u16())
}

/// The collector's way to the raw stream, out of `/status`.
async fn way(pipeline: &Pipeline) -> Result<Value> {
    let answer = reqwest::get(format!("{}/status", pipeline.info.operator_url)).await?;
    let status: Value = serde_json::from_slice(&answer.bytes().await?)?;
    let ways = status["collectors"].as_array().context("collectors")?;
    ways.iter().find(|way| way["stream"] == "raw").cloned().context("no way to raw")
}

/// The value of a metric's line in `/metrics`.
async fn metric(pipeline: &Pipeline, line: &str) -> Result<f64> {
    let text = reqwest::get(format!("{}/metrics", pipeline.info.operator_url)).await?.text().await?;
    let value = text.lines().find_map(|found| found.strip_prefix(line)).with_context(|| format!("no {line}"))?;
    Ok(value.trim().parse()?)
}

/// Waits until the stream has all that the spool held.
async fn drained(pipeline: &Pipeline, within: Duration) -> Result<()> {
    eventually(within, async || {
        let way = way(pipeline).await?;
        let spool = &way["spool"];
        ensure!(spool["oldest_age_ms"] == 0 && spool["stream_trouble"].is_null(), "not drained: {way}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_stream_is_down_no_request_is_refused_and_all_come_in_order() -> Result<()> {
    let outage = outage()?;
    let rig = Rig::new("/streams/raw/").await?;
    let pipeline = rig.start(&[]).await?;
    let clients = Clients::start(&pipeline.info.collector_url, 50, 500, 2_000)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    rig.disk.fail()?;
    let began = Instant::now();
    let (mut most_bytes, mut longest_ms) = (0.0_f64, 0.0_f64);
    while began.elapsed() < outage {
        tokio::time::sleep(Duration::from_millis(500).min(outage)).await;
        most_bytes = most_bytes.max(metric(&pipeline, "collector_spool_bytes{sink=\"good\"}").await?);
        longest_ms = longest_ms.max(metric(&pipeline, "collector_spool_oldest_age_ms{sink=\"good\"}").await?);
    }
    // The collector is ready, and what is wrong can be seen.
    assert_eq!(status_of(&format!("{}/ready", pipeline.info.operator_url)).await?, 200);
    assert_eq!(status_of(&format!("{}/sink-health", pipeline.info.collector_url)).await?, 200);
    let down = way(&pipeline).await?;
    assert_eq!(down["ready"], true, "{down}");
    assert!(down["spool"]["stream_trouble"].as_str().is_some_and(|reason| reason.contains("space")), "{down}");
    assert!(most_bytes > 100_000.0 && longest_ms > outage.as_millis() as f64 / 2.0, "{most_bytes} {longest_ms}");
    rig.disk.heal()?;
    let healed = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = clients.counts().refused.load(Ordering::Relaxed);
    let sent = clients.stop().await?;
    let rate = sent.accepted() as f64 / (began.elapsed().as_secs_f64() + 2.0);
    drained(&pipeline, DRAIN + outage).await.with_context(|| pipeline.log_tail())?;
    let (p99, longest) = sent.latency();
    println!(
        "down for {outage:?}: {} accepted ({rate:.0}/s), {refused} refused, p99 {p99:?}, longest {longest:?}; \
         the spool held up to {most_bytes} bytes and {longest_ms} ms; drained {:?} after the end",
        sent.accepted(),
        healed.elapsed()
    );
    assert_eq!(refused, 0);
    let repeats = sent.check(&read_stream(&pipeline.info.operator_url, "raw").await?)?;
    assert_eq!(repeats, 0);
    assert_eq!(pipeline.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_with_retry_after_and_what_was_accepted_comes_in_order() -> Result<()> {
    let rig = Rig::new("/streams/raw/").await?;
    let pipeline = rig.start(&["spool.maxBytes=8388608"]).await?;
    let clients = Clients::start(&pipeline.info.collector_url, 50, 500, 20_000)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.disk.fail()?;
    let refused = || clients.counts().refused.load(Ordering::Relaxed);
    eventually(Duration::from_secs(60), async || {
        ensure!(refused() > 200, "{} refused", refused());
        Ok(())
    })
    .await?;
    let full = way(&pipeline).await?;
    assert_eq!(full["ready"], false, "{full}");
    assert!(full["reason"].as_str().is_some_and(|reason| reason.contains("its bound is 8388608")), "{full}");
    assert_eq!(status_of(&format!("{}/ready", pipeline.info.operator_url)).await?, 503);
    assert_eq!(status_of(&format!("{}/sink-health", pipeline.info.collector_url)).await?, 503);
    rig.disk.heal()?;
    let before = clients.counts().accepted.load(Ordering::Relaxed);
    eventually(DRAIN, async || {
        let accepted = clients.counts().accepted.load(Ordering::Relaxed) - before;
        ensure!(accepted > 500, "{accepted} accepted since the stream is up again");
        Ok(())
    })
    .await?;
    let refused = refused();
    let sent = clients.stop().await?;
    drained(&pipeline, DRAIN).await.with_context(|| pipeline.log_tail())?;
    let repeats = sent.check(&read_stream(&pipeline.info.operator_url, "raw").await?)?;
    println!("{} accepted, {refused} refused, {repeats} of those stored all the same and again", sent.accepted());
    eventually(Duration::from_secs(10), async || {
        let ready = status_of(&format!("{}/ready", pipeline.info.operator_url)).await?;
        ensure!(ready == 200, "/ready is {ready}");
        Ok(())
    })
    .await?;
    assert_eq!(pipeline.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_on_a_full_disk_refuses_and_takes_records_again_when_there_is_room() -> Result<()> {
    let rig = Rig::new("/spool/collector-good/").await?;
    let pipeline = rig.start(&[]).await?;
    let clients = Clients::start(&pipeline.info.collector_url, 10, 200, 500)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.disk.fail()?;
    let seen = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let counts = clients.counts();
    eventually(Duration::from_secs(30), async || {
        ensure!(seen(&counts.refused) > 50, "{counts:?}");
        Ok(())
    })
    .await?;
    let full = way(&pipeline).await?;
    assert!(full["ready"] == false && full["reason"].as_str().is_some_and(|why| why.contains("space")), "{full}");
    rig.disk.heal()?;
    let before = seen(&counts.accepted);
    eventually(Duration::from_secs(30), async || {
        ensure!(seen(&counts.accepted) > before + 200, "{counts:?}");
        Ok(())
    })
    .await?;
    let sent = clients.stop().await?;
    drained(&pipeline, DRAIN).await.with_context(|| pipeline.log_tail())?;
    sent.check(&read_stream(&pipeline.info.operator_url, "raw").await?)?;
    assert_eq!(way(&pipeline).await?["ready"], true);
    assert_eq!(pipeline.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_every_mode_what_is_accepted_is_in_the_stream_when_it_has_stopped() -> Result<()> {
    for mode in ["spool", "stream", "memory"] {
        let rig = Rig::new("/streams/raw/").await?;
        let pipeline = rig.start(&[&format!("durability={mode}"), "preTerminationPeriod=1500"]).await?;
        let clients = Clients::start(&pipeline.info.collector_url, 10, 300, 500)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        // It goes on serving for a while after it was asked to stop.
        let stopping = tokio::spawn(pipeline.interrupt());
        tokio::time::sleep(Duration::from_millis(700)).await;
        let sent = clients.stop().await.with_context(|| format!("{mode}: refused while it served on"))?;
        let stopped = stopping.await??;
        assert_eq!(stopped.code, Some(0), "{mode}: {stopped:?}");
        assert!(stopped.took >= Duration::from_millis(1500), "{mode}: {stopped:?}");
        // Without what a spool could still bring.
        let spools = rig.place.data().join("spool");
        if spools.try_exists()? {
            std::fs::remove_dir_all(spools)?;
        }
        let pipeline = rig.start(&["durability=stream"]).await?;
        let records = read_stream(&pipeline.info.operator_url, "raw").await?;
        // With `memory` the client does not wait, so that batches are under way side by side, as in the original.
        let checked = if mode == "memory" { sent.check_in_any_order(records) } else { sent.check(&records) };
        assert_eq!(checked.with_context(|| mode.to_owned())?, 0);
        assert_eq!(pipeline.interrupt().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_spool_a_stream_that_is_down_is_told_to_trackers_and_operators() -> Result<()> {
    let rig = Rig::new("/streams/raw/").await?;
    let pipeline = rig.start(&["durability=stream"]).await?;
    rig.disk.fail()?;
    let clients = Clients::start(&pipeline.info.collector_url, 5, 50, 500)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(clients.counts().accepted.load(Ordering::Relaxed), 0);
    assert!(clients.counts().refused.load(Ordering::Relaxed) > 0);
    let down = way(&pipeline).await?;
    assert!(down["ready"] == false && down["reason"].is_string() && down["spool"].is_null(), "{down}");
    rig.disk.heal()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sent = clients.stop().await?;
    assert!(sent.accepted() > 10, "{}", sent.accepted());
    sent.check(&read_stream(&pipeline.info.operator_url, "raw").await?)?;
    assert_eq!(pipeline.interrupt().await?.code, Some(0));
    Ok(())
}

/// The segments of a spool that its shards are written to.
fn segments(data: &Path) -> Result<Vec<std::path::PathBuf>> {
    let all = files(&data.join("spool/collector-good/streams"))?;
    Ok(all.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "seg")).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_collector_left_in_its_spool_comes_after_the_next_start_whatever_the_mode() -> Result<()> {
    let rig = Rig::new("/streams/raw/").await?;
    let pipeline = rig.start(&["terminationDeadline=1000"]).await?;
    rig.disk.fail()?;
    let clients = Clients::start(&pipeline.info.collector_url, 10, 300, 500)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sent = clients.stop().await?;
    // The stream is down still: what the spool has is safe, so that this is a good end.
    assert_eq!(pipeline.interrupt().await?.code, Some(0));
    rig.disk.heal()?;
    // As if the machine had died within the next write.
    for (number, segment) in segments(&rig.place.data())?.iter().enumerate() {
        let torn: &[u8] = [&b"SMF1\x20\0\0\0torn"[..], &[0; 5000], &[0xA5; 333]][number % 3];
        let mut bytes = std::fs::read(segment)?;
        bytes.extend_from_slice(torn);
        std::fs::write(segment, bytes)?;
    }
    let pipeline = rig.start(&["durability=stream"]).await?;
    drained(&pipeline, DRAIN).await.with_context(|| pipeline.log_tail())?;
    assert_eq!(sent.check(&read_stream(&pipeline.info.operator_url, "raw").await?)?, 0);
    assert_eq!(pipeline.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_cannot_be_opened_is_set_aside_whole_and_one_in_use_is_told() -> Result<()> {
    let rig = Rig::new("/streams/raw/").await?;
    let elsewhere = rig.place.path().join("elsewhere");
    let directory = format!("spool.directory={}", elsewhere.display());
    let pipeline = rig.start(&[&directory]).await?;
    assert_eq!(status_of(&format!("{}/i?e=pv", pipeline.info.collector_url)).await?, 200);

    // Another node may not have it too.
    let other = rig.place.path().join("other");
    let other = other.to_str().context("a temporary directory has a plain name")?;
    let directory_key = format!("collector.settings.{directory}");
    let settings = ["collector.listen=127.0.0.1:0", "backend.operator=127.0.0.1:0", &directory_key];
    let mut arguments = vec!["run", rig.definition.as_str(), "--data-dir", other];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let refused = run_to_end(&arguments).await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let process = format!("in use by process {}", pipeline.info.pid);
    for word in ["collector", "elsewhere", &process] {
        assert!(refused.stderr.contains(word), "nothing about {word}: {}", refused.stderr);
    }
    assert_eq!(pipeline.interrupt().await?.code, Some(0));

    // The head of a segment is damaged.
    let segment = files(&elsewhere.join("collector-good/streams"))?
        .into_iter()
        .find(|file| file.extension().is_some_and(|extension| extension == "seg"))
        .context("no segment")?;
    let mut bytes = std::fs::read(&segment)?;
    bytes[20] ^= 0xff;
    std::fs::write(&segment, bytes)?;
    let pipeline = rig.start(&[&directory]).await?;
    assert_eq!(status_of(&format!("{}/i?e=pv", pipeline.info.collector_url)).await?, 200);
    assert!(pipeline.log_tail().contains("is damaged and set aside"), "{}", pipeline.log_tail());
    let names: Vec<_> =
        std::fs::read_dir(&elsewhere)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_, std::io::Error>>()?;
    let kept = names.iter().filter(|name| name.to_string_lossy().starts_with("collector-good.damaged-"));
    assert_eq!(kept.count(), 1, "{names:?}");
    assert_eq!(pipeline.interrupt().await?.code, Some(0));
    Ok(())
}
