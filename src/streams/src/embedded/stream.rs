//! One stream: placing entries on shards, and changing which shards there are.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedRwLockWriteGuard, RwLock, mpsc, oneshot};

use super::catalog::{StreamFile, shard_directory};
use super::log::ShardLog;
use super::options::Options;
use super::producer::ProducerTable;
use super::recovery;
use super::retention::{Retention, remove_while};
use super::segment::Summary;
use super::writer::{Put, QUEUE, Request, Writer, entry_bytes};
use crate::{
    HashKeyRange, Producer, PutEntry, PutOutcome, SequenceNumber, ShardId, StreamDescription, StreamError, hash_key,
};

/// Characters of a partition key.
const MAX_KEY_CHARS: usize = 256;
/// Bytes of a producer's name.
const MAX_PRODUCER_BYTES: usize = 1024;
/// How long a shut-down waits for a split or merge.
const SHUT_DOWN_WAIT: Duration = Duration::from_secs(10);

/// The entries of a put that go to one shard: their places in the put, and themselves with their hash keys.
type Part = (Vec<usize>, Vec<(PutEntry, u128)>);

/// A stream that is open.
pub(crate) struct Stream {
    name: String,
    directory: PathBuf,
    options: Options,
    retention: Arc<Retention>,
    /// Putters hold it for reading until they are answered, so that a shard is closed between puts.
    routing: Arc<RwLock<Routing>>,
    /// `None` once shut down.
    writers: Mutex<Option<Vec<JoinHandle<()>>>>,
}

/// Which shards there are.
struct Routing {
    file: StreamFile,
    logs: Vec<Arc<ShardLog>>,
    /// The open shards by the first of their hash keys.
    open: Vec<Route>,
}

struct Route {
    range: HashKeyRange,
    index: u64,
    writer: mpsc::Sender<Request>,
}

impl Stream {
    /// Opens a stored stream and starts its writers.
    pub(crate) fn open(
        name: &str,
        directory: PathBuf,
        file: StreamFile,
        options: &Options,
    ) -> Result<Self, StreamError> {
        let retention = Arc::new(Retention::new(options.max_stream_bytes, file.retention_ms));
        let stream = Self {
            name: name.to_owned(),
            directory,
            options: options.clone(),
            retention,
            routing: Arc::new(RwLock::new(Routing { file: file.clone(), logs: Vec::new(), open: Vec::new() })),
            writers: Mutex::new(Some(Vec::new())),
        };
        stream.remove_orphans(&file).map_err(|error| stream.unavailable("removing what a split left", &error))?;
        let mut routing = Routing { file, logs: Vec::new(), open: Vec::new() };
        for shard in routing.file.shards.clone() {
            stream.open_shard(&mut routing, shard.index)?;
        }
        Ok(Self { routing: Arc::new(RwLock::new(routing)), ..stream })
    }

