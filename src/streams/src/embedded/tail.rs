//! The newest bytes of a shard, kept in memory for readers at the tip.

use std::collections::VecDeque;

use bytes::Bytes;

/// One write: whole frames, as they are in the segment.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The number behind its last record.
    pub(crate) end: u64,
    pub(crate) bytes: Bytes,
}

/// The last writes of a shard, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct TailCache {
    groups: VecDeque<Group>,
    bytes: usize,
    limit: usize,
    /// Every record from this number on is here.
    start: u64,
}

impl TailCache {
    /// An empty cache of a shard whose next record will be `end` or later.
    pub(crate) fn new(limit: usize, end: u64) -> Self {
        Self { groups: VecDeque::new(), bytes: 0, limit, start: end }
    }

    /// Takes a write; lets the oldest go, and gives the last of those.
    pub(crate) fn push(&mut self, group: Group) -> Option<Bytes> {
        self.bytes += group.bytes.len();
        self.groups.push_back(group);
        let mut gone = None;
        while self.bytes > self.limit
            && let Some(oldest) = self.groups.pop_front()
        {
            self.bytes -= oldest.bytes.len();
            self.start = oldest.end;
            gone = Some(oldest.bytes);
        }
        gone
    }

    /// The write that holds record `number` or the first after it; `None` when it is not known from here.
    pub(crate) fn group(&self, number: u64) -> Option<&Group> {
        if number < self.start {
            return None;
        }
        self.groups.get(self.groups.partition_point(|group| group.end <= number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_writes_are_kept_and_older_records_are_not_skipped() {
        let mut cache = TailCache::new(10, 5);
        assert!(cache.group(5).is_none());
        for end in [8, 12, 20] {
            cache.push(Group { end, bytes: Bytes::from(vec![0; 4]) });
        }
        assert!(cache.group(5).is_none() && cache.group(7).is_none(), "those went");
        assert_eq!(cache.group(8).map(|group| group.end), Some(12));
        assert_eq!(cache.group(12).map(|group| group.end), Some(20));
        assert!(cache.group(20).is_none());
        cache.push(Group { end: 30, bytes: Bytes::from(vec![0; 11]) });
        assert!(cache.group(25).is_none(), "larger than the cache");
    }
}
