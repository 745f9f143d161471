//! Reading a shard's log: from memory at the tip, from files behind it.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::frame::Frames;
use super::log::{Found, ShardLog, Tip};
use super::options::Clock;
use super::segment::{self, Damage, ReadError};
use crate::{Page, ReadLimit, ShardCursor, StartAt, StreamError};

/// The most that is read from a file at a time (a single larger record excepted), hence held a cursor.
const MAX_CHUNK: usize = 2 * 1024 * 1024;
const MIN_CHUNK: usize = 64 * 1024;
/// A segment may be removed between looking it up and opening it; then the look-up is repeated.
const LOOK_UPS: u32 = 8;

/// A place in a shard's log.
pub(crate) struct LogCursor {
    log: Arc<ShardLog>,
    tip: watch::Receiver<Tip>,
    clock: Clock,
    /// The next record to give, or the first after it that there is.
    number: u64,
    /// Records that arrived before are passed over, until one is given.
    not_before_ms: Option<i64>,
    chunk: Option<Chunk>,
    place: Option<Place>,
}

/// Frames in memory that are being given out.
struct Chunk {
    frames: Frames,
    /// The number behind the last record.
    end: u64,
}

/// Where in a file the record `number` is, so that reading on needs no index.
struct Place {
    first: u64,
    file: Arc<File>,
    offset: u64,
    number: u64,
}

impl LogCursor {
    /// Places a cursor. Looks into an index file for a time: call it where blocking is allowed.
    pub(crate) fn open(log: Arc<ShardLog>, from: &StartAt, clock: Clock) -> Result<Self, StreamError> {
        let tip = log.watch();
        let end = tip.borrow().end;
        let (number, not_before_ms) = match from {
            StartAt::TrimHorizon => (log.oldest(), None),
            StartAt::Latest => (end, None),
            StartAt::At(sequence) => (log.number_of(*sequence)?, None),
            StartAt::After(sequence) => (log.number_of(*sequence)?.saturating_add(1), None),
            StartAt::AtTimestampMs(at_ms) => {
                let number = match log.segment_at_time(*at_ms) {
                    None => end,
                    Some(first) => match segment::load_summary(&log.directory, first) {
                        Ok(summary) => summary.number_before(*at_ms),
                        // From the segment's beginning the time is found as well, only later.
                        Err(_) => first,
                    },
                };
                (number, Some(*at_ms))
            }
        };
        Ok(Self { log, tip, clock, number, not_before_ms, chunk: None, place: None })
    }

    /// Moves records of the chunk at hand to the page; whether the page is full.
    fn take(&mut self, page: &mut Page, bytes: &mut usize, limit: ReadLimit) -> bool {
        let Some(chunk) = &mut self.chunk else { return false };
        let (from, not_before_ms) = (self.number, self.not_before_ms);
        chunk.frames.skip_while(|number, arrived_ms| {
            number < from || not_before_ms.is_some_and(|not_before_ms| arrived_ms < not_before_ms)
        });
        while let Some(len) = chunk.frames.next_len() {
            let full = page.records.len() >= limit.records || *bytes + len > limit.bytes;
            if full && !page.records.is_empty() {
                return true;
            }
            if let Some((number, record)) = chunk.frames.next_record() {
                *bytes += len;
                page.records.push(record);
                self.number = number + 1;
                self.not_before_ms = None;
            }
        }
        self.number = self.number.max(chunk.end);
        self.chunk = None;
        false
    }

    /// Reads a chunk of a segment.
    async fn read(&mut self, found: Found, want: usize) -> Result<(), ReadError> {
        let Found::Segment { number, first, len, offset, .. } = found else { return Ok(()) };
        let place = self.place.take().filter(|place| place.first == first && place.number == number);
        let log = Arc::clone(&self.log);
        let task = tokio::task::spawn_blocking(move || read_chunk(&log, number, first, len, offset, place, want));
        let (chunk, place) = task.await.map_err(io::Error::other)??;
        self.number = number;
        self.chunk = Some(chunk);
        self.place = Some(place);
        Ok(())
    }

