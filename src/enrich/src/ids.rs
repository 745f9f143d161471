//! Identifiers that look random and are not: a record read again gives the same ones.

use uuid::{Builder, Uuid};

/// What all identifiers made for one record derive from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordSeed {
    high: u64,
    low: u64,
}

impl RecordSeed {
    /// The seed of the record at one place of one stream. `place` is any text or number that names the record there
    /// for ever: a Kinesis sequence number.
    pub fn new(stream: &str, place: &[u8]) -> Self {
        let seed = RecordSeed { high: 0x243F_6A88_85A3_08D3, low: 0x1319_8A2E_0370_7344 };
        seed.absorb(stream.as_bytes()).absorb(place)
    }

    /// Mixes bytes in, with their length so that `("a", "bc")` and `("ab", "c")` differ.
    fn absorb(self, bytes: &[u8]) -> Self {
        let mut state = self.mix(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            state = state.mix(u64::from_le_bytes(word));
        }
        state
    }

    #[inline]
    fn mix(self, word: u64) -> Self {
        let high = finish(self.high ^ word);
        let low = finish(self.low.wrapping_add(word).rotate_left(29) ^ high);
        RecordSeed { high, low }
    }

    /// A version-4 UUID for one `purpose` within the record, distinguished by two numbers.
    pub(crate) fn uuid(self, purpose: Purpose, major: u32, minor: u32) -> Uuid {
        let state = self.mix(purpose as u64 + 1).mix(u64::from(major) << 32 | u64::from(minor));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&state.high.to_be_bytes());
        bytes[8..].copy_from_slice(&state.low.to_be_bytes());
        Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// What an identifier is for: those of different purposes are unrelated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    EventId,
    PartitionKey,
}

/// The finaliser of MurmurHash3 with Stafford's constants: every bit of the input moves half of the output's.
#[inline]
fn finish(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_record_read_again_gives_the_same_ids_and_no_other_record_does() {
        let id = |stream, place: &[u8], n| RecordSeed::new(stream, place).uuid(Purpose::EventId, 0, n);
        assert_eq!(id("raw", b"1", 0), id("raw", b"1", 0));
        let mut seen = HashSet::new();
        for place in 0..2_000u32 {
            for n in 0..5 {
                assert!(seen.insert(id("raw", place.to_string().as_bytes(), n)));
            }
            assert!(seen.insert(RecordSeed::new("raw", place.to_string().as_bytes()).uuid(
                Purpose::PartitionKey,
                0,
                0
            )));
        }
        assert!(seen.iter().all(|id| id.get_version_num() == 4));
    }
}
