//! The whole pipeline on stand-ins of AWS: set up, run, stopped, killed, and run again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use snowmelt_standins::{Fault, Kind, Service};
use snowmelt_tests::aws::DEFINITION;
use snowmelt_tests::{Aws, Ledger, Place, eventually, run_to_end_with, send_all};

use crate::restart::shop;

const SETTLE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_and_made_once() -> Result<()> {
    let Some(aws) = Aws::start().await? else { return Ok(()) };
    let data = tempfile::tempdir()?;
    let mut run = vec!["run".to_owned(), DEFINITION.to_owned(), "--data-dir".to_owned()];
    run.push(data.path().display().to_string());
    run.extend(aws.arguments()?);
    run.extend(["--set", "backend.operator=127.0.0.1:0", "--set", "collector.listen=127.0.0.1:0"].map(str::to_owned));
    let refused = run_to_end_with(&run, Aws::environment()).await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("`snowmelt setup`"), "{refused:?}");
    ensure!(refused.stderr.contains("raw, enriched, bad-1, bad-2"), "{refused:?}");

    let lines = |printed: &str, fate: &str| printed.lines().filter(|line| line.ends_with(fate)).count();
    let looked = aws.setup(DEFINITION, &["--dry-run"]).await?;
    ensure!(looked.lines().count() == lines(&looked, "would be made"), "{looked}");
    let made = aws.setup(DEFINITION, &[]).await?;
    ensure!(lines(&made, " made") == looked.lines().count(), "{made}");
    // Four streams, a lease table for each of six readers, one bucket.
    ensure!(made.lines().count() == 11, "{made}");
    let again = aws.setup(DEFINITION, &[]).await?;
    ensure!(lines(&again, "is there") == 11, "{again}");
    Ok(())
}

/// Events that are in the stream twice, since it was killed between a put and its checkpoint, are in tables once: their ids are the
/// same, and the sink remembers them.
#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_again_it_has_every_event_once() -> Result<()> {
    let Some(place) = Place::on_aws().await? else { return Ok(()) };
    let more = ["--set", "postgres-enriched.sink[0].deduplicate=1h"];
    let pipeline = place.start(&more).await?;
    let first = shop(31, 300);
    send_all(&pipeline.info.collector_url, &first).await?;
    // In the middle of it.
    tokio::time::sleep(Duration::from_millis(700)).await;
    pipeline.kill().await?;
    place.kill_postgres()?;

    let pipeline = place.start(&more).await?;
    let second = shop(32, 300);
    send_all(&pipeline.info.collector_url, &second).await?;
    let warehouse = pipeline.warehouse().await?;
    let ledger = Ledger::of(first.iter().chain(&second));
    let (good, bad) = ledger.counts();
    eventually(SETTLE, async || {
        let counts = warehouse.counts().await?;
        ensure!(counts.0 >= good && counts.1 >= bad, "landed {counts:?}, expected {:?}", (good, bad));
        Ok(())
    })
    .await
    .with_context(|| pipeline.log_tail())?;
    let landed = warehouse.landed().await?;
    ensure!(landed.events.len() as u64 == good, "{} rows of {good} events", landed.events.len());
    eventually(SETTLE, async || {
        let lines = place.archived(&pipeline, "enriched").await?;
        let ids: std::collections::HashSet<&str> = lines.iter().filter_map(|line| line.split('\t').nth(6)).collect();
        ensure!(ids == ledger.good_ids(), "{} of {good} events are in objects", ids.len());
        Ok(())
    })
    .await?;
    drop(warehouse);
    let stopped = pipeline.interrupt().await?;
    ensure!(stopped.code == Some(0), "{stopped:?}");
    ensure!(stopped.took < Duration::from_secs(20), "{stopped:?}");
    Ok(())
}

