//! Fleets: workers that share one application's shards, ours and the Kinesis Client Library's, killed, paused, cut off, while shards
//! split and merge. `SNOWMELT_FLEET_SECONDS` says for how long (short by default), `SNOWMELT_FLEET_SEED` with which choices.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use snowmelt_tests::fleet::{CHECKPOINT, Fleet, Kcl, LEASE, Producer, Seen, Worker};
use snowmelt_tests::namespaces::{Network, may_make_networks};
use snowmelt_tests::{eventually, kinesis::LeaseRow};
use tokio::sync::Mutex;

/// One fleet at a time: what is measured is time.
static TURN: Mutex<()> = Mutex::const_new(());
/// How long a change of hands may take on a busy machine: the lease time, looks at the table, the start of a Java machine.
const SETTLE: Duration = Duration::from_secs(90);
/// Records put a second.
const RATE: u64 = 200;

/// Most repeats after so many kills, steals and pauses: each may repeat what its shards gave since their last checkpoints, and what
/// was read and on its way to the store.
fn bound(disturbances: u64) -> u64 {
    let window = CHECKPOINT + LEASE + Duration::from_secs(2);
    RATE * window.as_secs() * (disturbances + 1)
}

async fn shares_are(fleet: &Fleet, wanted: &[(&str, usize)]) -> Result<()> {
    let wanted: BTreeMap<String, usize> = wanted.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let settled = eventually(SETTLE, async || {
        let shares = fleet.shares().await?;
        ensure!(shares == wanted, "{shares:?}, wanted {wanted:?}");
        Ok(())
    });
    settled.await.with_context(|| fleet.complaints())
}

/// Stops putting, waits until everything was seen, and judges.
async fn judge(fleet: &Fleet, producer: Producer, disturbances: u64) -> Result<Seen> {
    let put = producer.stop().await?;
    let seen = eventually(SETTLE, async || {
        let seen = fleet.seen(put).await?;
        ensure!(seen.missing == 0, "{seen:?} of {put}");
        Ok(seen)
    });
    let seen = seen.await.with_context(|| fleet.complaints())?;
    println!("{put} records put, each seen; {} seen once more, {} out of order", seen.repeated, seen.disordered);
    ensure!(seen.disordered == 0, "{seen:?}");
    ensure!(seen.repeated <= bound(disturbances), "{seen:?}, more than {}", bound(disturbances));
    Ok(seen)
}

