//! Which entries of a put go into which request (spec 12).

use std::collections::{HashMap, HashSet};

use snowmelt_streams::PutEntry;

use crate::Order;

/// Records of one request: the service's limit.
const MAX_RECORDS: usize = 500;
/// Bytes of keys and data of one request: safe below the limit of 5 MiB that was, and the 10 MiB that is.
const MAX_BYTES: usize = 4 * 1024 * 1024 + 512 * 1024;

/// Requests, as indices of entries; waves follow each other, the requests of a wave may be sent side by side.
pub(crate) type Waves = Vec<Vec<Vec<usize>>>;

/// What an entry counts against limits.
pub(crate) fn size(entry: &PutEntry) -> usize {
    entry.data.len() + entry.partition_key.len()
}

/// Plans those of the entries that are `sent`.
///
/// With [`Order::PerKey`] wave `n` has the entries that are the `n`-th of their key: no key is twice in a wave, and what comes later for
/// a key is in a later wave. An entry counts for its partition key and for its explicit hash key.
pub(crate) fn waves(entries: &[PutEntry], sent: impl Iterator<Item = usize>, order: Order) -> Waves {
    let mut ranks = Ranks::default();
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for index in sent {
        let rank = match order {
            Order::PerKey => ranks.next(&entries[index]),
            Order::None => 0,
        };
        if waves.len() <= rank {
            waves.resize_with(rank + 1, Vec::new);
        }
        waves[rank].push(index);
    }
    waves.into_iter().map(|wave| requests(entries, wave)).collect()
}

fn requests(entries: &[PutEntry], wave: Vec<usize>) -> Vec<Vec<usize>> {
    let mut requests = Vec::new();
    let (mut request, mut bytes) = (Vec::new(), 0);
    for index in wave {
        let size = size(&entries[index]);
        if request.len() == MAX_RECORDS || (bytes + size > MAX_BYTES && !request.is_empty()) {
            requests.push(std::mem::take(&mut request));
            bytes = 0;
        }
        bytes += size;
        request.push(index);
    }
    if !request.is_empty() {
        requests.push(request);
    }
    requests
}

/// How many entries of each key there were.
#[derive(Default)]
struct Ranks<'a> {
    by_key: HashMap<&'a str, usize>,
    by_hash: HashMap<u128, usize>,
}

impl<'a> Ranks<'a> {
    fn next(&mut self, entry: &'a PutEntry) -> usize {
        let by_key = self.by_key.entry(&entry.partition_key).or_default();
        let Some(hash) = entry.explicit_hash_key else {
            *by_key += 1;
            return *by_key - 1;
        };
        let by_hash = self.by_hash.entry(hash).or_default();
        let rank = (*by_key).max(*by_hash);
        (*by_key, *by_hash) = (rank + 1, rank + 1);
        rank
    }
}

/// Keys of which an entry was not stored: nothing later of theirs may be.
#[derive(Default)]
pub(crate) struct Failed<'a> {
    keys: HashSet<&'a str>,
    hashes: HashSet<u128>,
}

impl<'a> Failed<'a> {
    pub fn add(&mut self, entry: &'a PutEntry) {
        self.keys.insert(&entry.partition_key);
        self.hashes.extend(entry.explicit_hash_key);
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn holds(&self, entry: &PutEntry) -> bool {
        self.keys.contains(entry.partition_key.as_str())
            || entry.explicit_hash_key.is_some_and(|hash| self.hashes.contains(&hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(keys: &[&str]) -> Vec<PutEntry> {
        keys.iter().map(|key| PutEntry::new(*key, "data")).collect()
    }

    fn plan(entries: &[PutEntry], order: Order) -> Waves {
        waves(entries, 0..entries.len(), order)
    }

    #[test]
    fn distinct_keys_go_together() {
        let keys: Vec<String> = (0..500).map(|n| n.to_string()).collect();
        let entries: Vec<PutEntry> = keys.iter().map(|key| PutEntry::new(key, "data")).collect();
        assert_eq!(plan(&entries, Order::PerKey), [[(0..500).collect::<Vec<_>>()]]);
    }

    #[test]
    fn each_key_is_once_in_a_wave() {
        let entries = entries(&["a", "b", "a", "a", "c", "b"]);
        assert_eq!(plan(&entries, Order::PerKey), [[vec![0, 1, 4]], [vec![2, 5]], [vec![3]]]);
        assert_eq!(plan(&entries, Order::None), [[vec![0, 1, 2, 3, 4, 5]]]);
    }

    #[test]
    fn an_explicit_hash_key_is_a_key_as_well() {
        let mut entries = entries(&["a", "b", "b", "c"]);
        entries[0].explicit_hash_key = Some(7);
        entries[1].explicit_hash_key = Some(7);
        assert_eq!(plan(&entries, Order::PerKey), [[vec![0, 3]], [vec![1]], [vec![2]]]);
        let mut failed = Failed::default();
        failed.add(&entries[0]);
        assert!(failed.holds(&entries[1]) && !failed.holds(&entries[2]));
    }

    #[test]
    fn a_large_record_is_alone() {
        let mut entries = entries(&["a", "b", "c"]);
        entries[1].data = vec![0; 9 << 20].into();
        assert_eq!(plan(&entries, Order::PerKey), [[vec![0], vec![1], vec![2]]]);
    }

    proptest! {
        #[test]
        fn every_entry_is_sent_once_within_the_limits_and_in_order(
            all in prop::collection::vec((0..40u8, prop::option::weighted(0.2, 0..5u128), 0..60_000usize), 0..1500),
            per_key: bool,
        ) {
            let entries: Vec<PutEntry> = all
                .iter()
                .map(|(key, explicit_hash_key, size)| PutEntry {
                    explicit_hash_key: *explicit_hash_key,
                    ..PutEntry::new(key.to_string(), bytes::Bytes::from_static(&[0; 60_000]).slice(..*size))
                })
                .collect();
            let waves = plan(&entries, if per_key { Order::PerKey } else { Order::None });
            let mut seen: Vec<usize> = waves.iter().flatten().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..entries.len()).collect::<Vec<_>>());
            let mut last = Failed::default();
            for (at, wave) in waves.iter().enumerate() {
                for request in wave {
                    prop_assert!(request.len() <= MAX_RECORDS);
                    prop_assert!(request.iter().map(|index| size(&entries[*index])).sum::<usize>() <= MAX_BYTES);
                }
                if per_key {
                    let mut keys = HashSet::new();
                    let mut hashes = HashSet::new();
                    for index in wave.iter().flatten() {
                        let entry = &entries[*index];
                        prop_assert!(keys.insert(&entry.partition_key));
                        prop_assert!(entry.explicit_hash_key.is_none_or(|hash| hashes.insert(hash)));
                        prop_assert!(at == 0 || last.holds(entry), "no wave is later than it has to be");
                    }
                    for index in wave.iter().flatten() {
                        last.add(&entries[*index]);
                    }
                }
            }
        }
    }
}
