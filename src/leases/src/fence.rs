//! How long a lease may be counted on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Until when a period of ownership holds, to be asked before every write that others see. Clones share it.
///
/// Time is the machine's since it was started, standby included: a process that was stopped, or a machine that slept, finds
/// its leases past when it wakes. Asking is one atomic load and one clock reading. Spec: kinesis-leases 4.2, 17.2, 19.4.
#[derive(Clone, Debug)]
pub struct Fence(Option<Arc<AtomicU64>>);

impl Fence {
    /// A lease that nobody else can take while the process lives: the embedded store's.
    pub const fn open() -> Self {
        Self(None)
    }

    /// A lease that holds until `until_ms` of [`Fence::now_ms`].
    pub fn until(until_ms: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(until_ms))))
    }

    /// Milliseconds since the machine was started.
    pub fn now_ms() -> u64 {
        let now = clock_gettime(ClockId::Boottime);
        u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
    }

    /// Moves the end forward; a fence that was shut stays shut.
    pub fn extend(&self, until_ms: u64) {
        let Some(until) = &self.0 else { return };
        // A concurrent `shut` must win: 0 is never replaced.
        let raise = |now: u64| (now != 0 && now < until_ms).then_some(until_ms);
        while let Some(next) = raise(until.load(Ordering::Acquire)) {
            let now = until.load(Ordering::Acquire);
            if now == 0 || until.compare_exchange(now, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
    }

    /// Ends the period of ownership for good.
    pub fn shut(&self) {
        if let Some(until) = &self.0 {
            until.store(0, Ordering::Release);
        }
    }

    /// Whether the lease holds for `margin` more.
    pub fn holds_for(&self, margin: Duration) -> bool {
        let Some(until) = &self.0 else { return true };
        let margin_ms = u64::try_from(margin.as_millis()).unwrap_or(u64::MAX);
        Self::now_ms().saturating_add(margin_ms) < until.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_holds_until_its_end_and_never_again_once_shut() {
        let fence = Fence::until(Fence::now_ms() + 10_000);
        let other = fence.clone();
        assert!(other.holds_for(Duration::from_secs(5)) && !other.holds_for(Duration::from_secs(11)));
        fence.extend(Fence::now_ms() + 20_000);
        assert!(other.holds_for(Duration::from_secs(11)));
        fence.extend(1);
        assert!(other.holds_for(Duration::from_secs(11)), "only forward");
        other.shut();
        fence.extend(u64::MAX);
        assert!(!fence.holds_for(Duration::ZERO));
        assert!(Fence::open().holds_for(Duration::MAX));
    }
}