    fn finish(&self, mut page: Page, tip: Option<Tip>) -> Page {
        let end = tip.map_or_else(|| self.log.tip().end, |tip| tip.end);
        page.end_of_shard = tip.is_some_and(|tip| tip.closed) && self.chunk.is_none() && self.number >= end;
        if let Some(last) = page.records.last()
            && self.number < end
        {
            // 0 would say that the tip was reached.
            page.millis_behind_latest = u64::try_from(self.clock.now_ms() - last.arrived_ms).unwrap_or(0).max(1);
        }
        page
    }
}

fn read_chunk(
    log: &ShardLog,
    number: u64,
    first: u64,
    len: u64,
    offset: Option<u64>,
    place: Option<Place>,
    want: usize,
) -> Result<(Chunk, Place), ReadError> {
    let (file, mut offset) = match place {
        Some(place) => (place.file, place.offset),
        None => {
            let file = Arc::new(File::open(segment::path(&log.directory, first))?);
            let offset = match offset {
                Some(offset) => offset,
                None => segment::load_summary(&log.directory, first)?.offset_of(number),
            };
            (file, offset)
        }
    };
    loop {
        let bytes = match segment::read_frames(&file, offset, len, want) {
            Ok(bytes) => bytes,
            Err(ReadError::Damage(damage)) => match damage.resume {
                // The damage is before what is asked for.
                Some((resume, at)) if at <= number => {
                    offset = resume;
                    continue;
                }
                _ => return Err(ReadError::Damage(damage)),
            },
            Err(error) => return Err(error),
        };
        let read = bytes.len() as u64;
        let frames = Frames::new(log.index, bytes);
        let end = frames.end();
        offset += read;
        if end > number {
            return Ok((Chunk { frames, end }, Place { first, file, offset, number: end }));
        }
        if offset >= len {
            let reason = "records are missing at its end".to_owned();
            return Err(ReadError::Damage(Damage { offset, reason, resume: None }));
        }
    }
}

#[async_trait::async_trait]
impl ShardCursor for LogCursor {
    async fn next(&mut self, limit: ReadLimit, wait: Duration) -> Result<Page, StreamError> {
        let deadline = Instant::now() + wait;
        let want = limit.bytes.clamp(MIN_CHUNK, MAX_CHUNK);
        let (mut page, mut bytes) = (Page::default(), 0);
        let mut look_ups = 0;
        loop {
            if self.take(&mut page, &mut bytes, limit) {
                return Ok(self.finish(page, None));
            }
            // Nothing below waits while the page holds records: they would be lost if the future were dropped.
            match self.log.find(self.number) {
                Found::Cached(group) => {
                    let frames = Frames::new(self.log.index, group.bytes);
                    self.chunk = Some(Chunk { frames, end: group.end });
                }
                found @ Found::Segment { .. } => {
                    if !page.records.is_empty() {
                        return Ok(self.finish(page, None));
                    }
                    let Found::Segment { number, first, end, .. } = found else { continue };
                    if number > self.number {
                        tracing::debug!(stream = self.log.stream, shard = %self.log.id, from = self.number, to = number,
                            "numbers without records, or trimmed");
                    }
                    match self.read(found, want).await {
                        Ok(()) => {}
                        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound && look_ups < LOOK_UPS => {
                            look_ups += 1;
                        }
                        Err(ReadError::Io(error)) => return Err(self.log.unavailable("reading a segment", &error)),
                        Err(ReadError::Damage(damage)) => return Err(self.log.corrupt(first, end, damage)),
                    }
                }
                Found::Tip(tip) => {
                    if tip.shut_down {
                        return Err(StreamError::ShutDown);
                    }
                    self.number = self.number.max(tip.end.min(self.log.oldest()));
                    if !page.records.is_empty() || tip.closed || Instant::now() >= deadline {
                        return Ok(self.finish(page, Some(tip)));
                    }
                    let from = self.number;
                    let changed = self.tip.wait_for(|tip| tip.end > from || tip.closed || tip.shut_down);
                    // Both a time that is over and a log that is gone are seen by the next look.
                    if let Ok(Err(_)) = tokio::time::timeout_at(deadline, changed).await {
                        return Err(StreamError::ShutDown);
                    }
                }
            }
        }
    }
}
