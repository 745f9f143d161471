//! The spool: a durable log on this machine between the requests and the real sink.
//!
//! A request is answered when the spool has its records on the disk; then they go on to the sink, whether it is up now or in an
//! hour. The spool is one stream `spool` of an [`EmbeddedStreams`] with a few shards, each drained by one task that has one put
//! under way: records of one partition key stay in order. Each drainer notes durably how far it came.
//!
//! ```text
//! <directory>/streams.lock  streams/spool/shardId-…/…      the log (`snowmelt_streams`)
//! <directory>/positions/shardId-…                          the last record the sink has
//! <directory>/id                                            who the spool is
//! <directory>/refused.jsonl                                 what nothing takes ([`Salvage`])
//! ```
//! **Promises.** What was put and answered `Ok` reaches the sink at least once, after any crash, torn write or full disk. After a
//! process was killed, at most one batch a shard ([`SpoolOptions::batch`]) is put again; after a put whose outcome is not known
//! (time-out, error), that batch is. (While positions cannot be stored, draining goes on regardless, since it is
//! what makes room on a full disk, and more may be put again after a crash.) What is put again has the same [origin](snowmelt_streams::Origin), from
//! a producer that is the spool's own and stays: a stream that knows producers stores it once. Over [`SpoolOptions::max_bytes`] puts are refused, and nothing
//! that was taken is given up.
//!
//! **Order per key** holds as far as the sink keeps it: one that stores a later record of a batch and not an earlier one gets the
//! whole batch again; without knowing producers it has the later record twice.
//!
//! **Nothing blocks it for ever**: a record that the sink refuses for good is [salvaged](Salvage). A log that cannot be opened since a
//! segment's head is damaged is set aside as a whole, under the directory's name with `.damaged-<time>`, and a new one begun.

mod drain;
mod identity;
mod line;
mod meter;
mod position;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use snowmelt_streams::{Corruption, EmbeddedStreams, Options, Producer, PutEntry, ShardId, StreamError, Streams};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use self::{drain::Drainer, identity::Identity, meter::Meter, position::Position};
use crate::{
    Clock, CollectorConfig, Outgoing, Salvage, Sink, SinkError,
    commit::BatchLimits,
    config::{BackoffPolicy, SinkConfig},
    salvage::BadRowRules,
    sink::settle,
};

/// The stream that is the spool.
const STREAM: &str = "spool";
/// Segments are given back to the disk as a whole, so they are small.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// The least a log can be bounded by.
const MIN_BYTES: u64 = 64 * 1024;
/// A drainer that keeps up reads from memory.
const TAIL_CACHE_BYTES: usize = 2 * 1024 * 1024;
/// The largest record, the most that a log can be set to: what its sink takes is the sink's to say.
const MAX_RECORD_BYTES: usize = 10 * 1024 * 1024;
/// How long a drainer that was told to stop at once may take to note where it is.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How a spool behaves.
#[derive(Clone)]
pub struct SpoolOptions {
    /// `good` or `bad`: the label `sink` of its metrics.
    pub name: &'static str,
    /// Bytes on the disk, at least 64 KiB. A batch that would lead above is refused; batches that come side by side may lead above
    /// by one batch a shard.
    pub max_bytes: u64,
    /// Shards of a spool that does not exist yet; one that does keeps its own. Each is one fsync a put that reaches it, and one
    /// put to the sink at a time.
    pub shards: u32,
    /// Whether no two requests have one partition key, so that there is no order to keep between batches: then each goes to one shard
    /// as a whole, which is one fsync instead of one a shard.
    pub keys_are_random: bool,
    /// The most that is put to the sink at once, and that is put again after the process was killed.
    pub batch: BatchLimits,
    /// How long one put to the sink may take.
    pub put_timeout: Duration,
    /// Pauses between attempts; doubled from the shortest to the longest. There is no last one.
    pub backoff: BackoffPolicy,
    /// Takes bad rows about records that the sink refuses for good; without it they are set aside in a file.
    pub bad: Option<Arc<dyn Sink>>,
    /// How those bad rows are made.
    pub bad_rows: BadRowRules,
    /// Where the time comes from.
    pub clock: Clock,
}

