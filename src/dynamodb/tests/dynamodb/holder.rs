//! One holder: lost answers, throttling, hand-offs, twins, silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue::{N, S};
use snowmelt_dynamodb::{DynamoLeases, LeaseOptions};
use snowmelt_leases::{Lease, LeaseError, LeaseStore, Position};

use crate::golden::item;
use crate::local::{Bench, Item, Shards, application, even, quick};
use crate::proxy::{Fault, Proxy};

const SHARD: &str = "shardId-000000000000";

/// A row that nobody owns.
pub fn free(shard: &str) -> Item {
    item(&[
        ("leaseKey", S(shard.to_owned())),
        ("leaseCounter", N("0".to_owned())),
        ("checkpoint", S("TRIM_HORIZON".to_owned())),
        ("checkpointSubSequenceNumber", N("0".to_owned())),
        ("ownerSwitchesSinceCheckpoint", N("0".to_owned())),
    ])
}

/// A proxy before the server, and a store that reaches it only through the proxy and holds [`SHARD`].
async fn behind_a_proxy(name: &str) -> Option<(Bench, Proxy, DynamoLeases, Lease)> {
    let bench = Bench::new(name)?;
    bench.make().await;
    bench.put(free(SHARD)).await;
    let proxy = Proxy::start(bench.port).await;
    let store = bench.store_at(proxy.port, quick()).await;
    let lease = store.acquire(&bench.table, SHARD, "me", 0).await.unwrap();
    Some((bench, proxy, store, lease))
}

