//! Nothing that was accepted is lost, and nothing is in Postgres twice, however the program ends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use snowmelt_shop::{Shop, ShopConfig, ShopRequest};
use snowmelt_tests::{Ledger, Place, Warehouse, client, eventually, send, send_all};

const SETTLE: Duration = Duration::from_secs(15);

pub(crate) fn shop(seed: u64, events: u64) -> Vec<ShopRequest> {
    Shop::new(ShopConfig { seed, events, bad_percent: 5.0, ..ShopConfig::default() }).collect()
}

/// Waits until the counts have stood still for two seconds at or above what must be there.
async fn settle(warehouse: &Warehouse, at_least: (u64, u64), within: Duration) -> Result<()> {
    let mut last = (0, 0);
    let mut still = 0;
    eventually(within, async || {
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
    settle(&warehouse, (760, 40), SETTLE).await?;
    assert_eq!(warehouse.counts().await?, (760, 40));
    Ok(())
}

/// How often the program is killed: `SNOWMELT_KILLS`, or so often that the test is quick.
pub(crate) fn kills(by_default: u64) -> Result<u64> {
    match std::env::var("SNOWMELT_KILLS") {
        Ok(kills) => kills.parse().context("SNOWMELT_KILLS"),
        Err(_) => Ok(by_default),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_while_it_is_sent_to_it_has_everything_that_it_accepted_once() -> Result<()> {
    let seed = match std::env::var("SNOWMELT_KILL_SEED") {
        Ok(seed) => seed.parse().context("SNOWMELT_KILL_SEED")?,
        Err(_) => fastrand::u64(..1_000_000),
    };
    println!("SNOWMELT_KILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let place = Place::new().await?;
    let mut accepted = Ledger::default();
    let mut everything = Ledger::default();
    let began = Instant::now();
    let kills = kills(5)?;
    for round in 0..kills {
        let pipeline = place.start(&[]).await.with_context(|| format!("start {round} of seed {seed}"))?;
        let mut trackers = Vec::new();
        for tracker in 0..4 {
            let requests = shop(seed + round * 4 + tracker, 4000);
            everything.add(Ledger::of(&requests));
            trackers.push(tokio::spawn(send_until_refused(pipeline.info.collector_url.clone(), requests)));
        }
        let wait = Duration::from_millis(random.u64(50..1500));
        // The database outlives the program; at times it is killed with it, at times the next start finds it running.
        let with_postgres = random.bool();
        tokio::time::sleep(wait).await;
        pipeline.kill().await?;
        if with_postgres {
            place.kill_postgres()?;
        }
        let mut sent = Vec::new();
        for tracker in trackers {
            let (done, refused) = tracker.await??;
            ensure!(refused, "a tracker had sent everything before the program was killed");
            sent.extend(done);
        }
        println!("killed after {wait:?}, Postgres too: {with_postgres}; {} requests accepted", sent.len());
        accepted.add(Ledger::of(&sent));
    }
    ensure!(accepted.counts().0 > 0, "nothing was accepted before the kills of seed {seed}");

    let pipeline = place.start(&[]).await?;
    let warehouse = pipeline.warehouse().await?;
    // Of each round something may be left to do.
    let within = SETTLE + Duration::from_secs(kills);
    settle(&warehouse, accepted.counts(), within).await.with_context(|| pipeline.log_tail())?;
    println!("{:?} accepted, {:?} landed, in {:?}", accepted.counts(), warehouse.counts().await?, began.elapsed());
    accepted.check(&warehouse.landed().await?, &everything).with_context(|| format!("seed {seed}"))?;
    drop(warehouse);
    assert_eq!(pipeline.interrupt().await?.code, Some(0));
    Ok(())
}

/// Sends one after the other, as a tracker does, until one is refused. Gives back what was accepted, and whether one was not.
pub(crate) async fn send_until_refused(
    collector_url: String,
    requests: Vec<ShopRequest>,
) -> Result<(Vec<ShopRequest>, bool)> {
    let client = client()?;
    for (done, request) in requests.iter().enumerate() {
        if send(&client, &collector_url, request).await.is_err() {
            return Ok((requests[..done].to_vec(), true));
        }
    }
    Ok((requests, false))
}
