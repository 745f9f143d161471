//! The one writer of a shard: gathers the puts that wait, writes them at once, makes them durable, answers them all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::frame::{Builder, HEADER, RECORD_HEADER, sequence_of};
use super::log::ShardLog;
use super::options::{Durability, Options};
use super::producer::{ProducerTable, Undo};
use super::retention::Retention;
use super::segment::{self, SegmentHeader, Summary};
use crate::{Producer, PutEntry, PutOutcome};

/// So many requests may wait for a writer; further putters wait themselves.
pub(crate) const QUEUE: usize = 64;
/// A write gathers no more once it has so many bytes.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// The largest buffer that is kept for the next write.
const SPARE_BYTES: usize = 1024 * 1024;

/// Entries for one shard, with their hash keys, checked against the limits.
pub(crate) struct Put {
    pub(crate) entries: Vec<(PutEntry, u128)>,
    pub(crate) producer: Option<Producer>,
    pub(crate) answer: oneshot::Sender<Vec<PutOutcome>>,
}

/// What a writer can be asked for.
pub(crate) enum Request {
    Put(Put),
    /// Begin a new segment if this one holds records, so that retention can remove it.
    Roll,
    /// The same, if all its records are below this number; tell when it was tried.
    Release(u64, oneshot::Sender<()>),
    /// Take no more puts, make everything durable and tell what the producers stored.
    Close(oneshot::Sender<io::Result<ProducerTable>>),
    /// Take puts again: the split or merge failed.
    Reopen,
}

/// What has to be done before the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    /// Nothing.
    None,
    /// The last write failed: what it left behind has to go.
    Truncate,
    /// Making durable failed: the same, and the file is not to be trusted with more.
    TruncateAndRoll,
}

/// A shard's writer. It owns the file of the last segment.
pub(crate) struct Writer {
    pub(crate) log: Arc<ShardLog>,
    pub(crate) retention: Arc<Retention>,
    pub(crate) options: Options,
    pub(crate) file: File,
    /// The next record's number. Grows also when a write fails: a number is never given twice.
    pub(crate) next: u64,
    pub(crate) last_ms: i64,
    pub(crate) producers: ProducerTable,
    repair: Repair,
    closed: bool,
    /// Memory of a write that readers are done with: fresh memory would be paged in for each.
    spare: Vec<u8>,
    #[cfg(test)]
    pub(crate) faults: Arc<super::tests::Faults>,
}

impl Writer {
    pub(crate) fn new(
        log: Arc<ShardLog>,
        retention: Arc<Retention>,
        options: Options,
        file: File,
        next: u64,
        last_ms: i64,
        producers: ProducerTable,
    ) -> Self {
        Self {
            log,
            retention,
            options,
            file,
            next,
            last_ms,
            producers,
            repair: Repair::None,
            closed: false,
            spare: Vec::new(),
            #[cfg(test)]
            faults: super::tests::Faults::of_this_thread(),
        }
    }

