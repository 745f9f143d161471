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

    /// Removes the segments whose records are all past the retention, then the oldest while there are too many bytes.
    pub(crate) fn trim(&self, now_ms: i64) {
        let logs = self.logs().clone();
        let oldest_kept_ms = now_ms.saturating_sub(self.ms());
        for log in &logs {
            while log.oldest_removable_ms().is_some_and(|last_ms| last_ms < oldest_kept_ms) {
                if !remove_oldest(log, now_ms, false) {
                    break;
                }
            }
        }
        let mut bytes: u64 = logs.iter().map(|log| log.bytes()).sum();
        while bytes > self.max_bytes {
            let oldest =
                logs.iter().filter_map(|log| Some((log.oldest_removable_ms()?, log))).min_by_key(|found| found.0);
            let Some((_, log)) = oldest else { return };
            if !remove_oldest(log, now_ms, true) {
                return;
            }
            bytes = logs.iter().map(|log| log.bytes()).sum();
        }
    }
}

/// Removes a log's oldest segment; whether one was.
fn remove_oldest(log: &ShardLog, now_ms: i64, for_space: bool) -> bool {
    match log.remove_oldest() {
        Ok(Some(removed)) if for_space && removed.records > 0 => {
            let age_ms = now_ms.saturating_sub(removed.last_ms);
            tracing::warn!(stream = log.stream, shard = %log.id, records = removed.records, bytes = removed.len, age_ms,
                "records younger than the retention were removed: the stream has reached its size");
            true
        }
        Ok(removed) => removed.is_some(),
        Err(error) => {
            tracing::warn!(stream = log.stream, shard = %log.id, %error, "old segment is not removed");
            false
        }
    }
}
