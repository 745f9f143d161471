//! Who sends what when, and who hears of what is done: the two ends between which an actor is measured.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::machine::GeneratorCpu;
use super::measure::Meter;
use super::schedule::{Next, Schedule, Turn};

/// How long batches are sent to warm up, at most.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long they may take then.
const WARM_UP_PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked whether they are done.
const WARM_UP_POLL: Duration = Duration::from_millis(1);

/// A batch under way.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// When it was due.
    pub due: Instant,
    /// Its records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Batches under way, until they are durable. Clones share them.
#[derive(Clone)]
pub struct Tracker {
    meter: Meter,
    ordered: Arc<Mutex<Ordered>>,
    unordered: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
}

#[derive(Default)]
struct Ordered {
    first: u64,
    waiting: VecDeque<Sent>,
}

impl Tracker {
    fn new(meter: Meter) -> Self {
        Self { meter, ordered: Arc::default(), unordered: Arc::default(), done: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Ordered> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch is on its way; gives its number: 0, 1, 2 … as a ledger counts.
    pub fn sent(&self, sent: Sent) -> u64 {
        let mut ordered = self.lock();
        ordered.waiting.push_back(sent);
        ordered.first + ordered.waiting.len() as u64 - 1
    }

    /// All batches up to this number are durable.
    pub fn durable_up_to(&self, number: u64) {
        let mut ordered = self.lock();
        while ordered.first <= number
            && let Some(sent) = ordered.waiting.pop_front()
        {
            ordered.first += 1;
            self.done.fetch_add(1, Ordering::Relaxed);
            self.meter.completed(sent.due, sent.records, sent.bytes);
        }
    }

    /// Batches sent and not durable yet.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// A request is on its way, whose order does not matter.
    pub fn asked(&self) {
        self.unordered.fetch_add(1, Ordering::Relaxed);
    }

    /// It was answered; `Some` when what it carried is durable.
    pub fn answered(&self, sent: Option<Sent>) {
        if let Some(sent) = sent {
            self.meter.completed(sent.due, sent.records, sent.bytes);
        }
        self.unordered.fetch_sub(1, Ordering::Relaxed);
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Batches and requests done so far, those of the warm-up included.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.unordered.load(Ordering::Relaxed) == 0 && self.waiting() == 0
    }
}

/// The load generator's clock: first a few batches to warm up, then the schedule.
pub struct Pace {
    schedule: Schedule,
    warm_up: u32,
    warm_since: Option<Instant>,
    begun: bool,
    ended: bool,
    shared: Shared,
}

/// What the generator shares with whoever watches it.
#[derive(Clone)]
pub struct Shared {
    /// Batches under way.
    pub tracker: Tracker,
    /// The figures.
    pub meter: Meter,
    /// The generator's own CPU.
    pub cpu: GeneratorCpu,
    /// Microseconds for which the generator waited for room.
    pub waited: Arc<AtomicU64>,
    /// The warm-up is done: whoever watches notes the counters and starts the meter.
    pub warm: Arc<Notify>,
    /// Ends the sending early.
    pub stop: CancellationToken,
}

impl Shared {
    /// Nothing sent, nothing measured.
    pub fn new() -> Self {
        let meter = Meter::new();
        Self {
            tracker: Tracker::new(meter.clone()),
            meter,
            cpu: GeneratorCpu::default(),
            waited: Arc::default(),
            warm: Arc::default(),
            stop: CancellationToken::new(),
        }
    }
}

impl Pace {
    /// `warm_up` batches as fast as they are taken, then `schedule`.
    pub const fn new(schedule: Schedule, warm_up: u32, shared: Shared) -> Self {
        Self { schedule, warm_up, warm_since: None, begun: false, ended: false, shared }
    }

    /// Where to say what was sent.
    pub const fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The next batch, when it is due; `None` at the end. Dropping the future before it is ready loses nothing.
    pub async fn next(&mut self) -> Option<Turn> {
        if self.ended || self.shared.stop.is_cancelled() {
            return None;
        }
        let warm_since = *self.warm_since.get_or_insert_with(Instant::now);
        if self.warm_up > 0 && warm_since.elapsed() < WARM_UP {
            self.warm_up -= 1;
            let records = usize::try_from(self.schedule.batch()).unwrap_or(usize::MAX);
            return Some(Turn { records, due: Instant::now() });
        }
        self.begin().await;
        while self.begun {
            match self.schedule.next(Instant::now()) {
                Next::Send(turn) => return Some(turn),
                Next::At(due) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(due.into()) => {}
                        () = self.shared.stop.cancelled() => {
                            self.end();
                            return None;
                        }
                    }
                }
                Next::Over => {
                    self.end();
                    return None;
                }
            }
        }
        None
    }

    /// The warm-up is over when nothing of it is under way; then whoever watches starts the clock.
    async fn begin(&mut self) {
        if self.begun {
            return;
        }
        let patience = Instant::now() + WARM_UP_PATIENCE;
        while !self.shared.tracker.is_idle() && Instant::now() < patience && !self.shared.stop.is_cancelled() {
            tokio::time::sleep(WARM_UP_POLL).await;
        }
        self.shared.warm.notify_one();
        while !self.shared.stop.is_cancelled() {
            if let Some(started) = self.shared.meter.started() {
                self.schedule.restart(started);
                self.begun = true;
                return;
            }
            tokio::time::sleep(WARM_UP_POLL).await;
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.shared.meter.schedule_ended(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::args::Until;

    fn sent(records: u64) -> Sent {
        Sent { due: Instant::now(), records, bytes: records * 10 }
    }

    #[tokio::test]
    async fn the_clock_begins_when_the_warm_up_is_done() {
        let shared = Shared::new();
        let schedule = Schedule::new(10, None, Until::Records(25), Instant::now());
        let mut pace = Pace::new(schedule, 1, shared.clone());
        assert_eq!(pace.next().await.unwrap().records, 10);
        shared.tracker.sent(sent(10));
        let waiting = tokio::time::timeout(Duration::from_millis(20), pace.next()).await;
        assert!(waiting.is_err() && shared.meter.started().is_none());
        shared.tracker.durable_up_to(0);
        let watch = shared.clone();
        tokio::spawn(async move {
            watch.warm.notified().await;
            watch.meter.start(Instant::now());
        });
        let mut records = Vec::new();
        while let Some(turn) = pace.next().await {
            records.push(turn.records);
            let number = shared.tracker.sent(sent(turn.records as u64));
            shared.tracker.durable_up_to(number);
        }
        assert_eq!(records, [10, 10, 5]);
        assert_eq!(shared.meter.records(), 25);
        assert!(shared.meter.ended().is_some());
    }

    #[test]
    fn batches_are_durable_in_order() {
        let shared = Shared::new();
        shared.meter.start(Instant::now());
        let numbers: Vec<u64> = (0..3).map(|_| shared.tracker.sent(sent(5))).collect();
        assert_eq!(numbers, [0, 1, 2]);
        shared.tracker.durable_up_to(1);
        assert_eq!((shared.meter.records(), shared.tracker.waiting()), (10, 1));
        assert_eq!(shared.tracker.sent(sent(5)), 3);
    }
}
