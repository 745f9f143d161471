//! Loads batches into Postgres together with the shard's progress, so that every record is a row exactly once.
//!
//! Rows and progress commit in one transaction. Bad rows are durable in the bad stream before it commits: a crash in between
//! repeats them, recognisable by their origin, and never loses them.

mod metric;

use std::time::Duration;

use async_trait::async_trait;
pub use metric::Metric;
use snowmelt_runtime::{Backoff, Batch, Failure, Ledger, Port, Stage, StageContext};
use snowmelt_streams::{Origin, PutEntry, Record};
use snowmelt_warehouse::{BadRow, BadRowLoader, BadSink, EventLoader, InputRecord, LoadError, LoadReport, ProgressKey};

/// How long the group's lease has to hold yet when a write begins.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// What the writer loads.
#[derive(Clone)]
pub enum Loader {
    /// Enriched events.
    Events(EventLoader),
    /// Bad rows.
    BadRows(BadRowLoader),
}

/// The writer of one shard's rows.
pub struct PostgresWriter {
    loader: Loader,
    progress: ProgressKey,
    bad: Port<Batch<PutEntry>>,
    bad_timeout: Duration,
    backoff: Backoff,
}

impl PostgresWriter {
    /// A writer whose progress is kept under `progress`; what can't be loaded goes to `bad`.
    pub fn new(loader: Loader, progress: ProgressKey, bad: Port<Batch<PutEntry>>) -> Self {
        let backoff =
            Backoff::new(Duration::from_millis(250), Duration::from_secs(30)).at_least(Duration::from_millis(100));
        Self { loader, progress, bad, bad_timeout: Duration::from_secs(60), backoff }
    }

    async fn load(&self, records: &[InputRecord<'_>], last: &str, cx: &StageContext) -> Result<LoadReport, LoadError> {
        let bad = BadPort { port: &self.bad, timeout: self.bad_timeout, cx };
        match &self.loader {
            Loader::Events(loader) => loader.load(records, &self.progress, last, &bad).await,
            Loader::BadRows(loader) => loader.load(records, &self.progress, last, &bad).await,
        }
    }
}

#[async_trait(?Send)]
impl Stage for PostgresWriter {
    type Input = Batch<Record>;

    async fn handle(&mut self, input: Self::Input, cx: &StageContext) -> Result<(), Failure> {
        let sequences: Vec<String> = input.items.iter().map(|record| record.sequence.to_string()).collect();
        let records: Vec<InputRecord<'_>> = input
            .items
            .iter()
            .zip(&sequences)
            .map(|(record, sequence)| InputRecord { sequence, data: record.data.as_ref() })
            .collect();
        let Some(last) = sequences.last() else {
            input.ack.delivered();
            return Ok(());
        };
        loop {
            cx.check_lease(LEASE_MARGIN)?;
            match cx.outside(self.load(&records, last, cx)).await {
                Ok(report) => {
                    self.backoff.reset();
                    metric::emit(&report, cx.group());
                    tracing::debug!(
                        group = %cx.group(), records = report.records, rows = report.rows, skipped = report.skipped,
                        bad = report.bad, duplicates = report.duplicates, "loaded"
                    );
                    input.ack.delivered();
                    return Ok(());
                }
                Err(error) if error.is_retriable() => {
                    // The database is waited for without end: its shard stands still, in bounded memory, and nothing is lost.
                    let wait = self.backoff.next_wait();
                    tracing::warn!(group = %cx.group(), %error, attempt = self.backoff.attempts(), "load failed, trying again");
                    if !cx.back_off(wait).await {
                        return Err(Failure::error(error));
                    }
                }
                Err(error) => return Err(Failure::error(error)),
            }
        }
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        self.bad.close()
    }
}

/// Bad rows through the group's bad stream, waited for until they are durable.
struct BadPort<'a> {
    port: &'a Port<Batch<PutEntry>>,
    timeout: Duration,
    cx: &'a StageContext,
}

#[async_trait]
impl BadSink for BadPort<'_> {
    async fn deliver(&self, rows: &[BadRow]) -> Result<(), String> {
        if rows.is_empty() {
            return Ok(());
        }
        let ledger = Ledger::new();
        let ack = ledger.open(String::new(), rows.len());
        let bytes = rows.iter().map(|row| row.line.len()).sum();
        let batch = Batch::new(entries(rows), bytes, ack);
        self.port.send(batch, self.cx).await.map_err(|failure| failure.to_string())?;
        let durable = async {
            loop {
                let progress = ledger.progress();
                if progress.failed.is_some() {
                    return Err("the bad stream's writer failed".to_owned());
                }
                if progress.pending == 0 {
                    return Ok(());
                }
                ledger.changed().await;
            }
        };
        match tokio::time::timeout(self.timeout, durable).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("the bad stream took nothing for {} s", self.timeout.as_secs())),
        }
    }
}

/// Entries whose origins are the records they came from, numbered within each.
fn entries(rows: &[BadRow]) -> Vec<PutEntry> {
    let mut index = 0_u32;
    let mut previous: Option<&str> = None;
    rows.iter()
        .map(|row| {
            index = if previous == Some(row.sequence.as_str()) { index.saturating_add(1) } else { 0 };
            previous = Some(&row.sequence);
            let origin = row.sequence.parse().ok().map(|sequence| Origin { sequence, index });
            PutEntry { origin, ..PutEntry::new(row.sequence.clone(), row.line.clone()) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_rows_of_one_record_are_numbered_so_that_each_is_stored_once() {
        let row = |sequence: &str| BadRow { sequence: sequence.to_owned(), line: "{}".to_owned() };
        let entries = entries(&[row("7"), row("7"), row("9")]);
        let origins: Vec<(String, u32)> =
            entries.iter().map(|entry| entry.origin.map(|o| (o.sequence.to_string(), o.index)).unwrap()).collect();
        assert_eq!(origins, [("7".to_owned(), 0), ("7".to_owned(), 1), ("9".to_owned(), 0)]);
    }
}