impl SpoolOptions {
    /// The spool of one sink; `name` is `good` or `bad`.
    pub fn new(name: &'static str, config: &CollectorConfig, sink: &SinkConfig, clock: Clock) -> Self {
        Self {
            name,
            max_bytes: config.spool.max_bytes,
            shards: 4,
            keys_are_random: !config.streams.use_ip_address_as_partition_key,
            batch: BatchLimits::new(&sink.buffer),
            put_timeout: config.group_commit.write_timeout,
            backoff: sink.backoff_policy.clone(),
            bad: None,
            bad_rows: BadRowRules::new(config.streams.bad.max_bytes, Arc::clone(&clock)),
            clock,
        }
    }
}

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Its log cannot be used: locked by another process, damaged, or the disk fails.
    #[error("spool {directory}: {error}")]
    Log {
        /// The spool's directory.
        directory: String,
        /// What the log said.
        error: StreamError,
    },
    /// It cannot be read who it is and how far it was drained.
    #[error("spool {directory}: id and positions: {error}")]
    Positions {
        /// The spool's directory.
        directory: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// Its log is damaged, and cannot be set aside.
    #[error("spool {directory} is damaged ({damage}) and cannot be set aside: {error}")]
    Damaged {
        /// The spool's directory.
        directory: String,
        /// Where it is damaged.
        damage: Box<Corruption>,
        /// What the system said.
        error: std::io::Error,
    },
}

/// What a spool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolStatus {
    /// Bytes on the disk; also of records that were drained, until their segment goes.
    pub bytes: u64,
    /// How many may be there before puts are refused.
    pub max_bytes: u64,
    /// Age of the oldest record that the sink has not yet, in milliseconds; 0 when it has all.
    pub oldest_age_ms: u64,
    /// Records that the sink took since the spool was opened.
    pub drained_records: u64,
}

/// A durable log in front of a sink. Dropping it stops it as a crash would, without loss; [`Sink::close`] drains it first.
pub struct Spool {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    /// Aborted when dropped.
    drainers: Mutex<JoinSet<()>>,
}

/// What a spool's tasks share.
struct Shared {
    streams: EmbeddedStreams,
    sink: Salvage,
    options: SpoolOptions,
    meter: Meter,
    /// What the last refused put was told.
    refusal: Mutex<Option<String>>,
    /// For each shard a hash key that leads to it.
    lanes: Vec<u128>,
    /// Whose turn it is, with [`SpoolOptions::keys_are_random`].
    turn: AtomicUsize,
}

/// How far a spool is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Drain what comes.
    Running,
    /// Nothing comes any more: end when all is drained.
    Finishing,
    /// End now.
    Halted,
}

impl Spool {
    /// Opens the spool in `directory`, which is made if it is missing, recovers what a crash left, and begins to drain it to `sink`
    /// on the current tokio runtime.
    ///
    /// # Errors
    /// When the directory is in use by another process or cannot be used.
    pub async fn open(
        directory: impl Into<PathBuf>,
        options: SpoolOptions,
        sink: Arc<dyn Sink>,
    ) -> Result<Self, SpoolError> {
        let directory: PathBuf = directory.into();
        let options = SpoolOptions { max_bytes: options.max_bytes.max(MIN_BYTES), ..options };
        let log = match open_log(&directory, &options).await {
            Err(StreamError::Corrupt(damage)) => {
                set_aside(&directory, damage, (options.clock)())?;
                open_log(&directory, &options).await
            }
            opened => opened,
        };
        let Log { streams, shards, new } =
            log.map_err(|error| SpoolError::Log { directory: directory.display().to_string(), error })?;
        let (home, names) = (directory.clone(), shards.clone());
        let loaded = tokio::task::spawn_blocking(move || load(&home, &names, new));
        let (identity, positions) = loaded
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(|error| SpoolError::Positions { directory: directory.display().to_string(), error })?;
        let (bad, rules) = (options.bad.clone(), options.bad_rows.clone());
        let sink = Salvage::new(options.name, sink, bad, directory.join("refused.jsonl"), rules);
        let meter = Meter::new(options.name, shards.len(), Arc::clone(&options.clock));
        // The middle of each shard's keys, which are divided evenly.
        let width = u128::MAX / shards.len().max(1) as u128;
        let lanes = (0..shards.len() as u128).map(|lane| lane * width + width / 2).collect();
        let turn = AtomicUsize::new(0);
        let shared = Arc::new(Shared { streams, sink, options, meter, refusal: Mutex::new(None), lanes, turn });
        let (phase, _) = watch::channel(Phase::Running);
        let mut drainers = JoinSet::new();
        for (lane, (shard, position)) in shards.into_iter().zip(positions).enumerate() {
            let producer = identity.producer(&shard);
            let drainer = Drainer::new(Arc::clone(&shared), lane, shard, producer, position, phase.subscribe());
            drainers.spawn(drainer.run());
        }
        tokio::spawn(meter::report(Arc::downgrade(&shared)));
        Ok(Self { shared, phase, drainers: Mutex::new(drainers) })
    }

