//! The database stands still for as long as it likes while senders go at full speed. A process of its own: memory is measured.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::{Duration, Instant};

use snowmelt::check;
use snowmelt_faults::world::{PREFIXES, Rules, SHARDS, STREAMS};
use snowmelt_faults::{Faults, Weather, World, on_own_system, proof};

/// As the program itself: what is freed on another thread is used again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events sent while the database stands still, and the ballast of each: several times the bound.
const EVENTS: u32 = 80_000;
const PADDING: usize = 1900;

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn a_stalled_database_costs_bounded_memory_and_nobody_else_waits() {
    on_own_system(async || {
        let defaults = Rules::default();
        let rules = Rules {
            page: 500,
            batch: 2000,
            heartbeat: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            ..defaults
        };
        let world = World::new(rules, Faults::default(), Weather::default()).await.unwrap();
        // What `snowmelt check` prints for these definitions.
        let groups: usize =
            world.definitions().unwrap().iter().map(|definition| check::memory(definition) * SHARDS as usize).sum();
        let streams = STREAMS.map(|(name, shards)| (name.to_owned(), shards));
        let bound = check::resident(groups, &streams);
        let life = world.live().await.unwrap();
        // Schemas, pools and buffers are there once something has passed.
        world.send(2000, PADDING).await.unwrap();
        life.until(Duration::from_secs(60), async || proof::complete(&world).await).await.unwrap();
        let before = resident();

        let mut stall = world.tables.pool().begin().await.unwrap();
        let lock = format!("LOCK TABLE {}.events IN SHARE MODE", world.schema);
        sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *stall).await.unwrap();
        let began = Instant::now();
        let mut peak = 0;
        for _ in 0..EVENTS / 1000 {
            world.send(1000, PADDING).await.unwrap();
            peak = peak.max(resident());
        }
        let sent = began.elapsed();
        let s3 = |life: &snowmelt_faults::Life| -> u64 {
            life.groups()
                .iter()
                .filter(|group| group.id.pipeline.starts_with("s3"))
                .flat_map(|group| &group.actors)
                .filter(|seen| seen.actor.starts_with("s3-writer"))
                .map(|seen| seen.stats.snapshot().records)
                .sum()
        };
        // The other sinks go on to the last event while the tables stand still.
        life.until(Duration::from_secs(120), async || {
            peak = peak.max(resident());
            Ok(s3(&life) >= PREFIXES.len() as u64 * u64::from(world.sent()))
        })
        .await
        .unwrap();
        let archived = began.elapsed();
        assert_eq!(proof::rows(&world.tables).await.unwrap(), 2000, "the tables stand still");
        let waiting: Vec<String> = life
            .groups()
            .iter()
            .filter(|group| group.id.pipeline.starts_with("pg"))
            .map(|group| format!("{} {:?}", group.id, group.state))
            .collect();
        let grown = peak.saturating_sub(before);
        println!(
            "sent {EVENTS} events of {PADDING} bytes in {sent:?}, archived in {archived:?}; resident {} MiB before, {} MiB at most: {} MiB more, bound {} MiB; {waiting:?}",
            before >> 20,
            peak >> 20,
            grown >> 20,
            bound >> 20
        );
        assert!(grown <= bound, "{grown} bytes more than before, the bound is {bound}");

        stall.rollback().await.unwrap();
        life.until(Duration::from_secs(120), async || proof::complete(&world).await).await.unwrap();
        let groups = life.drain().await.unwrap();
        assert!(groups.iter().all(|group| group.restarts == 0), "recovery needs no restart");
        println!("{:?}", proof::check(&world).await.unwrap());
        world.warehouse.close().await;
        world.tables.close().await;
    });
}
