//! Stores that fail as told: wrappers over the real ones, through their public traits.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use snowmelt_leases::{Application, Fence, Lease, LeaseError, LeaseStore, Pending, Position, ShardInfo};
use snowmelt_objects::{Headers, ObjectInfo, ObjectStore, StoreError};
use snowmelt_streams::{
    Page, Producer, PutEntry, PutOutcome, ReadLimit, SequenceNumber, ShardCursor, ShardId, StartAt, StreamDescription,
    StreamError, Streams,
};

/// Which calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// A page of a shard.
    Read,
    /// A put to a stream.
    Put,
    /// A checkpoint.
    Checkpoint,
    /// Taking a lease.
    Acquire,
    /// An object.
    Object,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// An error that may pass; nothing was done.
    Unavailable,
    /// An error that may pass, though all was done. The embedded streams promise not to do this to a put.
    DoneAndUnavailable,
    /// The disk is full.
    DiskFull,
    /// It takes this long.
    Slow(Duration),
    /// It never answers.
    Silent,
    /// Entries from this one on are refused for the moment (puts).
    Refused(usize),
    /// The lease is somebody else's (checkpoints).
    Lost,
}

/// Trouble for some calls in a row.
#[derive(Debug, Clone)]
pub struct Storm {
    /// Which calls.
    pub call: Call,
    /// The first that is hit, from 1.
    pub nth: u32,
    /// How many.
    pub times: u32,
    /// What happens.
    pub trouble: Trouble,
}

/// All storms of a schedule. Clones share the counts.
#[derive(Clone, Default)]
pub struct Weather(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    storms: Vec<Storm>,
    counts: BTreeMap<Call, u32>,
}

impl Weather {
    /// Calm but for `storms`.
    pub fn new(storms: Vec<Storm>) -> Self {
        Self(Arc::new(Mutex::new(State { storms, counts: BTreeMap::new() })))
    }

    fn strike(&self, call: Call) -> Option<Trouble> {
        let mut state = lock(&self.0);
        let count = state.counts.entry(call).or_default();
        *count += 1;
        let count = *count;
        let hit = |storm: &&Storm| storm.call == call && count >= storm.nth && count < storm.nth + storm.times;
        state.storms.iter().find(hit).map(|storm| storm.trouble)
    }

