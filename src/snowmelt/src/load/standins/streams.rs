//! Streams that keep nothing and can be read for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use snowmelt_streams::{
    HashKeyRange, Page, Producer, PutEntry, PutOutcome, ReadLimit, SequenceNumber, Shard, ShardCursor, ShardId,
    StartAt, StreamDescription, StreamError, Streams,
};

use super::{Faults, Refusal};
use crate::load::input::{Corpus, Dealer};

/// Streams of one shard. What is put is forgotten; what is read is the corpus, again and again. A limit counts records
/// put, or reads.
pub struct StandInStreams {
    faults: Arc<Faults>,
    corpus: Arc<Corpus>,
    stored: AtomicU64,
}

impl StandInStreams {
    /// Streams that behave as `faults` says and give `corpus` to readers.
    pub fn new(faults: Arc<Faults>, corpus: Arc<Corpus>) -> Self {
        Self { faults, corpus, stored: AtomicU64::new(0) }
    }
}

fn unavailable(stream: &str, refusal: Refusal) -> StreamError {
    StreamError::Unavailable { stream: stream.to_owned(), reason: refusal.to_string() }
}

fn one_shard(stream: &str) -> StreamError {
    StreamError::Invalid { stream: stream.to_owned(), reason: "a stand-in has one shard".to_owned() }
}

#[async_trait]
impl Streams for StandInStreams {
    async fn create(&self, _stream: &str, _shards: u32, _retention: Duration) -> Result<(), StreamError> {
        Ok(())
    }

    async fn describe(&self, stream: &str) -> Result<StreamDescription, StreamError> {
        let shard = Shard { id: ShardId::from_index(0), parents: Vec::new(), range: HashKeyRange::ALL, closed: false };
        Ok(StreamDescription {
            name: stream.to_owned(),
            shards: vec![shard],
            retention: Duration::from_secs(24 * 3600),
        })
    }

    async fn list(&self) -> Result<Vec<String>, StreamError> {
        Ok(Vec::new())
    }

    async fn put(
        &self,
        stream: &str,
        entries: Vec<PutEntry>,
        _producer: Option<&Producer>,
    ) -> Result<Vec<PutOutcome>, StreamError> {
        let taken = match self.faults.take(entries.len()).await {
            Ok(taken) => taken,
            // A throttled service answers for each record.
            Err(Refusal::Throttled) => 0,
            Err(refusal @ Refusal::Failed) => return Err(unavailable(stream, refusal)),
        };
        let shard = ShardId::from_index(0);
        let first = self.stored.fetch_add(taken as u64, Ordering::Relaxed) + 1;
        let stored = (0..taken as u64).map(|index| PutOutcome::Stored {
            shard: shard.clone(),
            sequence: SequenceNumber::new(0, u128::from(first + index)),
        });
        let refused = || PutOutcome::Rejected { reason: Refusal::Throttled.to_string(), retriable: true };
        let rest = entries.len().saturating_sub(taken);
        Ok(stored.chain(std::iter::repeat_with(refused).take(rest)).collect())
    }

    async fn open(&self, stream: &str, _shard: &ShardId, _from: &StartAt) -> Result<Box<dyn ShardCursor>, StreamError> {
        let dealer = Dealer::new(Arc::clone(&self.corpus));
        Ok(Box::new(Endless { stream: stream.to_owned(), faults: Arc::clone(&self.faults), dealer }))
    }

    async fn split(&self, stream: &str, _shard: &ShardId, _at: u128) -> Result<(), StreamError> {
        Err(one_shard(stream))
    }

    async fn merge(&self, stream: &str, _a: &ShardId, _b: &ShardId) -> Result<(), StreamError> {
        Err(one_shard(stream))
    }
}

/// A shard that always has more.
struct Endless {
    stream: String,
    faults: Arc<Faults>,
    dealer: Dealer,
}

#[async_trait]
impl ShardCursor for Endless {
    async fn next(&mut self, limit: ReadLimit, _wait: Duration) -> Result<Page, StreamError> {
        self.faults.call(1).await.map_err(|refusal| unavailable(&self.stream, refusal))?;
        let (records, _) = self.dealer.records(limit.records);
        Ok(Page { records, end_of_shard: false, millis_behind_latest: 0 })
    }
}
