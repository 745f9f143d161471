//! What is kept of a stream: by time and by bytes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::log::ShardLog;

/// A stream's limits and the logs they are for.
#[derive(Debug)]
pub(crate) struct Retention {
    max_bytes: u64,
    retention_ms: AtomicI64,
    logs: Mutex<Vec<Arc<ShardLog>>>,
}

impl Retention {
    pub(crate) fn new(max_bytes: u64, retention_ms: i64) -> Self {
        Self { max_bytes, retention_ms: AtomicI64::new(retention_ms), logs: Mutex::default() }
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

    /// Removes the segments whose records are all past the retention.
    pub(crate) fn trim(&self, now_ms: i64) {
        let logs = self.logs().clone();
        let oldest_kept_ms = now_ms.saturating_sub(self.ms());
        for log in &logs {
            while log.oldest_removable_ms().is_some_and(|last_ms| last_ms < oldest_kept_ms) {
                if !remove_oldest(log) {
                    break;
                }
            }
        }
    }

    /// Why so many bytes more can't be taken, if they can't. What is stored within the retention is never given up for
    /// room: somebody may still have to read it.
    pub(crate) fn refusal(&self, more: u64) -> Option<String> {
        let held: u64 = self.logs().iter().map(|log| log.bytes()).sum();
        (held + more > self.max_bytes).then(|| {
            format!(
                "it holds {held} bytes of at most {}; room comes when records are past the retention",
                self.max_bytes
            )
        })
    }
}

/// Removes a log's oldest segment; whether one was.
fn remove_oldest(log: &ShardLog) -> bool {
    match log.remove_oldest() {
        Ok(removed) => removed.is_some(),
        Err(error) => {
            tracing::warn!(stream = log.stream, shard = %log.id, %error, "old segment is not removed");
            false
        }
    }
}