    /// Directories of shards that were made for a split which was never stored.
    fn remove_orphans(&self, file: &StreamFile) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let known = file.shards.iter().any(|shard| shard_directory(&self.directory, shard.index) == path);
            let is_shard = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("shardId-"));
            if is_shard && !known {
                tracing::info!(stream = self.name, directory = %path.display(), "removing a shard that is not listed");
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }

    fn open_shard(&self, routing: &mut Routing, index: u64) -> Result<(), StreamError> {
        let Some(shard) = routing.file.shards.iter().find(|shard| shard.index == index).cloned() else { return Ok(()) };
        let (log, writer) = recovery::open_shard(&self.name, &self.directory, &shard, &self.retention, &self.options)?;
        self.retention.logs().push(Arc::clone(&log));
        routing.logs.push(log);
        if let Some(writer) = writer {
            let writer = self.start(writer)?;
            routing.open.push(Route { range: shard.range, index, writer });
            routing.open.sort_by_key(|route| route.range.start);
        }
        Ok(())
    }

    fn start(&self, writer: Writer) -> Result<mpsc::Sender<Request>, StreamError> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writers) = writers.as_mut() else { return Err(StreamError::ShutDown) };
        let (sender, requests) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name(format!("log {} {}", self.name, writer.log.index))
            .spawn(move || writer.run(requests))
            .map_err(|error| self.unavailable("starting a writer", &error))?;
        writers.retain(|writer| !writer.is_finished());
        writers.push(thread);
        Ok(sender)
    }

    /// Stops the writers and waits until what they had begun is durable.
    pub(crate) fn shut_down(&self) {
        for log in self.retention.logs().iter() {
            log.shut_down();
        }
        let writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        // Putters borrow the streams, so none is left; a split may be going on that nobody waits for any more.
        let began = Instant::now();
        while began.elapsed() < SHUT_DOWN_WAIT {
            let Ok(mut routing) = self.routing.try_write() else {
                std::thread::park_timeout(Duration::from_millis(1));
                continue;
            };
            // A writer whom nobody can ask any more finishes what was asked and ends.
            routing.open.clear();
            drop(routing);
            for writer in writers {
                if writer.join().is_err() {
                    tracing::error!(stream = self.name, "a writer had panicked");
                }
            }
            return;
        }
        tracing::error!(stream = self.name, "shut down while its shards were being changed");
    }

    pub(crate) async fn describe(&self) -> StreamDescription {
        let routing = self.routing.read().await;
        StreamDescription {
            name: self.name.clone(),
            shards: routing.file.shards.iter().map(|shard| shard.description()).collect(),
            retention: Duration::from_millis(u64::try_from(self.retention.ms()).unwrap_or_default()),
        }
    }

    pub(crate) async fn log(&self, shard: &ShardId) -> Result<Arc<ShardLog>, StreamError> {
        let routing = self.routing.read().await;
        routing.logs.iter().find(|log| log.id == *shard).cloned().ok_or_else(|| self.no_shard(shard))
    }

    pub(crate) async fn put(
        &self,
        entries: Vec<PutEntry>,
        producer: Option<&Producer>,
    ) -> Result<Vec<PutOutcome>, StreamError> {
        if let Some(Producer(name)) = producer {
            if name.is_empty() || name.len() > MAX_PRODUCER_BYTES {
                return Err(self.invalid(format!("a producer's name has 1 to {MAX_PRODUCER_BYTES} bytes")));
            }
            let origins: Vec<_> = entries.iter().filter_map(|entry| entry.origin).collect();
            if !origins.is_sorted_by(|a, b| a < b) {
                return Err(self.invalid(format!("producer {name}: origins of one put must ascend")));
            }
        }
        if let Some(reason) = self.retention.refusal(entries.iter().map(|entry| entry_bytes(entry) as u64).sum()) {
            return Err(StreamError::Unavailable { stream: self.name.clone(), reason });
        }
        let routing = self.routing.read().await;
        let mut outcomes: Vec<Option<PutOutcome>> = vec![None; entries.len()];
        let mut parts: Vec<Part> = Vec::new();
        parts.resize_with(routing.open.len(), Default::default);
        for (at, entry) in entries.into_iter().enumerate() {
            if let Some(reason) = self.fault(&entry) {
                outcomes[at] = Some(PutOutcome::Rejected { reason, retriable: false });
                continue;
            }
            let hash_key = entry.explicit_hash_key.unwrap_or_else(|| hash_key(&entry.partition_key));
            // The open shards' ranges cover every hash key.
            let route = routing.open.partition_point(|route| route.range.start <= hash_key).saturating_sub(1);
            if let Some((places, part)) = parts.get_mut(route) {
                places.push(at);
                part.push((entry, hash_key));
            }
        }
        let mut waiting = Vec::new();
        for (route, (places, entries)) in routing.open.iter().zip(parts).filter(|(_, part)| !part.0.is_empty()) {
            let (answer, answered) = oneshot::channel();
            let put = Put { entries, producer: producer.cloned(), answer };
            // A writer that is gone is noticed by its missing answer.
            drop(route.writer.send(Request::Put(put)).await);
            waiting.push((route.index, places, answered));
        }
        for (shard, places, answered) in waiting {
            let answers = answered.await.unwrap_or_default();
            let mut answers = answers.into_iter();
            for place in places {
                outcomes[place] = answers.next().or_else(|| {
                    let reason = format!("the writer of {} has ended", ShardId::from_index(shard));
                    Some(PutOutcome::Rejected { reason, retriable: true })
                });
            }
        }
        let unplaced = || PutOutcome::Rejected { reason: "no open shard".to_owned(), retriable: true };
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(unplaced)).collect())
    }

    /// Why an entry can never be stored.
    fn fault(&self, entry: &PutEntry) -> Option<String> {
        let key = entry.partition_key.as_str();
        // Up to 256 bytes there is nothing to count.
        if key.is_empty() || (key.len() > MAX_KEY_CHARS && key.chars().count() > MAX_KEY_CHARS) {
            return Some(format!("a partition key has 1 to {MAX_KEY_CHARS} characters"));
        }
        let (len, most) = (key.len() + entry.data.len(), self.options.max_record_bytes);
        (len > most).then(|| format!("the record has {len} bytes, more than the {most} allowed"))
    }

    /// Bytes of all segments.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.retention.held_bytes()
    }

    /// Removes segments all of whose records are at or below `up_to`.
    pub(crate) async fn trim(&self, shard: &ShardId, up_to: SequenceNumber) -> Result<(), StreamError> {
        let log = self.log(shard).await?;
        let below = log.number_of(up_to)?.saturating_add(1);
        // The segment that is written to stays. It is ended when it was read to its end and is worth it.
        let worth = |last: &Summary| {
            last.len > self.options.segment_bytes / 2 || self.retention.is_filling() || log.is_troubled()
        };
        if log.last_segment().is_some_and(|last| !last.is_empty() && last.end <= below && worth(&last)) {
            let writer = {
                let routing = self.routing.read().await;
                routing.open.iter().find(|route| route.index == log.index).map(|route| route.writer.clone())
            };
            if let Some(writer) = writer {
                let (tried, answered) = oneshot::channel();
                // A writer that is gone ends no segment: it stays for the next start.
                if writer.send(Request::Release(below, tried)).await.is_ok() {
                    drop(answered.await);
                }
            }
        }
        tokio::task::spawn_blocking(move || remove_while(&log, |oldest| oldest.end <= below))
            .await
            .map_err(|error| self.unavailable("trimming", &io::Error::other(error)))
    }

    /// Takes a new retention.
    pub(crate) async fn set_retention(self: &Arc<Self>, retention_ms: i64) -> Result<(), StreamError> {
        if self.retention.ms() == retention_ms {
            return Ok(());
        }
        self.change(move |stream, routing| {
            let file = StreamFile { retention_ms, ..routing.file.clone() };
            stream.store(&file)?;
            stream.retention.set_ms(retention_ms);
            routing.file = file;
            Ok(())
        })
        .await
    }

    pub(crate) async fn split(self: &Arc<Self>, shard: &ShardId, at: u128) -> Result<(), StreamError> {
        let shard = shard.clone();
        self.change(move |stream, routing| {
            let (index, range) = stream.open_range(routing, &shard)?;
            let Some((low, high)) = range.split(at) else {
                return Err(stream.invalid(format!("{at} does not divide the hash keys of {shard}")));
            };
            stream.reshard(routing, &[index], &[low, high])
        })
        .await
    }

    pub(crate) async fn merge(self: &Arc<Self>, a: &ShardId, b: &ShardId) -> Result<(), StreamError> {
        let (a, b) = (a.clone(), b.clone());
        self.change(move |stream, routing| {
            let (index_a, range_a) = stream.open_range(routing, &a)?;
            let (index_b, range_b) = stream.open_range(routing, &b)?;
            let Some(range) = range_a.join(&range_b) else {
                return Err(stream.invalid(format!("the hash keys of {a} and {b} are not neighbours")));
            };
            stream.reshard(routing, &[index_a, index_b], &[range])
        })
        .await
    }

    /// Changes the routing where blocking is allowed, while nobody puts. Goes on to its end also when the future is
    /// dropped.
    async fn change<F>(self: &Arc<Self>, change: F) -> Result<(), StreamError>
    where
        F: FnOnce(&Self, &mut Routing) -> Result<(), StreamError> + Send + 'static,
    {
        let mut routing: OwnedRwLockWriteGuard<Routing> = Arc::clone(&self.routing).write_owned().await;
        let stream = Arc::clone(self);
        tokio::task::spawn_blocking(move || change(&stream, &mut routing))
            .await
            .unwrap_or_else(|error| Err(self.unavailable("changing shards", &io::Error::other(error))))
    }

    fn open_range(&self, routing: &Routing, shard: &ShardId) -> Result<(u64, HashKeyRange), StreamError> {
        let found = routing.file.shards.iter().find(|file| ShardId::from_index(file.index) == *shard);
        match found {
            None => Err(self.no_shard(shard)),
            Some(file) if file.closed => Err(self.invalid(format!("{shard} is closed"))),
            Some(file) => Ok((file.index, file.range)),
        }
    }

    /// Closes `parents` and opens children with `ranges`: all of it or nothing.
    fn reshard(&self, routing: &mut Routing, parents: &[u64], ranges: &[HashKeyRange]) -> Result<(), StreamError> {
        let writers: Vec<_> = routing
            .open
            .iter()
            .filter(|route| parents.contains(&route.index))
            .map(|route| route.writer.clone())
            .collect();
        let file = self.close(&writers).and_then(|producers| {
            let mut file = routing.file.clone();
            parents.iter().for_each(|parent| file.close(*parent));
            let now_ms = self.options.clock.now_ms();
            for range in ranges {
                let child = file.add(parents.to_vec(), *range);
                recovery::create_shard(&self.name, &self.directory, child, producers.clone(), now_ms)
                    .map_err(|error| self.unavailable("making a shard", &error))?;
            }
            self.store(&file)?;
            Ok(file)
        });
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                for writer in writers {
                    // A writer that is gone cannot be opened again; its next put says so.
                    drop(writer.blocking_send(Request::Reopen));
                }
                return Err(error);
            }
        };
        let first_child = routing.file.next_shard;
        routing.file = file;
        routing.open.retain(|route| !parents.contains(&route.index));
        for child in first_child..routing.file.next_shard {
            self.open_shard(routing, child)?;
        }
        // Readers come to the parents' end only now that the children can be found.
        routing.logs.iter().filter(|log| parents.contains(&log.index)).for_each(|log| log.close());
        tracing::info!(stream = self.name, ?parents, children = ranges.len(), "shards were replaced");
        Ok(())
    }

    /// Closes writers for puts; gives what their producers stored.
    fn close(&self, writers: &[mpsc::Sender<Request>]) -> Result<ProducerTable, StreamError> {
        let mut producers = ProducerTable::default();
        for writer in writers {
            let (answer, answered) = oneshot::channel();
            drop(writer.blocking_send(Request::Close(answer)));
            let gone = |_| io::Error::other("the writer has ended");
            let table = answered.blocking_recv().map_err(gone).and_then(|closed| closed);
            producers.inherit(&table.map_err(|error| self.unavailable("closing a shard", &error))?);
        }
        Ok(producers)
    }

    /// Removes what is past the retention: segments, and closed shards of which nothing is left.
    pub(crate) fn sweep(&self) {
        let now_ms = self.options.clock.now_ms();
        // A segment is removed as a whole, so one may not span much of the retention.
        let longest_ms = self.retention.ms() / 8;
        // Puts hold the lock for reading, so this only fails while shards change; the next sweep finds them.
        if let Ok(routing) = self.routing.try_read() {
            for route in &routing.open {
                let log = routing.logs.iter().find(|log| log.index == route.index);
                let last = log.and_then(|log| log.last_segment());
                if last.is_some_and(|last| !last.is_empty() && last.first_ms < now_ms.saturating_sub(longest_ms)) {
                    // A writer with a full queue rolls at a later sweep.
                    drop(route.writer.try_send(Request::Roll));
                }
            }
        }
        self.retention.trim(now_ms);
        let any_gone = self.retention.logs().iter().any(|log| log.is_gone());
        if any_gone
            && let Ok(mut routing) = self.routing.try_write()
            && let Err(error) = self.forget_gone(&mut routing)
        {
            tracing::warn!(stream = self.name, %error, "closed shards past the retention stay listed");
        }
    }

    fn forget_gone(&self, routing: &mut Routing) -> Result<(), StreamError> {
        let gone: Vec<u64> = routing.logs.iter().filter(|log| log.is_gone()).map(|log| log.index).collect();
        let mut file = routing.file.clone();
        file.shards.retain(|shard| !gone.contains(&shard.index));
        self.store(&file)?;
        routing.file = file;
        routing.logs.retain(|log| !gone.contains(&log.index));
        self.retention.logs().retain(|log| !gone.contains(&log.index));
        for index in gone {
            if let Err(error) = fs::remove_dir_all(shard_directory(&self.directory, index)) {
                // It is not listed any more: the next start removes it.
                tracing::warn!(stream = self.name, shard = index, %error, "directory of a forgotten shard stays");
            }
        }
        Ok(())
    }

    fn store(&self, file: &StreamFile) -> Result<(), StreamError> {
        file.store(&self.directory).map_err(|error| self.unavailable("storing stream.json", &error))
    }

    fn unavailable(&self, doing: &str, error: &io::Error) -> StreamError {
        StreamError::Unavailable { stream: self.name.clone(), reason: format!("{doing}: {error}") }
    }

    fn invalid(&self, reason: String) -> StreamError {
        StreamError::Invalid { stream: self.name.clone(), reason }
    }

    fn no_shard(&self, shard: &ShardId) -> StreamError {
        StreamError::ShardNotFound { stream: self.name.clone(), shard: shard.clone() }
    }
}
