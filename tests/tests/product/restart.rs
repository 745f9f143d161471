//! Nothing that was accepted is lost, and nothing is in Postgres twice, however the program ends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use snowmelt_shop::{Shop, ShopConfig, ShopRequest};
use snowmelt_tests::{Ledger, Place, Warehouse, client, eventually, send, send_all};

const SETTLE: Duration = Duration::from_secs(15);

fn shop(seed: u64, events: u64) -> Vec<ShopRequest> {
    Shop::new(ShopConfig { seed, events, bad_percent: 5.0, ..ShopConfig::default() }).collect()
}

/// Waits until the counts have stood still for two seconds at or above what must be there.
async fn settle(warehouse: &Warehouse, at_least: (u64, u64)) -> Result<()> {
    let mut last = (0, 0);
    let mut still = 0;
    eventually(SETTLE, async || {
        let counts = warehouse.counts().await?;
        still = if counts == last { still + 1 } else { 0 };
        last = counts;
        ensure!(counts.0 >= at_least.0 && counts.1 >= at_least.1, "landed {counts:?}, expected {at_least:?}");
        ensure!(still >= 20, "still coming in: {counts:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_with_ctrl_c_and_started_again_it_loses_nothing_and_doubles_nothing() -> Result<()> {
    let place = Place::new().await?;
    let (first, second) = (shop(11, 400), shop(12, 400));
    let pipeline = place.start(&[]).await?;
    send_all(&pipeline.info.collector_url, &first).await?;
    // At once: what was accepted a moment ago is still on its way.
    let stopped = pipeline.interrupt().await?;
    assert_eq!(stopped.code, Some(0), "{stopped:?}");

    let pipeline = place.start(&[]).await?;
    send_all(&pipeline.info.collector_url, &second).await?;
    let warehouse = pipeline.warehouse().await?;
    warehouse.wait_for(760, 40, SETTLE).await.with_context(|| pipeline.log_tail())?;
    Ledger::of(first.iter().chain(&second)).check(&warehouse.landed().await?, &Ledger::default())?;
    drop(warehouse);
    let stopped = pipeline.interrupt().await?;
    assert_eq!(stopped.code, Some(0), "{stopped:?}");

    // A third start, with nothing to do, changes nothing.
    let pipeline = place.start(&[]).await?;
    let warehouse = pipeline.warehouse().await?;
    settle(&warehouse, (760, 40)).await?;
    assert_eq!(warehouse.counts().await?, (760, 40));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_is_sent_to_it_has_everything_that_it_accepted_once() -> Result<()> {
    let place = Place::new().await?;
    // Sent by several trackers, each of which goes on until it is refused.
    let shops: Vec<Vec<ShopRequest>> = (0..4).map(|n| shop(100 + n, 2000)).collect();
    let mut accepted = Ledger::default();
    let mut everything = Ledger::default();
    for (round, wait) in [(0, 700), (1, 1500), (2, 300)] {
        let pipeline = place.start(&[]).await?;
        let mut trackers = Vec::new();
        for requests in &shops {
            // Each round plays its own third, so that no event is sent twice.
            let third: Vec<ShopRequest> = requests.iter().skip(round).step_by(3).cloned().collect();
            let url = pipeline.info.collector_url.clone();
            trackers.push(tokio::spawn(async move {
                let client = client()?;
                let mut done = 0;
                for request in &third {
                    match send(&client, &url, request).await {
                        Ok(()) => done += 1,
                        Err(_) => break,
                    }
                }
                anyhow::Ok(third[..done].to_vec())
            }));
        }
        tokio::time::sleep(Duration::from_millis(wait)).await;
        pipeline.kill().await?;
        let mut sent = Vec::new();
        for tracker in trackers {
            sent.extend(tracker.await??);
        }
        assert!(!sent.is_empty(), "nothing was accepted before the program was killed");
        accepted.add(Ledger::of(&sent));
    }
    for requests in &shops {
        everything.add(Ledger::of(requests));
    }

    let pipeline = place.start(&[]).await?;
    let warehouse = pipeline.warehouse().await?;
    settle(&warehouse, accepted.counts()).await.with_context(|| pipeline.log_tail())?;
    accepted.check(&warehouse.landed().await?, &everything)?;
    drop(warehouse);
    assert_eq!(pipeline.interrupt().await?.code, Some(0));
    Ok(())
}
