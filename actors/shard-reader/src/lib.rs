//! Reads one shard in order and feeds its group.
//!
//! The reader opens a ticket in the group's ledger for each page, so that the checkpoint can only move past what is
//! durable. It waits when the mailbox after it is full, and then asks the stream for nothing more.

use std::time::Duration;

use async_trait::async_trait;
use snowmelt_runtime::observe::Metric;
use snowmelt_runtime::{Backoff, Batch, Failure, Ledger, Port, StageContext, Step, Worker};
use snowmelt_streams::{Page, ReadLimit, Record, ShardCursor, StreamError};

/// How a shard is read.
#[derive(Debug, Clone, Copy)]
pub struct ReaderOptions {
    /// Most records and bytes of one batch.
    pub limit: ReadLimit,
    /// How long one read waits for records to come.
    pub wait: Duration,
    /// Failed reads in a row past which the group fails.
    pub max_attempts: u32,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self { limit: ReadLimit { records: 1000, bytes: 2 << 20 }, wait: Duration::from_millis(500), max_attempts: 10 }
    }
}

/// The reader of one shard.
pub struct ShardReader {
    cursor: Box<dyn ShardCursor>,
    options: ReaderOptions,
    ledger: Ledger,
    outs: Vec<Port<Batch<Record>>>,
    backoff: Backoff,
    ended: bool,
    lag: Option<metrics::Gauge>,
}

impl ShardReader {
    /// A reader that goes on from where `cursor` stands. Every one of `outs` gets every record.
    pub fn new(
        cursor: Box<dyn ShardCursor>,
        options: ReaderOptions,
        ledger: Ledger,
        outs: Vec<Port<Batch<Record>>>,
    ) -> Self {
        let backoff =
            Backoff::new(Duration::from_millis(250), Duration::from_secs(10)).at_least(Duration::from_millis(50));
        Self { cursor, options, ledger, outs, backoff, ended: false, lag: None }
    }

    async fn read(&mut self, cx: &StageContext) -> Result<Option<Page>, Failure> {
        match cx.outside(self.cursor.next(self.options.limit, self.options.wait)).await {
            Ok(page) => {
                self.backoff.reset();
                Ok(Some(page))
            }
            Err(error) if error.is_retriable() && self.backoff.attempts() < self.options.max_attempts => {
                self.retry(&error, cx).await;
                Ok(None)
            }
            Err(error) => Err(Failure::error(error)),
        }
    }

    async fn retry(&mut self, error: &StreamError, cx: &StageContext) {
        let wait = self.backoff.next_wait();
        tracing::warn!(group = %cx.group(), error = %error, attempt = self.backoff.attempts(), "read failed, trying again");
        cx.back_off(wait).await;
    }

    fn observe_lag(&mut self, page: &Page, cx: &StageContext) {
        let lag = self.lag.get_or_insert_with(|| {
            let group = cx.group().clone();
            metrics::gauge!(Metric::LagMillis.name(), "pipeline" => group.pipeline, "shard" => group.shard)
        });
        lag.set(page.millis_behind_latest as f64);
    }
}

#[async_trait(?Send)]
impl Worker for ShardReader {
    async fn step(&mut self, cx: &StageContext) -> Result<Step, Failure> {
        if cx.is_draining() {
            return Ok(Step::Done);
        }
        let Some(page) = self.read(cx).await? else { return Ok(Step::Continue) };
        self.observe_lag(&page, cx);
        if let Some(last) = page.records.last() {
            let bytes = page.records.iter().map(|record| record.data.len() + record.partition_key.len()).sum();
            let ack = self.ledger.open(last.sequence.to_string(), page.records.len());
            cx.stats().handled(page.records.len(), bytes);
            for out in &self.outs {
                // Records are shared bytes: a copy costs no copy of the data.
                out.send(Batch::new(page.records.clone(), bytes, ack.split()), cx).await?;
            }
            ack.delivered();
        }
        self.ended = page.end_of_shard;
        Ok(if self.ended { Step::Done } else { Step::Continue })
    }

    async fn finish(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        self.ledger.seal(self.ended);
        self.outs.into_iter().try_for_each(Port::close)
    }
}
