//! When to build a failed group again, and when to give up: a pure decision.

use std::collections::VecDeque;
use std::time::Duration;

use crate::backoff::Backoff;

/// How many failures in which window are borne, and how long to wait between them (Erlang's restart intensity).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct RestartPolicy {
    /// Failures within the window past which the failure climbs to the parent.
    pub max_restarts: usize,
    /// The window.
    pub window: Duration,
    /// Longest first wait.
    pub base: Duration,
    /// Longest wait.
    pub cap: Duration,
    /// After running this long without a failure the back-off starts over.
    pub healthy_after: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            max_restarts: 10,
            window: Duration::from_secs(600),
            base: Duration::from_secs(1),
            cap: Duration::from_secs(120),
            healthy_after: Duration::from_secs(60),
        }
    }
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Build it again after this wait.
    Restart(Duration),
    /// Too many failures in the window: the parent has to act.
    Escalate,
}

/// The history of one child's failures.
#[derive(Debug, Clone)]
pub struct Restarts {
    policy: RestartPolicy,
    failures: VecDeque<i64>,
    backoff: Backoff,
    total: u64,
}

impl Restarts {
    /// No failures yet.
    pub const fn new(policy: RestartPolicy) -> Self {
        Self { policy, failures: VecDeque::new(), backoff: Backoff::new(policy.base, policy.cap), total: 0 }
    }

    /// Failures so far.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Counts a failure on the way to isolating a record: it is expected, so it neither uses up the limit nor grows the
    /// back-off. The wait before the next start; `random` is in `0.0..=1.0`.
    pub fn isolating(&mut self, random: f64) -> Duration {
        self.total += 1;
        self.policy.base.mul_f64(random.clamp(0.0, 1.0))
    }

    /// Decides on a failure at `now_ms` of a child that had been running since `started_ms`, both of a clock that only grows; `random` is in `0.0..=1.0`.
    pub fn failed(&mut self, now_ms: i64, started_ms: i64, random: f64) -> Verdict {
        self.total += 1;
        if now_ms.saturating_sub(started_ms) >= as_ms(self.policy.healthy_after) {
            self.backoff.reset();
        }
        self.failures.push_back(now_ms);
        let window_start = now_ms.saturating_sub(as_ms(self.policy.window));
        while self.failures.front().is_some_and(|at| *at < window_start) {
            self.failures.pop_front();
        }
        if self.failures.len() > self.policy.max_restarts {
            return Verdict::Escalate;
        }
        Verdict::Restart(self.backoff.next_with(random))
    }
}

fn as_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_past_the_limit_within_the_window_climb() {
        let policy = RestartPolicy { max_restarts: 3, ..RestartPolicy::default() };
        let mut restarts = Restarts::new(policy);
        let verdicts: Vec<bool> =
            (0..4).map(|n| restarts.failed(n * 1000, n * 1000, 1.0) == Verdict::Escalate).collect();
        assert_eq!(verdicts, [false, false, false, true]);
    }

    #[test]
    fn failures_far_apart_are_forgiven_and_the_backoff_starts_over() {
        let mut restarts = Restarts::new(RestartPolicy { max_restarts: 2, ..RestartPolicy::default() });
        for n in 0..20_i64 {
            let now = n * 700_000;
            assert_eq!(restarts.failed(now, now - 600_000, 1.0), Verdict::Restart(Duration::from_secs(1)));
        }
    }
}
