//! A durable log on the local disk with Kinesis's semantics.
//!
//! ```text
//! <directory>/streams.lock                                  one process at a time
//! <directory>/streams/<stream>/stream.json                  its shards and retention
//! <directory>/streams/<stream>/shardId-…/<number>.seg .idx  its records
//! ```
//! Each open shard has one writer thread that gathers the puts which wait, writes them at once and answers them
//! together. Readers take the newest records from memory and older ones from the files.

mod catalog;
mod cursor;
mod frame;
mod lock;
mod log;
mod options;
mod producer;
mod recovery;
mod retention;
mod segment;
mod stream;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

pub use options::{Clock, Durability, Options};

use self::catalog::StreamFile;
use self::cursor::LogCursor;
use self::lock::{DirectoryLock, LockError};
use self::stream::Stream;
use crate::{
    HashKeyRange, Producer, PutEntry, PutOutcome, SequenceNumber, ShardCursor, ShardId, StartAt, StreamDescription,
    StreamError, Streams,
};

/// The most shards a stream can be made with.
const MAX_SHARDS: u32 = 10_000;

type StreamMap = Arc<RwLock<BTreeMap<String, Arc<Stream>>>>;

/// Streams in a directory of this machine.
///
/// An acknowledged put survives what [`Durability`] says, a failed one may be repeated; sequence numbers are never
/// given twice, also over restarts. Dropping it waits for writes that have begun.
pub struct EmbeddedStreams {
    directory: PathBuf,
    options: Options,
    streams: StreamMap,
    /// Streams are made one at a time.
    creating: tokio::sync::Mutex<()>,
    /// Ends the sweeper when it is dropped.
    sweeper: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    /// Last, so that it is freed when all else has ended.
    _lock: DirectoryLock,
}

impl EmbeddedStreams {
    /// Opens the streams in `directory`, which is made if it is missing, and recovers what a crash left.
    ///
    /// Blocks while files are read. Fails with [`StreamError::Locked`] when another process has the directory, with
    /// [`StreamError::Corrupt`] or [`StreamError::Directory`] when it cannot be used.
    pub fn open(directory: impl AsRef<Path>, options: Options) -> Result<Self, StreamError> {
        let directory = directory.as_ref();
        let failed = |error: io::Error| StreamError::Directory {
            directory: directory.display().to_string(),
            reason: error.to_string(),
        };
        let options = options.clamped();
        segment::create_directory(&directory.join("streams")).map_err(failed)?;
        let lock = DirectoryLock::acquire(directory, "streams.lock").map_err(|error| match error {
            LockError::Held(holder) => StreamError::Locked { directory: directory.display().to_string(), holder },
            LockError::Io(error) => failed(error),
        })?;
        let mut streams = BTreeMap::new();
        for entry in fs::read_dir(directory.join("streams")).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
            // Without its file a stream's making was cut short: making it again begins anew.
            let Some(file) = StreamFile::load(&path).map_err(failed)? else { continue };
            let stream = Stream::open(&name, path, file, &options)?;
            streams.insert(name, Arc::new(stream));
        }
        let streams: StreamMap = Arc::new(RwLock::new(streams));
        let (stop, stopped) = mpsc::channel();
        let (swept, every) = (Arc::clone(&streams), options.sweep_every);
        let sweeper = std::thread::Builder::new()
            .name("log retention".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let streams: Vec<_> =
                        swept.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
                    streams.iter().for_each(|stream| stream.sweep());
                }
            })
            .map_err(failed)?;
        Ok(Self {
            directory: directory.to_owned(),
            options,
            streams,
            creating: tokio::sync::Mutex::new(()),
            sweeper: Some((stop, sweeper)),
            _lock: lock,
        })
    }

    /// Removes now what is past the retention, as happens by itself every [`Options::sweep_every`]. Blocks.
    pub fn sweep(&self) {
        let streams: Vec<_> = self.streams.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        streams.iter().for_each(|stream| stream.sweep());
    }

    /// Removes records of a shard at or below `up_to`, which its only reader needs no more; does not wait for the
    /// retention.
    ///
    /// Whole segments go, so some of those records stay, at most about a segment of them. The segment that is written to
    /// goes too once all of it is below and it is half full, the stream is half full, or the last write failed: room that
    /// was read can always be had back, also on a full disk (of a stream with [`Producer`]s once a block is free). What is removed does not come back after a crash; what is not removed for an error is logged and stays.
    pub async fn trim(&self, stream: &str, shard: &ShardId, up_to: &SequenceNumber) -> Result<(), StreamError> {
        self.stream(stream)?.trim(shard, *up_to).await
    }

    /// How many bytes the stream's files hold: what [`Options::max_stream_bytes`] bounds.
    pub fn held_bytes(&self, stream: &str) -> Result<u64, StreamError> {
        Ok(self.stream(stream)?.held_bytes())
    }

    fn stream(&self, stream: &str) -> Result<Arc<Stream>, StreamError> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        streams.get(stream).cloned().ok_or_else(|| StreamError::StreamNotFound { stream: stream.to_owned() })
    }
}

