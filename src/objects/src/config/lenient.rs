//! Values as HOCON and environment substitution leave them: numbers may be texts, durations have units.

use serde::de::{Deserialize, Deserializer, Error};
use std::fmt::Display;
use std::str::FromStr;

/// A number, or a text that holds one.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum NumberOrText<T> {
    Number(T),
    Text(String),
}

/// Reads a number that may be a text.
pub(super) fn number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + FromStr<Err: Display>,
{
    match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Number(number) => Ok(number),
        NumberOrText::Text(text) => text.trim().parse().map_err(|error| D::Error::custom(format!("{text:?}: {error}"))),
    }
}

/// Reads a duration: milliseconds as a number, or a number with a unit (`2 minutes`, `10s`, `1500 ms`). Milliseconds.
pub(super) fn duration_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match NumberOrText::<u64>::deserialize(deserializer)? {
        NumberOrText::Number(millis) => Ok(millis),
        NumberOrText::Text(text) => {
            parse_duration_ms(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no duration")))
        }
    }
}

fn parse_duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let (numerator, denominator) = match unit.trim() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => (1, 1_000_000),
        "us" | "micro" | "micros" | "microsecond" | "microseconds" => (1, 1000),
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => (1, 1),
        "s" | "second" | "seconds" => (1000, 1),
        "m" | "minute" | "minutes" => (60_000, 1),
        "h" | "hour" | "hours" => (3_600_000, 1),
        "d" | "day" | "days" => (86_400_000, 1),
        _ => return None,
    };
    number.checked_mul(numerator).map(|millis| millis / denominator)
}

/// Where shards without a checkpoint start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPosition {
    /// With the next record.
    Latest,
    /// With the oldest record.
    TrimHorizon,
    /// With the first record that arrived at or after this time, milliseconds since the epoch.
    AtTimestampMs(i64),
}

impl<'de> Deserialize<'de> for StartPosition {
    /// Takes the forms of both generations: `"LATEST"`, `{"AT_TIMESTAMP": {"timestamp": …}}` and
    /// `{"type": "AT_TIMESTAMP", "timestamp": …}`, without regard to case.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let (name, timestamp) = match &value {
            serde_json::Value::String(name) => (Some(name.as_str()), None),
            serde_json::Value::Object(members) => match members.get("type") {
                Some(name) => (name.as_str(), members.get("timestamp")),
                None => match members.iter().next() {
                    Some((name, inner)) => (Some(name.as_str()), inner.get("timestamp")),
                    None => (None, None),
                },
            },
            _ => (None, None),
        };
        match (name.map(str::to_ascii_uppercase).as_deref(), timestamp.and_then(serde_json::Value::as_str)) {
            (Some("LATEST"), _) => Ok(StartPosition::Latest),
            (Some("TRIM_HORIZON"), _) => Ok(StartPosition::TrimHorizon),
            (Some("AT_TIMESTAMP"), Some(text)) => text
                .parse::<jiff::Timestamp>()
                .map(|time| StartPosition::AtTimestampMs(time.as_millisecond()))
                .map_err(|error| D::Error::custom(format!("timestamp {text:?}: {error}"))),
            _ => Err(D::Error::custom(format!("start position {value} is none of LATEST, TRIM_HORIZON, AT_TIMESTAMP"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_or_are_milliseconds() {
        for (text, millis) in
            [("2 minutes", 120_000), ("10s", 10_000), ("1500 ms", 1500), ("7", 7), (" 1 hour ", 3_600_000)]
        {
            assert_eq!(parse_duration_ms(text), Some(millis), "{text}");
        }
        for text in ["", "minutes", "1 fortnight", "-1 s", "99999999999999999 days"] {
            assert_eq!(parse_duration_ms(text), None, "{text}");
        }
    }

    #[test]
    fn start_positions_of_both_generations_are_read() {
        let read = |text: &str| serde_json::from_str::<StartPosition>(text);
        assert_eq!(read(r#""latest""#).unwrap(), StartPosition::Latest);
        assert_eq!(read(r#"{"type":"TRIM_HORIZON"}"#).unwrap(), StartPosition::TrimHorizon);
        let expected = StartPosition::AtTimestampMs(1_709_596_800_000);
        for text in [
            r#"{"at_timestamp":{"timestamp":"2024-03-05T00:00:00Z"}}"#,
            r#"{"type":"AT_TIMESTAMP","timestamp":"2024-03-05T00:00:00Z"}"#,
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        for text in ["1", "{}", r#""NOW""#, r#"{"type":"AT_TIMESTAMP"}"#, r#"{"type":"AT_TIMESTAMP","timestamp":"x"}"#]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
