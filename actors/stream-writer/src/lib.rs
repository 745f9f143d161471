//! Writes records to a stream, with retries, in order per partition key.
//!
//! A batch is put in chunks that a stream takes in one call. What a stream refused for the moment is put again before
//! anything after it, so order holds. Entries that name their origin are stored once even when a crash makes the group
//! read its source again, on backends that can tell.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use snowmelt_runtime::{Backoff, Batch, Failure, Stage, StageContext};
use snowmelt_streams::{Producer, PutEntry, PutOutcome, StreamError, Streams};

/// How long the group's lease has to hold yet when a write begins.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// Most records of one call (Kinesis: 500).
const MAX_RECORDS: usize = 500;
/// Most bytes of one call (Kinesis: 5 MiB with keys; some room is left).
const MAX_BYTES: usize = 4 << 20;

/// The writer of one stream for one group.
pub struct StreamWriter {
    streams: Arc<dyn Streams>,
    stream: String,
    producer: Producer,
    backoff: Backoff,
}

impl StreamWriter {
    /// A writer to `stream`; `producer` names the group, for putting once.
    pub fn new(streams: Arc<dyn Streams>, stream: String, producer: Producer) -> Self {
        let backoff =
            Backoff::new(Duration::from_millis(100), Duration::from_secs(10)).at_least(Duration::from_millis(20));
        Self { streams, stream, producer, backoff }
    }

    /// Puts one chunk until every entry is stored.
    async fn put(&mut self, mut chunk: Vec<PutEntry>, cx: &StageContext) -> Result<(), Failure> {
        loop {
            cx.check_lease(LEASE_MARGIN)?;
            // Payloads are shared bytes: a copy for a possible retry costs no copy of the data.
            let put = self.streams.put(&self.stream, chunk.clone(), Some(&self.producer));
            let reason = match cx.call(Duration::ZERO, put).await {
                Ok(Ok(outcomes)) => {
                    let (rest, reason) = self.refused(chunk, outcomes)?;
                    chunk = rest;
                    match reason {
                        None => {
                            self.backoff.reset();
                            return Ok(());
                        }
                        Some(reason) => reason,
                    }
                }
                Ok(Err(error @ StreamError::Unavailable { .. })) => error.to_string(),
                Err(error) => error.to_string(),
                Ok(Err(error)) => return Err(Failure::error(error)),
            };
            let wait = self.backoff.next_wait();
            tracing::warn!(group = %cx.group(), stream = self.stream, reason, attempt = self.backoff.attempts(), "put failed, trying again");
            if !cx.back_off(wait).await && self.backoff.attempts() > 20 {
                return Err(Failure::message(format!("stream {}: {reason}", self.stream)));
            }
        }
    }

    /// What has to be put again, in order, before anything newer.
    fn refused(
        &self,
        chunk: Vec<PutEntry>,
        outcomes: Vec<PutOutcome>,
    ) -> Result<(Vec<PutEntry>, Option<String>), Failure> {
        let mut again = Vec::new();
        let mut first_reason = None;
        for (entry, outcome) in chunk.into_iter().zip(outcomes) {
            match outcome {
                PutOutcome::Stored { .. } | PutOutcome::Duplicate => {}
                PutOutcome::Rejected { reason, retriable: true } => {
                    first_reason.get_or_insert(reason);
                    again.push(entry);
                }
                PutOutcome::Rejected { reason, retriable: false } => {
                    return Err(Failure::message(format!("stream {} refuses a record: {reason}", self.stream)));
                }
            }
        }
        Ok((again, first_reason))
    }
}

#[async_trait(?Send)]
impl Stage for StreamWriter {
    type Input = Batch<PutEntry>;

    async fn handle(&mut self, input: Self::Input, cx: &StageContext) -> Result<(), Failure> {
        for chunk in chunks(input.items) {
            self.put(chunk, cx).await?;
        }
        input.ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        Ok(())
    }
}

/// Cuts entries, in order, into what one call takes.
fn chunks(entries: Vec<PutEntry>) -> Vec<Vec<PutEntry>> {
    let mut chunks = Vec::new();
    let mut chunk = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let size = entry.data.len() + entry.partition_key.len();
        if chunk.len() == MAX_RECORDS || (bytes + size > MAX_BYTES && !chunk.is_empty()) {
            chunks.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
        bytes += size;
        chunk.push(entry);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_the_order_and_both_limits() {
        let entries: Vec<PutEntry> = (0..1203).map(|n| PutEntry::new(n.to_string(), vec![0_u8; 20_000])).collect();
        let chunks = chunks(entries);
        let keys: Vec<String> = chunks.iter().flatten().map(|entry| entry.partition_key.clone()).collect();
        assert_eq!(keys, (0..1203).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk.len() <= MAX_RECORDS
                    && chunk.iter().map(|e| e.data.len()).sum::<usize>() <= MAX_BYTES)
        );
        assert!(chunks.len() < 8);
    }
}