    /// Serves requests until nobody can ask any more. Blocks: give it a thread.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut puts = Vec::new();
        while let Some(first) = requests.blocking_recv() {
            let mut bytes = 0;
            let mut other = None;
            let mut request = Some(first);
            while let Some(taken) = request.take() {
                match taken {
                    Request::Put(put) => {
                        bytes += put_bytes(&put);
                        puts.push(put);
                        if bytes < GROUP_BYTES {
                            request = requests.try_recv().ok();
                        }
                    }
                    taken => other = Some(taken),
                }
            }
            if !puts.is_empty() {
                self.write(std::mem::take(&mut puts), bytes);
            }
            match other {
                Some(Request::Roll) => {
                    if let Err(error) = self.prepare(0).and_then(|()| self.roll()) {
                        tracing::warn!(stream = self.log.stream, shard = %self.log.id, %error, "no new segment");
                    }
                }
                Some(Request::Release(below, tried)) => {
                    if let Err(error) = self.release(below) {
                        tracing::warn!(stream = self.log.stream, shard = %self.log.id, %error, "no room given back");
                    }
                    // Who asked may be gone.
                    tried.send(()).ok();
                }
                Some(Request::Close(answer)) => {
                    let closed = self.close();
                    // Who asked may be gone; the shard then stays closed for puts until it is opened again.
                    drop(answer.send(closed));
                }
                Some(Request::Reopen) => self.closed = false,
                Some(Request::Put(_)) | None => {}
            }
        }
        if let Err(error) = self.file.sync_data() {
            tracing::error!(stream = self.log.stream, shard = %self.log.id, %error, "last segment is not made durable");
        }
    }

    fn write(&mut self, puts: Vec<Put>, bytes: usize) {
        if self.closed {
            return reject(puts, "the shard was split or merged");
        }
        // Puts are refused before they come here; these were let in side by side and are too many together.
        if let Some(reason) = self.retention.refusal(bytes as u64) {
            return reject(puts, &reason);
        }
        if let Err(error) = self.prepare(bytes as u64) {
            self.log.set_troubled(true);
            return reject(puts, &format!("shard {}: preparing a write: {error}", self.log.id));
        }
        let (offset, _) = self.log.write_offset();
        self.last_ms = self.last_ms.max(self.options.clock.now_ms());
        let mut buffer = std::mem::take(&mut self.spare);
        buffer.clear();
        buffer.reserve(bytes);
        let mut undo = Vec::new();
        let outcomes: Vec<_> = puts.iter().map(|put| self.encode(put, &mut buffer, offset, &mut undo)).collect();
        if !buffer.is_empty() {
            if let Err(error) = self.append(&buffer, offset) {
                self.log.set_troubled(true);
                undo.into_iter().rev().for_each(|undo| self.producers.undo(undo));
                tracing::warn!(stream = self.log.stream, shard = %self.log.id, %error, "write failed");
                return reject(puts, &format!("shard {}: writing: {error}", self.log.id));
            }
            self.log.set_troubled(false);
            let gone = self.log.publish(Bytes::from(buffer));
            // Unless a reader still has it, or it is too much to keep.
            self.spare =
                gone.filter(|gone| gone.is_unique() && gone.len() <= SPARE_BYTES).map(Vec::from).unwrap_or_default();
        }
        for (put, outcomes) in puts.into_iter().zip(outcomes) {
            // A putter that was dropped wants no answer.
            drop(put.answer.send(outcomes));
        }
    }

    /// Makes frames of a put's entries.
    fn encode(&mut self, put: &Put, buffer: &mut Vec<u8>, offset: u64, undo: &mut Vec<Undo>) -> Vec<PutOutcome> {
        let producer = put.producer.as_ref().map_or("", |producer| producer.0.as_str());
        let write_start = u32::try_from(offset).expect("segments are far below 4 GiB");
        let mut outcomes = Vec::with_capacity(put.entries.len());
        let mut entries = put.entries.iter().peekable();
        while let Some((entry, hash_key)) = entries.peek() {
            if self.is_duplicate(producer, entry, *hash_key) {
                outcomes.push(PutOutcome::Duplicate);
                entries.next();
                continue;
            }
            let mut builder = Builder::new(buffer, write_start, self.next, self.last_ms, producer);
            while let Some((entry, hash_key)) = entries.peek() {
                if builder.is_full_for(entry.partition_key.len() + entry.data.len()) {
                    break;
                }
                outcomes.push(if self.is_duplicate(producer, entry, *hash_key) {
                    PutOutcome::Duplicate
                } else {
                    let number = builder.push(&entry.partition_key, &entry.data, entry.origin);
                    PutOutcome::Stored { shard: self.log.id.clone(), sequence: sequence_of(self.log.index, number) }
                });
                entries.next();
            }
            let (next, last_origin) = builder.finish();
            self.next = next;
            if let (Some(origin), false) = (last_origin, producer.is_empty()) {
                undo.push(self.producers.advance(producer, self.log.range, origin, self.last_ms));
            }
        }
        outcomes
    }

    fn is_duplicate(&self, producer: &str, entry: &PutEntry, hash_key: u128) -> bool {
        let stored = |origin| self.producers.has_stored(producer, hash_key, origin);
        !producer.is_empty() && entry.origin.is_some_and(stored)
    }

    fn append(&mut self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.repair = Repair::Truncate;
        #[cfg(test)]
        self.faults.before_write(&self.file, buffer, offset)?;
        self.file.write_all_at(buffer, offset)?;
        if self.options.durability == Durability::Fsync {
            self.repair = Repair::TruncateAndRoll;
            #[cfg(test)]
            self.faults.before_sync()?;
            self.file.sync_data()?;
        }
        self.repair = Repair::None;
        Ok(())
    }

    /// Repairs what a failed write left, and begins a new segment when `bytes` more are too many for this one.
    fn prepare(&mut self, bytes: u64) -> io::Result<()> {
        let (len, _) = self.log.write_offset();
        if self.repair != Repair::None {
            self.file.set_len(len)?;
            self.file.sync_data()?;
            if self.repair == Repair::TruncateAndRoll {
                self.roll()?;
            }
            self.repair = Repair::None;
            tracing::info!(stream = self.log.stream, shard = %self.log.id, "writing again");
        }
        if len + bytes > self.options.segment_bytes { self.roll() } else { Ok(()) }
    }

    /// Finishes the segment and begins the next, unless there is nothing in it.
    fn roll(&mut self) -> io::Result<()> {
        let Some(last) = self.log.last_segment().filter(|last| !last.is_empty()) else { return Ok(()) };
        self.file.sync_data()?;
        let now_ms = self.options.clock.now_ms();
        self.producers.forget_old(now_ms);
        let first = self.next.max(last.end);
        let header = SegmentHeader {
            stream: self.log.stream.clone(),
            shard: self.log.id.to_string(),
            made_ms: now_ms.max(self.last_ms),
            producers: self.producers.clone(),
        };
        #[cfg(test)]
        self.faults.before_create()?;
        let (file, summary) = segment::create(&self.log.directory, first, &header)?;
        self.file = file;
        self.log.add_segment(summary);
        // Last, since on a full disk the segment needs the room more.
        if let Err(error) = segment::write_index(&self.log.directory, &last) {
            // Readers go through the segment instead.
            tracing::warn!(stream = self.log.stream, shard = %self.log.id, %error, "no index written");
        }
        self.retention.trim(now_ms);
        Ok(())
    }

    /// Ends the segment if all its records are below a number. Where the disk has no room for another, it is emptied.
    fn release(&mut self, below: u64) -> io::Result<()> {
        let is_read = |last: &Summary| !last.is_empty() && last.end <= below;
        // Records may have come since it was asked for.
        let Some(last) = self.log.last_segment().filter(is_read) else { return Ok(()) };
        match self.prepare(0).and_then(|()| self.roll()) {
            // What producers stored is in the segment's header as of its beginning: only without any it stays true.
            Err(error) if is_full(&error) && self.repair == Repair::None && self.producers.is_empty() => {
                self.empty(&last)
            }
            ended => ended,
        }
    }

    /// Turns the segment, none of whose records is needed any more, into an empty one without a byte of new room.
    fn empty(&mut self, last: &Summary) -> io::Result<()> {
        let first = self.next.max(last.end);
        // Under the new name its records are past already, should the process end in between.
        segment::rename(&self.log.directory, last.first, first)?;
        if let Err(error) = self.file.set_len(last.data_start) {
            segment::rename(&self.log.directory, first, last.first)?;
            return Err(error);
        }
        self.log.replace_segment(Summary::empty(first, last.data_start, self.last_ms));
        tracing::info!(stream = self.log.stream, shard = %self.log.id, bytes = last.len, "emptied a segment on a full disk");
        self.file.sync_data()?;
        segment::sync_directory(&self.log.directory)
    }

    fn close(&mut self) -> io::Result<ProducerTable> {
        self.prepare(0)?;
        self.file.sync_data()?;
        if let Some(last) = self.log.last_segment()
            && let Err(error) = segment::write_index(&self.log.directory, &last)
        {
            tracing::warn!(stream = self.log.stream, shard = %self.log.id, %error, "no index written");
        }
        self.closed = true;
        Ok(self.producers.clone())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn put_bytes(put: &Put) -> usize {
    // Each put begins a frame; a put of many bytes begins more, which is of no weight beside them.
    HEADER + 128 + put.entries.iter().map(|(entry, _)| entry_bytes(entry)).sum::<usize>()
}

/// Bytes of an entry in its frame.
pub(crate) fn entry_bytes(entry: &PutEntry) -> usize {
    RECORD_HEADER + entry.partition_key.len() + entry.data.len()
}

fn reject(puts: Vec<Put>, reason: &str) {
    for put in puts {
        let outcome = PutOutcome::Rejected { reason: reason.to_owned(), retriable: true };
        drop(put.answer.send(vec![outcome; put.entries.len()]));
    }
}
