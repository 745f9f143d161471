//! Keys of the original that are understood and do nothing here, with the reason; told to whoever writes them.

use std::fmt;

use serde_json::Value;

use super::{CollectorConfig, Durability};

/// A key in a file that does not do what its writer may expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The key, with dots.
    pub key: String,
    /// Why it does nothing.
    pub why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.why)
    }
}

/// Keys that never do anything; `*` stands for any one name.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("license", "there is no licence to accept"),
    ("p3p", "no answer carries P3P, as in the original since 3.0"),
    ("streams.*.aws", "credentials come from the AWS SDK's default chain, as in the original since 3.0"),
    ("streams.*.customEndpoint", "streams are kept in the backend of the definition"),
    ("streams.*.threadPoolSize", "there is no pool of threads to size"),
    ("telemetry", "nothing is reported to anybody"),
    // What only old or shipped files have.
    ("akka", "belongs to a library of the original's generation 2"),
    ("enableStartupChecks", "streams are always checked at the start"),
    ("experimental", "there is no just-in-time compiler to warm up"),
    ("prometheusMetrics", "metrics are at /metrics of the operator API"),
    ("streams.*.enabled", "streams are kept in the backend of the definition"),
];

/// Why a key does nothing, whatever else is configured.
pub(super) fn without_effect(key: &str) -> Option<&'static str> {
    let names: Vec<&str> = key.split('.').collect();
    WITHOUT_EFFECT.iter().find(|(pattern, _)| matches(pattern, &names)).map(|(_, why)| *why)
}

fn matches(pattern: &str, names: &[&str]) -> bool {
    let mut count = 0;
    pattern.split('.').enumerate().all(|(index, part)| {
        count = index + 1;
        names.get(index).is_some_and(|name| part == "*" || part == *name)
    }) && count == names.len()
}

/// Of the keys that `written` has, those that do nothing in this configuration, in the file's order.
pub(super) fn notes(written: &Value, config: &CollectorConfig) -> Vec<Note> {
    let mut notes = Vec::new();
    collect(written, "", config, &mut notes);
    notes
}

fn collect(written: &Value, path: &str, config: &CollectorConfig, notes: &mut Vec<Note>) {
    let Value::Object(members) = written else { return };
    for (name, member) in members {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match without_effect(&key).or_else(|| not_as_configured(&key, config)) {
            Some(why) => notes.push(Note { key, why: why.to_owned() }),
            None => collect(member, &key, config, notes),
        }
    }
}

/// Why a key does nothing beside what else is configured.
fn not_as_configured(key: &str, config: &CollectorConfig) -> Option<&'static str> {
    if key == "ssl.redirect" && config.ssl.redirect && !config.ssl.enable {
        return Some("counts with ssl.enable");
    }
    let (name, key) = key.strip_prefix("streams.")?.split_once('.')?;
    let queue = match name {
        "good" => config.good_queue(),
        _ => config.bad_queue(),
    };
    match (name, key) {
        (_, "buffer.timeLimit") if config.durability != Durability::Memory => {
            Some("counts with durability = \"memory\"; else records wait for groupCommit.linger")
        }
        ("good", "sqsBadBuffer") => Some("counts under streams.bad"),
        ("bad", "sqsGoodBuffer") => Some("counts under streams.good"),
        (_, "region") if queue.is_none() => {
            Some("counts for the overflow queue; streams are kept in the backend of the definition")
        }
        (_, "sqsMaxBytes" | "startupCheckInterval") if queue.is_none() => Some("counts for the overflow queue"),
        (_, "backoffPolicy.maxRetries") if queue.is_none() => {
            Some("counts with an overflow queue; else a write is repeated for as long as it takes")
        }
        _ => None,
    }
}