impl Drop for EmbeddedStreams {
    fn drop(&mut self) {
        if let Some((stop, sweeper)) = self.sweeper.take() {
            drop(stop);
            if sweeper.join().is_err() {
                tracing::error!("the retention thread had panicked");
            }
        }
        for stream in self.streams.read().unwrap_or_else(PoisonError::into_inner).values() {
            stream.shut_down();
        }
    }
}

/// Makes the directory of a stream; the last write is the one that makes it count.
fn create_stream(
    name: &str,
    directory: PathBuf,
    shards: u32,
    retention_ms: i64,
    options: &Options,
) -> Result<Stream, StreamError> {
    let failed = |error: io::Error| StreamError::Unavailable {
        stream: name.to_owned(),
        reason: format!("making {}: {error}", directory.display()),
    };
    let mut file = StreamFile { retention_ms, next_shard: 0, shards: Vec::new() };
    fs::create_dir_all(&directory).map_err(failed)?;
    for range in HashKeyRange::even(shards) {
        let index = file.add(Vec::new(), range);
        recovery::create_shard(name, &directory, index, Default::default(), options.clock.now_ms()).map_err(failed)?;
    }
    file.store(&directory).map_err(failed)?;
    if let Some(parent) = directory.parent() {
        segment::sync_directory(parent).map_err(failed)?;
    }
    Stream::open(name, directory, file, options)
}

/// Kinesis's own rule, which also keeps the name inside the directory.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(allowed) && name != "." && name != ".."
}

#[async_trait::async_trait]
impl Streams for EmbeddedStreams {
    async fn create(&self, stream: &str, shards: u32, retention: Duration) -> Result<(), StreamError> {
        let invalid = |reason: String| Err(StreamError::Invalid { stream: stream.to_owned(), reason });
        if !is_name(stream) {
            return invalid("a stream's name has 1 to 128 letters, digits, '_', '.' and '-'".to_owned());
        }
        if shards == 0 || shards > MAX_SHARDS {
            return invalid(format!("a stream has 1 to {MAX_SHARDS} shards, not {shards}"));
        }
        let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let _one_at_a_time = self.creating.lock().await;
        if let Ok(existing) = self.stream(stream) {
            return existing.set_retention(retention_ms).await;
        }
        let (name, options) = (stream.to_owned(), self.options.clone());
        let directory = self.directory.join("streams").join(stream);
        let made = tokio::task::spawn_blocking(move || create_stream(&name, directory, shards, retention_ms, &options));
        let made = made.await.map_err(|error| StreamError::Unavailable {
            stream: stream.to_owned(),
            reason: format!("making it: {error}"),
        })??;
        self.streams.write().unwrap_or_else(PoisonError::into_inner).insert(stream.to_owned(), Arc::new(made));
        Ok(())
    }

    async fn describe(&self, stream: &str) -> Result<StreamDescription, StreamError> {
        Ok(self.stream(stream)?.describe().await)
    }

    async fn list(&self) -> Result<Vec<String>, StreamError> {
        Ok(self.streams.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect())
    }

    async fn put(
        &self,
        stream: &str,
        entries: Vec<PutEntry>,
        producer: Option<&Producer>,
    ) -> Result<Vec<PutOutcome>, StreamError> {
        self.stream(stream)?.put(entries, producer).await
    }

    async fn open(&self, stream: &str, shard: &ShardId, from: &StartAt) -> Result<Box<dyn ShardCursor>, StreamError> {
        let log = self.stream(stream)?.log(shard).await?;
        let (from, clock) = (*from, self.options.clock.clone());
        let cursor = match from {
            // Only a time needs a look into a file.
            StartAt::AtTimestampMs(_) => {
                let opened = tokio::task::spawn_blocking(move || LogCursor::open(log, &from, clock)).await;
                opened.map_err(|error| StreamError::Unavailable {
                    stream: stream.to_owned(),
                    reason: format!("shard {shard}: opening: {error}"),
                })??
            }
            _ => LogCursor::open(log, &from, clock)?,
        };
        Ok(Box::new(cursor))
    }

    async fn split(&self, stream: &str, shard: &ShardId, at: u128) -> Result<(), StreamError> {
        self.stream(stream)?.split(shard, at).await
    }

    async fn merge(&self, stream: &str, a: &ShardId, b: &ShardId) -> Result<(), StreamError> {
        self.stream(stream)?.merge(a, b).await
    }
}
