//! The embedded table of leases: ownership, checkpoints, restarts.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use proptest::prelude::*;
use snowmelt_leases::{EmbeddedLeases, Lease, LeaseError, LeaseStore, Pending, Position, ShardInfo};

const APP: &str = "enrich";

fn shard(id: &str, parents: &[&str], closed: bool) -> ShardInfo {
    let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
    ShardInfo { id: id.to_owned(), parents, range: Some((0, u128::MAX)), closed }
}

async fn with_shards(ids: &[&str]) -> (tempfile::TempDir, EmbeddedLeases) {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedLeases::open(dir.path()).unwrap();
    let shards: Vec<_> = ids.iter().map(|id| shard(id, &[], false)).collect();
    store.sync(APP, "raw", &shards, &Position::TrimHorizon).await.unwrap();
    (dir, store)
}

#[tokio::test]
async fn a_checkpoint_survives_a_restart_and_never_goes_back() {
    let (dir, store) = with_shards(&["a"]).await;
    let mut lease = store.acquire(APP, "a", "me", 0).await.unwrap();
    store.checkpoint(&mut lease, &Position::at(900), None).await.unwrap();
    let back = store.checkpoint(&mut lease, &Position::at(899), None).await.unwrap_err();
    assert!(matches!(back, LeaseError::Backwards { .. }), "{back}");
    drop(store);
    let store = EmbeddedLeases::open(dir.path()).unwrap();
    let lease = store.acquire(APP, "a", "me", 1).await.unwrap();
    assert_eq!(lease.checkpoint, Position::at(900));
    assert_eq!(lease.range, Some((0, u128::MAX)));
}

#[tokio::test]
async fn what_is_about_to_be_done_survives_a_restart_until_it_is_replaced_or_taken_back() {
    let (dir, store) = with_shards(&["a"]).await;
    let noted = |at: u64| Pending { position: Position::at(at), state: format!("{{\"until\":{at}}}") };
    let mut lease = store.acquire(APP, "a", "me", 0).await.unwrap();
    // Before there is any checkpoint, and again with the position that it is at.
    store.checkpoint(&mut lease, &Position::TrimHorizon, Some(&noted(7))).await.unwrap();
    store.checkpoint(&mut lease, &Position::TrimHorizon, Some(&noted(8))).await.unwrap();
    let counter = lease.counter;
    store.checkpoint(&mut lease, &Position::TrimHorizon, Some(&noted(8))).await.unwrap();
    assert_eq!(lease.counter, counter, "the same again is no write");
    drop(store);
    let store = EmbeddedLeases::open(dir.path()).unwrap();
    let mut lease = store.acquire(APP, "a", "me", 1).await.unwrap();
    assert_eq!((&lease.checkpoint, &lease.pending), (&Position::TrimHorizon, &Some(noted(8))));
    store.checkpoint(&mut lease, &Position::at(8), None).await.unwrap();
    assert_eq!(store.list(APP).await.unwrap()[0].pending, None);
    store.checkpoint(&mut lease, &Position::at(8), Some(&noted(9))).await.unwrap();
    store.end_shard(&mut lease, &[]).await.unwrap();
    assert_eq!(store.list(APP).await.unwrap()[0].pending, None);
}

#[tokio::test]
async fn an_earlier_holder_writes_no_more_even_of_the_same_name() {
    let (_dir, store) = with_shards(&["a"]).await;
    let mut old = store.acquire(APP, "a", "me", 0).await.unwrap();
    let mut new = store.acquire(APP, "a", "me", 0).await.unwrap();
    let lost = store.checkpoint(&mut old, &Position::at(5), None).await.unwrap_err();
    assert!(matches!(lost, LeaseError::Lost { .. }), "{lost}");
    assert!(matches!(store.renew(&mut old, 1).await, Err(LeaseError::Lost { .. })));
    store.checkpoint(&mut new, &Position::at(5), None).await.unwrap();
}

#[tokio::test]
async fn a_renewed_lease_is_held_and_an_expired_one_is_not() {
    let (_dir, store) = with_shards(&["a"]).await;
    let mut mine = store.acquire(APP, "a", "me", 0).await.unwrap();
    store.renew(&mut mine, 5_000).await.unwrap();
    assert!(matches!(store.acquire(APP, "a", "you", 14_999).await, Err(LeaseError::Held { .. })));
    let yours = store.acquire(APP, "a", "you", 15_000).await.unwrap();
    assert_eq!((yours.owner.as_deref(), yours.owner_switches), (Some("you"), 1));
    assert!(matches!(store.renew(&mut mine, 15_001).await, Err(LeaseError::Lost { .. })));
    store.release(yours).await.unwrap();
    store.acquire(APP, "a", "me", 15_002).await.unwrap();
}

#[tokio::test]
async fn children_begin_at_their_first_record_and_the_parent_is_forgotten_once_it_is_gone() {
    let (_dir, store) = with_shards(&["a"]).await;
    let children = [shard("b", &["a"], false), shard("c", &["a"], false)];
    let mut lease = store.acquire(APP, "a", "me", 0).await.unwrap();
    store.end_shard(&mut lease, &children).await.unwrap();
    store.end_shard(&mut lease, &children).await.unwrap();
    let leases = store.list(APP).await.unwrap();
    let positions: Vec<_> = leases.iter().map(|lease| (lease.shard.as_str(), lease.checkpoint.clone())).collect();
    assert_eq!(positions, [("a", Position::ShardEnd), ("b", Position::TrimHorizon), ("c", Position::TrimHorizon)]);
    assert_eq!(leases[0].children, ["b", "c"]);
    let left = store.sync(APP, "raw", &children, &Position::Latest).await.unwrap();
    assert_eq!(left.iter().map(|lease| lease.shard.as_str()).collect::<Vec<_>>(), ["b", "c"]);
}

