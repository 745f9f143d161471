//! Rows as the three generations of the Kinesis Client Library write them.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue::{self, B, N, S, Ss};
use snowmelt_dynamodb::LeaseOptions;
use snowmelt_leases::{LeaseError, LeaseStore, Pending, Position};

use crate::local::{Bench, Item, Shards, application, even, quick};

/// A text.
fn s(text: &str) -> AttributeValue {
    S(text.to_owned())
}

/// A number.
fn n(text: &str) -> AttributeValue {
    N(text.to_owned())
}

fn ss(texts: &[&str]) -> AttributeValue {
    Ss(texts.iter().map(|text| (*text).to_owned()).collect())
}

/// An item of these attributes.
pub fn item(attributes: &[(&str, AttributeValue)]) -> Item {
    attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// A row of version 1.x, before hash ranges.
fn of_1x() -> Item {
    item(&[
        ("leaseKey", s("shardId-000000000001")),
        ("leaseOwner", s("ip-10-0-0-1:7f3c")),
        ("leaseCounter", n("4711")),
        ("checkpoint", s("49590338271490256608559692538361571095921575989136588898")),
        ("checkpointSubSequenceNumber", n("0")),
        ("ownerSwitchesSinceCheckpoint", n("2")),
        ("parentShardId", ss(&["shardId-000000000000"])),
    ])
}

/// A row of version 2.x, in the middle of a two-phase checkpoint.
fn of_2x() -> Item {
    item(&[
        ("leaseKey", s("shardId-000000000002")),
        ("leaseCounter", n("9")),
        ("checkpoint", s("49590338271490256608559692538361571095921575989136588899")),
        ("checkpointSubSequenceNumber", n("3")),
        ("ownerSwitchesSinceCheckpoint", n("0")),
        ("startingHashKey", s("0")),
        ("endingHashKey", s("170141183460469231731687303715884105727")),
        ("pendingCheckpoint", s("49590338271490256608559692538361571095921575989136588900")),
        ("pendingCheckpointSubSequenceNumber", n("1")),
        ("pendingCheckpointState", B(Blob::new([0xff, 0x00, 0x80]))),
    ])
}

/// A row of version 3.5, handed over at this moment.
fn of_3x() -> Item {
    item(&[
        ("leaseKey", s("shardId-000000000003")),
        ("leaseOwner", s("new")),
        ("checkpointOwner", s("old")),
        ("leaseCounter", n("100")),
        ("checkpoint", s("SHARD_END")),
        ("checkpointSubSequenceNumber", n("0")),
        ("ownerSwitchesSinceCheckpoint", n("1")),
        ("childShardIds", ss(&["shardId-000000000004", "shardId-000000000005"])),
        ("startingHashKey", s("170141183460469231731687303715884105728")),
        ("endingHashKey", s("340282366920938463463374607431768211455")),
        ("throughputKBps", n("12.75")),
        ("entityType", s("LEASE")),
    ])
}

#[tokio::test]
async fn rows_of_all_generations_are_read_and_others_are_left_alone() {
    let Some(bench) = Bench::new("golden") else { return };
    bench.make().await;
    for row in [of_1x(), of_2x(), of_3x()] {
        bench.put(row).await;
    }
    bench.put(item(&[("leaseKey", s("Leader")), ("entityType", s("LEADER")), ("ownerName", s("x"))])).await;
    bench.put(item(&[("leaseKey", s("worker-1")), ("entityType", s("WORKER_METRIC_STATS")), ("lut", n("1"))])).await;
    bench.put(item(&[("leaseKey", s("broken")), ("leaseCounter", n("1"))])).await;
    bench.put(item(&[("leaseKey", s("1:s:2:shardId-0")), ("leaseCounter", n("1")), ("checkpoint", s("LATEST"))])).await;

    let store = bench.store(quick()).await;
    let leases = store.list(&bench.table).await.unwrap();
    let [one, two, three] = &leases[..] else { panic!("{leases:?}") };
    assert_eq!((one.owner.as_deref(), one.counter, one.owner_switches), (Some("ip-10-0-0-1:7f3c"), 4711, 2));
    assert_eq!(one.checkpoint, Position::at("49590338271490256608559692538361571095921575989136588898"));
    assert_eq!((&one.parents[..], one.range), (&["shardId-000000000000".to_owned()][..], None));
    assert_eq!((two.owner.as_deref(), two.range), (None, Some((0, u128::MAX / 2))));
    assert_eq!(two.checkpoint, Position::at("49590338271490256608559692538361571095921575989136588899:3"));
    assert_eq!(two.pending, None, "a state that is no text");
    assert_eq!((three.owner.as_deref(), &three.checkpoint), (Some("new"), &Position::ShardEnd));
    assert_eq!(three.children, ["shardId-000000000004", "shardId-000000000005"]);
}

#[tokio::test]
async fn what_is_not_understood_survives_a_lease_s_whole_life() {
    let Some(bench) = Bench::new("unknown") else { return };
    bench.make().await;
    let mut row = of_2x();
    row.insert("invented".to_owned(), AttributeValue::L(vec![n("1.5"), s("x")]));
    row.insert("throughputKBps".to_owned(), n("3.25"));
    bench.put(row).await;
    let store = bench.store(quick()).await;
    let shard = "shardId-000000000002";
    let mut lease = store.acquire(&bench.table, shard, "me", 0).await.unwrap();
    assert_eq!((lease.counter, lease.pending.clone()), (10, None));

    // The same position, with a pending state of the library's: its first checkpoint here removes that.
    let at = lease.checkpoint.clone();
    store.checkpoint(&mut lease, &at, None).await.unwrap();
    assert_eq!(lease.counter, 11);
    let row = bench.get(shard).await.unwrap();
    assert!(!row.keys().any(|name| name.starts_with("pending")), "{row:?}");
    store.release(lease).await.unwrap();
    let row = bench.get(shard).await.unwrap();
    assert_eq!(row["invented"], AttributeValue::L(vec![n("1.5"), s("x")]));
    assert_eq!((&row["throughputKBps"], row.get("leaseOwner")), (&n("3.25"), None));
}

#[tokio::test]
async fn rows_are_written_as_the_library_writes_them() {
    let Some(bench) = Bench::new("layout") else { return };
    let shards = Shards::default();
    shards.set(even(&["shardId-000000000000"]));
    let store = bench.store(quick()).await;
    let claimed = store.claim(&application(&bench, "me", &shards)).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let mut lease = store.acquire(&bench.table, &claimed[0].shard, "me", 0).await.unwrap();
    let created = item(&[
        ("leaseKey", s("shardId-000000000000")),
        ("leaseOwner", s("me")),
        ("leaseCounter", n(&lease.counter.to_string())),
        ("checkpoint", s("TRIM_HORIZON")),
        ("checkpointSubSequenceNumber", n("0")),
        ("ownerSwitchesSinceCheckpoint", n("0")),
        ("startingHashKey", s("0")),
        ("endingHashKey", s("340282366920938463463374607431768211455")),
    ]);
    assert_eq!(bench.get("shardId-000000000000").await.unwrap(), created);

    let pending = Pending { position: Position::at("12:3"), state: "{\"cut\":1}".to_owned() };
    store.checkpoint(&mut lease, &Position::at("7:1"), Some(&pending)).await.unwrap();
    let mut stored = created;
    stored.extend(item(&[
        ("leaseCounter", n(&lease.counter.to_string())),
        ("checkpoint", s("7")),
        ("checkpointSubSequenceNumber", n("1")),
        ("pendingCheckpoint", s("12")),
        ("pendingCheckpointSubSequenceNumber", n("3")),
        ("pendingCheckpointState", B(Blob::new("{\"cut\":1}"))),
    ]));
    assert_eq!(bench.get("shardId-000000000000").await.unwrap(), stored);
    let before = lease.clone();
    store.checkpoint(&mut lease, &Position::at("7:1"), Some(&pending)).await.unwrap();
    assert_eq!(before.counter, lease.counter, "the same again is no write");
    let back = store.checkpoint(&mut lease, &Position::at("7"), None).await;
    assert!(matches!(back, Err(LeaseError::Backwards { .. })), "{back:?}");
}

#[tokio::test]
async fn a_table_of_something_else_is_refused() {
    use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
    let Some(bench) = Bench::new("foreign") else { return };
    let name = "ShardID";
    let key = KeySchemaElement::builder().attribute_name(name).key_type(KeyType::Hash).build().unwrap();
    let kind =
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap();
    let make = bench.client.create_table().table_name(&bench.table).key_schema(key).attribute_definitions(kind);
    make.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    let store = bench.store(quick()).await;
    let claimed = store.claim(&application(&bench, "me", &Shards::default())).await;
    assert!(matches!(&claimed, Err(LeaseError::Invalid { reason, .. }) if reason.contains("ShardID")), "{claimed:?}");
}

#[tokio::test]
async fn a_missing_table_is_an_empty_list_and_not_made_against_the_will() {
    let Some(bench) = Bench::new("missing") else { return };
    let store = bench.store(LeaseOptions { create_table: false, ..quick() }).await;
    assert!(store.list(&bench.table).await.unwrap().is_empty());
    let claimed = store.claim(&application(&bench, "me", &Shards::default())).await;
    assert!(matches!(claimed, Err(LeaseError::Unavailable { .. })), "{claimed:?}");
    let acquired = store.acquire(&bench.table, "shardId-0", "me", 0).await;
    assert!(matches!(acquired, Err(LeaseError::NotFound { .. })), "{acquired:?}");
}
