//! The original's overflow: what the stream does not take goes to a queue (5.2 to 5.6).
//!
//! A write is tried on the stream, repeated as `backoffPolicy` says; when that is over the stream counts as down and records of up
//! to `sqsMaxBytes` go to the queue, ten a call. While it is down one write a `startupCheckInterval` tries it first, so that the way
//! back is found without a task that watches. Larger records wait for the stream, and with them their batch. When the queue does not
//! take records either the write fails, and whoever gave it keeps them: a spool, or a tracker that got a 503.
//!
//! At least once: a write whose outcome on the stream is not known is in the queue as well. Order is that of the stream and of the
//! queue, each by itself. Nothing here reads the queue back; a relay of the operator's does, as with the original.

mod sqs;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use snowmelt_streams::Producer;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

pub use self::sqs::SqsQueue;
use crate::{
    CollectorConfig, Outgoing, Sink, SinkError,
    commit::{BatchLimits, Fill},
    config::{BackoffPolicy, SinkConfig},
};

/// Most messages in one call: what SQS takes.
const MAX_MESSAGES: usize = 10;

/// Why a queue took nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("queue {queue}: {reason}")]
pub struct QueueError {
    /// Its name or URL.
    pub queue: String,
    /// What it said.
    pub reason: String,
}

/// A queue of messages.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Its name or URL, for messages.
    fn name(&self) -> &str;

    /// Sends at most ten records, each as one message. Gives the places of those that were not taken; all others are durable.
    ///
    /// # Errors
    /// When none was taken, or it is not known.
    async fn send(&self, records: &[Outgoing]) -> Result<Vec<usize>, QueueError>;

    /// Finds the queue.
    ///
    /// # Errors
    /// When it is not there or may not be used.
    async fn find(&self) -> Result<(), QueueError>;
}

/// A sink that goes to a queue when another does not take its records.
pub struct Overflow {
    name: &'static str,
    stream: Arc<dyn Sink>,
    queue: Arc<dyn Queue>,
    messages: BatchLimits,
    backoff: BackoffPolicy,
    /// How long the attempts on the stream may take together.
    stream_patience: Duration,
    check_every: Duration,
    stream_up: AtomicBool,
    queue_up: Arc<AtomicBool>,
    next_check: Mutex<Instant>,
    search: JoinHandle<()>,
}

impl Overflow {
    /// Goes before `stream`, the one that `name` (`good` or `bad`) stands for; looks for the queue until it is found. Runs on the
    /// current tokio runtime.
    pub fn new(
        name: &'static str,
        config: &CollectorConfig,
        sink: &SinkConfig,
        stream: Arc<dyn Sink>,
        queue: Arc<dyn Queue>,
    ) -> Self {
        let queue_up = Arc::new(AtomicBool::new(false));
        let check_every = sink.startup_check_interval;
        let search = tokio::spawn(search(name, Arc::clone(&queue), Arc::clone(&queue_up), check_every));
        Self {
            name,
            stream,
            queue,
            messages: BatchLimits { records: MAX_MESSAGES, bytes: sink.sqs_max_bytes },
            backoff: sink.backoff_policy.clone(),
            // The other half is the queue's.
            stream_patience: config.group_commit.write_timeout / 2,
            check_every,
            stream_up: AtomicBool::new(true),
            queue_up,
            next_check: Mutex::new(Instant::now()),
            search,
        }
    }

