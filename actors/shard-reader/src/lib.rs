//! Reads one shard in order and feeds its group.
//!
//! The reader opens a ticket in the group's ledger for each page, so that the checkpoint can only move past what is
//! durable. It waits when the mailbox after it is full, and then asks the stream for nothing more.
//!
//! While the group is paused it reads nothing: what was read before goes on, and the lease is kept.
//!
//! While a record is suspected of killing its group it reads with care ([`Careful`]): one small batch at a time.

//!
//! After a crash it first has the cuts written again that sinks had declared ([`Resume`]).

mod poison;
mod resume;

pub use crate::poison::Careful;
pub use crate::resume::{Resume, Unfinished};

use std::time::Duration;

use async_trait::async_trait;
use snowmelt_runtime::{Ack, Backoff, Batch, Failure, Ledger, Port, StageContext, Step, Worker};
use snowmelt_streams::{Page, ReadLimit, Record, SequenceNumber, ShardCursor};

use crate::resume::{Reopened, behind};

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
    outs: Vec<Out>,
    reopened: Vec<Reopened>,
    backoff: Backoff,
    ended: bool,
    careful: Option<Careful>,
}

/// Where records go, and behind which one.
struct Out {
    port: Port<Batch<Record>>,
    after: Option<SequenceNumber>,
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
        let outs = outs.into_iter().map(|port| Out { port, after: None }).collect();
        Self { cursor, options, ledger, outs, reopened: Vec::new(), backoff, ended: false, careful: None }
    }

    /// The same reader, but out number `out` goes on as an earlier life of the group left it.
    #[must_use]
    pub fn with_resume(mut self, out: usize, resume: Resume) -> Self {
        if let Some(out) = self.outs.get_mut(out) {
            out.after = resume.done;
        }
        self.reopened.extend(resume.unfinished.map(|open| Reopened::new(out, open)));
        self
    }

    /// The same reader, but one small batch at a time until what is suspect is durable; then the group ends.
    #[must_use]
    pub fn with_care(mut self, careful: Careful) -> Self {
        self.options.limit.records = self.options.limit.records.min(careful.limit()).max(1);
        self.careful = Some(careful);
        self
    }

    async fn read(&mut self, cx: &StageContext) -> Result<Option<Page>, Failure> {
        let again = self.backoff.attempts() < self.options.max_attempts;
        // What was begun is all there: nothing is waited for.
        let (cursor, wait) = match self.reopened.last_mut() {
            Some(reopened) => (&mut reopened.open.cursor, Duration::ZERO),
            None => (&mut self.cursor, self.options.wait),
        };
        // Dropping the read loses nothing: a request to drain need not wait for it.
        let outcome = tokio::select! {
            outcome = cx.call(wait, cursor.next(self.options.limit, wait)) => outcome,
            () = cx.drain_requested() => return Ok(None),
            () = cx.pause_requested() => return Ok(None),
        };
        match outcome {
            Ok(Ok(page)) => {
                self.backoff.reset();
                Ok(Some(page))
            }
            Ok(Err(error)) if error.is_retriable() && again => {
                self.retry(&error, cx).await;
                Ok(None)
            }
            Err(error) if again => {
                self.retry(&error, cx).await;
                Ok(None)
            }
            Ok(Err(error)) => Err(Failure::error(error)),
            Err(error) => Err(Failure::error(error)),
        }
    }

    async fn retry(&mut self, error: &dyn std::error::Error, cx: &StageContext) {
        let wait = self.backoff.next_wait();
        tracing::warn!(group = %cx.group(), error = %error, attempt = self.backoff.attempts(), "read failed, trying again");
        cx.back_off(wait).await;
    }
}

impl Out {
    /// Sends what the out does not have yet; all of it is done when that is nothing.
    async fn send(&self, records: Vec<Record>, ack: Ack, cx: &StageContext) -> Result<(), Failure> {
        let records = behind(records, self.after);
        if records.is_empty() {
            ack.delivered();
            return Ok(());
        }
        let bytes = bytes_of(&records);
        self.port.send(Batch::new(records, bytes, ack), cx).await
    }
}

