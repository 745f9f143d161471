//! Durations and sizes as people write them: `"500ms"`, `"2s"`, `"5m"`, `"24h"`, `"7d"`; `4096`, `"64KiB"`, `"8 MiB"`, `"1 GiB"`.

use std::time::Duration;

use super::model::Start;

/// Reads a duration with its unit.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        "h" => 3600e3,
        "d" => 86_400e3,
        _ => return None,
    } * number;
    (millis <= 1e14).then(|| Duration::from_secs_f64(millis / 1000.0))
}

/// Reads a size in bytes, with or without a unit.
pub fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "B" => 1.0,
        "KiB" => 1024.0,
        "kB" => 1e3,
        "MiB" => 1024.0 * 1024.0,
        "MB" => 1e6,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "GB" => 1e9,
        _ => return None,
    };
    let bytes = number * factor;
    (bytes <= 1e15).then_some(bytes as usize)
}

/// Reads where a shard begins: `trim_horizon`, `latest`, or an instant such as `2026-01-01T00:00:00Z`.
pub fn start(text: &str) -> Option<Start> {
    match text {
        "trim_horizon" => Some(Start::TrimHorizon),
        "latest" => Some(Start::Latest),
        _ => text.parse::<jiff::Timestamp>().ok().map(|instant| Start::AtTimestampMs(instant.as_millisecond())),
    }
}

/// A number and what follows it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

/// A size as people read it.
pub fn show_bytes(bytes: usize) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value.fract() < 0.05 || value >= 100.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_sizes_may_have_one() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("1.5 h"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("5"), None);
        assert_eq!(duration("-5s"), None);
        assert_eq!(bytes("8 MiB"), Some(8 << 20));
        assert_eq!(bytes("4096"), Some(4096));
        assert_eq!(bytes("4 furlongs"), None);
        assert_eq!(show_bytes(8 << 20), "8 MiB");
        assert_eq!(show_bytes(1_500_000), "1.4 MiB");
    }
}
