//! Shard reader: a shard in, batches out. The load is in the cursor: it has as many records as are due.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use snowmelt_runtime::Ledger;
use snowmelt_shard_reader::{ReaderOptions, ShardReader};
use snowmelt_streams::{Page, ReadLimit, Record, ShardCursor, ShardId, StartAt, StreamError, Streams};

use crate::load::bench::{Bench, mailbox};
use crate::load::input::{Corpus, Dealer};
use crate::load::pace::{Pace, Sent};
use crate::load::rig::Rig;
use crate::load::schedule::Turn;
use crate::load::standins::{Faults, Gate};
use crate::trouble::{Outcome, Trouble};

const STREAM: &str = "raw";
/// Most entries of one put when the stream is filled.
const FILL_BATCH: usize = 500;
/// Most bytes of a page: what Kinesis gives at most.
const MAX_PAGE_BYTES: usize = 10 << 20;

/// Builds the rig.
pub async fn build(bench: &mut Bench, pace: Pace, batch: u32) -> Outcome<Rig> {
    let corpus = bench.payloads()?;
    let streams = bench.streams(&[STREAM], Arc::clone(&corpus)).await?;
    if bench.args.real {
        fill(streams.as_ref(), corpus).await?;
    }
    let inner = open(streams.as_ref()).await.map_err(|error| Trouble::caused("the stream to read", error))?;
    let cursor = Paced { streams, inner: Some(inner), pace, turn: None };
    let mut builder = bench.group("shard-reader");
    let out = builder.stage("next actor", mailbox(0), || Gate::<Record>::new(Arc::new(Faults::none())));
    let limit = ReadLimit { records: batch as usize, bytes: MAX_PAGE_BYTES };
    let options = ReaderOptions { limit, ..ReaderOptions::default() };
    let ledger = Ledger::new();
    let tickets = ledger.clone();
    builder.worker("shard-reader", move || ShardReader::new(Box::new(cursor), options, tickets, vec![out]));
    Ok(Rig::of_group(builder, Some(ledger), None))
}

async fn fill(streams: &dyn Streams, corpus: Arc<Corpus>) -> Outcome {
    let mut left = corpus.len();
    let mut dealer = Dealer::new(corpus);
    while left > 0 {
        let (entries, _) = dealer.entries(left.min(FILL_BATCH));
        left -= entries.len();
        streams.put(STREAM, entries, None).await.map_err(|error| Trouble::caused("filling the stream", error))?;
    }
    Ok(())
}

async fn open(streams: &dyn Streams) -> Result<Box<dyn ShardCursor>, StreamError> {
    streams.open(STREAM, &ShardId::from_index(0), &StartAt::TrimHorizon).await
}

/// A cursor that gives records when they are due, and begins again when it is at the end.
struct Paced {
    streams: Arc<dyn Streams>,
    inner: Option<Box<dyn ShardCursor>>,
    pace: Pace,
    /// What is due and not read yet.
    turn: Option<Turn>,
}

impl Paced {
    async fn read(&mut self, limit: ReadLimit) -> Result<Page, StreamError> {
        let mut inner = match self.inner.take() {
            Some(inner) => inner,
            None => open(self.streams.as_ref()).await?,
        };
        let page = inner.next(limit, Duration::ZERO).await;
        // At the end of what was filled in, the next read begins anew.
        if page.as_ref().map_or(true, |page| !page.records.is_empty()) {
            self.inner = Some(inner);
        }
        page
    }
}

#[async_trait]
impl ShardCursor for Paced {
    async fn next(&mut self, limit: ReadLimit, wait: Duration) -> Result<Page, StreamError> {
        let turn = match self.turn.take() {
            Some(turn) => turn,
            None => match tokio::time::timeout(wait, self.pace.next()).await {
                Ok(Some(turn)) => turn,
                Ok(None) => return Ok(Page { end_of_shard: true, ..Page::default() }),
                Err(_) => return Ok(Page::default()),
            },
        };
        self.turn = Some(turn);
        let page = self.read(ReadLimit { records: turn.records.min(limit.records), ..limit }).await?;
        let left = turn.records.saturating_sub(page.records.len());
        self.turn = (left > 0).then_some(Turn { records: left, due: turn.due });
        if !page.records.is_empty() {
            let bytes: usize = page.records.iter().map(|record| record.data.len() + record.partition_key.len()).sum();
            let sent = Sent { due: turn.due, records: page.records.len() as u64, bytes: bytes as u64 };
            self.pace.shared().tracker.sent(sent);
        }
        Ok(Page { end_of_shard: false, ..page })
    }
}
