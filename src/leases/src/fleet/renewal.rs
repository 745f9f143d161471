//! When leases are renewed, and how long they may be counted on.

use fastrand::Rng;

use super::Kind;

/// KCL's slack, in milliseconds.
const EPSILON_MS: u64 = 25;
/// The part of the failover time that a fence ends early, for clocks that run at different speeds.
const DRIFT: u64 = 64;

/// Times that follow from the failover time. All are of the local monotonic clock. Spec: kinesis-leases 4.1, 4.2, 17.1, 17.2.
///
/// "Sent" is when a write that succeeded was sent: stamped *before* the request. The table then changed later than that, and
/// every observer counts from later still, which is what makes the fence end before anybody takes the row for expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a counter may stand still before the lease is up for grabs; the same on all workers.
    pub failover_ms: u64,
    /// Without a sign of life of the shard's group for so many times the failover time, its lease is renewed no more.
    pub silent_failovers: u64,
}

impl Timing {
    /// Time between two renewals of a lease: a third of the failover time, less KCL's slack.
    pub fn renew_every_ms(&self) -> u64 {
        let third = self.failover_ms / 3;
        third.saturating_sub(EPSILON_MS).max(third / 2).max(1)
    }

    /// When a lease taken now is first renewed: anywhere in the second half of a period, so that leases taken together are not
    /// renewed together.
    pub fn first_due_ms(&self, sent_ms: u64, rng: &mut Rng) -> u64 {
        let every = self.renew_every_ms();
        sent_ms + rng.u64(every / 2..=every)
    }

    /// When a lease is renewed next after a write that succeeded, checkpoints included: never later than a period, up to a
    /// tenth earlier.
    pub fn next_due_ms(&self, sent_ms: u64, rng: &mut Rng) -> u64 {
        let every = self.renew_every_ms();
        sent_ms + every - rng.u64(0..=every / 10)
    }

    /// When a renewal that failed otherwise than by its condition is tried again.
    pub fn retry_due_ms(&self, now_ms: u64, rng: &mut Rng) -> u64 {
        let soon = (self.failover_ms / 12).max(1);
        now_ms + rng.u64(soon / 2..=soon)
    }

    /// Until when the shard may be read and its results written. A 64th of the failover time before anybody can take the row
    /// for expired, which covers clocks that run up to 0.7 % too fast and too slow.
    pub fn fence_until_ms(&self, sent_ms: u64) -> u64 {
        sent_ms.saturating_add(self.failover_ms - self.failover_ms.div_ceil(DRIFT))
    }

    /// Whether the lease is lost here though the table may still name us. It is renewed no more: it comes back only by a take.
    pub fn is_lost(&self, sent_ms: u64, now_ms: u64) -> bool {
        now_ms >= sent_ms.saturating_add(self.failover_ms)
    }

    /// Whether an operator should hear that renewals are late: two thirds of the failover time are over.
    pub fn is_late(&self, sent_ms: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(sent_ms) >= self.failover_ms - self.failover_ms / 3
    }

    /// From when a lease may be read that was taken by a write answered at `answered_ms`.
    ///
    /// The holder of a row that was free or has expired finds its fence shut already. One that was alive may not hear of the
    /// theft, cut off as it may be, until its fence runs out, at most a failover time after the take; and the same holds of
    /// an earlier process of our own name. (KCL reads at once, and so delivers twice what its victim still had on the way.)
    pub fn reads_from_ms(&self, kind: Kind, answered_ms: u64) -> u64 {
        match kind {
            Kind::Free | Kind::Expired => answered_ms,
            Kind::Steal | Kind::Adopt => answered_ms.saturating_add(self.failover_ms),
        }
    }

    /// Whether a shard's group, last heard of at `heard_ms`, has proved no life for so long that its lease is not renewed:
    /// renewing it would keep the shard from a worker that can read it.
    pub fn is_silent(&self, heard_ms: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(heard_ms) > self.failover_ms.saturating_mul(self.silent_failovers)
    }

    /// When the next round of looking at the table begins: a period from now, ± 20 %, so that workers started together spread.
    pub fn next_round_ms(period_ms: u64, now_ms: u64, rng: &mut Rng) -> u64 {
        now_ms + period_ms - period_ms / 5 + rng.u64(0..=period_ms / 5 * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing { failover_ms: 10_000, silent_failovers: 3 };

    #[test]
    fn the_periods_are_those_of_the_kcl_and_make_sense_when_tiny() {
        assert_eq!(TIMING.renew_every_ms(), 3_308);
        for failover_ms in 1..400 {
            let timing = Timing { failover_ms, ..TIMING };
            assert!(
                timing.renew_every_ms() >= 1 && timing.renew_every_ms() <= failover_ms.div_ceil(3),
                "{failover_ms}"
            );
            assert!(timing.fence_until_ms(5) < 5 + failover_ms);
        }
    }

    #[test]
    fn renewals_are_spread_and_never_later_than_a_period() {
        let mut rng = Rng::with_seed(1);
        let (mut first, mut next) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            first.push(TIMING.first_due_ms(1_000, &mut rng));
            next.push(TIMING.next_due_ms(1_000, &mut rng));
            assert!((5_400..=5_834).contains(&TIMING.retry_due_ms(5_000, &mut rng)));
            assert!((4_000..=6_000).contains(&Timing::next_round_ms(5_000, 0, &mut rng)));
        }
        let spread = |times: &[u64]| times.iter().max().unwrap() - times.iter().min().unwrap();
        assert!(spread(&first) > 1_200 && first.iter().all(|due| (2_654..=4_308).contains(due)));
        assert!(spread(&next) > 200 && next.iter().all(|due| (3_978..=4_308).contains(due)));
    }

    #[test]
    fn the_fence_ends_before_anybody_may_take_the_lease_with_clocks_that_differ_by_one_and_a_half_percent() {
        let until = TIMING.fence_until_ms(0) as f64;
        let (slow, fast) = (0.993, 1.007);
        // The holder's clock is slow, the observer's fast: both in true time.
        assert!(until / slow < 10_000.0 / fast);
        assert!(!TIMING.is_lost(0, 9_999) && TIMING.is_lost(0, 10_000));
        assert!(!TIMING.is_late(0, 6_666) && TIMING.is_late(0, 6_667));
    }

    #[test]
    fn a_stolen_lease_is_read_once_its_victim_must_have_noticed() {
        for (kind, from) in [(Kind::Free, 50), (Kind::Expired, 50), (Kind::Steal, 10_050), (Kind::Adopt, 10_050)] {
            assert_eq!(TIMING.reads_from_ms(kind, 50), from, "{kind:?}");
        }
    }

    #[test]
    fn a_group_without_a_sign_of_life_is_silent_after_n_failover_times() {
        assert!(!TIMING.is_silent(1_000, 31_000));
        assert!(TIMING.is_silent(1_000, 31_001));
        assert!(!TIMING.is_silent(5, 1), "a clock that seems to go back proves nothing");
    }
}
