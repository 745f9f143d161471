//! Shards that end: parents before children, merges, clean-up.

use std::time::{Duration, Instant};

use snowmelt_dynamodb::DynamoLeases;
use snowmelt_leases::{Application, LeaseStore, Position, ShardInfo};

use crate::local::{Bench, Shards, application, even, quick};

const ONE: &str = "shardId-000000000000";
const OTHER: &str = "shardId-000000000001";
const LEFT: &str = "shardId-000000000002";
const RIGHT: &str = "shardId-000000000003";

fn child(id: &str, parents: &[&str], range: (u128, u128)) -> ShardInfo {
    let parents = parents.iter().map(|id| (*id).to_owned()).collect();
    ShardInfo { id: id.to_owned(), parents, range: Some(range), closed: false }
}

async fn claimed(store: &DynamoLeases, app: &Application) -> Vec<String> {
    store.claim(app).await.unwrap().into_iter().map(|lease| lease.shard).collect()
}

async fn until_claimed(store: &DynamoLeases, app: &Application, wanted: &[&str]) {
    let since = Instant::now();
    loop {
        let now = claimed(store, app).await;
        if now == wanted {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(3), "{now:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_is_read_parent_first_and_its_children_at_once_after() {
    let Some(bench) = Bench::new("split") else { return };
    let half = u128::MAX / 2;
    let shards = Shards::default();
    shards.set(even(&[ONE]));
    let store = bench.store(quick()).await;
    let app = application(&bench, "me", &shards);
    until_claimed(&store, &app, &[ONE]).await;
    let mut lease = store.acquire(&bench.table, ONE, "me", 0).await.unwrap();
    // Split while it is read: the group began when there were no children.
    let mut parent = even(&[ONE]).remove(0);
    parent.closed = true;
    shards.set(vec![parent, child(LEFT, &[ONE], (0, half)), child(RIGHT, &[ONE], (half + 1, u128::MAX))]);
    store.checkpoint(&mut lease, &Position::at(5), None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(claimed(&store, &app).await, [ONE], "its children are made at its end");
    store.end_shard(&mut lease, &[]).await.unwrap();
    assert_eq!(lease.children, [LEFT, RIGHT]);
    store.end_shard(&mut lease, &[]).await.unwrap();
    store.release(lease.clone()).await.unwrap();
    assert_eq!(claimed(&store, &app).await, [LEFT, RIGHT], "in the claim after");
    // The row of the parent stays owned and renewed.
    let before = bench.text(ONE, "leaseCounter").await;
    for _ in 0..20 {
        claimed(&store, &app).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(bench.text(ONE, "leaseCounter").await, before);
    assert_eq!(bench.text(ONE, "leaseOwner").await.as_deref(), Some("me"));
    assert_eq!(bench.text(ONE, "checkpoint").await.as_deref(), Some("SHARD_END"));
    // Until each child has a position of its own.
    for shard in [LEFT, RIGHT] {
        let mut lease = store.acquire(&bench.table, shard, "me", 0).await.unwrap();
        assert_eq!(lease.checkpoint, Position::TrimHorizon);
        store.checkpoint(&mut lease, &Position::at(9), None).await.unwrap();
    }
    let since = Instant::now();
    while bench.get(ONE).await.is_some() {
        assert!(since.elapsed() < Duration::from_secs(9), "not cleaned up");
        claimed(&store, &app).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    claimed(&store, &app).await;
    assert!(bench.get(ONE).await.is_none(), "and not made again while it is listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_waits_for_both_parents() {
    let Some(bench) = Bench::new("merge") else { return };
    let shards = Shards::default();
    shards.set(even(&[ONE, OTHER]));
    let (a, b) = (bench.store(quick()).await, bench.store(quick()).await);
    let (app_a, app_b) = (application(&bench, "a", &shards), application(&bench, "b", &shards));
    until_claimed(&a, &app_a, &[ONE, OTHER]).await;
    let mut first = a.acquire(&bench.table, ONE, "a", 0).await.unwrap();
    // The other worker takes the other parent.
    let since = Instant::now();
    while claimed(&b, &app_b).await.is_empty() {
        assert!(since.elapsed() < Duration::from_secs(5));
        a.renew(&mut first, 0).await.ok();
        claimed(&a, &app_a).await;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let theirs = claimed(&b, &app_b).await.remove(0);
    let ours = if theirs == ONE { OTHER } else { ONE };
    let mut second = b.acquire(&bench.table, &theirs, "b", 0).await.unwrap();
    let mut first = a.acquire(&bench.table, ours, "a", 0).await.unwrap();
    let merged = child(LEFT, &[ONE, OTHER], (0, u128::MAX));
    a.end_shard(&mut first, std::slice::from_ref(&merged)).await.unwrap();
    a.release(first).await.unwrap();
    assert!(bench.get(LEFT).await.is_some());
    // Whoever has the child reads nothing of it yet.
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(700) {
        assert!(claimed(&a, &app_a).await.is_empty());
        assert!(claimed(&b, &app_b).await.iter().all(|shard| *shard == theirs));
        b.renew(&mut second, 0).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    b.end_shard(&mut second, &[merged]).await.unwrap();
    b.release(second).await.unwrap();
    let since = Instant::now();
    loop {
        let both = [claimed(&a, &app_a).await, claimed(&b, &app_b).await].concat();
        if both == [LEFT] {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(3), "{both:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_listed_as_open_does_not_end() {
    use snowmelt_leases::LeaseError;
    let Some(bench) = Bench::new("open-end") else { return };
    let shards = Shards::default();
    shards.set(even(&[ONE]));
    let store = bench.store(quick()).await;
    let app = application(&bench, "me", &shards);
    until_claimed(&store, &app, &[ONE]).await;
    let mut lease = store.acquire(&bench.table, ONE, "me", 0).await.unwrap();
    let ended = store.end_shard(&mut lease, &[]).await;
    assert!(matches!(ended, Err(LeaseError::Unlisted { .. })), "{ended:?}");
    // Past its retention it is listed no more: it ends without children.
    shards.set(even(&[OTHER]));
    store.end_shard(&mut lease, &[]).await.unwrap();
    assert!(lease.is_ended());
}
