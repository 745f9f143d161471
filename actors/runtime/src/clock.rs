//! Time as an argument: the system's clock, or a virtual one that a test moves by hand.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

/// A clock that actors ask for the time and sleep by. Clones share the same time.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System { started: Instant, skew_micros: Option<Arc<AtomicI64>> },
    Virtual(Arc<Mutex<Virtual>>),
}

struct Virtual {
    now_micros: i64,
    sleepers: BinaryHeap<Reverse<Sleeper>>,
    next_id: u64,
}

struct Sleeper {
    due_micros: i64,
    id: u64,
    wake: oneshot::Sender<()>,
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
impl Eq for Sleeper {}
impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due_micros, self.id).cmp(&(other.due_micros, other.id))
    }
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System { started: Instant::now(), skew_micros: None })
    }

    /// The machine's clock with its time of day wrong by `skew_micros`, which may change at any moment, as when somebody
    /// sets it. What only grows goes on undisturbed.
    pub fn skewed(skew_micros: Arc<AtomicI64>) -> Self {
        Self(Source::System { started: Instant::now(), skew_micros: Some(skew_micros) })
    }

    /// A clock that stands still until [`Clock::advance`] moves it. `now_ms` is milliseconds since the Unix epoch.
    pub fn manual(now_ms: i64) -> Self {
        let state = Virtual { now_micros: now_ms * 1000, sleepers: BinaryHeap::new(), next_id: 0 };
        Self(Source::Virtual(Arc::new(Mutex::new(state))))
    }

    /// Microseconds since the Unix epoch.
    pub fn now_micros(&self) -> i64 {
        match &self.0 {
            Source::System { skew_micros, .. } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let skew = skew_micros.as_ref().map_or(0, |skew| skew.load(Ordering::Relaxed));
                i64::try_from(since.as_micros()).unwrap_or(i64::MAX).saturating_add(skew)
            }
            Source::Virtual(state) => lock(state).now_micros,
        }
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.now_micros() / 1000
    }

    /// Milliseconds that only grow, for measuring how long something takes; the zero point is arbitrary.
    pub fn monotonic_ms(&self) -> u64 {
        match &self.0 {
            Source::System { started, .. } => u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            Source::Virtual(state) => u64::try_from(lock(state).now_micros / 1000).unwrap_or(0),
        }
    }

    /// Waits for `duration` of this clock's time.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Source::System { .. } => tokio::time::sleep(duration).await,
            Source::Virtual(state) => {
                let receiver = {
                    let mut state = lock(state);
                    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
                    let due_micros = state.now_micros.saturating_add(micros);
                    let (wake, receiver) = oneshot::channel();
                    let id = state.next_id;
                    state.next_id += 1;
                    state.sleepers.push(Reverse(Sleeper { due_micros, id, wake }));
                    receiver
                };
                // A dropped clock wakes its sleepers: there is no more time to wait for.
                receiver.await.unwrap_or(());
            }
        }
    }

    /// Moves a manual clock forward and wakes who is due, in order. No effect on the system's clock.
    pub fn advance(&self, duration: Duration) {
        let Source::Virtual(state) = &self.0 else { return };
        let mut state = lock(state);
        let until = state.now_micros.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX));
        while state.sleepers.peek().is_some_and(|Reverse(next)| next.due_micros <= until) {
            if let Some(Reverse(sleeper)) = state.sleepers.pop() {
                state.now_micros = state.now_micros.max(sleeper.due_micros);
                // The sleeper may have been dropped: then nobody waits.
                sleeper.wake.send(()).unwrap_or(());
            }
        }
        state.now_micros = until;
    }
}

fn lock(state: &Mutex<Virtual>) -> MutexGuard<'_, Virtual> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_only_when_moved_past_them() {
        let clock = Clock::manual(1_000);
        let sleeping = {
            let clock = clock.clone();
            tokio::spawn(async move {
                clock.sleep(Duration::from_secs(120)).await;
                clock.now_ms()
            })
        };
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(119));
        tokio::task::yield_now().await;
        assert!(!sleeping.is_finished());
        clock.advance(Duration::from_secs(1));
        assert_eq!(sleeping.await.unwrap(), 121_000);
    }
}
