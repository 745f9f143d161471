//! Reading with care: one small batch at a time, condemned records to the bad stream, an end when all suspects are durable.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use snowmelt_protocol::badrow::Processor;
use snowmelt_runtime::group::GroupEnd;
use snowmelt_runtime::isolate::{Care, Condemned};
use snowmelt_runtime::{
    Batch, Clock, Cores, Failure, GroupBuilder, GroupContext, GroupId, Ledger, MailboxLimits, Pause, Stage,
    StageContext,
};
use snowmelt_shard_reader::{Careful, ReaderOptions, ShardReader};
use snowmelt_streams::{Page, PutEntry, ReadLimit, Record, SequenceNumber, ShardCursor, StreamError};

/// Records 1, 2, 3 … 100.
struct Numbers(u128);

#[async_trait]
impl ShardCursor for Numbers {
    async fn next(&mut self, limit: ReadLimit, _wait: Duration) -> Result<Page, StreamError> {
        let records: Vec<Record> = (self.0 + 1..=100)
            .take(limit.records)
            .map(|lo| Record {
                sequence: SequenceNumber::new(0, lo),
                partition_key: "key".to_owned(),
                data: format!("record {lo}").into(),
                arrived_ms: 0,
            })
            .collect();
        self.0 += records.len() as u128;
        Ok(Page { records, end_of_shard: false, millis_behind_latest: 0 })
    }
}

/// Keeps what it gets, and how many batches of the ledger were open when it got them.
struct Keep<T>(Kept<T>, Ledger);

type Kept<T> = Arc<Mutex<Vec<(Vec<T>, usize)>>>;

#[async_trait(?Send)]
impl<T: Send + 'static> Stage for Keep<T> {
    type Input = Batch<T>;

    async fn handle(&mut self, input: Self::Input, cx: &StageContext) -> Result<(), Failure> {
        // Long enough for a careless reader to go on.
        cx.clock().sleep(Duration::from_millis(2)).await;
        self.0.lock().unwrap().push((input.items, self.1.progress().pending));
        input.ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        Ok(())
    }
}

#[actix::test]
async fn a_careful_reader_has_one_batch_open_and_sends_the_condemned_to_the_bad_stream() {
    let arbiter = actix_rt::Arbiter::new();
    let context = GroupContext {
        id: GroupId { pipeline: "test".into(), shard: "0".into() },
        clock: Clock::system(),
        cores: Cores::new(1).unwrap(),
        arbiter: arbiter.handle(),
        pause: Pause::default(),
    };
    let mut builder = GroupBuilder::new(context);
    let (ledger, good, bad) = (Ledger::new(), Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let limits = MailboxLimits::new(1 << 20, 4);
    let (keep_good, keep_bad) =
        (Keep::<Record>(good.clone(), ledger.clone()), Keep::<PutEntry>(bad.clone(), ledger.clone()));
    let good_port = builder.stage("good", limits, move || keep_good);
    let bad_port = builder.stage("bad", limits, move || keep_bad);
    let condemned = vec![Condemned { position: "5".to_owned(), reason: "panic: poison".to_owned() }];
    let care = Care { limit: 3, until: "10".to_owned(), condemned };
    let careful = Careful::new(care, bad_port, Processor::new("test", "1"));
    let tickets = ledger.clone();
    builder.worker("shard-reader", move || {
        ShardReader::new(Box::new(Numbers(0)), ReaderOptions::default(), tickets, vec![good_port]).with_care(careful)
    });
    let mut group = builder.finish();
    let end = tokio::time::timeout(Duration::from_secs(10), group.ended()).await.expect("it ends by itself");
    assert_eq!(end, GroupEnd::Drained);

    let numbers: Vec<Vec<u128>> =
        good.lock().unwrap().iter().map(|(items, _)| items.iter().map(|record| record.sequence.lo).collect()).collect();
    // The page that holds position 10 is read whole; nothing after it.
    assert_eq!(numbers, [vec![1, 2, 3], vec![4], vec![6], vec![7, 8, 9], vec![10, 11, 12]]);
    assert!(good.lock().unwrap().iter().all(|(_, open)| *open == 1), "one batch is open at a time");
    let bad = bad.lock().unwrap();
    let [(entries, _)] = bad.as_slice() else { panic!("one bad row, not {}", bad.len()) };
    let row = String::from_utf8(entries[0].data.to_vec()).unwrap();
    assert!(row.contains("generic_error") && row.contains("panic: poison"), "{row}");
    // "record 5" in base64.
    assert!(row.contains("cmVjb3JkIDU="), "{row}");
    assert_eq!(ledger.progress().durable.unwrap().position, "12");
}
