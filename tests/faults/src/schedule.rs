//! A schedule: which faults when. Drawn from a seed, or written by a test; run; judged.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use snowmelt_runtime::fault::{Fault, Moment, Turn};

use crate::backing::Backing;
use crate::plan::{Faults, Strike, shard_number};
use crate::proof::{self, Verdict};
use crate::stores::{Call, Storm, Trouble, Weather};
use crate::world::{Rules, World};

/// The actors, by application and name.
pub const ROLES: [(&str, &str); 14] = [
    ("enrich", "shard-reader"),
    ("enrich", "enricher"),
    ("enrich", "batcher good"),
    ("enrich", "stream-writer good"),
    ("enrich", "checkpointer"),
    ("s3", "shard-reader"),
    ("s3", "batcher"),
    ("s3", "s3-packer"),
    ("s3", "s3-writer"),
    ("s3", "checkpointer"),
    ("pg", "shard-reader"),
    ("pg", "batcher"),
    ("pg", "postgres-writer"),
    ("pg", "checkpointer"),
];

/// Whether a role loops by itself.
pub fn is_worker(actor: &str) -> bool {
    matches!(actor, "shard-reader" | "checkpointer")
}

/// Something done to the database or to the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// All the warehouse's connections are cut.
    CutConnections,
    /// The table is locked for a while.
    LockTable(Duration),
    /// Somebody sets the clock, by so many seconds.
    SetClock(i64),
}

/// What happens to one world.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    /// Events there before the node starts, and events sent while it runs.
    pub events: (u32, u32),
    /// Faults of actors.
    pub strikes: Vec<Strike>,
    /// Faults of stores.
    pub storms: Vec<Storm>,
    /// Faults of what is outside, each after so long.
    pub outside: Vec<(Duration, Outside)>,
    /// The first life is drained when so many rows are there, finished or not; else when all is done.
    pub drain_at: Option<u64>,
    /// Shards that have no fault of actors must not fail at all.
    pub others_undisturbed: bool,
}

impl Schedule {
    /// The schedule of a seed.
    pub fn drawn(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let strikes = (0..random.u32(0..7)).map(|_| strike(&mut random)).collect();
        let storms = (0..random.u32(0..6)).map(|_| storm(&mut random)).collect();
        let outside = (0..random.u32(0..3))
            .map(|_| {
                let what = match random.u32(0..4) {
                    0 => Outside::CutConnections,
                    1 => Outside::LockTable(Duration::from_millis(random.u64(10..200))),
                    2 => Outside::SetClock(random.i64(1..7200)),
                    _ => Outside::SetClock(-random.i64(1..7200)),
                };
                (Duration::from_millis(random.u64(0..150)), what)
            })
            .collect();
        let events = (random.u32(0..80), random.u32(1..80));
        let drain_at = random.bool().then(|| random.u64(0..u64::from(events.0 + events.1)));
        Self { events, strikes, storms, outside, drain_at, others_undisturbed: false }
    }

    /// Runs it in a world of its own, on an actor system of its own.
    ///
    /// # Errors
    /// Which promise was broken.
    pub fn run(self) -> Result<Verdict> {
        crate::on_own_system(async move || {
            let (faults, weather) = (Faults::new(self.strikes.clone()), Weather::new(self.storms.clone()));
            let world = World::new(Rules::default(), faults, weather).await?;
            Box::pin(self.play(world)).await
        })
    }

    /// The same on stand-ins of AWS; no verdict where they are not installed.
    ///
    /// # Errors
    /// Which promise was broken.
    pub fn run_on_aws(self) -> Result<Option<Verdict>> {
        crate::on_own_system(async move || {
            let Some(backing) = Backing::aws().await? else { return Ok(None) };
            let directory = tempfile::Builder::new().prefix("snowmelt-faults-").tempdir()?;
            // Every read of a page waits for the service: pages are larger.
            let rules = Rules { page: 40, call_timeout: Duration::from_secs(5), ..Rules::default() };
            let (faults, weather) = (Faults::new(self.strikes.clone()), Weather::new(self.storms.clone()));
            let world = World::over(backing, directory, rules, faults, weather).await?;
            Box::pin(self.play(world)).await.map(Some)
        })
    }

    async fn play(self, world: World) -> Result<Verdict> {
        let mut restarts = 0;
        let outcome = self.lives(&world, &mut restarts).await;
        world.warehouse.close().await;
        world.tables.close().await;
        let verdict = outcome?;
        Ok(Verdict { restarts, ..verdict })
    }

