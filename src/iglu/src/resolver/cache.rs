//! What registries answered, with the rules of when to ask again (iglu-client, section 6).

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::OnceCell;

use crate::{LookupHistory, RegistryError, ResolutionError};

/// An answer or the histories of failure.
pub(super) type Outcome<V> = Result<V, Arc<ResolutionError>>;

/// Most distinct errors kept of one registry.
const MAX_ERRORS: usize = 32;
const MAX_BACKOFF_MS: i64 = 60_000;

/// Wait after the n-th failed attempt before the same registry is asked again, in milliseconds; the reference's
/// curve, which is not monotonic.
pub(super) fn backoff_ms(attempts: u32) -> i64 {
    let n = attempts.min(1_000);
    let wait = match n {
        0..=8 => 500 + 4i64.pow(n),
        9..=12 => 500 + 3i64.pow(n),
        13..=20 => 5_500 + 2i64.pow(n),
        _ => MAX_BACKOFF_MS,
    };
    wait.min(MAX_BACKOFF_MS)
}

/// How long answers are good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// Entries per cache; 0: nothing is kept.
    pub(super) size: usize,
    /// `None`: for ever.
    pub(super) ttl_ms: Option<i64>,
}

impl Policy {
    fn expires_ms(self, stored_ms: i64) -> i64 {
        self.ttl_ms.map_or(i64::MAX, |ttl| stored_ms.saturating_add(ttl))
    }

    /// When the registry of this history may be asked again.
    pub(super) fn due_ms(self, history: &LookupHistory, is_remote: bool) -> i64 {
        if history.errors.contains(&RegistryError::NotFound) {
            self.expires_ms(history.last_attempt_ms)
        } else if history.errors.is_empty() {
            i64::MIN
        } else if is_remote {
            // Strictly more than the back-off must have passed.
            history.last_attempt_ms.saturating_add(backoff_ms(history.attempts)).saturating_add(1)
        } else {
            i64::MAX
        }
    }
}

/// One remembered answer.
pub(super) struct Entry<V> {
    pub(super) outcome: Outcome<V>,
    /// From then on the registries are asked again.
    good_until_ms: i64,
    stored_s: i64,
    /// Last use in whole seconds: coarse, so that a hot entry's line is written once a second and not on every event.
    used_s: AtomicI64,
}

/// Keys come from events, so the hash is keyed by chance; it is hashed on every look-up, so it is a fast one.
type Answers<V> = HashMap<Arc<str>, Arc<Entry<V>>, ahash::RandomState>;

/// Where those who wait for one search get its result.
type Landing<V> = Arc<OnceCell<Outcome<V>>>;

/// A map that readers never wait for: it is replaced as a whole by writers, who are rare and slow (the network).
pub(super) struct Cache<V> {
    pub(super) policy: Policy,
    map: ArcSwap<Answers<V>>,
    writers: Mutex<()>,
    forgets: AtomicU64,
    flights: Mutex<HashMap<Arc<str>, Landing<V>>>,
}