#[tokio::test]
async fn a_shard_found_later_is_read_from_its_first_record_whatever_the_start_is() {
    let (_dir, store) = with_shards(&["a"]).await;
    let shards = [shard("a", &[], false), shard("late", &["gone"], false)];
    let leases = store.sync(APP, "raw", &shards, &Position::Latest).await.unwrap();
    assert_eq!(leases[1].checkpoint, Position::TrimHorizon);
}

#[tokio::test]
async fn a_shard_past_its_retention_holds_its_children_up_no_longer() {
    let (_dir, store) = with_shards(&["a"]).await;
    let mut lease = store.acquire(APP, "a", "me", 0).await.unwrap();
    store.checkpoint(&mut lease, &Position::at(5), None).await.unwrap();
    let kept = store.sync(APP, "raw", &[], &Position::Latest).await.unwrap();
    assert_eq!(kept[0].checkpoint, Position::at(5), "an empty listing says nothing");
    let leases = store.sync(APP, "raw", &[shard("b", &["a"], false)], &Position::Latest).await.unwrap();
    assert_eq!(leases.iter().map(|lease| lease.shard.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(leases[0].checkpoint, Position::TrimHorizon);
    assert!(matches!(store.renew(&mut lease, 1).await, Err(LeaseError::NotFound { .. })));
}

#[tokio::test]
async fn a_second_process_and_a_damaged_file_are_refused_by_name() {
    let (dir, store) = with_shards(&["a"]).await;
    let refused = EmbeddedLeases::open(dir.path()).unwrap_err();
    assert!(matches!(refused, LeaseError::Locked { .. }));
    assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    drop(store);
    std::fs::write(dir.path().join("enrich.leases.json"), "[{").unwrap();
    let error = EmbeddedLeases::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("enrich.leases.json is damaged"), "{error}");
}

#[tokio::test]
async fn names_that_would_leave_the_directory_are_refused() {
    let (_dir, store) = with_shards(&["a"]).await;
    for name in ["", "../x", "a/b", ".hidden"] {
        let refused = store.sync(name, "raw", &[], &Position::Latest).await;
        assert!(matches!(refused, Err(LeaseError::Invalid { .. })), "{name}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Acquire,
    Renew,
    Checkpoint(u64),
    Release,
    Pass(i64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        3 => Just(Step::Acquire),
        3 => Just(Step::Renew),
        4 => (0u64..100).prop_map(Step::Checkpoint),
        1 => Just(Step::Release),
        2 => (0i64..15_000).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec((0usize..3, step), 1..40)
}

/// Three workers at one lease. Only the last who acquired it may write, and the stored position never goes back.
async fn three_workers(steps: Vec<(usize, Step)>) {
    let (dir, store) = with_shards(&["a"]).await;
    let mut store = Some(store);
    let mut leases: [Option<Lease>; 3] = [None, None, None];
    let (mut holder, mut renewed, mut now, mut stored) = (None, 0, 1_000_000, Position::TrimHorizon);
    for (worker, step) in steps {
        let table = store.as_ref().unwrap();
        let holds = holder == Some(worker);
        match (step, leases[worker].as_mut()) {
            (Step::Acquire, _) => {
                let free = holds || holder.is_none() || now - renewed >= 10_000;
                match table.acquire(APP, "a", &format!("worker {worker}"), now).await {
                    Ok(lease) => {
                        assert!(free);
                        assert_eq!(lease.checkpoint, stored);
                        leases[worker] = Some(lease);
                        (holder, renewed) = (Some(worker), now);
                    }
                    Err(error) => assert!(!free && matches!(error, LeaseError::Held { .. }), "{error}"),
                }
            }
            (Step::Renew, Some(lease)) => {
                let result = table.renew(lease, now).await;
                assert_eq!(result.is_ok(), holds, "{result:?}");
                if holds {
                    renewed = now;
                }
            }
            (Step::Checkpoint(position), Some(lease)) => {
                let position = Position::at(position);
                match table.checkpoint(lease, &position, None).await {
                    Ok(()) => {
                        assert!(holds && position >= stored);
                        stored = position;
                    }
                    Err(LeaseError::Backwards { .. }) => assert!(holds && position < stored),
                    Err(error) => assert!(!holds && matches!(error, LeaseError::Lost { .. }), "{error}"),
                }
            }
            (Step::Release, Some(_)) => {
                let result = table.release(leases[worker].take().unwrap()).await;
                assert_eq!(result.is_ok(), holds, "{result:?}");
                if holds {
                    holder = None;
                }
            }
            (Step::Pass(millis), _) => now += millis,
            (Step::Restart, _) => {
                drop(store.take());
                store = Some(EmbeddedLeases::open(dir.path()).unwrap());
                // The workers died with the process.
                (leases, renewed) = ([None, None, None], 0);
            }
            (_, None) => {}
        }
        assert_eq!(store.as_ref().unwrap().list(APP).await.unwrap()[0].checkpoint, stored);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn only_the_last_to_acquire_writes_and_nothing_goes_back(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(three_workers(steps));
    }
}
