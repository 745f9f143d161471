//! Group commit: requests hand their records to one bounded buffer a sink; it is written in batches, and each waiting request
//! learns when its batch is durable.
//!
//! Bounds: `maxPendingRecords` wait, `maxPendingBytes` wait or are under way, `maxInFlight` batches are written at a time. When
//! there is no room a request waits for some, up to `waitForRoom`. A record once accepted is written even if its request has gone.

mod company;
mod courier;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};

use self::{
    company::Company,
    courier::{Waiting, deliver},
};
use crate::{
    CollectorConfig, Durability, Outgoing, Sink, SinkError,
    config::{BackoffPolicy, BufferConfig, SinkConfig},
};

pub(crate) use self::courier::Courier;

/// Most records in one write: what Kinesis takes in one call.
const MAX_BATCH_RECORDS: usize = 500;
/// Most bytes in one write, keys included; Kinesis takes 5 MiB.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// What a record costs in memory beyond its bytes.
const OVERHEAD: usize = 160;

/// Why a record did not become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// There was no room in the buffer in time.
    #[error("the {sink} buffer had no room within {waited_ms} ms")]
    Full {
        /// `good` or `bad`.
        sink: &'static str,
        /// How long the record waited.
        waited_ms: u64,
    },
    /// The sink did not store it, or it is not known whether it did.
    #[error("the {sink} sink did not store the record")]
    NotStored {
        /// `good` or `bad`.
        sink: &'static str,
    },
    /// The collector is shutting down.
    #[error("the {sink} buffer is closed")]
    Closed {
        /// `good` or `bad`.
        sink: &'static str,
    },
}

/// How a buffer behaves.
#[derive(Debug, Clone)]
pub struct CommitSettings {
    batch: BatchLimits,
    linger: Duration,
    max_in_flight: usize,
    max_pending_records: usize,
    max_pending_bytes: usize,
    wait_for_room: Duration,
    write_timeout: Duration,
    durability: Durability,
    backoff: BackoffPolicy,
}

impl CommitSettings {
    /// The settings of one sink.
    pub fn new(config: &CollectorConfig, sink: &SinkConfig) -> Self {
        let commit = &config.group_commit;
        Self {
            batch: BatchLimits::new(&sink.buffer),
            linger: match config.durability {
                Durability::Stream | Durability::Spool => commit.linger,
                Durability::Memory => Duration::from_millis(sink.buffer.time_limit),
            },
            max_in_flight: commit.max_in_flight.max(1),
            max_pending_records: commit.max_pending_records.max(1),
            max_pending_bytes: commit.max_pending_bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize)),
            wait_for_room: commit.wait_for_room,
            write_timeout: commit.write_timeout,
            durability: config.durability,
            backoff: sink.backoff_policy.clone(),
        }
    }
}

/// How much goes into one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records.
    pub records: usize,
    /// Bytes.
    pub bytes: usize,
}

impl BatchLimits {
    /// The configured limits, within what a [`Sink`] is ever given at once.
    pub fn new(buffer: &BufferConfig) -> Self {
        Self {
            records: buffer.record_limit.clamp(1, MAX_BATCH_RECORDS),
            bytes: buffer.byte_limit.clamp(1, MAX_BATCH_BYTES),
        }
    }
}

/// Counts a batch as it fills (5.1).
#[derive(Debug, Default)]
pub struct Fill {
    records: usize,
    bytes: usize,
}

impl Fill {
    /// Counts one more record. Tells whether the batch had to be written first, because the record would break a limit; the record
    /// is then the first of a new one.
    pub fn add(&mut self, size: usize, limits: BatchLimits) -> bool {
        let flush = self.records > 0 && (self.records + 1 > limits.records || self.bytes + size > limits.bytes);
        if flush {
            *self = Self::default();
        }
        self.records += 1;
        self.bytes += size;
        flush
    }
}

/// One record in the buffer.
struct Entry {
    record: Outgoing,
    /// The record's share of `maxPendingBytes`, taken from the buffer's room; given back for a batch at once.
    room: u32,
    /// Who waits; nobody does where requests are answered at once.
    waiting: Option<Waiting>,
}