impl<V: Clone> Cache<V> {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            map: ArcSwap::default(),
            writers: Mutex::default(),
            forgets: AtomicU64::new(0),
            flights: Mutex::default(),
        }
    }

    /// An answer that is still good.
    #[inline]
    pub(super) fn fresh(&self, key: &str, now_ms: i64) -> Option<Outcome<V>> {
        let map = self.map.load();
        let entry = map.get(key)?;
        if now_ms >= entry.good_until_ms {
            return None;
        }
        let now_s = now_ms / 1_000;
        if entry.used_s.load(Ordering::Relaxed) != now_s {
            entry.used_s.store(now_s, Ordering::Relaxed);
        }
        Some(entry.outcome.clone())
    }

    /// The last answer, good or not.
    pub(super) fn last(&self, key: &str) -> Option<Arc<Entry<V>>> {
        self.map.load().get(key).cloned()
    }

    /// Keeps an answer, when full in place of the least recently used failure, or of the least recently used answer
    /// where there is no failure: events that name many schemas which nobody has don't drive out those in use.
    /// `is_remote` tells of a registry whether its failures may pass.
    pub(super) fn store(&self, key: &str, outcome: &Outcome<V>, now_ms: i64, is_remote: impl Fn(&str) -> bool) {
        if self.policy.size == 0 || self.policy.ttl_ms == Some(0) {
            return;
        }
        let good_until_ms = match outcome {
            Ok(_) => self.policy.expires_ms(now_ms),
            Err(error) => {
                let due = error.history.iter().map(|(name, history)| self.policy.due_ms(history, is_remote(name)));
                due.min().unwrap_or(i64::MAX)
            }
        };
        let stored_s = now_ms / 1_000;
        let entry =
            Arc::new(Entry { outcome: outcome.clone(), good_until_ms, stored_s, used_s: AtomicI64::new(stored_s) });
        let _writer = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut map = Answers::clone(&self.map.load());
        if !map.contains_key(key) && map.len() >= self.policy.size {
            let rank = |entry: &Entry<V>| (entry.outcome.is_ok(), entry.used_s.load(Ordering::Relaxed));
            let oldest = map.iter().min_by_key(|(_, entry)| rank(entry));
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                map.remove(&key);
            }
        }
        map.insert(key.into(), entry);
        self.map.store(Arc::new(map));
    }

    /// How often something was forgotten: a failure that was found before then may not be one any more.
    pub(super) fn forgets(&self) -> u64 {
        self.forgets.load(Ordering::Acquire)
    }

    /// Forgets the failures of these keys, and takes what is good as expired, so that both are asked for again; should no
    /// registry answer then, what was good stays in use.
    pub(super) fn forget(&self, is_meant: impl Fn(&str) -> bool) {
        let _writer = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        self.forgets.fetch_add(1, Ordering::AcqRel);
        let known = self.map.load();
        if !known.keys().any(|key| is_meant(key)) {
            return;
        }
        let mut map = Answers::clone(&known);
        map.retain(|key, entry| entry.outcome.is_ok() || !is_meant(key));
        for (_, entry) in map.iter_mut().filter(|(key, _)| is_meant(key)) {
            let used_s = AtomicI64::new(entry.used_s.load(Ordering::Relaxed));
            let (outcome, stored_s) = (entry.outcome.clone(), entry.stored_s);
            *entry = Arc::new(Entry { outcome, good_until_ms: i64::MIN, stored_s, used_s });
        }
        self.map.store(Arc::new(map));
    }

    /// Keys of good answers that were used since they came and expire until `by_ms`.
    pub(super) fn expiring(&self, by_ms: i64) -> Vec<Arc<str>> {
        let map = self.map.load();
        let due = map.iter().filter(|(_, entry)| {
            entry.outcome.is_ok()
                && entry.good_until_ms <= by_ms
                && entry.used_s.load(Ordering::Relaxed) > entry.stored_s
        });
        due.map(|(key, _)| Arc::clone(key)).collect()
    }

    /// Number of answers kept.
    pub(super) fn len(&self) -> usize {
        self.map.load().len()
    }

    /// Joins the search for a key that is under way, or becomes it.
    pub(super) fn flight(&self, key: &str) -> Flight<'_, V> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let key: Arc<str> = key.into();
        let cell = flights.entry(Arc::clone(&key)).or_default().clone();
        Flight { cache: self, key, cell: Some(cell) }
    }
}

/// A part in one search; the last to leave forgets it, also when it is cancelled.
pub(super) struct Flight<'c, V> {
    cache: &'c Cache<V>,
    key: Arc<str>,
    cell: Option<Landing<V>>,
}

impl<V: Clone> Flight<'_, V> {
    /// The result of the one search that runs; if the one who runs it gives up, another takes over.
    pub(super) async fn result(&self, search: impl Future<Output = Outcome<V>>) -> Outcome<V> {
        match &self.cell {
            Some(cell) => cell.get_or_init(|| search).await.clone(),
            None => search.await,
        }
    }
}

impl<V> Drop for Flight<'_, V> {
    fn drop(&mut self) {
        let mut flights = self.cache.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's handle is the only one left once ours is gone.
        self.cell = None;
        if flights.get(&self.key).is_some_and(|cell| Arc::strong_count(cell) == 1) {
            flights.remove(&self.key);
        }
    }
}

