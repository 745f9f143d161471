//! One shard's log as its readers see it: which segments there are, the newest bytes, and how far it goes.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::frame::{Header, sequence_of};
use super::segment::{self, Damage, Summary};
use super::tail::{Group, TailCache};
use crate::{Corruption, HashKeyRange, SequenceNumber, ShardId, StreamError};

/// How far a log goes; what waiting readers watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The number behind the last record that may be read.
    pub(crate) end: u64,
    /// Nothing follows.
    pub(crate) closed: bool,
    /// The streams were shut down.
    pub(crate) shut_down: bool,
}

/// A shard's log, shared by its writer, its readers and retention.
#[derive(Debug)]
pub(crate) struct ShardLog {
    pub(crate) stream: String,
    pub(crate) id: ShardId,
    /// The number in the id.
    pub(crate) index: u64,
    pub(crate) range: HashKeyRange,
    pub(crate) directory: PathBuf,
    /// Bytes of the segments of all the stream's logs.
    held: Arc<AtomicU64>,
    /// The last write failed: the disk may be full.
    troubled: AtomicBool,
    state: Mutex<State>,
    tip: watch::Sender<Tip>,
}

/// What is behind the lock, which is never held over file work.
#[derive(Debug)]
pub(crate) struct State {
    /// In order. Only the last one keeps its index in memory; in an open shard that is the one written to.
    segments: VecDeque<Summary>,
    pub(crate) cache: TailCache,
    end: u64,
    closed: bool,
}

/// What a reader finds at its position.
#[derive(Debug)]
pub(crate) enum Found {
    /// Everything was read.
    Tip(Tip),
    /// In memory.
    Cached(Group),
    /// In a file.
    Segment {
        /// Where the reader really stands: further on when records were trimmed or numbers skipped.
        number: u64,
        first: u64,
        /// The number behind the segment's last record.
        end: u64,
        len: u64,
        /// A close offset; not known without the segment's index.
        offset: Option<u64>,
    },
}

