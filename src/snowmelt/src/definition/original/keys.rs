//! The keys of the original's Postgres loader: which of them do nothing here, and why.

use std::time::Duration;

use serde_json::Value;

use crate::definition::problem::nearest;

const STREAMS: &str = "streams are chosen by the definition's backend; see aws.region";
const WRITER: &str = "the stream's writer has its own batches and back-off";

/// Every key, and why it does nothing here where it does nothing.
pub(super) const KEYS: &[(&str, Option<&str>)] = &[
    ("purpose", None),
    ("input.type", None),
    ("input.appName", None),
    ("input.streamName", None),
    ("input.region", Some(STREAMS)),
    ("input.initialPosition", None),
    ("input.retrievalMode", None),
    ("input.checkpointSettings.maxBatchSize", None),
    ("input.checkpointSettings.maxBatchWait", None),
    ("input.checkpointSettings.maxConcurrent", Some("it is Pub/Sub's")),
    ("input.projectId", Some("it is Pub/Sub's")),
    ("input.subscriptionId", Some("it is Pub/Sub's")),
    ("input.path", Some("files are not loaded by themselves")),
    ("output.good.type", None),
    ("output.good.host", None),
    ("output.good.port", None),
    ("output.good.database", None),
    ("output.good.username", None),
    ("output.good.password", None),
    ("output.good.schema", None),
    ("output.good.sslMode", None),
    ("output.good.maxConnections", None),
    ("output.good.threadPoolSize", Some("no thread waits for the database")),
    ("output.bad.type", None),
    ("output.bad.streamName", None),
    ("output.bad.region", Some(STREAMS)),
    ("output.bad.path", None),
    (
        "output.bad.reportPeriod",
        Some("bad rows are not thrown away; the metric snowmelt_postgres_bad_total counts them"),
    ),
    ("output.bad.delayThreshold", Some(WRITER)),
    ("output.bad.maxBatchSize", Some(WRITER)),
    ("output.bad.maxBatchBytes", Some(WRITER)),
    ("output.bad.projectId", Some("it is Pub/Sub's")),
    ("output.bad.topicId", Some("it is Pub/Sub's")),
    ("output.bad.numCallbackExecutors", Some("it is Pub/Sub's")),
    ("monitoring.metrics.cloudWatch", Some("metrics are at /metrics of the operator API, for Prometheus")),
    ("backoffPolicy.minBackoff", Some(WRITER)),
    ("backoffPolicy.maxBackoff", Some(WRITER)),
];

/// What the writer of a document should know: keys that do nothing here, and unknown ones.
pub(super) fn notes(document: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    leaves(document, String::new(), &mut |key| {
        let known = KEYS
            .iter()
            .find(|(name, _)| key == *name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
        match known {
            Some((_, None)) => {}
            Some((_, Some(why))) => notes.push(format!("{key}: {why}")),
            None => {
                let meant = nearest(&key, KEYS.iter().map(|(name, _)| *name));
                let meant = meant.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                notes.push(format!("{key}: unknown key{meant}; it is ignored, as in the original"));
            }
        }
    });
    notes
}

fn leaves(value: &Value, path: String, found: &mut impl FnMut(String)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(member, path, found);
            }
        }
        Value::Null => {}
        _ => found(path),
    }
}

/// A duration as HOCON writes it: `10 seconds`, `200 ms`, `1m`; milliseconds without a unit.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "second" | "seconds" => 1000,
        "m" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}
