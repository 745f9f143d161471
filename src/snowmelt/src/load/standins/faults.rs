//! How a stand-in misbehaves: slow, limited, failing. The same seed fails the same calls.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why a stand-in did not do what was asked. All of it may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// By chance, as asked for.
    #[error("failed as asked for by --fail")]
    Failed,
    /// Over the limit of a second.
    #[error("over the limit of --throttle")]
    Throttled,
}

/// The behaviour of one stand-in.
pub struct Faults {
    delay: Duration,
    per_second: Option<f64>,
    fail: f64,
    state: Mutex<State>,
}

struct State {
    random: fastrand::Rng,
    /// What may be taken now; grows with time up to one second's worth. Below zero after a call larger than that.
    tokens: f64,
    filled: Instant,
}

impl State {
    fn refill(&mut self, per_second: f64, now: Instant) {
        let grown = now.saturating_duration_since(self.filled).as_secs_f64() * per_second;
        self.tokens = (self.tokens + grown).min(per_second);
        self.filled = now;
    }
}

impl Faults {
    /// A stand-in that takes `delay` for a call, `per_second` units in a second, and fails `percent` of its calls.
    pub fn new(delay: Duration, per_second: Option<u32>, percent: f64, seed: u64) -> Self {
        let per_second = per_second.map(f64::from);
        let state = State { random: fastrand::Rng::with_seed(seed), tokens: 0.0, filled: Instant::now() };
        Self { delay, per_second, fail: percent / 100.0, state: Mutex::new(state) }
    }

    /// One that does everything at once.
    pub fn none() -> Self {
        Self::new(Duration::ZERO, None, 0.0, 0)
    }

    /// One call that wants `wanted` units. Gives how many of them are taken, at least one.
    ///
    /// # Errors
    /// [`Refusal`] when none is.
    pub async fn take(&self, wanted: usize) -> Result<usize, Refusal> {
        self.call_begins().await?;
        self.grant(wanted, Instant::now()).ok_or(Refusal::Throttled)
    }

    /// One call that is done whole or not, and counts as `weight` units.
    ///
    /// # Errors
    /// [`Refusal`] when it is not done.
    pub async fn call(&self, weight: usize) -> Result<(), Refusal> {
        self.call_begins().await?;
        if self.grant_whole(weight, Instant::now()) { Ok(()) } else { Err(Refusal::Throttled) }
    }

    async fn call_begins(&self) -> Result<(), Refusal> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        if self.fail > 0.0 && self.lock().random.f64() < self.fail {
            return Err(Refusal::Failed);
        }
        Ok(())
    }

    fn grant(&self, wanted: usize, now: Instant) -> Option<usize> {
        let Some(per_second) = self.per_second else { return Some(wanted) };
        let mut state = self.lock();
        state.refill(per_second, now);
        let granted = wanted.min(state.tokens.max(0.0) as usize);
        state.tokens -= granted as f64;
        (granted > 0 || wanted == 0).then_some(granted)
    }

    fn grant_whole(&self, weight: usize, now: Instant) -> bool {
        let Some(per_second) = self.per_second else { return true };
        let mut state = self.lock();
        state.refill(per_second, now);
        // What is larger than a second's worth passes when the second is whole, and is paid for afterwards.
        let passes = state.tokens >= per_second.min(weight as f64);
        if passes {
            state.tokens -= weight as f64;
        }
        passes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_seed_fails_the_same_share_of_calls() {
        let outcomes = async |seed| {
            let faults = Faults::new(Duration::ZERO, None, 25.0, seed);
            let mut failed = Vec::new();
            for n in 0..1000 {
                if faults.call(1).await.is_err() {
                    failed.push(n);
                }
            }
            failed
        };
        let failed = outcomes(7).await;
        assert!((200..300).contains(&failed.len()), "{}", failed.len());
        assert_eq!(outcomes(7).await, failed);
    }

    #[test]
    fn a_second_takes_its_worth_and_no_more() {
        let faults = Faults::new(Duration::ZERO, Some(100), 0.0, 0);
        let start = Instant::now() + Duration::from_secs(5);
        assert_eq!(faults.grant(60, start), Some(60));
        assert_eq!(faults.grant(60, start), Some(40));
        assert_eq!(faults.grant(60, start), None);
        assert_eq!(faults.grant(60, start + Duration::from_millis(105)), Some(10));
    }

    #[test]
    fn a_call_larger_than_the_limit_passes_when_the_second_is_whole_and_is_paid_for() {
        let faults = Faults::new(Duration::ZERO, Some(100), 0.0, 0);
        let start = Instant::now() + Duration::from_secs(5);
        let passes = |seconds| faults.grant_whole(500, start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 4, 5, 6].map(passes), [true, false, false, true, false]);
    }
}
