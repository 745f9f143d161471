//! Opening a shard's log: what is whole is kept, a torn tail goes, damage is named.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::catalog::{ShardFile, shard_directory};
use super::log::ShardLog;
use super::options::Options;
use super::producer::ProducerTable;
use super::retention::Retention;
use super::segment::{self, ReadError, Scan, SegmentHeader, Summary};
use super::writer::Writer;
use crate::{ShardId, StreamError};

/// Record numbers begin at the time in milliseconds times 2²²: what a power cut took from the end of a log is not
/// numbered again, so that a reader's checkpoint behind it passes over nothing new. Lasts until the year 2109.
pub(crate) fn number_at(now_ms: i64) -> u64 {
    u64::try_from(now_ms).unwrap_or(0).min(u64::MAX >> 22) << 22
}

/// Makes the directory and the first segment of a shard; nothing refers to it yet.
pub(crate) fn create_shard(
    stream: &str,
    directory: &Path,
    index: u64,
    producers: ProducerTable,
    now_ms: i64,
) -> std::io::Result<()> {
    let directory = shard_directory(directory, index);
    match std::fs::remove_dir_all(&directory) {
        // A split cut short may have left it.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::create_dir(&directory)?;
    let shard = ShardId::from_index(index).to_string();
    let header = SegmentHeader { stream: stream.to_owned(), shard, made_ms: now_ms, producers };
    segment::create(&directory, number_at(now_ms), &header).map(|_| ())
}

/// Opens a shard. An open one has a writer.
pub(crate) fn open_shard(
    stream: &str,
    stream_directory: &Path,
    shard: &ShardFile,
    retention: &Arc<Retention>,
    options: &Options,
) -> Result<(Arc<ShardLog>, Option<Writer>), StreamError> {
    let directory = shard_directory(stream_directory, shard.index);
    let id = ShardId::from_index(shard.index);
    let io_failed = |error: std::io::Error| StreamError::Directory {
        directory: directory.display().to_string(),
        reason: error.to_string(),
    };
    let failed = |first: u64, error: ReadError| match error {
        ReadError::Io(error) => io_failed(error),
        ReadError::Damage(damage) => {
            let resume = super::frame::sequence_of(shard.index, damage.resume.map_or(first, |(_, number)| number));
            super::log::corrupt(stream, id.clone(), segment::path(&directory, first), resume, damage)
        }
    };
    let firsts = segment::list(&directory).map_err(io_failed)?;
    let mut segments: Vec<Summary> = Vec::with_capacity(firsts.len());
    for first in &firsts[..firsts.len().saturating_sub(1)] {
        segments.push(segment::load_summary(&directory, *first).map_err(|error| failed(*first, error))?);
    }
    let mut writer_state = None;
    if let Some(first) = firsts.last() {
        let path = segment::path(&directory, *first);
        let file = File::options().read(true).write(true).open(&path).map_err(io_failed)?;
        let scan = segment::scan(&file, *first).map_err(|error| failed(*first, error))?;
        report(stream, &id, &path, &scan);
        if scan.torn > 0 {
            file.set_len(scan.summary.len).and_then(|()| file.sync_all()).map_err(io_failed)?;
        }
        let mut producers = scan.producers;
        for (producer, origin, at_ms) in scan.advances {
            producers.advance(&producer, shard.range, origin, at_ms);
        }
        segments.push(scan.summary.clone());
        writer_state = Some((file, scan.summary, producers));
    }
    let log = ShardLog::new(
        stream,
        shard.index,
        shard.range,
        directory.clone(),
        segments,
        options.tail_cache_bytes,
        shard.closed,
        retention.held(),
    );
    let log = Arc::new(log);
    let writer = match writer_state {
        _ if shard.closed => None,
        None => return Err(io_failed(std::io::Error::other("an open shard has no segment"))),
        Some((file, last, producers)) => {
            let next = last.first.max(last.end).max(number_at(options.clock.now_ms()));
            let (log, retention) = (Arc::clone(&log), Arc::clone(retention));
            Some(Writer::new(log, retention, options.clone(), file, next, last.last_ms, producers))
        }
    };
    Ok((log, writer))
}

fn report(stream: &str, shard: &ShardId, path: &Path, scan: &Scan) {
    if scan.torn > 0 {
        tracing::warn!(stream, %shard, file = %path.display(), bytes = scan.torn,
            "a write that was never acknowledged is cut off the end");
    }
    for damage in &scan.damage {
        tracing::error!(stream, %shard, file = %path.display(), offset = damage.offset, reason = damage.reason,
            "stored records are damaged; readers that come there are told");
    }
}
