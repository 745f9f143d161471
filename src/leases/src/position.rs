//! How far a shard is done.

use std::cmp::Ordering;
use std::fmt;

/// A place in a shard, as a lease stores it. Spec: kinesis-leases 9.1.
///
/// Ordered as the KCL does: timestamp < trim horizon < latest < sequence numbers (as numbers, then by sub-sequence) <
/// shard end. A sequence number's text is kept as it came; texts that differ only in leading zeros are equal.
#[derive(Clone, Debug)]
pub enum Position {
    /// The oldest record.
    TrimHorizon,
    /// The newest record.
    Latest,
    /// The first record at this time, in milliseconds since the epoch. The time is not part of the stored text.
    AtTimestampMs(i64),
    /// This record is done.
    At {
        /// Decimal digits.
        sequence: String,
        /// Which of the user records in an aggregated record; 0 in a plain one.
        sub_sequence: u64,
    },
    /// Everything is done.
    ShardEnd,
}

/// A checkpoint's text is neither a known word nor a decimal number of at most 129 digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("checkpoint {0:?} is neither a known word nor a sequence number")]
pub struct ParsePositionError(pub String);

/// KCL's own limit.
const MAX_DIGITS: usize = 129;

impl Position {
    /// The position of a record, from its sequence number's text: `4711`, or `4711:3` for a user record in an aggregated one.
    pub fn at(sequence: impl fmt::Display) -> Self {
        let text = sequence.to_string();
        let part = text.split_once(':').and_then(|(digits, part)| Some((digits.to_owned(), part.parse().ok()?)));
        match part {
            Some((sequence, sub_sequence)) => Self::At { sequence, sub_sequence },
            None => Self::At { sequence: text, sub_sequence: 0 },
        }
    }

    /// The two stored attributes: the `checkpoint` word or number, and the sub-sequence (0 beside a word).
    pub fn text(&self) -> (&str, u64) {
        match self {
            Self::TrimHorizon => ("TRIM_HORIZON", 0),
            Self::Latest => ("LATEST", 0),
            Self::AtTimestampMs(_) => ("AT_TIMESTAMP", 0),
            Self::At { sequence, sub_sequence } => (sequence, *sub_sequence),
            Self::ShardEnd => ("SHARD_END", 0),
        }
    }

    /// Reads the two stored attributes. `AT_TIMESTAMP` takes the configured time, since the row does not hold it.
    pub fn parse(checkpoint: &str, sub_sequence: u64, timestamp_ms: i64) -> Result<Self, ParsePositionError> {
        match checkpoint {
            "TRIM_HORIZON" => Ok(Self::TrimHorizon),
            "LATEST" => Ok(Self::Latest),
            "AT_TIMESTAMP" => Ok(Self::AtTimestampMs(timestamp_ms)),
            "SHARD_END" => Ok(Self::ShardEnd),
            digits
                if !digits.is_empty() && digits.len() <= MAX_DIGITS && digits.bytes().all(|b| b.is_ascii_digit()) =>
            {
                Ok(Self::At { sequence: digits.to_owned(), sub_sequence })
            }
            other => Err(ParsePositionError(other.chars().take(MAX_DIGITS + 1).collect())),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::AtTimestampMs(_) => 0,
            Self::TrimHorizon => 1,
            Self::Latest => 2,
            Self::At { .. } => 3,
            Self::ShardEnd => 4,
        }
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::AtTimestampMs(a), Self::AtTimestampMs(b)) => a.cmp(b),
            (Self::At { sequence: a, sub_sequence: sub_a }, Self::At { sequence: b, sub_sequence: sub_b }) => {
                let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
                a.len().cmp(&b.len()).then_with(|| a.cmp(b)).then(sub_a.cmp(sub_b))
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Position {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Position {}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtTimestampMs(at) => write!(f, "AT_TIMESTAMP({at})"),
            Self::At { sequence, sub_sequence } if *sub_sequence > 0 => write!(f, "{sequence}:{sub_sequence}"),
            other => f.write_str(other.text().0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(sequence: &str, sub_sequence: u64) -> Position {
        Position::At { sequence: sequence.to_owned(), sub_sequence }
    }

    #[test]
    fn positions_are_ordered_as_the_kcl_orders_them() {
        let ascending = [
            Position::AtTimestampMs(5),
            Position::TrimHorizon,
            Position::Latest,
            at("9", 0),
            at("10", 0),
            at("10", 1),
            at("49039857307708443467467104868809893875799651909875269632", 0),
            Position::ShardEnd,
        ];
        for (index, low) in ascending.iter().enumerate() {
            for (other, high) in ascending.iter().enumerate() {
                assert_eq!(low.cmp(high), index.cmp(&other), "{low} and {high}");
            }
        }
        assert_eq!(at("007", 2), at("7", 2));
        assert_eq!((Position::at("7:2"), Position::at("7")), (at("7", 2), at("7", 0)));
        assert_eq!(Position::at("7:2").to_string(), "7:2");
    }

    #[test]
    fn stored_texts_round_trip_and_others_are_refused() {
        for position in
            [Position::TrimHorizon, Position::Latest, Position::AtTimestampMs(7), at("0012", 3), Position::ShardEnd]
        {
            let (text, sub_sequence) = position.text();
            let read = Position::parse(text, sub_sequence, 7).unwrap();
            assert_eq!((&read, read.text()), (&position, position.text()));
        }
        for text in ["", "latest", "-1", "1.0", &"1".repeat(130)] {
            assert!(Position::parse(text, 0, 0).is_err(), "{text}");
        }
        assert!(Position::parse(&"1".repeat(129), 0, 0).is_ok());
    }

    proptest! {
        #[test]
        fn sequence_numbers_are_ordered_as_numbers(a: u128, b: u128, zeros in 0usize..4) {
            let padded = format!("{}{a}", "0".repeat(zeros));
            prop_assert_eq!(at(&padded, 0).cmp(&Position::at(b)), a.cmp(&b));
        }
    }
}