/// Resolves when its record is durable.
#[derive(Debug)]
pub struct Ticket {
    sink: &'static str,
    stored: Option<oneshot::Receiver<bool>>,
}

impl Ticket {
    /// Waits for the record's batch; not with [`Durability::Memory`], where being in the buffer is all there is to wait for.
    ///
    /// # Errors
    /// [`CommitError::NotStored`] when the sink failed.
    pub async fn durable(self) -> Result<(), CommitError> {
        let Some(stored) = self.stored else { return Ok(()) };
        match stored.await {
            Ok(true) => Ok(()),
            // A writer that panicked has dropped its end.
            Ok(false) | Err(_) => Err(CommitError::NotStored { sink: self.sink }),
        }
    }
}

/// What a flusher that waits is woken for; a wake-up a record would cost more than the record.
#[derive(Debug, Default)]
struct Level {
    /// Records accepted since the start.
    accepted: AtomicUsize,
    /// How many of them there are when the flusher wants to know.
    wanted: AtomicUsize,
    look: Notify,
}

impl Level {
    /// Counts a record that is in the buffer.
    fn rise(&self) {
        // In one order with `reached`: one of the two sees the other's value.
        if self.accepted.fetch_add(1, Ordering::SeqCst) + 1 == self.wanted.load(Ordering::SeqCst) {
            self.look.notify_one();
        }
    }

    /// Whether `wanted` were accepted; if not yet, whoever accepts the last of them wakes the flusher.
    fn reached(&self, wanted: usize) -> bool {
        self.wanted.store(wanted, Ordering::SeqCst);
        self.accepted.load(Ordering::SeqCst) >= wanted
    }
}

/// The buffer before one sink.
#[derive(Debug)]
pub struct Committer {
    sink: &'static str,
    queue: mpsc::Sender<Entry>,
    room: Arc<Semaphore>,
    max_pending_bytes: usize,
    wait_for_room: Duration,
    answers_at_once: bool,
    outstanding: Arc<AtomicUsize>,
    level: Arc<Level>,
    stop: Arc<Notify>,
    flusher: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the buffer on the current tokio runtime; `name` is `good` or `bad`.
    pub fn start(name: &'static str, sink: Arc<dyn Sink>, settings: CommitSettings) -> Self {
        let (queue, entries) = mpsc::channel(settings.max_pending_records);
        let outstanding = Arc::new(AtomicUsize::new(0));
        let (stop, level) = (Arc::new(Notify::new()), Arc::new(Level::default()));
        let committer = Self {
            sink: name,
            queue,
            room: Arc::new(Semaphore::new(settings.max_pending_bytes)),
            max_pending_bytes: settings.max_pending_bytes,
            wait_for_room: settings.wait_for_room,
            answers_at_once: settings.durability == Durability::Memory,
            outstanding: Arc::clone(&outstanding),
            level: Arc::clone(&level),
            stop: Arc::clone(&stop),
            flusher: tokio::sync::Mutex::new(None),
        };
        let room = Arc::clone(&committer.room);
        let writer = Arc::new(Writer { name, sink, settings, room, outstanding, level });
        let flusher = tokio::spawn(flush(entries, writer, stop));
        Self { flusher: tokio::sync::Mutex::new(Some(flusher)), ..committer }
    }