impl ShardLog {
    /// A log of what is stored. Its bytes, now and later, are added to `held`.
    #[allow(clippy::too_many_arguments, reason = "one caller, which names each of them")]
    pub(crate) fn new(
        stream: &str,
        index: u64,
        range: HashKeyRange,
        directory: PathBuf,
        segments: Vec<Summary>,
        tail_cache_bytes: usize,
        closed: bool,
        held: Arc<AtomicU64>,
    ) -> Self {
        held.fetch_add(segments.iter().map(|segment| segment.len).sum(), Ordering::Relaxed);
        // An empty segment begins behind numbers that were passed over: no record is there to be waited for or missed.
        let last = segments.iter().rev().find(|segment| !segment.is_empty()).or(segments.last());
        let end = last.map_or(0, |segment| segment.end);
        let mut segments = VecDeque::from(segments);
        let sealed = segments.len().saturating_sub(1);
        segments.iter_mut().take(sealed).for_each(|segment| segment.index = Vec::new());
        let cache = TailCache::new(tail_cache_bytes, end);
        Self {
            stream: stream.to_owned(),
            id: ShardId::from_index(index),
            index,
            range,
            directory,
            held,
            troubled: AtomicBool::new(false),
            state: Mutex::new(State { segments, cache, end, closed }),
            tip: watch::Sender::new(Tip { end, closed, shut_down: false }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is complete or not begun; a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the last write failed.
    pub(crate) fn set_troubled(&self, troubled: bool) {
        self.troubled.store(troubled, Ordering::Relaxed);
    }

    /// Whether the last write failed.
    pub(crate) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// Watches how far the log goes.
    pub(crate) fn watch(&self) -> watch::Receiver<Tip> {
        self.tip.subscribe()
    }

    /// How far the log goes now.
    pub(crate) fn tip(&self) -> Tip {
        *self.tip.borrow()
    }

    /// What is at `number`.
    pub(crate) fn find(&self, number: u64) -> Found {
        let state = self.state();
        let number = match state.segments.front() {
            Some(oldest) => number.max(oldest.first),
            None => number.max(state.end),
        };
        if number >= state.end {
            return Found::Tip(Tip { end: state.end, closed: state.closed, shut_down: self.tip().shut_down });
        }
        if let Some(group) = state.cache.group(number) {
            return Found::Cached(group.clone());
        }
        let mut at = state.segments.partition_point(|segment| segment.first <= number).saturating_sub(1);
        let mut number = number;
        while number >= state.segments[at].end && at + 1 < state.segments.len() {
            at += 1;
            number = state.segments[at].first;
        }
        let segment = &state.segments[at];
        let offset = (!segment.index.is_empty()).then(|| segment.offset_of(number));
        Found::Segment { number, first: segment.first, end: segment.end, len: segment.len, offset }
    }

    /// The number of the oldest record that is kept, or where it would be.
    pub(crate) fn oldest(&self) -> u64 {
        let state = self.state();
        state.segments.front().map_or(state.end, |segment| segment.first)
    }

    /// The segment in which the first record that arrived at `at_ms` or later is; `None` when there is none so late.
    pub(crate) fn segment_at_time(&self, at_ms: i64) -> Option<u64> {
        let state = self.state();
        state.segments.iter().find(|segment| !segment.is_empty() && segment.last_ms >= at_ms).map(|found| found.first)
    }

    /// The last segment. An open shard always has one.
    pub(crate) fn last_segment(&self) -> Option<Summary> {
        self.state().segments.back().cloned()
    }

    /// Offset behind the last frame, and whether there is one.
    pub(crate) fn write_offset(&self) -> (u64, bool) {
        self.state().segments.back().map_or((0, true), |segment| (segment.len, segment.is_empty()))
    }

    /// Makes written frames readable and wakes readers. Gives a write that is no longer kept for them.
    pub(crate) fn publish(&self, bytes: Bytes) -> Option<Bytes> {
        let mut state = self.state();
        let segment = state.segments.back_mut()?;
        let mut at = 0;
        while at < bytes.len() {
            let header = Header::parse(&bytes[at..]).expect("the writer makes whole frames");
            segment.add(&header);
            at += header.frame_len();
        }
        let end = segment.end;
        self.held.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        state.end = end;
        let gone = state.cache.push(Group { end, bytes });
        drop(state);
        self.tip.send_modify(|tip| tip.end = end);
        gone
    }

    /// Adds an empty segment to be written to.
    pub(crate) fn add_segment(&self, segment: Summary) {
        let mut state = self.state();
        if let Some(last) = state.segments.back_mut() {
            last.index = Vec::new();
        }
        self.held.fetch_add(segment.len, Ordering::Relaxed);
        state.segments.push_back(segment);
    }

    /// Puts an empty segment in the place of the one that is written to.
    pub(crate) fn replace_segment(&self, segment: Summary) {
        let mut state = self.state();
        self.held.fetch_add(segment.len, Ordering::Relaxed);
        if let Some(last) = state.segments.pop_back() {
            self.held.fetch_sub(last.len, Ordering::Relaxed);
        }
        state.segments.push_back(segment);
    }

    /// Tells readers that nothing follows.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.tip.send_modify(|tip| tip.closed = true);
    }

    /// Tells waiting readers to go.
    pub(crate) fn shut_down(&self) {
        self.tip.send_modify(|tip| tip.shut_down = true);
    }

    /// Removes the oldest segment if it is not written to any more and `may_go`; whether one was. Readers that have it
    /// open finish what they read.
    ///
    /// Retention and readers remove side by side, so what is judged and what is removed are one segment.
    pub(crate) fn remove_oldest(&self, may_go: impl Fn(&Summary) -> bool) -> std::io::Result<bool> {
        let removed = {
            let mut state = self.state();
            let removable = state.closed || state.segments.len() > 1;
            state.segments.pop_front_if(|oldest| removable && may_go(oldest))
        };
        let Some(segment) = removed else { return Ok(false) };
        self.held.fetch_sub(segment.len, Ordering::Relaxed);
        segment::remove(&self.directory, segment.first).map(|()| true)
    }

    /// Whether nothing is kept of a closed shard.
    pub(crate) fn is_gone(&self) -> bool {
        let state = self.state();
        state.closed && state.segments.is_empty()
    }

    /// The record's number in this log.
    pub(crate) fn number_of(&self, sequence: SequenceNumber) -> Result<u64, StreamError> {
        let number = u64::try_from(sequence.lo).ok();
        number.filter(|number| sequence_of(self.index, *number) == sequence).ok_or_else(|| StreamError::Invalid {
            stream: self.stream.clone(),
            reason: format!("sequence number {sequence} is not one of shard {}", self.id),
        })
    }

    /// The error for damage in the segment that begins with `first` and ends before `end`.
    pub(crate) fn corrupt(&self, first: u64, end: u64, damage: Damage) -> StreamError {
        let resume = sequence_of(self.index, damage.resume.map_or(end, |(_, number)| number));
        corrupt(&self.stream, self.id.clone(), segment::path(&self.directory, first), resume, damage)
    }

    /// The error for a file operation that failed.
    pub(crate) fn unavailable(&self, doing: &str, error: &std::io::Error) -> StreamError {
        StreamError::Unavailable { stream: self.stream.clone(), reason: format!("shard {}: {doing}: {error}", self.id) }
    }
}

/// The error for damage in a file.
pub(crate) fn corrupt(
    stream: &str,
    shard: ShardId,
    file: PathBuf,
    resume: SequenceNumber,
    damage: Damage,
) -> StreamError {
    let (file, stream) = (file.display().to_string(), stream.to_owned());
    let Damage { offset, reason, .. } = damage;
    StreamError::Corrupt(Box::new(Corruption { stream, shard, file, offset, reason, resume }))
}
