//! A failure that restarts don't cure climbs from shard to pipeline to node, and the process ends with a code that says so.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use snowmelt_shop::{Shop, ShopConfig};
use snowmelt_tests::{Ledger, Place, eventually, files, gzip_lines, send_all};

const SETTLE: Duration = Duration::from_secs(20);

/// A loader that comes late: it reads the enriched stream from its beginning, and bears little.
fn late_loader(place: &Place) -> Result<PathBuf> {
    let file = place.path().join("late.toml");
    let text = r#"
        name = "late"
        [source]
        stream = "enriched"
        start = "trim_horizon"
        [[sink]]
        kind = "s3"
        purpose = "enriched"
        prefix = "late/enriched"
        max_age = "200ms"
        [bad]
        stream = "bad-1"
        [supervision]
        max_restarts = 1
        max_given_up = 0
    "#;
    std::fs::write(&file, text)?;
    Ok(file)
}

/// Turns over one byte in the middle of the largest file of a stream. Twice is as if nothing had been.
fn damage(stream: &Path) -> Result<PathBuf> {
    let mut sizes = Vec::new();
    for file in files(stream)? {
        sizes.push((std::fs::metadata(&file)?.len(), file));
    }
    let (_, file) = sizes.into_iter().max().context("the stream has no file")?;
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&file, bytes)?;
    Ok(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_can_not_go_on_ends_the_process_and_goes_on_once_its_cause_is_gone() -> Result<()> {
    let place = Place::new().await?;
    let requests: Vec<_> = Shop::new(ShopConfig { seed: 21, events: 200, ..ShopConfig::default() }).collect();
    let expected = Ledger::of(&requests);
    let pipeline = place.start(&[]).await?;
    send_all(&pipeline.info.collector_url, &requests).await?;
    let warehouse = pipeline.warehouse().await?;
    let (events, bad) = expected.counts();
    warehouse.wait_for(events, bad, SETTLE).await.with_context(|| pipeline.log_tail())?;
    drop(warehouse);
    assert_eq!(pipeline.interrupt().await?.code, Some(0));

    let enriched = place.data().join("streams/streams/enriched");
    let damaged = damage(&enriched)?;
    let late = late_loader(&place)?;
    let late = [late.to_str().context("a temporary directory has a plain name")?];
    let pipeline = place.start(&late).await?;
    let log = pipeline.log_file();
    assert_eq!(pipeline.ended(Duration::from_secs(60)).await?, Some(1));
    let log = std::fs::read_to_string(log)?;
    let last = log.lines().last().unwrap_or_default();
    for words in ["error: pipeline late gave up", &damaged.display().to_string()] {
        assert!(last.contains(words), "nothing about {words}:\n{log}");
    }

    assert_eq!(damage(&enriched)?, damaged);
    let pipeline = place.start(&late).await?;
    eventually(SETTLE, async || {
        let loaded = gzip_lines(&pipeline.info.objects_dir.join("late"))?.len();
        ensure!(loaded as u64 >= events, "{loaded} events of {events}");
        Ok(())
    })
    .await
    .with_context(|| pipeline.log_tail())?;
    assert_eq!(pipeline.interrupt().await?.code, Some(0));
    Ok(())
}