    /// Puts a record into the buffer, waiting for room if need be.
    ///
    /// # Errors
    /// [`CommitError::Full`] when there was none in time; the record is then not written.
    pub async fn accept(&self, record: Outgoing) -> Result<Ticket, CommitError> {
        let full = || CommitError::Full { sink: self.sink, waited_ms: self.wait_for_room.as_millis() as u64 };
        let closed = || CommitError::Closed { sink: self.sink };
        // A single record larger than all room takes all of it.
        let cost = (record.data.len() + record.partition_key.len() + OVERHEAD).min(self.max_pending_bytes) as u32;
        let permit = match self.room.try_acquire_many(cost) {
            Ok(permit) => permit,
            Err(_) => timeout(self.wait_for_room, self.room.acquire_many(cost))
                .await
                .map_err(|_| full())?
                .map_err(|_| closed())?,
        };
        let (waiting, stored) = if self.answers_at_once { (None, None) } else { split(Waiting::here()) };
        let entry = Entry { record, room: cost, waiting };
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        let queued = match self.queue.try_send(entry) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
            Err(mpsc::error::TrySendError::Full(entry)) => {
                match timeout(self.wait_for_room, self.queue.send(entry)).await {
                    Ok(sent) => sent.map_err(|_| closed()),
                    Err(_) => Err(full()),
                }
            }
        };
        match queued {
            Ok(()) => {
                permit.forget();
                self.level.rise();
                if self.room.available_permits() < self.max_pending_bytes / 2 {
                    self.level.look.notify_one();
                }
                Ok(Ticket { sink: self.sink, stored })
            }
            Err(error) => {
                self.outstanding.fetch_sub(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Takes no more records, writes what is there, and waits for it up to `deadline`. Gives the number of records that are not
    /// durable then.
    pub async fn close(&self, deadline: Duration) -> usize {
        self.stop.notify_one();
        if let Some(flusher) = self.flusher.lock().await.take() {
            let abort = flusher.abort_handle();
            match timeout(deadline, flusher).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(sink = self.sink, %error, "the flusher failed"),
                Err(_) => abort.abort(),
            }
        }
        self.outstanding.load(Ordering::Relaxed)
    }
}

fn split<S, R>((sender, receiver): (S, R)) -> (Option<S>, Option<R>) {
    (Some(sender), Some(receiver))
}

/// Takes records out of the buffer and writes them in batches, until told to stop and the buffer is empty.
async fn flush(mut entries: mpsc::Receiver<Entry>, writer: Arc<Writer>, stop: Arc<Notify>) {
    let in_flight = Arc::new(Semaphore::new(writer.settings.max_in_flight));
    let Writer { settings, .. } = writer.as_ref();
    let mut company = Company::new(settings.batch.records, settings.durability != Durability::Memory);
    let mut taken = Vec::new();
    // Records that were taken in all.
    let mut total = 0_usize;
    let mut stopping = false;
    loop {
        tokio::select! {
            count = entries.recv_many(&mut taken, MAX_BATCH_RECORDS) => if count == 0 { break },
            () = stop.notified(), if !stopping => {
                stopping = true;
                entries.close();
                continue;
            }
        }
        if !stopping {
            tokio::select! {
                () = writer.gather(&in_flight, total, company.wanted()) => {}
                () = stop.notified() => {
                    stopping = true;
                    entries.close();
                }
            }
        }
        // No more than what can be under way: the rest stays where it counts against the buffer's bound.
        while taken.len() < writer.settings.batch.records * writer.settings.max_in_flight
            && let Ok(entry) = entries.try_recv()
        {
            taken.push(entry);
        }
        total += taken.len();
        company.came(taken.len());
        for batch in batches(&mut taken, writer.settings.batch) {
            let permit = Arc::clone(&in_flight).acquire_owned().await.expect("this semaphore is never closed");
            let writer = Arc::clone(&writer);
            tokio::spawn(async move {
                writer.write(batch).await;
                drop(permit);
                writer.level.look.notify_one();
            });
        }
    }
    let all = u32::try_from(writer.settings.max_in_flight).unwrap_or(u32::MAX);
    drop(in_flight.acquire_many(all).await.expect("this semaphore is never closed"));
}

/// Divides records into batches, in order.
fn batches(taken: &mut Vec<Entry>, limits: BatchLimits) -> Vec<Vec<Entry>> {
    let mut batches = vec![Vec::with_capacity(taken.len().min(limits.records))];
    let mut fill = Fill::default();
    for entry in taken.drain(..) {
        if fill.add(entry.record.data.len() + entry.record.partition_key.len(), limits) {
            batches.push(Vec::new());
        }
        batches.last_mut().expect("there is always one").push(entry);
    }
    batches
}

/// What of a batch is durable.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    All,
    /// All but these, which the sink will never take.
    Without(Vec<usize>),
    /// As far as is known.
    Nothing,
}

impl Written {
    fn holds(&self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::Without(refused) => !refused.contains(&index),
            Self::Nothing => false,
        }
    }
}