    async fn lives(&self, world: &World, restarts: &mut u64) -> Result<Verdict> {
        const PATIENCE: Duration = Duration::from_secs(30);
        world.send(self.events.0, 10).await?;
        let life = world.live().await.context("first life")?;
        let outside = async {
            let mut outside = self.outside.clone();
            outside.sort_by_key(|(after, _)| *after);
            let mut before = Duration::ZERO;
            for (after, what) in outside {
                tokio::time::sleep(after - before).await;
                before = after;
                happen(world, what).await?;
            }
            anyhow::Ok(())
        };
        let work = async {
            for n in 0..self.events.1 {
                world.send(1, 10).await?;
                if n % 4 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            let done = async || match self.drain_at {
                Some(rows) if proof::rows(&world.tables).await? >= rows => Ok(true),
                _ => proof::complete(world).await,
            };
            life.until(PATIENCE, done).await
        };
        tokio::try_join!(outside, work)?;
        let groups = life.drain().await.context("first drain")?;
        *restarts += groups.iter().map(|group| group.restarts).sum::<u64>();
        if self.others_undisturbed {
            let struck: Vec<_> = self.strikes.iter().map(|strike| (strike.app, strike.shard)).collect();
            for group in &groups {
                let hit = struck.iter().any(|(app, shard)| {
                    group.id.pipeline.starts_with(app) && (shard.is_none() || *shard == shard_number(&group.id.shard))
                });
                if !hit && group.restarts > 0 {
                    anyhow::bail!("{} failed, though its shard had no fault: {:?}", group.id, group.last_failure);
                }
            }
        }
        // What a drain left undone is done by the next life.
        if !proof::complete(world).await? {
            let life = world.live().await.context("second life")?;
            life.until(PATIENCE, async || proof::complete(world).await).await.context("second life")?;
            *restarts += life.groups().iter().map(|group| group.restarts).sum::<u64>();
            life.drain().await.context("second drain")?;
        }
        proof::check(world).await
    }
}

async fn happen(world: &World, what: Outside) -> Result<()> {
    match what {
        Outside::CutConnections => {
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()";
            sqlx::query(sql).bind(&world.schema).execute(world.tables.pool()).await?;
        }
        Outside::LockTable(time) => {
            let mut transaction = world.tables.pool().begin().await?;
            let sql = format!("LOCK TABLE {}.events IN ACCESS EXCLUSIVE MODE", world.schema);
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *transaction).await?;
            tokio::time::sleep(time).await;
            transaction.rollback().await?;
        }
        Outside::SetClock(seconds) => world.skew.store(seconds * 1_000_000, Ordering::Relaxed),
    }
    Ok(())
}

fn strike(random: &mut fastrand::Rng) -> Strike {
    let (app, actor) = ROLES[random.usize(..ROLES.len())];
    let turn = match random.u32(0..4) {
        0 => Turn::Drain,
        _ if is_worker(actor) => Turn::Step,
        1 if actor.starts_with("batcher") => Turn::Tick,
        _ => Turn::Message,
    };
    let fault = match random.u32(0..8) {
        0..=2 => Fault::Error,
        3..=5 => Fault::Panic,
        6 => Fault::Hang,
        _ => Fault::Block(Duration::from_millis(1500)),
    };
    Strike {
        app,
        shard: random.bool().then(|| random.u32(0..crate::world::SHARDS)),
        actor,
        turn,
        moment: if random.bool() { Moment::Before } else { Moment::After },
        nth: random.u32(1..6),
        times: random.u32(1..3),
        fault,
    }
}

fn storm(random: &mut fastrand::Rng) -> Storm {
    let slow = Trouble::Slow(Duration::from_millis(random.u64(1..100)));
    let (call, troubles): (Call, &[Trouble]) = match random.u32(0..5) {
        0 => (Call::Read, &[Trouble::Unavailable, slow, Trouble::Silent]),
        1 => (
            Call::Put,
            &[Trouble::Unavailable, Trouble::DiskFull, slow, Trouble::Silent, Trouble::Refused(0), Trouble::Refused(3)],
        ),
        2 => (
            Call::Checkpoint,
            &[Trouble::Unavailable, Trouble::DoneAndUnavailable, Trouble::Lost, slow, Trouble::Silent],
        ),
        3 => (Call::Acquire, &[Trouble::Unavailable, slow]),
        _ => (
            Call::Object,
            &[Trouble::Unavailable, Trouble::DoneAndUnavailable, Trouble::DiskFull, slow, Trouble::Silent],
        ),
    };
    let trouble = troubles[random.usize(..troubles.len())];
    let times = if trouble == Trouble::Silent { 1 } else { random.u32(1..4) };
    Storm { call, nth: random.u32(1..12), times, trouble }
}