/// Adds a failed attempt to a registry's history.
pub(super) fn add_failure(error: &mut ResolutionError, registry: &str, failure: RegistryError, now_ms: i64) {
    let new = || LookupHistory { errors: Vec::new(), attempts: 0, last_attempt_ms: now_ms };
    let history = error.history.entry(registry.to_owned()).or_insert_with(new);
    history.attempts = history.attempts.saturating_add(1);
    history.last_attempt_ms = history.last_attempt_ms.max(now_ms);
    if history.errors.len() < MAX_ERRORS && !history.errors.contains(&failure) {
        history.errors.push(failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_follows_the_reference_curve() {
        let expected =
            [504, 516, 564, 756, 1524, 4596, 16884, 60000, 20183, 59549, 60000, 60000, 13692, 21884, 38268, 60000];
        for (n, ms) in (1u32..).zip(expected) {
            assert_eq!(backoff_ms(n), ms, "attempt {n}");
        }
        assert_eq!((backoff_ms(20), backoff_ms(50), backoff_ms(u32::MAX)), (60_000, 60_000, 60_000));
    }

    #[test]
    fn the_least_recently_used_answer_makes_room() {
        let cache = Cache::new(Policy { size: 2, ttl_ms: None });
        let store = |key: &str, now| cache.store(key, &Ok(now), now, |_| false);
        store("a", 1_000);
        store("b", 2_000);
        assert_eq!(cache.fresh("a", 3_000), Some(Ok(1_000)));
        store("c", 4_000);
        assert_eq!((cache.fresh("b", 5_000), cache.len()), (None, 2));
        assert_eq!(cache.fresh("a", 5_000), Some(Ok(1_000)));
    }

    #[test]
    fn failures_make_room_before_answers_that_are_in_use() {
        let cache = Cache::new(Policy { size: 3, ttl_ms: None });
        let failure = Err(Arc::new(ResolutionError::default()));
        cache.store("a", &Ok(1), 1_000, |_| false);
        cache.store("b", &Ok(2), 1_000, |_| false);
        for n in 0..100 {
            cache.store(&format!("nobody has {n}"), &failure, 5_000 + n, |_| false);
        }
        assert_eq!((cache.fresh("a", 6_000), cache.fresh("b", 6_000), cache.len()), (Some(Ok(1)), Some(Ok(2)), 3));
        cache.store("c", &Ok(3), 7_000, |_| false);
        assert_eq!((cache.fresh("a", 7_000), cache.fresh("c", 7_000)), (Some(Ok(1)), Some(Ok(3))));
    }

    #[test]
    fn what_is_forgotten_is_asked_for_again_and_stays_for_want_of_better() {
        let cache = Cache::new(Policy { size: 9, ttl_ms: None });
        let failure = Err(Arc::new(ResolutionError::default()));
        cache.store("a/1", &Ok(1), 1_000, |_| false);
        cache.store("a/2", &failure, 1_000, |_| false);
        cache.store("b/1", &failure, 1_000, |_| false);
        cache.forget(|key| key.starts_with("a/"));
        assert_eq!((cache.fresh("a/1", 1_001), cache.fresh("a/2", 1_001)), (None, None));
        assert!(cache.last("a/2").is_none() && cache.fresh("b/1", 1_001).is_some());
        assert_eq!((cache.last("a/1").map(|entry| entry.outcome.clone()), cache.forgets()), (Some(Ok(1)), 1));
    }

    #[test]
    fn answers_expire_and_no_cache_keeps_nothing() {
        let cache = Cache::new(Policy { size: 2, ttl_ms: Some(100) });
        cache.store("a", &Ok(1), 1_000, |_| false);
        assert_eq!((cache.fresh("a", 1_099), cache.fresh("a", 1_100)), (Some(Ok(1)), None));
        for policy in [Policy { size: 0, ttl_ms: None }, Policy { size: 2, ttl_ms: Some(0) }] {
            let none = Cache::new(policy);
            none.store("a", &Ok(1), 1_000, |_| false);
            assert_eq!(none.fresh("a", 1_000), None);
        }
    }
}
