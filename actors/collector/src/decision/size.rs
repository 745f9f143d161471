//! The size check: one record, several, or bad rows (4.2, 4.3).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use snowmelt_protocol::{
    badrow::{Processor, SizeViolation, head},
    json,
    payload::CollectorPayload,
};

use super::split::split_list;

/// The longest `expectation` that the bad row's schema allows, in characters.
const MAX_EXPECTATION: usize = 256;

/// Limits in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A record must be smaller than this.
    pub max_bytes: usize,
    /// A payload above this is not split.
    pub max_payload_size: usize,
}

/// What became of a payload.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SizeCheck {
    /// Thrift records, each smaller than the limit.
    pub good: Vec<Vec<u8>>,
    /// Lines of bad-row JSON.
    pub bad: Vec<String>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    schema: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Makes records of a payload that are smaller than `limits.max_bytes`, splitting the events of a POST when needed; what cannot be
/// made small enough becomes bad rows.
pub fn check_size(payload: &CollectorPayload<'_>, limits: Limits, processor: &Processor, now_micros: i64) -> SizeCheck {
    let size = payload.encoded_len();
    if size < limits.max_bytes {
        return SizeCheck { good: vec![encode(payload, size)], bad: Vec::new() };
    }
    let refusal = Refusal { payload, processor, now_micros };
    if size > limits.max_payload_size {
        let limit = limits.max_payload_size;
        let reason = format!("Payload exceeds max size of {limit}. Actual length: {size}");
        return SizeCheck { good: Vec::new(), bad: vec![refusal.line(limit, size, &reason)] };
    }
    match split(payload, size, limits.max_bytes) {
        Ok(Split { schema, batches, too_big }) => SizeCheck {
            good: batches
                .iter()
                .map(|events| {
                    let part =
                        CollectorPayload { body: Some(body(&schema, events).into_bytes().into()), ..payload.clone() };
                    encode(&part, part.encoded_len())
                })
                .collect(),
            bad: too_big
                .iter()
                .map(|event| refusal.line(limits.max_bytes, event.len(), "this POST request split is still too large"))
                .collect(),
        },
        Err(reason) => SizeCheck { good: Vec::new(), bad: vec![refusal.line(limits.max_bytes, size, &reason)] },
    }
}

struct Split {
    schema: String,
    batches: Vec<Vec<String>>,
    too_big: Vec<String>,
}

fn split(payload: &CollectorPayload<'_>, size: usize, max_bytes: usize) -> Result<Split, String> {
    let text = payload.body_text().ok_or("GET requests cannot be split")?;
    // Once without white space, slices of the text are what is written and counted.
    let mut compact = String::with_capacity(text.len());
    json::compact(&text, &mut compact)
        .map_err(|error| format!("cannot split POST requests which are not json {}", error))?;
    let not_self_describing =
        |message: String| format!("cannot split POST requests which are not self-describing {message}");
    let envelope: Envelope<'_> =
        serde_json::from_str(&compact).map_err(|error| not_self_describing(error.to_string()))?;
    if !is_iglu_uri(&envelope.schema) {
        let message = format!("Invalid Iglu URI: {}, code: INVALID_IGLUURI", envelope.schema);
        return Err(not_self_describing(message));
    }
    let events: Vec<&RawValue> = serde_json::from_str(envelope.data.get())
        .map_err(|_| "cannot split POST requests which do not contain a data array".to_owned())?;
    // A character that is escaped where it was not before makes the array longer than it came: then the difference says too little.
    let no_events = CollectorPayload { body: Some(body(&envelope.schema, &[]).into_bytes().into()), ..payload.clone() };
    let without_data = size.saturating_sub(envelope.data.get().len()).max(no_events.encoded_len() - "[]".len());
    if without_data >= max_bytes {
        return Err("cannot split this POST request because event without \"data\" field is still too big".to_owned());
    }
    // The original leaves out one bracket and counts "equal" as small enough, so that its batches can be one byte over.
    let room = (max_bytes - without_data).saturating_sub(2);
    let events: Vec<String> = events.into_iter().map(|event| event.get().to_owned()).collect();
    let (batches, too_big) = split_list(events, room, 1, String::len);
    Ok(Split { schema: envelope.schema.into_owned(), batches, too_big })
}

fn body(schema: &str, events: &[String]) -> String {
    let mut body = String::with_capacity(events.iter().map(|event| event.len() + 1).sum::<usize>() + schema.len() + 32);
    body.push_str("{\"schema\":");
    json::write_string(schema, &mut body);
    body.push_str(",\"data\":[");
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(event);
    }
    body.push_str("]}");
    body
}

fn encode(payload: &CollectorPayload<'_>, size: usize) -> Vec<u8> {
    let mut record = Vec::with_capacity(size);
    payload.encode(&mut record);
    record
}

/// What every bad row of one payload has in common.
struct Refusal<'a> {
    payload: &'a CollectorPayload<'a>,
    processor: &'a Processor,
    now_micros: i64,
}

impl Refusal<'_> {
    fn line(&self, limit: usize, size: usize, reason: &str) -> String {
        let expectation: String =
            "oversized collector payload: ".chars().chain(reason.chars()).take(MAX_EXPECTATION).collect();
        let mut text = String::new();
        self.payload.write_text(&mut text);
        let mut line = String::new();
        SizeViolation {
            processor: self.processor,
            timestamp_micros: self.now_micros,
            maximum_allowed_size_bytes: limit as u64,
            actual_size_bytes: size as u64,
            expectation: &expectation,
            payload: head(&text, limit / 10),
        }
        .write(&mut line);
        line
    }
}

/// `iglu:vendor/name/format/M-R-A`.
fn is_iglu_uri(text: &str) -> bool {
    let word = |part: &str, also: &[u8]| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
    };
    let number = |part: &str| part == "0" || (!part.starts_with('0') && word(part, b"") && part.parse::<u32>().is_ok());
    let parts: Vec<&str> = match text.strip_prefix("iglu:") {
        Some(path) => path.split('/').collect(),
        None => return false,
    };
    let [vendor, name, format, version] = parts[..] else { return false };
    let numbers: Vec<&str> = version.split('-').collect();
    word(vendor, b"-_.")
        && word(name, b"-_")
        && word(format, b"-_")
        && numbers.len() == 3
        && numbers[0] != "0"
        && numbers.into_iter().all(number)
}
