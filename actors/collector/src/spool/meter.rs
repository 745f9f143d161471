//! What is known of a spool: metrics, status, health.

use std::{
    sync::{
        Weak,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Shared, SpoolStatus};
use crate::Clock;

/// How often the gauges are set.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A refused put says so long that the next will be refused too.
const REFUSAL_COUNTS_MS: i64 = 5_000;
/// No record waits; nothing was refused.
const NONE: i64 = i64::MAX;

/// Counts of one spool.
pub(super) struct Meter {
    clock: Clock,
    /// For each shard the arrival of the oldest record that the sink has not.
    oldest_ms: Vec<AtomicI64>,
    /// When a put was refused last, unless one was taken since.
    refused_ms: AtomicI64,
    drained: AtomicU64,
    drained_counter: metrics::Counter,
    pub(super) failures: metrics::Counter,
    bytes: metrics::Gauge,
    age: metrics::Gauge,
}

impl Meter {
    pub(super) fn new(name: &'static str, shards: usize, clock: Clock) -> Self {
        Self {
            clock,
            oldest_ms: (0..shards).map(|_| AtomicI64::new(NONE)).collect(),
            refused_ms: AtomicI64::new(NONE),
            drained: AtomicU64::new(0),
            drained_counter: metrics::counter!("collector_spool_drained_records_total", "sink" => name),
            failures: metrics::counter!("collector_spool_drain_failures_total", "sink" => name),
            bytes: metrics::gauge!("collector_spool_bytes", "sink" => name),
            age: metrics::gauge!("collector_spool_oldest_age_ms", "sink" => name),
        }
    }

    /// A shard's oldest record that the sink has not arrived then; `None` when there is none.
    pub(super) fn oldest(&self, lane: usize, arrived_ms: Option<i64>) {
        if let Some(oldest) = self.oldest_ms.get(lane) {
            oldest.store(arrived_ms.unwrap_or(NONE), Ordering::Relaxed);
        }
    }

    /// Whether the sink has all of a shard, as far as its drainer has noticed.
    pub(super) fn is_drained(&self, lane: usize) -> bool {
        self.oldest_ms.get(lane).is_some_and(|oldest| oldest.load(Ordering::Relaxed) == NONE)
    }

    pub(super) fn oldest_age_ms(&self) -> u64 {
        let oldest = self.oldest_ms.iter().map(|oldest| oldest.load(Ordering::Relaxed)).min().unwrap_or(NONE);
        u64::try_from((self.clock)().saturating_sub(oldest)).unwrap_or(0)
    }

    pub(super) fn drain(&self, records: usize) {
        self.drained.fetch_add(records as u64, Ordering::Relaxed);
        self.drained_counter.increment(records as u64);
    }

    pub(super) fn drained(&self) -> u64 {
        self.drained.load(Ordering::Relaxed)
    }

    /// Notes whether a put was taken; whether that is news.
    pub(super) fn taken(&self, taken: bool) -> bool {
        let refused_ms = if taken { NONE } else { (self.clock)() };
        (self.refused_ms.swap(refused_ms, Ordering::Relaxed) == NONE) != taken
    }

    /// Whether the last put was refused.
    pub(super) fn refusing(&self) -> bool {
        self.refused_ms.load(Ordering::Relaxed) != NONE
    }

    /// Whether the last put was refused, and not long ago.
    pub(super) fn refused_just_now(&self) -> bool {
        let refused_ms = self.refused_ms.load(Ordering::Relaxed);
        refused_ms != NONE && (self.clock)().saturating_sub(refused_ms) < REFUSAL_COUNTS_MS
    }
}

impl Shared {
    /// Sets the gauges.
    pub(super) fn report(&self) {
        let SpoolStatus { bytes, oldest_age_ms, .. } = self.status();
        self.meter.bytes.set(bytes as f64);
        self.meter.age.set(oldest_age_ms as f64);
    }
}

/// Sets the gauges now and then, as long as there is the spool.
pub(super) async fn report(shared: Weak<Shared>) {
    loop {
        match shared.upgrade() {
            Some(shared) => shared.report(),
            None => return,
        }
        tokio::time::sleep(REPORT_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn age_is_that_of_the_oldest_shard_and_a_refusal_is_forgotten() {
        let now = Arc::new(AtomicI64::new(100_000));
        let read = Arc::clone(&now);
        let meter = Meter::new("good", 2, Arc::new(move || read.load(Ordering::Relaxed)));
        assert_eq!(meter.oldest_age_ms(), 0);
        meter.oldest(0, Some(99_000));
        meter.oldest(1, Some(98_000));
        assert_eq!(meter.oldest_age_ms(), 2_000);
        meter.oldest(1, None);
        assert_eq!(meter.oldest_age_ms(), 1_000);

        assert!(!meter.taken(true) && meter.taken(false) && !meter.taken(false));
        assert!(meter.refusing() && meter.refused_just_now());
        now.fetch_add(REFUSAL_COUNTS_MS, Ordering::Relaxed);
        assert!(meter.refusing() && !meter.refused_just_now());
        assert!(meter.taken(true) && !meter.refusing());
    }
}
