//! Places in a shard: decimal sequence numbers of up to 192 bits, with a part for aggregated records.

use std::cmp::Ordering;
use std::fmt;

/// 2^192 has 58 digits.
const MAX_DIGITS: usize = 58;

/// A sequence number and a part of it. Ordered as numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// Without leading zeros.
    digits: String,
    part: i64,
}

impl Position {
    /// `123` or `123:4`; a number without a part gets `default_part`.
    fn parse(text: &str, default_part: i64) -> Option<Self> {
        let (digits, part) = match text.split_once(':') {
            Some((digits, part)) => (digits, part.parse().ok().filter(|part| *part >= 0)?),
            None => (text, default_part),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = digits.trim_start_matches('0');
        let digits = if significant.is_empty() { "0" } else { significant };
        (digits.len() <= MAX_DIGITS).then(|| Self { digits: digits.to_owned(), part })
    }

    /// Where a record stands: without a part it is part 0.
    pub(crate) fn of_record(text: &str) -> Option<Self> {
        Self::parse(text, 0)
    }

    /// Up to where is loaded: without a part the whole record is.
    pub(crate) fn up_to(text: &str) -> Option<Self> {
        Self::parse(text, i64::MAX)
    }

    /// From the columns of `snowmelt.progress`.
    pub(crate) fn stored(digits: String, part: i64) -> Self {
        Self { digits, part }
    }

    pub(crate) fn digits(&self) -> &str {
        &self.digits
    }

    pub(crate) fn part(&self) -> i64 {
        self.part
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_number = self.digits.len().cmp(&other.digits.len()).then_with(|| self.digits.cmp(&other.digits));
        by_number.then(self.part.cmp(&other.part))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits)?;
        if self.part == i64::MAX { Ok(()) } else { write!(f, ":{}", self.part) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_as_numbers_and_then_by_part() {
        let record = |text| Position::of_record(text).unwrap();
        let up_to = |text| Position::up_to(text).unwrap();
        assert!(record("9") < record("10"));
        assert!(record("007") == record("7"));
        assert!(record("10:3") > record("10:2"));
        assert!(record("10:3") <= up_to("10"));
        assert!(record("10:3") > up_to("10:2"));
        assert_eq!(up_to("10").to_string(), "10");
        assert_eq!(up_to("10:2").to_string(), "10:2");
        let huge = "9".repeat(58);
        assert!(record(&huge) > record("1"));
        for bad in ["", "-1", "x", "1:", "1:-2", &"9".repeat(59)] {
            assert_eq!(Position::of_record(bad), None, "{bad}");
        }
    }
}
