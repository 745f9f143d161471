//! When a shard may be asked next (spec 10.1).

use std::time::Duration;

use tokio::time::Instant;

const MOST_JITTER: Duration = Duration::from_secs(5);
const LEAST_JITTER: Duration = Duration::from_millis(100);
/// Between tries of what only an operator can put right.
const DENIED: Duration = Duration::from_secs(10);

/// The rhythm of one shard's calls. Knows no clock: the time comes in.
#[derive(Debug)]
pub(crate) struct Pace {
    idle: Duration,
    interval: Duration,
    began: Option<Instant>,
    due: Option<Instant>,
    failures: u32,
}

impl Pace {
    /// Calls at the tip begin `idle` apart, others `interval`.
    pub fn new(idle: Duration, interval: Duration) -> Self {
        Self { idle, interval, began: None, due: None, failures: 0 }
    }

    /// When the next call may begin; none: at once.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A call begins. Should it never end, the next one comes no sooner than an interval later.
    pub fn begin(&mut self, now: Instant) {
        self.began = Some(now);
        self.due = Some(now + self.interval);
    }

    /// The call gave an answer; the shard is at its tip or not.
    pub fn answered(&mut self, tip: bool) {
        self.failures = 0;
        self.due = self.began.map(|began| began + if tip { self.idle } else { self.interval });
    }

    /// It did not. After a failure the idle time is waited in any case, and a growing time that `roll` (0 to 1) takes part of:
    /// trying at once made storms of retries.
    pub fn failed(&mut self, now: Instant, roll: f64) {
        let jitter = LEAST_JITTER.saturating_mul(1 << self.failures.min(10)).min(MOST_JITTER);
        self.failures = self.failures.saturating_add(1);
        self.due = Some(now + self.idle + jitter.mul_f64(roll));
    }

    /// It was denied: an operator has to do something.
    pub fn denied(&mut self, now: Instant, roll: f64) {
        self.failures = self.failures.saturating_add(1);
        self.due = Some(now + DENIED + DENIED.mul_f64(roll));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_millis(1500);
    const INTERVAL: Duration = Duration::from_millis(200);

    #[test]
    fn calls_are_spaced_from_start_to_start() {
        let start = Instant::now();
        let mut pace = Pace::new(IDLE, INTERVAL);
        assert_eq!(pace.due(), None);
        pace.begin(start);
        assert_eq!(pace.due(), Some(start + INTERVAL), "a call that was dropped counts");
        pace.answered(true);
        assert_eq!(pace.due(), Some(start + IDLE));
        pace.begin(start + IDLE);
        pace.answered(false);
        assert_eq!(pace.due(), Some(start + IDLE + INTERVAL));
    }

    #[test]
    fn failures_wait_the_idle_time_and_ever_more() {
        let now = Instant::now();
        let mut pace = Pace::new(IDLE, INTERVAL);
        let mut waits = Vec::new();
        for _ in 0..40 {
            pace.begin(now);
            pace.failed(now, 1.0);
            waits.push(pace.due().unwrap() - now - IDLE);
        }
        assert_eq!(waits[..3], [LEAST_JITTER, LEAST_JITTER * 2, LEAST_JITTER * 4]);
        assert_eq!(waits[39], MOST_JITTER);
        pace.failed(now, 0.0);
        assert_eq!(pace.due(), Some(now + IDLE));
        pace.answered(true);
        pace.failed(now, 1.0);
        assert_eq!(pace.due(), Some(now + IDLE + LEAST_JITTER), "an answer forgives");
    }

    /// Two hours of a shard that is behind, at the tip, or failing: never more than 5 calls in any second.
    #[test]
    fn a_second_never_has_more_than_five_calls() {
        let start = Instant::now();
        let mut now = start;
        let mut pace = Pace::new(Duration::from_millis(200), INTERVAL);
        let mut calls = Vec::new();
        let mut random = fastrand::Rng::with_seed(7);
        while now < start + Duration::from_secs(7200) {
            now = now.max(pace.due().unwrap_or(now));
            calls.push(now);
            pace.begin(now);
            now += Duration::from_millis(random.u64(0..400));
            match random.u8(0..4) {
                0 => pace.failed(now, random.f64()),
                1 => {}
                tip => pace.answered(tip == 2),
            }
        }
        assert!(calls.windows(6).all(|six| six[5] - six[0] >= Duration::from_secs(1)));
    }
}
