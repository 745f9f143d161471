//! Going on after a crash: what was begun is written again whole and first, and the out gets only what comes after it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use snowmelt_runtime::{
    Batch, Clock, Cores, Failure, GroupBuilder, GroupContext, GroupId, Ledger, MailboxLimits, Pause, Stage,
    StageContext,
};
use snowmelt_shard_reader::{ReaderOptions, Resume, ShardReader, Unfinished};
use snowmelt_streams::{Page, ReadLimit, Record, SequenceNumber, ShardCursor, StreamError};

/// Records up to 20, behind the first number; then none come.
struct Numbers(u128);

const fn sequence(lo: u128) -> SequenceNumber {
    SequenceNumber::new(0, lo)
}

#[async_trait]
impl ShardCursor for Numbers {
    async fn next(&mut self, limit: ReadLimit, wait: Duration) -> Result<Page, StreamError> {
        let record = |lo| Record {
            sequence: sequence(lo),
            partition_key: String::new(),
            data: format!("record {lo}").into(),
            arrived_ms: 0,
        };
        let records: Vec<Record> = (self.0 + 1..=20).take(limit.records).map(record).collect();
        self.0 += records.len() as u128;
        if records.is_empty() {
            tokio::time::sleep(wait).await;
        }
        Ok(Page { records, end_of_shard: false, millis_behind_latest: 0 })
    }
}

type Kept = Arc<Mutex<Vec<(&'static str, Vec<u128>)>>>;

struct Keep(&'static str, Kept);

#[async_trait(?Send)]
impl Stage for Keep {
    type Input = Batch<Record>;

    async fn handle(&mut self, input: Self::Input, _cx: &StageContext) -> Result<(), Failure> {
        let numbers = input.items.iter().map(|record| record.sequence.lo).collect();
        self.1.lock().unwrap().push((self.0, numbers));
        input.ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        Ok(())
    }
}

#[actix::test]
async fn the_open_cut_comes_first_and_whole_and_each_out_gets_only_what_it_lacks() {
    let arbiter = actix_rt::Arbiter::new();
    let mut builder = GroupBuilder::new(GroupContext {
        id: GroupId { pipeline: "test".into(), shard: "0".into() },
        clock: Clock::system(),
        cores: Cores::new(1).unwrap(),
        arbiter: arbiter.handle(),
        pause: Pause::default(),
    });
    let (ledger, kept, limits) = (Ledger::new(), Kept::default(), MailboxLimits::new(1 << 20, 4));
    let keep = |name| Keep(name, Arc::clone(&kept));
    let (writer, batcher, slow) = (keep("writer"), keep("batcher"), keep("slow"));
    let writer = builder.stage("writer", limits, move || writer);
    let batcher = builder.stage("batcher", limits, move || batcher);
    let slow = builder.stage("slow", limits, move || slow);
    // The checkpoint is 4, where the slow sink is; the other has all up to 6 and had begun 7 to 13.
    let unfinished = Unfinished { cursor: Box::new(Numbers(6)), until: sequence(13), writer };
    let resume = Resume { done: Some(sequence(6)), unfinished: Some(unfinished) };
    let options = ReaderOptions {
        limit: ReadLimit { records: 5, bytes: 1 << 20 },
        wait: Duration::from_millis(10),
        ..ReaderOptions::default()
    };
    let tickets = ledger.clone();
    builder.worker("shard-reader", move || {
        ShardReader::new(Box::new(Numbers(4)), options, tickets, vec![batcher, slow]).with_resume(0, resume)
    });
    let group = builder.finish();
    for _ in 0..500 {
        if ledger.progress().durable.is_some_and(|ticket| ticket.position == "20") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(group);
    let kept = kept.lock().unwrap();
    assert_eq!(kept[0], ("writer", (7..=13).collect()));
    let all =
        |name: &'static str| kept.iter().filter(move |(who, _)| *who == name).flat_map(|(_, numbers)| numbers.clone());
    assert_eq!(all("writer").count(), 7);
    assert_eq!(all("batcher").collect::<Vec<_>>(), (14..=20).collect::<Vec<_>>());
    assert_eq!(all("slow").collect::<Vec<_>>(), (5..=20).collect::<Vec<_>>());
    assert_eq!(ledger.progress().durable.unwrap().position, "20");
}