/// Room that a batch takes until it is written, or its writer has panicked.
struct Room<'a> {
    of: &'a Semaphore,
    taken: usize,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.of.add_permits(self.taken);
    }
}

struct Writer {
    name: &'static str,
    sink: Arc<dyn Sink>,
    settings: CommitSettings,
    room: Arc<Semaphore>,
    outstanding: Arc<AtomicUsize>,
    level: Arc<Level>,
}

impl Writer {
    /// Waits for company after the first `total` records: until there are `wanted` and no batch is under way, a batch is full, half the
    /// room is taken, or `linger` is over. A disk is the slower the more fsyncs are under way, so there what comes meanwhile makes the
    /// next batch larger, and `linger` counts from then.
    async fn gather(&self, in_flight: &Semaphore, total: usize, wanted: usize) {
        let Self { settings, level, .. } = self;
        let mut deadline = Instant::now() + settings.linger;
        loop {
            let idle = in_flight.available_permits() == settings.max_in_flight;
            let due = level.reached(total + if idle { wanted } else { settings.batch.records });
            if due || self.room.available_permits() < settings.max_pending_bytes / 2 {
                return;
            }
            if !idle && settings.durability == Durability::Spool {
                // Whoever writes now has an end.
                level.look.notified().await;
                deadline = Instant::now() + settings.linger;
            } else if timeout(deadline.saturating_duration_since(Instant::now()), level.look.notified()).await.is_err()
            {
                return;
            }
        }
    }

    /// Writes one batch and tells every record's request.
    async fn write(&self, batch: Vec<Entry>) {
        let count = batch.len();
        let mut records = Vec::with_capacity(count);
        let mut waiting = Vec::with_capacity(count);
        let mut room = Room { of: &self.room, taken: 0 };
        let mut bytes = 0;
        for entry in batch {
            bytes += entry.record.data.len();
            room.taken += entry.room as usize;
            records.push(entry.record);
            waiting.extend(entry.waiting);
        }
        let written = match self.settings.durability {
            Durability::Stream | Durability::Spool => self.attempt(records).await,
            Durability::Memory => self.insist(records).await,
        };
        if written != Written::Nothing {
            metrics::counter!("collector_records_total", "sink" => self.name).increment(count as u64);
            metrics::counter!("collector_record_bytes_total", "sink" => self.name).increment(bytes as u64);
        }
        self.outstanding.fetch_sub(count, Ordering::Relaxed);
        drop(room);
        deliver(waiting.into_iter().enumerate().map(|(index, waiting)| (waiting, written.holds(index))));
    }

    async fn attempt(&self, records: Vec<Outgoing>) -> Written {
        let count = records.len();
        let limit = self.settings.write_timeout;
        let result = match timeout(limit, self.sink.put(records, None)).await {
            Ok(result) => result,
            Err(_) => Err(SinkError::TimedOut { millis: limit.as_millis() as u64 }),
        };
        match result {
            Ok(()) => Written::All,
            Err(error) => {
                metrics::counter!("collector_write_failures_total", "sink" => self.name).increment(1);
                tracing::warn!(sink = self.name, records = count, %error, "a batch was not stored");
                match error {
                    SinkError::Refused(refused) => {
                        Written::Without(refused.into_iter().map(|refused| refused.index).collect())
                    }
                    SinkError::Unavailable { .. } | SinkError::TimedOut { .. } => Written::Nothing,
                }
            }
        }
    }

    /// These records are acknowledged already, so there is no giving up but at shutdown; the buffer's bounds keep memory in check.
    async fn insist(&self, records: Vec<Outgoing>) -> Written {
        let BackoffPolicy { min_backoff, max_backoff, .. } = self.settings.backoff;
        let mut pause = min_backoff.max(1);
        loop {
            match self.attempt(records.clone()).await {
                Written::Nothing => tokio::time::sleep(Duration::from_millis(fastrand::u64(pause / 2..=pause))).await,
                written => return written,
            }
            pause = (pause * 2).min(max_backoff.max(min_backoff).max(1));
        }
    }
}

#[cfg(test)]
mod tests;