    /// Tries the stream up to `attempts` times; none when it has not taken the batch.
    async fn try_stream(
        &self,
        batch: &[Outgoing],
        producer: Option<&Producer>,
        attempts: u32,
    ) -> Option<Result<(), SinkError>> {
        if attempts == 0 {
            return None;
        }
        let trying = async {
            let mut pause = self.backoff.min_backoff;
            let mut left = attempts;
            loop {
                left -= 1;
                // The data are shared, not copied.
                match self.stream.put(batch.to_vec(), producer).await {
                    taken @ (Ok(()) | Err(SinkError::Refused(_))) => return Ok(taken),
                    Err(error) if left == 0 => return Err(error),
                    Err(error) => tracing::debug!(sink = self.name, %error, "the stream took no records; trying again"),
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
                pause = self.next_pause(pause);
            }
        };
        let tried = timeout(self.stream_patience, trying).await;
        let tried = tried.unwrap_or(Err(SinkError::TimedOut { millis: self.stream_patience.as_millis() as u64 }));
        let was_up = self.stream_up.swap(tried.is_ok(), Ordering::Relaxed);
        match tried {
            Ok(taken) => {
                if !was_up {
                    tracing::info!(sink = self.name, "the stream takes records again");
                }
                Some(taken)
            }
            Err(error) => {
                self.check_later();
                if was_up {
                    tracing::warn!(sink = self.name, %error, "the stream takes no records; they go to the overflow queue");
                }
                None
            }
        }
    }

    /// The pause after one of `pause` milliseconds (5.3).
    fn next_pause(&self, pause: u64) -> u64 {
        let BackoffPolicy { min_backoff, max_backoff, .. } = self.backoff;
        fastrand::u64(min_backoff..=max_backoff.max(min_backoff)).max(pause / 3 * 2)
    }

    fn check_later(&self) {
        *self.next_check.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.check_every;
    }

    /// Whether this write is the one that looks whether the stream is back.
    fn checks(&self) -> bool {
        let mut next = self.next_check.lock().unwrap_or_else(PoisonError::into_inner);
        let due = Instant::now() >= *next;
        if due {
            *next = Instant::now() + self.check_every;
        }
        due
    }

    /// Sends all records in as few calls as the limits allow, in order, one call after the other.
    async fn overflow(&self, records: Vec<Outgoing>) -> Result<(), QueueError> {
        let count = records.len() as u64;
        for group in groups(records, self.messages) {
            if let Err(error) = self.send(group).await {
                if self.queue_up.swap(false, Ordering::Relaxed) {
                    tracing::warn!(sink = self.name, %error, "the overflow queue takes no records");
                }
                metrics::counter!("collector_overflow_failures_total", "sink" => self.name).increment(1);
                return Err(error);
            }
        }
        if !self.queue_up.swap(true, Ordering::Relaxed) {
            tracing::info!(sink = self.name, "the overflow queue takes records");
        }
        metrics::counter!("collector_overflow_records_total", "sink" => self.name).increment(count);
        Ok(())
    }

    /// Sends one call's records; what is not taken again, up to `maxRetries` times.
    async fn send(&self, mut records: Vec<Outgoing>) -> Result<(), QueueError> {
        let mut pause = self.backoff.min_backoff;
        let mut left = self.backoff.max_retries;
        loop {
            let error = match self.queue.send(&records).await {
                Ok(refused) if refused.is_empty() => return Ok(()),
                Ok(refused) => {
                    let count = refused.len();
                    records = refused.into_iter().filter_map(|index| records.get(index).cloned()).collect();
                    QueueError {
                        queue: self.queue.name().to_owned(),
                        reason: format!("{count} messages were not taken"),
                    }
                }
                Err(error) => error,
            };
            if left == 0 {
                return Err(error);
            }
            left -= 1;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            pause = self.next_pause(pause);
        }
    }
}

/// Divides records into calls, in order.
fn groups(records: Vec<Outgoing>, limits: BatchLimits) -> Vec<Vec<Outgoing>> {
    let (mut groups, mut group) = (Vec::new(), Vec::new());
    let mut fill = Fill::default();
    for record in records {
        if fill.add(record.data.len(), limits) {
            groups.push(std::mem::take(&mut group));
        }
        group.push(record);
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

/// Looks for the queue until it is there.
async fn search(name: &'static str, queue: Arc<dyn Queue>, up: Arc<AtomicBool>, every: Duration) {
    let mut told = false;
    while let Err(error) = queue.find().await {
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(sink = name, %error, "the overflow queue is not found; looking for it again and again");
        }
        tokio::time::sleep(every.max(Duration::from_millis(100))).await;
    }
    up.store(true, Ordering::Relaxed);
}

#[async_trait]
impl Sink for Overflow {
    async fn put(&self, batch: Vec<Outgoing>, producer: Option<&Producer>) -> Result<(), SinkError> {
        let whole = 1 + self.backoff.max_retries;
        let attempts = match (self.stream_up.load(Ordering::Relaxed), self.queue_up.load(Ordering::Relaxed)) {
            (true, _) => whole,
            (false, true) => u32::from(self.checks()),
            (false, false) => 1,
        };
        if let Some(taken) = self.try_stream(&batch, producer, attempts).await {
            return taken;
        }
        let (small, large): (Vec<Outgoing>, Vec<Outgoing>) =
            batch.into_iter().partition(|record| record.data.len() <= self.messages.bytes);
        // These first: when they fail the batch comes again, and nothing of it should be in the queue then.
        if !large.is_empty() {
            match self.try_stream(&large, producer, 1).await {
                Some(Ok(())) => {}
                // Their places in the batch are not those in this call: the whole batch is told, and comes again.
                Some(Err(error)) => return Err(SinkError::Unavailable { reason: error.to_string() }),
                None => {
                    return Err(SinkError::Unavailable { reason: "records too large for the queue wait".to_owned() });
                }
            }
        }
        self.overflow(small).await.map_err(|error| SinkError::Unavailable { reason: error.to_string() })
    }

    fn healthy(&self) -> bool {
        self.queue_up.load(Ordering::Relaxed) || (self.stream_up.load(Ordering::Relaxed) && self.stream.healthy())
    }

    async fn close(&self, deadline: Duration) {
        self.stream.close(deadline).await;
    }
}

impl Drop for Overflow {
    fn drop(&mut self) {
        self.search.abort();
    }
}