    /// The part of a trouble that is a wait.
    async fn wait(trouble: Option<Trouble>) {
        match trouble {
            Some(Trouble::Slow(time)) => tokio::time::sleep(time).await,
            Some(Trouble::Silent) => std::future::pending().await,
            _ => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far one application has read each shard, and how many records it read again: what can be repeated at most.
#[derive(Clone, Default)]
pub struct Reads(Arc<Mutex<BTreeMap<String, (SequenceNumber, u64)>>>, Arc<AtomicU64>);

impl Reads {
    /// Records that were read again, each time counted.
    pub fn again(&self) -> u64 {
        lock(&self.0).values().map(|(_, again)| again).sum()
    }

    /// Entries that were put although the application was told that they were not.
    pub fn unheard(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }
}

/// Streams under weather, as one application sees them.
pub struct StormyStreams {
    /// The real ones.
    pub inner: Arc<dyn Streams>,
    /// What happens to calls.
    pub weather: Weather,
    /// What was read.
    pub reads: Reads,
}

struct StormyCursor {
    inner: Box<dyn ShardCursor>,
    weather: Weather,
    reads: Reads,
    shard: String,
}

fn unavailable(stream: &str, trouble: Trouble) -> StreamError {
    let reason = if trouble == Trouble::DiskFull { "no space left on device" } else { "injected" };
    StreamError::Unavailable { stream: stream.to_owned(), reason: reason.to_owned() }
}

#[async_trait]
impl ShardCursor for StormyCursor {
    async fn next(&mut self, limit: ReadLimit, wait: Duration) -> Result<Page, StreamError> {
        let trouble = self.weather.strike(Call::Read);
        Weather::wait(trouble).await;
        if let Some(trouble @ (Trouble::Unavailable | Trouble::DiskFull)) = trouble {
            return Err(unavailable(&self.shard, trouble));
        }
        let page = self.inner.next(limit, wait).await?;
        let mut reads = lock(&self.reads.0);
        let (furthest, again) = reads.entry(self.shard.clone()).or_default();
        for record in &page.records {
            *again += u64::from(record.sequence <= *furthest);
            *furthest = record.sequence.max(*furthest);
        }
        drop(reads);
        Ok(page)
    }
}

#[async_trait]
impl Streams for StormyStreams {
    async fn create(&self, stream: &str, shards: u32, retention: Duration) -> Result<(), StreamError> {
        self.inner.create(stream, shards, retention).await
    }

    async fn describe(&self, stream: &str) -> Result<StreamDescription, StreamError> {
        self.inner.describe(stream).await
    }

    async fn list(&self) -> Result<Vec<String>, StreamError> {
        self.inner.list().await
    }

    async fn put(
        &self,
        stream: &str,
        mut entries: Vec<PutEntry>,
        producer: Option<&Producer>,
    ) -> Result<Vec<PutOutcome>, StreamError> {
        let trouble = self.weather.strike(Call::Put);
        Weather::wait(trouble).await;
        match trouble {
            Some(trouble @ (Trouble::Unavailable | Trouble::DiskFull)) => Err(unavailable(stream, trouble)),
            Some(Trouble::Refused(from)) => {
                let refused = entries.split_off(from.min(entries.len())).len();
                let mut outcomes =
                    if entries.is_empty() { Vec::new() } else { self.inner.put(stream, entries, producer).await? };
                let refusal = PutOutcome::Rejected { reason: "injected".to_owned(), retriable: true };
                outcomes.extend(std::iter::repeat_n(refusal, refused));
                Ok(outcomes)
            }
            // Where a stream may do this, what is put again is stored again.
            Some(trouble @ Trouble::DoneAndUnavailable) => {
                self.reads.1.fetch_add(entries.len() as u64, Ordering::Relaxed);
                self.inner.put(stream, entries, producer).await?;
                Err(unavailable(stream, trouble))
            }
            _ => self.inner.put(stream, entries, producer).await,
        }
    }

    async fn open(&self, stream: &str, shard: &ShardId, from: &StartAt) -> Result<Box<dyn ShardCursor>, StreamError> {
        let inner = self.inner.open(stream, shard, from).await?;
        let (weather, reads) = (self.weather.clone(), self.reads.clone());
        Ok(Box::new(StormyCursor { inner, weather, reads, shard: format!("{stream}/{shard}") }))
    }

    async fn split(&self, stream: &str, shard: &ShardId, at: u128) -> Result<(), StreamError> {
        self.inner.split(stream, shard, at).await
    }

    async fn merge(&self, stream: &str, a: &ShardId, b: &ShardId) -> Result<(), StreamError> {
        self.inner.merge(stream, a, b).await
    }
}

/// Leases under weather.
pub struct StormyLeases {
    /// The real ones.
    pub inner: Arc<dyn LeaseStore>,
    /// What happens to calls.
    pub weather: Weather,
}

#[async_trait]
impl LeaseStore for StormyLeases {
    async fn sync(
        &self,
        app: &str,
        stream: &str,
        shards: &[ShardInfo],
        initial: &Position,
    ) -> Result<Vec<Lease>, LeaseError> {
        self.inner.sync(app, stream, shards, initial).await
    }

    async fn list(&self, app: &str) -> Result<Vec<Lease>, LeaseError> {
        self.inner.list(app).await
    }

    async fn claim(&self, app: &Application) -> Result<Vec<Lease>, LeaseError> {
        self.inner.claim(app).await
    }

    fn fence(&self, lease: &Lease) -> Fence {
        self.inner.fence(lease)
    }

    async fn leave(&self, app: &str) -> Result<(), LeaseError> {
        self.inner.leave(app).await
    }

    async fn acquire(&self, app: &str, shard: &str, owner: &str, now_ms: i64) -> Result<Lease, LeaseError> {
        let trouble = self.weather.strike(Call::Acquire);
        Weather::wait(trouble).await;
        match trouble {
            Some(Trouble::Unavailable | Trouble::DiskFull) => {
                Err(LeaseError::Unavailable { app: app.to_owned(), reason: "injected".to_owned() })
            }
            _ => self.inner.acquire(app, shard, owner, now_ms).await,
        }
    }

    async fn renew(&self, lease: &mut Lease, now_ms: i64) -> Result<(), LeaseError> {
        self.inner.renew(lease, now_ms).await
    }

    async fn checkpoint(
        &self,
        lease: &mut Lease,
        position: &Position,
        pending: Option<&Pending>,
    ) -> Result<(), LeaseError> {
        let trouble = self.weather.strike(Call::Checkpoint);
        Weather::wait(trouble).await;
        let unavailable =
            |app: &str| Err(LeaseError::Unavailable { app: app.to_owned(), reason: "injected".to_owned() });
        match trouble {
            Some(Trouble::Unavailable | Trouble::DiskFull) => unavailable(&lease.app),
            Some(Trouble::DoneAndUnavailable) => {
                // The answer is lost, and with it the lease's new counter.
                self.inner.checkpoint(&mut lease.clone(), position, pending).await?;
                unavailable(&lease.app)
            }
            Some(Trouble::Lost) => Err(LeaseError::Lost {
                app: lease.app.clone(),
                shard: lease.shard.clone(),
                owner: lease.owner.clone().unwrap_or_default(),
                now: Some("injected".to_owned()),
            }),
            _ => self.inner.checkpoint(lease, position, pending).await,
        }
    }

    async fn end_shard(&self, lease: &mut Lease, children: &[ShardInfo]) -> Result<(), LeaseError> {
        self.inner.end_shard(lease, children).await
    }

    async fn release(&self, lease: Lease) -> Result<(), LeaseError> {
        self.inner.release(lease).await
    }
}

/// Objects under weather.
pub struct StormyObjects {
    /// The real ones.
    pub inner: Arc<dyn ObjectStore>,
    /// What happens to calls.
    pub weather: Weather,
}

#[async_trait]
impl ObjectStore for StormyObjects {
    async fn put(&self, key: &str, bytes: Bytes, headers: Headers) -> Result<(), StoreError> {
        let trouble = self.weather.strike(Call::Object);
        Weather::wait(trouble).await;
        let kind = match trouble {
            Some(Trouble::DiskFull) => io::ErrorKind::StorageFull,
            Some(Trouble::Unavailable) => io::ErrorKind::ConnectionReset,
            Some(Trouble::DoneAndUnavailable) => {
                self.inner.put(key, bytes, headers).await?;
                io::ErrorKind::TimedOut
            }
            _ => return self.inner.put(key, bytes, headers).await,
        };
        Err(StoreError::Io { action: "put", key: key.to_owned(), source: io::Error::new(kind, "injected") })
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        self.inner.list(prefix, after, limit).await
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.inner.get(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }
}