    /// Why it takes no records now, when it does not.
    pub fn trouble(&self) -> Option<String> {
        let refusal = self.shared.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        refusal.filter(|_| !self.healthy())
    }

    /// What it holds now.
    pub fn status(&self) -> SpoolStatus {
        self.shared.status()
    }

    async fn store(&self, batch: Vec<Outgoing>, producer: Option<&Producer>) -> Result<(), SinkError> {
        let lane = if self.shared.options.keys_are_random && producer.is_none() { self.shared.lane() } else { None };
        let entry = |record: Outgoing| PutEntry { explicit_hash_key: lane, ..PutEntry::from(record) };
        let entries = batch.into_iter().map(entry).collect();
        let outcomes = self.shared.streams.put(STREAM, entries, producer).await;
        settle(outcomes.map_err(|error| SinkError::Unavailable { reason: error.to_string() })?)
    }
}

/// An open log.
struct Log {
    streams: EmbeddedStreams,
    shards: Vec<ShardId>,
    /// There was none before.
    new: bool,
}

/// Moves a spool that cannot be opened out of the way: what it holds may be repaired by hand, and nothing waits for that.
fn set_aside(directory: &Path, damage: Box<Corruption>, now_ms: i64) -> Result<(), SpoolError> {
    let mut aside = directory.as_os_str().to_owned();
    aside.push(format!(".damaged-{now_ms}"));
    match std::fs::rename(directory, &aside) {
        Ok(()) => {
            metrics::counter!("collector_spool_damaged_total").increment(1);
            let kept = Path::new(&aside).display();
            tracing::error!(%damage, %kept, "a spool is damaged and set aside with all it holds; a new one is begun");
            Ok(())
        }
        Err(error) => Err(SpoolError::Damaged { directory: directory.display().to_string(), damage, error }),
    }
}

/// Who the spool in `directory` is, and how far each of its shards was drained. Blocks.
fn load(directory: &Path, shards: &[ShardId], new: bool) -> std::io::Result<(Identity, Vec<Position>)> {
    let positions = directory.join("positions");
    if new && positions.try_exists()? {
        // They are of a log that is gone.
        std::fs::remove_dir_all(&positions)?;
    }
    std::fs::create_dir_all(&positions)?;
    let identity = Identity::load(directory, new)?;
    let loaded = shards.iter().map(|shard| Position::load(&positions, shard.as_str()));
    Ok((identity, loaded.collect::<std::io::Result<_>>()?))
}

