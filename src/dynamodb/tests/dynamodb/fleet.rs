//! Several workers on one table.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue::{N, S};
use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use snowmelt_dynamodb::{DynamoLeases, LeaseOptions};
use snowmelt_leases::{Application, Lease, LeaseError, LeaseStore, Position};

use crate::golden::item;
use crate::holder::{free, until_lost};
use crate::local::{Bench, Shards, application, even, quick};

/// A worker that processes whatever it can claim.
struct Worker {
    store: DynamoLeases,
    app: Application,
    leases: Vec<Lease>,
}

impl Worker {
    async fn new(bench: &Bench, name: &str, shards: &Shards, options: LeaseOptions) -> Self {
        Self { store: bench.store(options).await, app: application(bench, name, shards), leases: Vec::new() }
    }

    /// What the supervisor of a pipeline does every second or so, and each group.
    async fn turn(&mut self) {
        for lease in self.store.claim(&self.app).await.unwrap() {
            if self.leases.iter().any(|known| known.shard == lease.shard) {
                continue;
            }
            match self.store.acquire(&self.app.name, &lease.shard, &self.app.owner, 0).await {
                Ok(lease) => self.leases.push(lease),
                Err(LeaseError::Lost { .. } | LeaseError::Held { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let mut kept = Vec::new();
        for mut lease in std::mem::take(&mut self.leases) {
            match self.store.renew(&mut lease, 0).await {
                Ok(()) => kept.push(lease),
                Err(LeaseError::Lost { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.leases = kept;
    }

    fn counts(workers: &[&mut Self]) -> Vec<usize> {
        workers.iter().map(|worker| worker.leases.len()).collect()
    }
}

/// Lets the workers work until they hold so many leases each; how long that took.
async fn until(workers: &mut [&mut Worker], counts: &[usize], patience: Duration) -> Duration {
    let since = Instant::now();
    while Worker::counts(workers) != counts {
        assert!(since.elapsed() < patience, "{:?} after {patience:?}", Worker::counts(workers));
        for worker in workers.iter_mut() {
            worker.turn().await;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    since.elapsed()
}

const FOUR: [&str; 4] =
    ["shardId-000000000000", "shardId-000000000001", "shardId-000000000002", "shardId-000000000003"];

#[tokio::test(flavor = "multi_thread")]
async fn of_two_takers_exactly_one_wins() {
    let Some(bench) = Bench::new("race") else { return };
    bench.make().await;
    let (one, other) = (bench.store(quick()).await, bench.store(quick()).await);
    for race in 0..100 {
        let shard = format!("shardId-{race:012}");
        bench.put(free(&shard)).await;
        let (a, b) =
            tokio::join!(one.acquire(&bench.table, &shard, "one", 0), other.acquire(&bench.table, &shard, "other", 0));
        let winner = match (a, b) {
            (Ok(lease), Err(LeaseError::Held { .. })) | (Err(LeaseError::Held { .. }), Ok(lease)) => lease,
            both => panic!("race {race}: {both:?}"),
        };
        assert_eq!(bench.text(&shard, "leaseOwner").await, winner.owner);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_gets_its_half_and_the_first_is_silent_at_once() {
    let Some(bench) = Bench::new("share") else { return };
    let shards = Shards::default();
    shards.set(even(&FOUR));
    let mut one = Worker::new(&bench, "one", &shards, quick()).await;
    until(&mut [&mut one], &[4], Duration::from_secs(3)).await;
    for lease in &mut one.leases {
        one.store.checkpoint(lease, &Position::at(5), None).await.unwrap();
    }
    let before = one.leases.clone();
    let mut other = Worker::new(&bench, "other", &shards, quick()).await;
    until(&mut [&mut one, &mut other], &[2, 2], Duration::from_secs(6)).await;
    for lease in &other.leases {
        assert_eq!(lease.checkpoint, Position::at(5));
        assert!(other.store.fence(lease).holds_for(Duration::ZERO));
        let mut old = before.iter().find(|old| old.shard == lease.shard).unwrap().clone();
        assert!(!one.store.fence(&old).holds_for(Duration::ZERO));
        let late = one.store.checkpoint(&mut old, &Position::at(9), None).await;
        assert!(matches!(late, Err(LeaseError::Lost { .. })), "{late:?}");
    }
    // It stays so.
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(1500) {
        one.turn().await;
        other.turn().await;
        assert_eq!((one.leases.len(), other.leases.len()), (2, 2));
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leases_of_a_worker_that_died_are_taken_when_they_run_out() {
    let Some(bench) = Bench::new("crash") else { return };
    let shards = Shards::default();
    shards.set(even(&FOUR));
    let mut one = Worker::new(&bench, "one", &shards, quick()).await;
    let mut other = Worker::new(&bench, "other", &shards, quick()).await;
    until(&mut [&mut one, &mut other], &[2, 2], Duration::from_secs(6)).await;
    drop(one);
    let took = until(&mut [&mut other], &[4], Duration::from_secs(5)).await;
    assert!(took > Duration::from_millis(500), "{took:?}: before they ran out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_leaves_gives_its_leases_up_for_the_others_to_take_at_once() {
    let Some(bench) = Bench::new("leave") else { return };
    let shards = Shards::default();
    shards.set(even(&FOUR));
    let slow = LeaseOptions { failover: Duration::from_secs(30), ..quick() };
    let mut one = Worker::new(&bench, "one", &shards, slow.clone()).await;
    until(&mut [&mut one], &[4], Duration::from_secs(3)).await;
    one.store.leave(&bench.table).await.unwrap();
    for mut lease in one.leases.drain(..) {
        one.store.checkpoint(&mut lease, &Position::at(3), None).await.unwrap();
        one.store.release(lease).await.unwrap();
    }
    assert!(one.store.claim(&one.app).await.unwrap().is_empty());
    let mut other = Worker::new(&bench, "other", &shards, slow).await;
    until(&mut [&mut other], &[4], Duration::from_secs(3)).await;
    assert!(other.leases.iter().all(|lease| lease.checkpoint == Position::at(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_given_up_goes_to_another_worker_and_comes_back_on_request_only() {
    let Some(bench) = Bench::new("give-up") else { return };
    let shards = Shards::default();
    shards.set(even(&FOUR[..1]));
    let mut one = Worker::new(&bench, "one", &shards, quick()).await;
    until(&mut [&mut one], &[1], Duration::from_secs(3)).await;
    let lease = one.leases.remove(0);
    one.store.release(lease).await.unwrap();
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(1) {
        assert!(one.store.claim(&one.app).await.unwrap().is_empty());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut lease = one.store.acquire(&bench.table, FOUR[0], "one", 0).await.unwrap();
    one.store.release(lease.clone()).await.unwrap();
    let mut other = Worker::new(&bench, "other", &shards, quick()).await;
    until(&mut [&mut other], &[1], Duration::from_secs(3)).await;
    let held = one.store.acquire(&bench.table, FOUR[0], "one", 0).await;
    assert!(matches!(&held, Err(LeaseError::Held { owner, .. }) if owner == "other"), "{held:?}");
    assert!(matches!(one.store.renew(&mut lease, 0).await, Err(LeaseError::Lost { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_period_of_ownership_of_the_same_worker_writes_no_more() {
    let Some(bench) = Bench::new("epochs") else { return };
    bench.make().await;
    bench.put(free(FOUR[0])).await;
    let store = bench.store(quick()).await;
    let mut first = store.acquire(&bench.table, FOUR[0], "me", 0).await.unwrap();
    let fence = store.fence(&first);
    let mut second = store.acquire(&bench.table, FOUR[0], "me", 0).await.unwrap();
    assert!(!fence.holds_for(Duration::ZERO));
    assert!(matches!(store.checkpoint(&mut first, &Position::at(1), None).await, Err(LeaseError::Lost { .. })));
    assert!(matches!(store.renew(&mut first, 0).await, Err(LeaseError::Lost { .. })));
    store.checkpoint(&mut second, &Position::at(1), None).await.unwrap();
    bench
        .edit(FOUR[0], "SET leaseOwner = :x, leaseCounter = :n", &[(":x", S("x".into())), (":n", N("900".into()))])
        .await;
    let (took, error) = until_lost(&store, &mut second).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(matches!(&error, LeaseError::Lost { now, .. } if now.as_deref() == Some("x")), "{error}");
}

/// A table of another key.
async fn side_table(bench: &Bench, suffix: &str, name: &str) -> String {
    let table = format!("{}-{suffix}", bench.table);
    let key = KeySchemaElement::builder().attribute_name(name).key_type(KeyType::Hash).build().unwrap();
    let kind =
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap();
    let make = bench.client.create_table().table_name(&table).key_schema(key).attribute_definitions(kind);
    make.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_leader_of_version_3_nothing_is_taken_unless_asked_for() {
    use snowmelt_dynamodb::BesideLeader as Beside;
    let Some(bench) = Bench::new("leader") else { return };
    let state = side_table(&bench, "CoordinatorState", "key").await;
    let metrics = side_table(&bench, "WorkerMetricStats", "wid").await;
    let version = item(&[("key", S("Migration3.0".into())), ("cv", S("CLIENT_VERSION_3X".into()))]);
    bench.client.put_item().table_name(state).set_item(Some(version)).send().await.unwrap();
    let sign = async |at: &str| {
        let worker = item(&[("wid", S("kcl".into())), ("lut", N(at.into()))]);
        bench.client.put_item().table_name(&metrics).set_item(Some(worker)).send().await.unwrap();
    };
    sign("1").await;
    let shards = Shards::default();
    shards.set(even(&FOUR));
    let wait = bench.store(quick()).await;
    assert!(wait.claim(&application(&bench, "waits", &shards)).await.unwrap().is_empty());
    assert!(wait.list(&bench.table).await.unwrap().is_empty());
    let share = bench.store(LeaseOptions { beside_leader: Beside::Share, ..quick() }).await;
    let app = application(&bench, "shares", &shards);
    assert!(share.claim(&app).await.unwrap().is_empty(), "not known yet whether that fleet is alive");
    sign("2").await;
    let since = Instant::now();
    while share.claim(&app).await.unwrap().len() < 4 {
        assert!(since.elapsed() < Duration::from_secs(8));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(wait.claim(&application(&bench, "waits", &shards)).await.unwrap().is_empty());
}
