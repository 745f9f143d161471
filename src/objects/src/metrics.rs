//! StatsD datagrams of both lines (spec s3-loader 10).

use std::fmt::Display;

/// The built-in prefix.
const DEFAULT_PREFIX: &str = "snowplow.s3loader";

/// Formats datagrams; sending them is the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statsd {
    prefix: String,
    tags: String,
}

/// Where datagrams go, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsdTarget {
    /// Host.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// When.
    pub every: Every,
    /// Whether `count` is the number of events; otherwise 0 an object (line 2.x, other purposes than enriched events).
    pub counts_events: bool,
    /// How.
    pub format: Statsd,
}

/// When datagrams are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// For each object (line 2.x).
    Object,
    /// So often, milliseconds (line 3.x).
    PeriodMs(u64),
}

impl Statsd {
    /// Line 2.x: a configured prefix gets a final dot where it lacks one, the built-in one does not.
    pub fn v2<'a>(prefix: Option<&str>, tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Statsd { prefix: prefix.map_or_else(|| DEFAULT_PREFIX.to_owned(), dotted), tags: joined(tags) }
    }

    /// Line 3.x: every prefix gets a final dot.
    pub fn v3<'a>(prefix: Option<&str>, tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Statsd { prefix: dotted(prefix.unwrap_or(DEFAULT_PREFIX)), tags: joined(tags) }
    }

    /// A counter: `count` is the number of events (line 2.x: 0 an object for other purposes than enriched events).
    pub fn counter(&self, name: &str, value: u64) -> String {
        self.datagram(name, value, 'c')
    }

    /// A gauge: `latency_millis`, `e2e_latency_millis`, and in seconds `latency_collector_to_load`.
    pub fn gauge(&self, name: &str, value: u64) -> String {
        self.datagram(name, value, 'g')
    }

    fn datagram(&self, name: &str, value: impl Display, kind: char) -> String {
        format!("{}{name}:{value}|{kind}|#{}", self.prefix, self.tags)
    }
}

/// Whole seconds between the earliest collector timestamp of a batch and now; `None` without one.
pub fn latency_collector_to_load(earliest_collector_ms: Option<i64>, now_ms: i64) -> Option<u64> {
    earliest_collector_ms.map(|earliest| u64::try_from(now_ms.saturating_sub(earliest) / 1000).unwrap_or(0))
}

fn dotted(prefix: &str) -> String {
    if prefix.ends_with('.') { prefix.to_owned() } else { format!("{prefix}.") }
}

fn joined<'a>(tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let tags: Vec<String> = tags.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
    tags.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_joined_by_commas_and_latency_is_never_negative() {
        let statsd = Statsd::v3(None, [("a", "1"), ("b", "2")]);
        assert_eq!(statsd.gauge("latency_millis", 7), "snowplow.s3loader.latency_millis:7|g|#a:1,b:2");
        assert_eq!(latency_collector_to_load(Some(1_000), 3_999), Some(2));
        assert_eq!(latency_collector_to_load(Some(9_000), 3_999), Some(0));
        assert_eq!(latency_collector_to_load(None, 3_999), None);
    }
}
