//! A stream whose shards split and merge, with records that are only counted.

use std::collections::BTreeMap;

use fastrand::Rng;
use snowmelt_leases::ShardInfo;

/// Milliseconds between two records of a shard.
const RECORD_EVERY_MS: u64 = 400;

struct Shard {
    info: ShardInfo,
    born_ms: u64,
    closed_ms: Option<u64>,
}

pub struct Stream {
    shards: BTreeMap<String, Shard>,
}

impl Stream {
    /// `number` open shards.
    pub fn new(number: usize) -> Self {
        let mut stream = Self { shards: BTreeMap::new() };
        let step = u128::MAX / number as u128;
        for index in 0..number as u128 {
            let last = if index + 1 == number as u128 { u128::MAX } else { step * (index + 1) - 1 };
            stream.add((step * index, last), &[], 0);
        }
        stream
    }

    fn add(&mut self, range: (u128, u128), parents: &[&str], now_ms: u64) {
        let id = format!("shardId-{:06}", self.shards.len());
        let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
        let info = ShardInfo { id: id.clone(), parents, range: Some(range), closed: false };
        self.shards.insert(id, Shard { info, born_ms: now_ms, closed_ms: None });
    }

    fn close(&mut self, id: &str, now_ms: u64) {
        let shard = self.shards.get_mut(id).unwrap();
        (shard.info.closed, shard.closed_ms) = (true, Some(now_ms));
    }

    fn open(&self) -> Vec<ShardInfo> {
        self.shards.values().filter(|shard| !shard.info.closed).map(|shard| shard.info.clone()).collect()
    }

    pub fn split(&mut self, now_ms: u64, rng: &mut Rng) {
        let open = self.open();
        let parent = &open[rng.usize(0..open.len())];
        let (first, last) = parent.range.unwrap();
        let middle = first + (last - first) / 2;
        self.close(&parent.id, now_ms);
        self.add((first, middle), &[&parent.id], now_ms);
        self.add((middle + 1, last), &[&parent.id], now_ms);
    }

    pub fn merge(&mut self, now_ms: u64, rng: &mut Rng) {
        let mut open = self.open();
        if open.len() < 2 {
            return;
        }
        open.sort_by_key(|shard| shard.range);
        let at = rng.usize(0..open.len() - 1);
        let range = (open[at].range.unwrap().0, open[at + 1].range.unwrap().1);
        self.close(&open[at].id, now_ms);
        self.close(&open[at + 1].id, now_ms);
        self.add(range, &[&open[at].id, &open[at + 1].id], now_ms);
    }

    pub fn listing(&self) -> Vec<ShardInfo> {
        self.shards.values().map(|shard| shard.info.clone()).collect()
    }

    pub fn parents(&self, id: &str) -> &[String] {
        &self.shards[id].info.parents
    }

    /// How many records the shard has had so far.
    pub fn records(&self, id: &str, now_ms: u64) -> u64 {
        let shard = &self.shards[id];
        (shard.closed_ms.unwrap_or(now_ms).min(now_ms) - shard.born_ms) / RECORD_EVERY_MS
    }

    /// How many it ever has, once that is known.
    pub fn total(&self, id: &str) -> Option<u64> {
        self.shards[id].closed_ms.map(|closed_ms| self.records(id, closed_ms))
    }
}