async fn beside_kcl(kcl: Kcl) -> Result<()> {
    let _turn = TURN.lock().await;
    let Some(fleet) = Fleet::start("127.0.0.1", 4).await? else { return Ok(()) };
    fleet.setup().await?;
    let theirs = fleet.kcl("theirs", kcl)?;
    shares_are(&fleet, &[("theirs", 4)]).await?;
    let producer = fleet.produce();
    let ours = fleet.ours("ours", None)?;
    shares_are(&fleet, &[("ours", 2), ("theirs", 2)]).await.context("beside it")?;
    // Each is killed, and the other goes on at the right place.
    theirs.kill().await?;
    shares_are(&fleet, &[("ours", 4)]).await.context("theirs was killed")?;
    let theirs = fleet.kcl("theirs-again", kcl)?;
    shares_are(&fleet, &[("ours", 2), ("theirs-again", 2)]).await.context("theirs again")?;
    ours.kill().await?;
    shares_are(&fleet, &[("theirs-again", 4)]).await.context("ours was killed")?;
    // One by one, as a migration goes: ours comes, theirs stops in good order.
    let ours = fleet.ours("ours-again", None)?;
    shares_are(&fleet, &[("ours-again", 2), ("theirs-again", 2)]).await.context("ours again")?;
    theirs.stop().await?;
    shares_are(&fleet, &[("ours-again", 4)]).await.context("theirs stopped")?;
    judge(&fleet, producer, 7).await?;
    ensure!(ours.stop().await? == Some(0), "{}", fleet.complaints());
    ensure!(fleet.shares().await? == BTreeMap::from([("nobody".to_owned(), 4)]), "a stop gives leases up");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_the_client_library_2_and_ours_share_shards_and_take_over_from_each_other() -> Result<()> {
    beside_kcl(Kcl::Two).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_the_client_library_3_and_ours_share_shards_and_take_over_from_each_other() -> Result<()> {
    beside_kcl(Kcl::Three).await
}

/// Whether checkpoints moved forward only. Sequence numbers of one shard have one length here; words come before them, an end after.
fn moved_forward(before: &BTreeMap<String, LeaseRow>, now: &BTreeMap<String, LeaseRow>) -> Result<()> {
    let rank = |row: &LeaseRow| match row.checkpoint.as_str() {
        "TRIM_HORIZON" | "LATEST" => (0, String::new()),
        "SHARD_END" => (2, String::new()),
        number => (1, number.to_owned()),
    };
    for (shard, row) in now {
        let Some(old) = before.get(shard) else { continue };
        ensure!(rank(old) <= rank(row), "{shard} went back from {} to {}", old.checkpoint, row.checkpoint);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_lose_nothing_while_shards_split_and_merge_and_workers_are_killed_and_paused() -> Result<()> {
    let _turn = TURN.lock().await;
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| name.to_owned()),
        Err(_) => Ok(default),
    };
    let seconds = number("SNOWMELT_FLEET_SECONDS", 20)?;
    let seed = number("SNOWMELT_FLEET_SEED", fastrand::u64(..1_000_000))?;
    println!("SNOWMELT_FLEET_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let Some(fleet) = Fleet::start("127.0.0.1", 3).await? else { return Ok(()) };
    fleet.setup().await?;
    let mut lives = 0;
    let mut start = || {
        lives += 1;
        fleet.ours(&format!("w{lives}"), None)
    };
    let mut workers: Vec<Worker> = (0..3).map(|_| start()).collect::<Result<_>>()?;
    eventually(SETTLE, async || {
        let shares = fleet.shares().await?;
        ensure!(shares.len() == 3 && shares.values().all(|share| *share == 1), "{shares:?}");
        Ok(())
    })
    .await
    .with_context(|| fleet.complaints())?;
    let producer = fleet.produce();
    let (began, mut before, mut done) = (Instant::now(), fleet.leases().await?, BTreeMap::<&str, u64>::new());
    while began.elapsed() < Duration::from_secs(seconds) {
        let victim = random.usize(..workers.len());
        let what = match random.u32(0..10) {
            0..4 => {
                fleet.stream.reshard(6).await?;
                "resharded"
            }
            4..6 => {
                workers.swap_remove(victim).kill().await?;
                workers.push(start()?);
                "killed"
            }
            6..8 => {
                workers[victim].pause();
                tokio::time::sleep(Duration::from_millis(random.u64(500..2500 + 2 * LEASE.as_millis() as u64))).await;
                workers[victim].resume();
                "paused"
            }
            8 => {
                ensure!(workers.swap_remove(victim).stop().await? == Some(0), "{}", fleet.complaints());
                workers.push(start()?);
                "stopped"
            }
            _ => "left alone",
        };
        *done.entry(what).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(random.u64(500..3000))).await;
        let now = fleet.leases().await?;
        moved_forward(&before, &now)?;
        before = now;
        for worker in &mut workers {
            worker.runs()?;
        }
    }
    println!("{done:?} in {:?}", began.elapsed());
    let disturbances = done.values().sum::<u64>() + 3;
    judge(&fleet, producer, disturbances).await.with_context(|| format!("SNOWMELT_FLEET_SEED={seed}"))?;
    for worker in workers {
        ensure!(worker.stop().await? == Some(0), "{}", fleet.complaints());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_cut_off_loses_its_shards_and_writes_nothing_past_its_leases() -> Result<()> {
    let _turn = TURN.lock().await;
    if !may_make_networks()? {
        return Ok(());
    }
    let mut network = Network::new()?;
    let (a, b) = (network.host()?, network.host()?);
    let Some(fleet) = Fleet::start(&network.address(), 4).await? else { return Ok(()) };
    fleet.setup().await?;
    let mut on_a = fleet.ours("on-a", Some(&a))?;
    let mut on_b = fleet.ours("on-b", Some(&b))?;
    shares_are(&fleet, &[("on-a", 2), ("on-b", 2)]).await?;
    let producer = fleet.produce();
    tokio::time::sleep(Duration::from_secs(3)).await;
    a.cut_off()?;
    let began = Instant::now();
    shares_are(&fleet, &[("on-b", 4)]).await.context("a is cut off")?;
    println!("its leases moved within {:?}, with a lease time of {LEASE:?}", began.elapsed());
    let before = fleet.leases().await?;
    // Longer than its leases lasted: whatever it still wanted to write is late.
    tokio::time::sleep(LEASE).await;
    a.join()?;
    shares_are(&fleet, &[("on-a", 2), ("on-b", 2)]).await.context("a is back")?;
    moved_forward(&before, &fleet.leases().await?)?;
    on_a.runs()?;
    on_b.runs()?;
    let seen = judge(&fleet, producer, 2).await?;
    println!("{seen:?}");
    for worker in [on_a, on_b] {
        ensure!(worker.stop().await? == Some(0), "{}", fleet.complaints());
    }
    Ok(())
}
