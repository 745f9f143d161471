//! Durations as HOCON writes them: `10 seconds`, `365 days`, `500 ms`; a bare number means milliseconds.

use std::{fmt, time::Duration};

use serde::{Deserializer, Serializer, de};

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration such as \"10 seconds\" or \"500 ms\"")]
pub struct DurationError {
    /// The text.
    pub text: String,
}

/// Reads a duration; the result is in milliseconds and may be negative.
///
/// # Errors
/// When the number or its unit is not understood, or does not fit.
pub fn parse_millis(text: &str) -> Result<i64, DurationError> {
    let wrong = || DurationError { text: text.to_owned() };
    let trimmed = text.trim();
    let digits =
        trimmed.find(|c: char| !(c.is_ascii_digit() || c == '-' || c == '+' || c == '.')).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let millis_each = match unit.trim() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1.0,
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1e-6,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1e-3,
        "s" | "second" | "seconds" => 1e3,
        "m" | "minute" | "minutes" => 6e4,
        "h" | "hour" | "hours" => 3.6e6,
        "d" | "day" | "days" => 8.64e7,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let millis = number * millis_each;
    // Within the integers that an f64 holds exactly; some 285,000 years.
    if millis.is_finite() && millis.abs() < 9.0e15 { Ok(millis as i64) } else { Err(wrong()) }
}

struct MillisVisitor;

impl de::Visitor<'_> for MillisVisitor {
    type Value = i64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a duration such as \"10 seconds\", or milliseconds")
    }

    fn visit_i64<E: de::Error>(self, millis: i64) -> Result<i64, E> {
        Ok(millis)
    }

    fn visit_u64<E: de::Error>(self, millis: u64) -> Result<i64, E> {
        i64::try_from(millis).map_err(|_| E::custom("duration is too long"))
    }

    fn visit_f64<E: de::Error>(self, millis: f64) -> Result<i64, E> {
        Ok(millis as i64)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
        parse_millis(text).map_err(E::custom)
    }
}

/// Reads a [`Duration`] (serde `with`).
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let millis = deserializer.deserialize_any(MillisVisitor)?;
    u64::try_from(millis).map(Duration::from_millis).map_err(|_| de::Error::custom("duration is negative"))
}

/// Writes a [`Duration`] as text (serde `with`).
pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{} ms", duration.as_millis()))
}

/// Durations that may be negative, in milliseconds (serde `with`).
pub(super) mod signed {
    use serde::{Deserializer, Serializer};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        deserializer.deserialize_any(super::MillisVisitor)
    }

    pub(in crate::config) fn serialize<S: Serializer>(millis: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{millis} ms"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hocon_durations() {
        for (text, millis) in [
            ("10 seconds", 10_000),
            ("365 days", 31_536_000_000),
            ("500 ms", 500),
            ("500", 500),
            ("1.5s", 1500),
            ("60 minutes", 3_600_000),
            ("-1 second", -1000),
        ] {
            assert_eq!(parse_millis(text), Ok(millis), "{text}");
        }
        for text in ["", "soon", "10 parsecs", "1e400 days"] {
            assert!(parse_millis(text).is_err(), "{text}");
        }
    }
}