fn bytes_of(records: &[Record]) -> usize {
    records.iter().map(|record| record.data.len() + record.partition_key.len()).sum()
}

impl ShardReader {
    /// Sends records that follow each other, with one acknowledgement, to every one of the outs.
    async fn send(&self, records: Vec<Record>, cx: &StageContext) -> Result<(), Failure> {
        let Some(last) = records.last() else { return Ok(()) };
        let bytes = bytes_of(&records);
        let ack = self.ledger.open(last.sequence.to_string(), records.len());
        cx.stats().handled(records.len(), bytes);
        // A copy shares the data but not the keys: only further outs pay for one.
        let Some((first, others)) = self.outs.split_first() else {
            ack.delivered();
            return Ok(());
        };
        for out in others {
            out.send(records.clone(), ack.split(), cx).await?;
        }
        first.send(records, ack, cx).await
    }

    /// One step of writing again what was begun.
    async fn resume(&mut self, cx: &StageContext) -> Result<(), Failure> {
        let Some(page) = self.read(cx).await? else { return Ok(()) };
        let whole = self.reopened.last_mut().is_some_and(|reopened| reopened.take(page));
        if whole && let Some(reopened) = self.reopened.pop() {
            let (out, until) = (reopened.out, reopened.open.until);
            reopened.write(cx).await?;
            if let Some(out) = self.outs.get_mut(out) {
                out.after = out.after.max(Some(until));
            }
        }
        Ok(())
    }

    /// Sends a page and waits until it is durable; condemned records go to the bad stream. True when care may end. One
    /// batch is open at a time: a death must not be blamed on another.
    async fn send_with_care(&self, careful: &Careful, page: Page, cx: &StageContext) -> Result<bool, Failure> {
        // At the tip everything that was suspect has been read, or is past the stream's retention. A service gives empty pages
        // elsewhere as well.
        let Some(last) = page.records.last() else { return Ok(page.millis_behind_latest == 0) };
        let passed = careful.is_passed_by(last);
        let mut run = Vec::new();
        for record in page.records {
            if let Some(reason) = careful.condemns(&record) {
                self.send(std::mem::take(&mut run), cx).await?;
                cx.rest(self.ledger.settled()).await;
                careful.quarantine(&record, reason, &self.ledger, cx).await?;
                cx.rest(self.ledger.settled()).await;
            } else {
                run.push(record);
            }
        }
        self.send(run, cx).await?;
        cx.rest(self.ledger.settled()).await;
        Ok(passed)
    }
}

#[async_trait(?Send)]
impl Worker for ShardReader {
    async fn step(&mut self, cx: &StageContext) -> Result<Step, Failure> {
        if cx.is_draining() {
            return Ok(Step::Done);
        }
        if cx.is_paused() {
            cx.rest(async {
                tokio::select! {
                    () = cx.pause_lifted() => {}
                    () = cx.drain_requested() => {}
                }
            })
            .await;
            return Ok(Step::Continue);
        }
        if !self.reopened.is_empty() {
            self.resume(cx).await?;
            return Ok(Step::Continue);
        }
        let Some(page) = self.read(cx).await? else { return Ok(Step::Continue) };
        cx.stats().read(page.millis_behind_latest, cx.clock().monotonic_ms());
        self.ended = page.end_of_shard;
        let passed = match &self.careful {
            None => {
                self.send(page.records, cx).await?;
                false
            }
            Some(careful) => self.send_with_care(careful, page, cx).await?,
        };
        Ok(if self.ended || passed { Step::Done } else { Step::Continue })
    }

    async fn finish(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        self.ledger.seal(self.ended);
        // What is asked to stop before it has finished what was begun leaves it to the next life.
        self.reopened.into_iter().try_for_each(|reopened| reopened.open.writer.close())?;
        self.outs.into_iter().try_for_each(|out| out.port.close())?;
        self.careful.map_or(Ok(()), Careful::close)
    }
}
