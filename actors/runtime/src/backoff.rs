//! Back-off with full jitter: how long to wait before trying again.

use std::time::Duration;

/// Exponential back-off with full jitter: the n-th wait is uniform in `0..=min(cap, base * 2^n)`, never below `floor`.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    floor: Duration,
    attempt: u32,
}

impl Backoff {
    /// A back-off whose first wait is at most `base` and whose longest is `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, floor: Duration::ZERO, attempt: 0 }
    }

    /// The same, but never waiting less than `floor`.
    #[must_use]
    pub const fn at_least(mut self, floor: Duration) -> Self {
        self.floor = floor;
        self
    }

    /// Waits taken since the last [`Backoff::reset`].
    pub const fn attempts(&self) -> u32 {
        self.attempt
    }

    /// The longest that the next wait can be.
    pub fn ceiling(&self) -> Duration {
        self.base.saturating_mul(1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX)).min(self.cap)
    }

    /// The next wait; `random` is in `0.0..=1.0`.
    pub fn next_with(&mut self, random: f64) -> Duration {
        let wait = self.ceiling().mul_f64(random.clamp(0.0, 1.0)).max(self.floor);
        self.attempt = self.attempt.saturating_add(1);
        wait
    }

    /// The next wait, drawn from the thread's generator.
    pub fn next_wait(&mut self) -> Duration {
        self.next_with(fastrand::f64())
    }

    /// Starts over, after a success.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(120));
        let waits: Vec<u64> = (0..9).map(|_| backoff.next_with(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        backoff.reset();
        assert_eq!(backoff.next_with(0.5), Duration::from_millis(500));
    }

    #[test]
    fn many_attempts_do_not_overflow() {
        let mut backoff =
            Backoff::new(Duration::from_secs(1), Duration::from_secs(120)).at_least(Duration::from_millis(10));
        for _ in 0..100 {
            assert!(backoff.next_with(1.0) <= Duration::from_secs(120));
        }
        assert_eq!(backoff.next_with(0.0), Duration::from_millis(10));
    }
}