/// Says that the group lives for as long; fails when the lease is lost meanwhile.
pub async fn live(store: &DynamoLeases, lease: &mut Lease, time: Duration) -> Result<(), LeaseError> {
    let since = Instant::now();
    while since.elapsed() < time {
        store.renew(lease, 0).await?;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Ok(())
}

/// Lives until the lease is lost; how long that took.
pub async fn until_lost(store: &DynamoLeases, lease: &mut Lease) -> (Duration, LeaseError) {
    let since = Instant::now();
    match live(store, lease, Duration::from_secs(8)).await {
        Ok(()) => panic!("the lease is not lost"),
        Err(error) => (since.elapsed(), error),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_no_lost_lease() {
    let Some((bench, proxy, store, mut lease)) = behind_a_proxy("lost-answers").await else { return };
    // Every other write lands and its answer is lost, renewals and checkpoints alike.
    let count = AtomicU32::new(0);
    let lost = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&lost);
    proxy.plan(move |action, _| {
        let lose = action == "UpdateItem" && count.fetch_add(1, Ordering::Relaxed) % 2 == 0;
        lose.then(|| {
            counted.fetch_add(1, Ordering::Relaxed);
            Fault::Lost
        })
    });
    for position in 1..=20 {
        let at = Position::at(position);
        let since = Instant::now();
        loop {
            match store.checkpoint(&mut lease, &at, None).await {
                Ok(()) => break,
                Err(LeaseError::Unavailable { .. }) => assert!(since.elapsed() < Duration::from_secs(2)),
                Err(error) => panic!("{error}"),
            }
        }
        live(&store, &mut lease, Duration::from_millis(100)).await.unwrap();
        assert_eq!(bench.text(SHARD, "checkpoint").await.unwrap(), position.to_string());
    }
    assert!(lost.load(Ordering::Relaxed) > 15);
    proxy.plan(|_, _| None);
    live(&store, &mut lease, Duration::from_secs(1)).await.unwrap();
    assert_eq!(bench.text(SHARD, "leaseOwner").await.as_deref(), Some("me"));
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_costs_no_lease_and_is_told_to_who_checkpoints() {
    let Some((_, proxy, store, mut lease)) = behind_a_proxy("throttled").await else { return };
    proxy.plan(|action, _| (action == "UpdateItem").then_some(Fault::Throttled));
    let refused = store.checkpoint(&mut lease, &Position::at(5), None).await;
    assert!(matches!(&refused, Err(LeaseError::Unavailable { .. })), "{refused:?}");
    assert!(refused.unwrap_err().is_retriable());
    live(&store, &mut lease, Duration::from_millis(400)).await.unwrap();
    proxy.plan(|_, _| None);
    store.checkpoint(&mut lease, &Position::at(5), None).await.unwrap();
    live(&store, &mut lease, Duration::from_millis(1500)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_table_a_lease_is_counted_on_no_longer_than_it_lasts() {
    let Some((bench, proxy, store, mut lease)) = behind_a_proxy("cut-off").await else { return };
    live(&store, &mut lease, Duration::from_millis(500)).await.unwrap();
    let fence = store.fence(&lease);
    assert!(fence.holds_for(Duration::ZERO));
    proxy.plan(|_, _| Some(Fault::Hangs));
    let (took, error) = until_lost(&store, &mut lease).await;
    assert!(matches!(error, LeaseError::Lost { .. }), "{error}");
    assert!(took <= Duration::from_millis(1200), "{took:?}");
    assert!(!fence.holds_for(Duration::ZERO));
    // Back again, the period of ownership that ran out writes no more though the table still names this worker.
    proxy.plan(|_, _| None);
    assert!(matches!(store.checkpoint(&mut lease, &Position::at(5), None).await, Err(LeaseError::Lost { .. })));
    assert_eq!(bench.text(SHARD, "checkpoint").await.as_deref(), Some("TRIM_HORIZON"));
}

#[tokio::test]
async fn a_blocked_event_loop_loses_no_lease() {
    let Some(bench) = Bench::new("blocked") else { return };
    bench.make().await;
    bench.put(free(SHARD)).await;
    let store = bench.store(quick()).await;
    let mut lease = store.acquire(&bench.table, SHARD, "me", 0).await.unwrap();
    let fence = store.fence(&lease);
    // This test has one thread, and that stands still for longer than the lease lasts.
    #[expect(clippy::disallowed_methods, reason = "blocks on purpose")]
    std::thread::sleep(Duration::from_millis(2200));
    assert!(fence.holds_for(Duration::ZERO));
    store.renew(&mut lease, 0).await.unwrap();
    store.checkpoint(&mut lease, &Position::at(5), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_silent_loses_its_lease() {
    let Some(bench) = Bench::new("silent") else { return };
    bench.make().await;
    bench.put(free(SHARD)).await;
    let store = bench.store(LeaseOptions { silent_failovers: 1, ..quick() }).await;
    let mut lease = store.acquire(&bench.table, SHARD, "me", 0).await.unwrap();
    let fence = store.fence(&lease);
    live(&store, &mut lease, Duration::from_millis(1300)).await.unwrap();
    assert!(fence.holds_for(Duration::ZERO));
    tokio::time::sleep(Duration::from_millis(2600)).await;
    assert!(!fence.holds_for(Duration::ZERO));
    assert!(matches!(store.renew(&mut lease, 0).await, Err(LeaseError::Lost { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_of_the_same_name_is_told_from_a_lost_answer() {
    let Some(bench) = Bench::new("twin") else { return };
    bench.make().await;
    bench.put(free(SHARD)).await;
    let store = bench.store(quick()).await;
    let mut lease = store.acquire(&bench.table, SHARD, "me", 0).await.unwrap();
    bench.edit(SHARD, "ADD leaseCounter :one", &[(":one", N("1".to_owned()))]).await;
    let (took, error) = until_lost(&store, &mut lease).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(matches!(error, LeaseError::Lost { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_removed_is_a_lost_lease_and_made_again() {
    let Some(bench) = Bench::new("removed") else { return };
    let shards = Shards::default();
    shards.set(even(&[SHARD]));
    let store = bench.store(quick()).await;
    let app = application(&bench, "me", &shards);
    assert_eq!(store.claim(&app).await.unwrap().len(), 1);
    let mut lease = store.acquire(&bench.table, SHARD, "me", 0).await.unwrap();
    let gone = bench.client.delete_item().table_name(&bench.table).key("leaseKey", S(SHARD.to_owned()));
    gone.send().await.unwrap();
    until_lost(&store, &mut lease).await;
    let since = Instant::now();
    while store.claim(&app).await.unwrap().is_empty() {
        assert!(since.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_a_leader_wants_for_another_is_handed_over_at_its_checkpoint() {
    let Some(bench) = Bench::new("hand-off") else { return };
    bench.make().await;
    bench.put(free(SHARD)).await;
    let store = bench.store(quick()).await;
    let mut lease = store.acquire(&bench.table, SHARD, "me", 0).await.unwrap();
    store.checkpoint(&mut lease, &Position::at(7), None).await.unwrap();
    let fence = store.fence(&lease);
    let owners = [(":new", S("new".to_owned())), (":me", S("me".to_owned()))];
    bench.edit(SHARD, "SET leaseOwner = :new, checkpointOwner = :me", &owners).await;
    let (took, error) = until_lost(&store, &mut lease).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(matches!(&error, LeaseError::Lost { now, .. } if now.as_deref() == Some("new")), "{error}");
    assert!(!fence.holds_for(Duration::ZERO));
    // What was done by then may still be stored.
    store.checkpoint(&mut lease, &Position::at(9), None).await.unwrap();
    let since = Instant::now();
    while bench.text(SHARD, "checkpointOwner").await.is_some() {
        assert!(since.elapsed() < Duration::from_secs(3), "not handed over");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bench.text(SHARD, "leaseOwner").await.as_deref(), Some("new"));
    assert_eq!(bench.text(SHARD, "checkpoint").await.as_deref(), Some("9"));
    assert!(matches!(store.checkpoint(&mut lease, &Position::at(11), None).await, Err(LeaseError::Lost { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_in_the_hands_of_its_last_owner_is_left_alone_until_that_one_is_done_or_gone() {
    let Some(bench) = Bench::new("not-yet") else { return };
    bench.make().await;
    let mut row = free(SHARD);
    row.insert("leaseOwner".to_owned(), S("me".to_owned()));
    row.insert("checkpointOwner".to_owned(), S("old".to_owned()));
    bench.put(row).await;
    let shards = Shards::default();
    shards.set(even(&[SHARD]));
    let store = bench.store(quick()).await;
    let app = application(&bench, "me", &shards);
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(1500) {
        // The old owner renews.
        bench.edit(SHARD, "ADD leaseCounter :one", &[(":one", N("1".to_owned()))]).await;
        assert!(store.claim(&app).await.unwrap().is_empty());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let since = Instant::now();
    while store.claim(&app).await.unwrap().is_empty() {
        assert!(since.elapsed() < Duration::from_secs(4), "the old owner is gone");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(since.elapsed() > Duration::from_millis(700));
    assert_eq!(bench.text(SHARD, "checkpointOwner").await, None);
}