/// Opens the log and names its shards.
async fn open_log(directory: &Path, options: &SpoolOptions) -> Result<Log, StreamError> {
    let clock = Arc::clone(&options.clock);
    let set_up = Options {
        durability: snowmelt_streams::Durability::Fsync,
        max_record_bytes: MAX_RECORD_BYTES,
        max_stream_bytes: options.max_bytes,
        segment_bytes: SEGMENT_BYTES,
        tail_cache_bytes: TAIL_CACHE_BYTES,
        clock: snowmelt_streams::Clock::new(move || clock()),
        ..Options::default()
    };
    let path = directory.to_owned();
    let streams =
        tokio::task::spawn_blocking(move || EmbeddedStreams::open(path, set_up)).await.map_err(|error| {
            StreamError::Directory { directory: directory.display().to_string(), reason: error.to_string() }
        })??;
    let new = streams.list().await?.is_empty();
    // Records go when they were drained, however old they are.
    streams.create(STREAM, options.shards, Duration::MAX).await?;
    let shards = streams.describe(STREAM).await?.shards.into_iter().map(|shard| shard.id).collect();
    Ok(Log { streams, shards, new })
}

impl Shared {
    /// A hash key that leads to the first shard that is drained, or else to each in turn: as few are busy as the sink needs, since
    /// each has a thread, a file and a position of its own.
    fn lane(&self) -> Option<u128> {
        let drained = (0..self.lanes.len()).find(|lane| self.meter.is_drained(*lane));
        let lane = drained.unwrap_or_else(|| self.turn.fetch_add(1, Ordering::Relaxed) % self.lanes.len().max(1));
        self.lanes.get(lane).copied()
    }

    fn status(&self) -> SpoolStatus {
        // The stream is there as long as the streams are.
        let bytes = self.streams.held_bytes(STREAM).unwrap_or_default();
        SpoolStatus {
            bytes,
            max_bytes: self.options.max_bytes,
            oldest_age_ms: self.meter.oldest_age_ms(),
            drained_records: self.meter.drained(),
        }
    }

    /// Whether there is room for more than the odd record.
    fn has_room(&self) -> bool {
        self.status().bytes < self.options.max_bytes / 16 * 15
    }
}

#[async_trait]
impl Sink for Spool {
    /// Resolves with `Ok` when the batch is on the disk. Does not wait for the real sink.
    async fn put(&self, batch: Vec<Outgoing>, producer: Option<&Producer>) -> Result<(), SinkError> {
        let stored = self.store(batch, producer).await;
        // A record that no log takes says nothing about the next.
        let taken = matches!(stored, Ok(()) | Err(SinkError::Refused(_)));
        // Where others are refused a small batch may still fit, which is no recovery.
        let full_still = taken && self.shared.meter.refusing() && !self.shared.has_room();
        if !full_still && self.shared.meter.taken(taken) {
            match &stored {
                Ok(()) | Err(SinkError::Refused(_)) => {
                    tracing::info!(sink = self.shared.options.name, "the spool takes records again")
                }
                Err(error) => {
                    *self.shared.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                    tracing::warn!(sink = self.shared.options.name, %error, "the spool takes no records; trackers are told to keep their events");
                }
            }
        }
        stored
    }

    /// Whether it takes records; not whether the real sink does.
    fn healthy(&self) -> bool {
        // A refusal is forgotten after a while, or a balancer that sends nothing meanwhile would never send again.
        !self.shared.meter.refused_just_now() && (!self.shared.meter.refusing() || self.shared.has_room())
    }

    async fn close(&self, deadline: Duration) {
        let mut drainers = std::mem::take(&mut *self.drainers.lock().unwrap_or_else(PoisonError::into_inner));
        self.phase.send_replace(Phase::Finishing);
        if timeout(deadline, join(&mut drainers)).await.is_err() {
            self.phase.send_replace(Phase::Halted);
            if timeout(STOP_GRACE, join(&mut drainers)).await.is_err() {
                tracing::error!(
                    sink = self.shared.options.name,
                    "a drainer did not stop; its last batch will be put again"
                );
            }
            let SpoolStatus { bytes, oldest_age_ms, .. } = self.status();
            tracing::warn!(
                sink = self.shared.options.name,
                bytes,
                oldest_age_ms,
                "records stay in the spool for the next start"
            );
        }
        self.shared.report();
    }
}

async fn join(drainers: &mut JoinSet<()>) {
    while let Some(ended) = drainers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a drainer of the spool failed; its records stay for the next start");
        }
    }
}