/// Answers that services give when they are in trouble: all of them tried again, seen in the metrics, and nothing lost.
#[tokio::test(flavor = "multi_thread")]
async fn throttles_500s_lost_and_cut_answers_and_partial_failures_lose_nothing_and_are_counted() -> Result<()> {
    let Some(place) = Place::on_aws().await? else { return Ok(()) };
    let pipeline = place.start(&["--set", "postgres-enriched.sink[0].deduplicate=1h"]).await?;
    let standins = &place.aws().context("it was asked for")?.standins;
    standins.faults(Service::Kinesis)?.set(vec![
        Fault::new("GetRecords", Kind::Throttle).every(5),
        Fault::new("GetRecords", Kind::ExpiredIterator).every(11).after(3),
        Fault::new("GetRecords", Kind::NullIterator).every(13).after(5),
        Fault::new("GetRecords", Kind::Cut).every(17).after(4),
        Fault::new("GetShardIterator", Kind::Error).every(4),
        Fault::new("PutRecords", Kind::Partial).every(3).records(5),
        Fault::new("PutRecords", Kind::Lost).every(7).after(2),
        Fault::new("PutRecords", Kind::Delay).every(5).ms(400),
        Fault::new("ListShards", Kind::Throttle).every(3),
    ]);
    standins.faults(Service::DynamoDb)?.set(vec![
        Fault::new("UpdateItem", Kind::Throttle).every(6),
        Fault::new("UpdateItem", Kind::Lost).every(9).after(2),
        Fault::new("UpdateItem", Kind::Delay).every(7).ms(300),
        Fault::new("Scan", Kind::Error).every(4),
    ]);
    standins.faults(Service::S3)?.set(vec![
        Fault::new("PUT *", Kind::Throttle).every(4),
        Fault::new("PUT *", Kind::Lost).every(6).after(1),
        Fault::new("PUT *", Kind::WrongEtag).every(5).after(2),
    ]);
    let requests = shop(41, 600);
    send_all(&pipeline.info.collector_url, &requests).await?;
    let ledger = Ledger::of(&requests);
    let (good, bad) = ledger.counts();
    let warehouse = pipeline.warehouse().await?;
    eventually(SETTLE, async || {
        let counts = warehouse.counts().await?;
        ensure!(counts.0 >= good && counts.1 >= bad, "landed {counts:?}, expected {:?}", (good, bad));
        Ok(())
    })
    .await
    .with_context(|| pipeline.log_tail())?;
    let landed = warehouse.landed().await?;
    ensure!(landed.events.len() as u64 == good, "{} rows of {good} events", landed.events.len());
    eventually(SETTLE, async || {
        let lines = place.archived(&pipeline, "enriched").await?;
        let ids: std::collections::HashSet<&str> = lines.iter().filter_map(|line| line.split('\t').nth(6)).collect();
        ensure!(ids == ledger.good_ids(), "{} of {good} events are in objects", ids.len());
        Ok(())
    })
    .await
    .with_context(|| pipeline.log_tail())?;
    let metrics = reqwest::get(format!("{}/metrics", pipeline.info.operator_url)).await?.text().await?;
    for name in [
        "kinesis_read_throttles_total",
        "kinesis_expired_iterators_total",
        "kinesis_call_failures_total",
        "kinesis_put_partial_failures_total",
    ] {
        let counted = metrics.lines().any(|line| line.starts_with(name) && !line.ends_with(" 0"));
        ensure!(counted, "{name} is not in the metrics");
    }
    for (service, kinds) in [(Service::Kinesis, 8), (Service::DynamoDb, 3), (Service::S3, 2)] {
        let report = standins.faults(service)?.report();
        let struck = report.faults.iter().filter(|line| line.done > 0).count();
        ensure!(struck >= kinds, "{}: only {struck} kinds of faults happened: {report:?}", service.name());
    }
    drop(warehouse);
    let stopped = pipeline.interrupt().await?;
    ensure!(stopped.code == Some(0), "{stopped:?}");
    Ok(())
}
