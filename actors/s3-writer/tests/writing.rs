//! Packing and putting: what is declared when, what is acknowledged when, and who is to blame when a store is away.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use snowmelt_objects::{Headers, LoaderFile, ObjectInfo, ObjectStore, PackRatio, StoreError};
use snowmelt_runtime::group::GroupEnd;
use snowmelt_runtime::{
    Ack, Batch, Clock, Cores, Failure, Group, GroupBuilder, GroupContext, GroupId, Intents, Ledger, MailboxLimits,
    Pause, Port, Stage, StageContext,
};
use snowmelt_s3_writer::{Packer, Puts, Report, S3Writer};
use snowmelt_streams::{PutEntry, Record, SequenceNumber};

/// What happened, in order.
type Told = Arc<Mutex<Vec<String>>>;

/// Fails the first puts, and keeps the keys of the others.
struct Store {
    told: Told,
    failures: Mutex<u32>,
}

#[async_trait]
impl ObjectStore for Store {
    async fn put(&self, key: &str, _bytes: Bytes, _headers: Headers) -> Result<(), StoreError> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            let source = io::Error::other("SlowDown: please reduce your request rate");
            return Err(StoreError::Io { action: "put", key: key.to_owned(), source });
        }
        self.told.lock().unwrap().push(format!("put {key}"));
        Ok(())
    }

    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        Ok(Vec::new())
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        Err(StoreError::NotFound { key: key.to_owned() })
    }

    async fn delete(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Keeps the acknowledgements of bad rows until the test takes them.
struct Bad {
    told: Told,
    held: Arc<Mutex<Vec<Ack>>>,
}

#[async_trait(?Send)]
impl Stage for Bad {
    type Input = Batch<PutEntry>;

    async fn handle(&mut self, input: Self::Input, _cx: &StageContext) -> Result<(), Failure> {
        self.told.lock().unwrap().push(format!("{} bad", input.items.len()));
        self.held.lock().unwrap().push(input.ack);
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        Ok(())
    }
}

struct Rig {
    told: Told,
    held: Arc<Mutex<Vec<Ack>>>,
    intents: Intents,
    ledger: Ledger,
    input: Port<Batch<Record>>,
    group: Group,
    _arbiter: actix_rt::Arbiter,
}

impl Rig {
    fn new(failures: u32, retry_for: Option<Duration>, snowmelt: &Value) -> Self {
        let config = json!({
            "purpose": "SELF_DESCRIBING",
            "input": { "streamName": "bad-1" },
            "output": { "good": { "path": "s3://b/d", "partitionFormat": "{name}" }, "bad": { "streamName": "bad-2" } },
            "snowmelt": snowmelt,
        });
        let config = Arc::new(LoaderFile::from_value(&config).unwrap().resolve("1.0.0").unwrap());
        let (told, held) = (Told::default(), Arc::default());
        let (ledger, intents) = (Ledger::new(), Intents::default());
        let arbiter = actix_rt::Arbiter::new();
        let mut builder = GroupBuilder::new(GroupContext {
            id: GroupId { pipeline: "test".into(), shard: "shard".into() },
            clock: Clock::system(),
            cores: Cores::new(1).unwrap(),
            arbiter: arbiter.handle(),
            pause: Pause::default(),
        });
        let limits = MailboxLimits::new(1 << 20, 4);
        let sink = Bad { told: Arc::clone(&told), held: Arc::clone(&held) };
        let bad = builder.stage("bad", limits, move || sink);
        let store = Arc::new(Store { told: Arc::clone(&told), failures: Mutex::new(failures) });
        let puts = Puts { store, retry_for, report: Report::default() };
        let (of_writer, of_packer) = (intents.sink("s"), intents.sink("s"));
        let writer = builder.stage("s3-writer", limits, move || S3Writer::new(puts, of_writer, bad));
        let input =
            builder.stage("s3-packer", limits, move || Packer::new(config, of_packer, PackRatio::default(), writer));
        Self { told, held, intents, ledger, input, group: builder.finish(), _arbiter: arbiter }
    }

    async fn send(&self, first: u128, data: &[&str]) {
        let records: Vec<Record> = data
            .iter()
            .zip(first..)
            .map(|(data, lo)| Record {
                sequence: SequenceNumber::new(0, lo),
                partition_key: String::new(),
                data: Bytes::copy_from_slice(data.as_bytes()),
                arrived_ms: 0,
            })
            .collect();
        let last = records.last().unwrap().sequence.to_string();
        let ack = self.ledger.open(last, records.len());
        self.input.send_from_outside(Batch::new(records, 100, ack)).await.unwrap();
    }

    /// Stores what is declared, as the checkpointer does.
    async fn store(&self) -> String {
        self.intents.changed().await;
        let declared = self.intents.declared(None);
        self.told.lock().unwrap().push("stored".to_owned());
        self.intents.stored(declared.version);
        declared.beyond.unwrap().0
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) {
        for _ in 0..500 {
            if done(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within 5 s: {:?}", self.told());
    }
}

const ONE: &str = r#"{"schema":"iglu:v/one/jsonschema/1-0-0"}"#;
const TWO: &str = r#"{"schema":"iglu:v/two/jsonschema/1-0-0"}"#;

#[actix::test]
async fn a_cut_is_stored_before_its_first_put_and_the_next_one_waits_for_its_bad_rows() {
    let rig = Rig::new(0, None, &json!({"naming": "sequence"}));
    rig.send(1, &[ONE, "no json", TWO]).await;
    rig.send(4, &[ONE]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(rig.told(), [""; 0], "nothing is put before the cut is stored");
    assert_eq!(rig.store().await, "3");
    rig.until(|rig| !rig.held.lock().unwrap().is_empty()).await;
    let mut told = rig.told();
    told[1..3].sort();
    assert_eq!(told, ["stored", "put d/one/shard-1-3.gz", "put d/two/shard-1-3.gz", "1 bad"]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!rig.intents.is_waiting() && rig.ledger.progress().pending == 2, "its bad row is not accepted yet");
    rig.held.lock().unwrap().drain(..).for_each(Ack::delivered);
    assert_eq!(rig.store().await, "4");
    rig.until(|rig| rig.ledger.progress().pending == 0).await;
    assert_eq!(rig.told(), ["stored", "put d/one/shard-4-4.gz"]);
    assert_eq!(rig.ledger.progress().durable.unwrap().position, "4");
}

#[actix::test]
async fn a_put_that_fails_is_tried_again_until_the_store_has_it() {
    let rig = Rig::new(3, None, &json!({"naming": "sequence"}));
    rig.send(1, &[ONE]).await;
    rig.store().await;
    rig.until(|rig| rig.ledger.progress().pending == 0).await;
    assert_eq!(rig.told(), ["stored", "put d/one/shard-1-1.gz"]);
}

#[actix::test]
async fn a_store_that_is_away_for_longer_than_it_is_waited_for_fails_the_group_and_not_its_records() {
    let mut rig = Rig::new(u32::MAX, Some(Duration::from_millis(300)), &json!({}));
    rig.send(1, &[ONE]).await;
    rig.store().await;
    let end = tokio::time::timeout(Duration::from_secs(20), rig.group.ended()).await.unwrap();
    let GroupEnd::Failed { actor, failure: Failure::Outage { message } } = end else { panic!("{end:?}") };
    assert_eq!(actor, "s3-writer");
    assert!(message.contains("not put within") && message.contains("SlowDown"), "{message}");
    assert_eq!(rig.ledger.progress().durable, None);
}
