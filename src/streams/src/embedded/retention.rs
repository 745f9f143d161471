//! What is kept of a stream: by time and by bytes.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::log::ShardLog;
use super::segment::Summary;

/// A stream's limits and the logs they are for.
#[derive(Debug)]
pub(crate) struct Retention {
    max_bytes: u64,
    retention_ms: AtomicI64,
    /// Bytes of all segments; the logs keep count.
    held: Arc<AtomicU64>,
    logs: Mutex<Vec<Arc<ShardLog>>>,
}

impl Retention {
    pub(crate) fn new(max_bytes: u64, retention_ms: i64) -> Self {
        Self { max_bytes, retention_ms: AtomicI64::new(retention_ms), held: Arc::default(), logs: Mutex::default() }
    }

    pub(crate) fn logs(&self) -> MutexGuard<'_, Vec<Arc<ShardLog>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_ms(&self, retention_ms: i64) {
        self.retention_ms.store(retention_ms, Ordering::Relaxed);
    }

    pub(crate) fn ms(&self) -> i64 {
        self.retention_ms.load(Ordering::Relaxed)
    }

    /// The count of bytes, for a log to take part in.
    pub(crate) fn held(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.held)
    }

    /// Bytes of all segments.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether so much is held that segments should be given back as soon as they can be.
    pub(crate) fn is_filling(&self) -> bool {
        self.held_bytes() > self.max_bytes / 2
    }

    /// Removes the segments whose records are all past the retention.
    pub(crate) fn trim(&self, now_ms: i64) {
        let logs = self.logs().clone();
        let oldest_kept_ms = now_ms.saturating_sub(self.ms());
        for log in &logs {
            remove_while(log, |oldest| oldest.last_ms < oldest_kept_ms);
        }
    }

    /// Why so many bytes more can't be taken, if they can't. What is stored within the retention is never given up for
    /// room: somebody may still have to read it.
    pub(crate) fn refusal(&self, more: u64) -> Option<String> {
        let (held, bound) = (self.held_bytes(), self.max_bytes);
        (held.saturating_add(more) > bound)
            .then(|| format!("holds {held} bytes, its bound is {bound}; waiting for readers or for the retention"))
    }
}

/// Removes a log's oldest segments as long as they `may_go`.
pub(crate) fn remove_while(log: &ShardLog, may_go: impl Fn(&Summary) -> bool) {
    loop {
        match log.remove_oldest(&may_go) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                return tracing::warn!(stream = log.stream, shard = %log.id, %error, "old segment is not removed");
            }
        }
    }
}
