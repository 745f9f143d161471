//! Hash keys: which shard a record belongs to.

use md5::{Digest, Md5};

/// The hash key of a partition key: its MD5, read as a big-endian 128-bit number.
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

/// The hash keys of one shard, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct HashKeyRange {
    /// The first hash key of the range.
    #[serde(with = "decimal")]
    pub start: u128,
    /// The last hash key of the range.
    #[serde(with = "decimal")]
    pub end: u128,
}

impl HashKeyRange {
    /// Every hash key.
    pub const ALL: Self = Self { start: 0, end: u128::MAX };

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: u128) -> bool {
        self.start <= key && key <= self.end
    }

    /// Cuts all hash keys into `count` ranges of the same width; the last takes what is left over. `count` is at least 1.
    pub fn even(count: u32) -> Vec<Self> {
        let count = u128::from(count.max(1));
        // 2^128 / count, without 2^128 itself.
        let width = if count == 1 { 0 } else { u128::MAX / count + u128::from(u128::MAX % count == count - 1) };
        (0..count)
            .map(|index| Self {
                start: width * index,
                end: if index + 1 == count { u128::MAX } else { width * (index + 1) - 1 },
            })
            .collect()
    }

    /// Two ranges, the second of which begins at `at`; `None` unless both hold a key.
    pub fn split(&self, at: u128) -> Option<(Self, Self)> {
        (self.start < at && at <= self.end)
            .then(|| (Self { start: self.start, end: at - 1 }, Self { start: at, end: self.end }))
    }

    /// One range made of this and `other`; `None` unless one begins where the other ends.
    pub fn join(&self, other: &Self) -> Option<Self> {
        let (low, high) = if self.start <= other.start { (self, other) } else { (other, self) };
        (low.end.checked_add(1) == Some(high.start)).then_some(Self { start: low.start, end: high.end })
    }
}

/// 128-bit numbers as decimal text: JSON readers elsewhere hold numbers in 64 bits.
mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_key_is_the_big_endian_md5() {
        assert_eq!(hash_key("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    }

    #[test]
    fn even_ranges_cover_every_key_once() {
        for count in 1..=70 {
            let ranges = HashKeyRange::even(count);
            assert_eq!(ranges.len(), count as usize);
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, u128::MAX));
            assert!(ranges.windows(2).all(|pair| pair[0].end + 1 == pair[1].start), "{count}");
        }
        // What Kinesis itself answers for two shards.
        assert_eq!(HashKeyRange::even(2)[1].start, 170_141_183_460_469_231_731_687_303_715_884_105_728);
    }

    #[test]
    fn split_and_join_are_inverse() {
        let (low, high) = HashKeyRange::ALL.split(5).unwrap();
        assert_eq!((low, high), (HashKeyRange { start: 0, end: 4 }, HashKeyRange { start: 5, end: u128::MAX }));
        assert_eq!(high.join(&low), Some(HashKeyRange::ALL));
        assert_eq!(HashKeyRange::ALL.split(0), None);
        assert_eq!(low.join(&low), None);
        assert_eq!(HashKeyRange::ALL.join(&low), None);
    }
}
