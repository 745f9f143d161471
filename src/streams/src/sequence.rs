//! Sequence numbers: the order of the records of one shard.

use std::fmt;
use std::str::FromStr;

/// A record's place in its shard: a 192-bit unsigned number, written in decimal (Kinesis's have 56 digits), and which of
/// the user records in it, where a producer has aggregated several in one: `4711`, `4711:3`.
///
/// Numbers only grow within one shard, and a child shard's are above its parents'. The derived order is the numeric
/// one, then that of the user records. Spec: kinesis-leases 9.1, 14.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber {
    /// The upper 64 bits.
    pub hi: u64,
    /// The lower 128 bits.
    pub lo: u128,
    /// Which user record of an aggregated record, from 0; 0 in a plain one. The embedded streams aggregate nothing.
    pub sub: u32,
}

/// Why a text is no sequence number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSequenceError {
    /// It is empty or holds something other than decimal digits.
    #[error("sequence number {0:?} is neither a decimal number nor one with a part, as 12:3")]
    NotDecimal(String),
    /// It does not fit 192 bits.
    #[error("sequence number {0} does not fit 192 bits")]
    TooLarge(String),
}

/// Parts of 19 digits: the largest power of ten in 64 bits, so that every step below stays in 128 bits.
const PART: u64 = 10_000_000_000_000_000_000;

impl SequenceNumber {
    /// The least number.
    pub const MIN: Self = Self::new(0, 0);
    /// The greatest number of a plain record.
    pub const MAX: Self = Self::new(u64::MAX, u128::MAX);

    /// The number of a plain record.
    pub const fn new(hi: u64, lo: u128) -> Self {
        Self { hi, lo, sub: 0 }
    }

    /// The number of one of the user records in an aggregated record.
    #[must_use]
    pub const fn part(self, sub: u32) -> Self {
        Self { sub, ..self }
    }

    /// The number after this one, of a plain record; `None` after [`Self::MAX`].
    pub fn next(self) -> Option<Self> {
        match self.lo.checked_add(1) {
            Some(lo) => Some(Self::new(self.hi, lo)),
            None => self.hi.checked_add(1).map(|hi| Self::new(hi, 0)),
        }
    }

    /// Three 64-bit limbs, most significant first.
    fn limbs(self) -> [u64; 3] {
        [self.hi, (self.lo >> 64) as u64, self.lo as u64]
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limbs = self.limbs();
        // 2^192 has 58 digits: at most four parts, least significant first.
        let mut parts = [0u64; 4];
        let mut count = 0;
        while limbs != [0; 3] {
            let mut rest = 0u64;
            for limb in &mut limbs {
                let value = (u128::from(rest) << 64) | u128::from(*limb);
                *limb = (value / u128::from(PART)) as u64;
                rest = (value % u128::from(PART)) as u64;
            }
            parts[count] = rest;
            count += 1;
        }
        // 4 × 19 digits.
        let mut text = [0u8; 76];
        let mut at = text.len();
        for (index, part) in parts[..count].iter().enumerate() {
            let mut part = *part;
            for _ in 0..19 {
                if part == 0 && index + 1 == count {
                    break;
                }
                at -= 1;
                text[at] = b'0' + (part % 10) as u8;
                part /= 10;
            }
        }
        if at == text.len() {
            at -= 1;
            text[at] = b'0';
        }
        f.pad_integral(true, "", std::str::from_utf8(&text[at..]).expect("only ASCII digits were written"))?;
        if self.sub > 0 { write!(f, ":{}", self.sub) } else { Ok(()) }
    }
}

impl FromStr for SequenceNumber {
    type Err = ParseSequenceError;

    /// Reads decimal digits, and a part behind a colon; leading zeros are tolerated.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // KCL allows up to 129 digits of text; longer texts are cut in the message so that no error is unbounded.
        let shown = || text.chars().take(130).collect::<String>();
        let decimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (digits, sub) = match text.split_once(':') {
            Some((digits, part)) => (digits, part.parse().ok().filter(|_| decimal(part))),
            None => (text, Some(0)),
        };
        let Some(sub) = sub.filter(|_| decimal(digits)) else {
            return Err(ParseSequenceError::NotDecimal(shown()));
        };
        let mut limbs = [0u64; 3];
        for digit in digits.trim_start_matches('0').bytes() {
            let mut carry = u128::from(digit - b'0');
            for limb in limbs.iter_mut().rev() {
                let value = u128::from(*limb) * 10 + carry;
                *limb = value as u64;
                carry = value >> 64;
            }
            if carry != 0 {
                return Err(ParseSequenceError::TooLarge(shown()));
            }
        }
        Ok(Self { hi: limbs[0], lo: (u128::from(limbs[1]) << 64) | u128::from(limbs[2]), sub })
    }
}

impl serde::Serialize for SequenceNumber {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for SequenceNumber {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_of_the_edges() {
        assert_eq!(SequenceNumber::MIN.to_string(), "0");
        assert_eq!(SequenceNumber::new(0, u128::MAX).to_string(), u128::MAX.to_string());
        // 2^192 - 1
        assert_eq!(SequenceNumber::MAX.to_string(), "6277101735386680763835789423207666416102355444464034512895");
        // 2^185: where the 56-digit numbers of Kinesis begin.
        assert_eq!(
            SequenceNumber::new(1 << 57, 0).to_string(),
            "49039857307708443467467104868809893875799651909875269632"
        );
        assert_eq!(SequenceNumber::new(0, u128::from(PART)).to_string(), PART.to_string());
    }

    #[test]
    fn bad_texts_are_refused() {
        for text in ["", "-1", "1a", "+1", " 1", "１", "1:", ":1", "1:-1", "1:+1", "1:4294967296", "1:2:3"] {
            assert!(matches!(text.parse::<SequenceNumber>(), Err(ParseSequenceError::NotDecimal(_))), "{text}");
        }
        let above = "6277101735386680763835789423207666416102355444464034512896";
        assert!(matches!(above.parse::<SequenceNumber>(), Err(ParseSequenceError::TooLarge(_))));
        assert_eq!("000".parse(), Ok(SequenceNumber::MIN));
        assert_eq!("0007".parse(), Ok(SequenceNumber::new(0, 7)));
    }

    proptest! {
        #[test]
        fn text_round_trips_and_keeps_the_order(a: (u64, u128), b: (u64, u128), sub: u32) {
            let (a, b) = (SequenceNumber::new(a.0, a.1), SequenceNumber::new(b.0, b.1));
            prop_assert_eq!(a.part(sub).to_string().parse::<SequenceNumber>().unwrap(), a.part(sub));
            prop_assert_eq!(a.part(sub).cmp(&b.part(0)), a.cmp(&b).then(sub.cmp(&0)));
            prop_assert_eq!(a.to_string().parse::<SequenceNumber>().unwrap(), a);
            let (ta, tb) = (format!("{a:0>60}"), format!("{b:0>60}"));
            prop_assert_eq!(ta.cmp(&tb), a.cmp(&b));
        }
    }
}
