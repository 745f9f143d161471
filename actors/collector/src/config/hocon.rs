//! The original's `config.hocon` (6.2, 6.3): the same file works here.
//!
//! Read as the original does: everything at top level or inside `collector { }`, `${VAR}` from the environment, both styles of
//! `streams`, unknown keys ignored. They are reported, so that a misspelt key does not go unnoticed.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::CollectorConfig;

/// Why a file is no collector configuration.
#[derive(Debug, thiserror::Error)]
pub enum HoconError {
    /// The text is no HOCON, or a substitution is missing.
    #[error("collector configuration is not valid HOCON: {0}")]
    Syntax(String),
    /// A key has a value of the wrong type.
    #[error("collector configuration: {0}")]
    Value(#[from] serde_json::Error),
}

/// A configuration read from HOCON.
#[derive(Debug)]
pub struct HoconConfig {
    /// The configuration, not yet [checked](CollectorConfig::check).
    pub config: CollectorConfig,
    /// Keys that mean nothing here, with dots.
    pub ignored: Vec<String>,
}

/// Reads a `config.hocon`; `environment` is what `${VAR}` may stand for.
///
/// # Errors
/// When the text is no HOCON, a `${VAR}` is not set, or a value has the wrong type.
pub fn parse(text: &str, environment: &HashMap<String, String>) -> Result<HoconConfig, HoconError> {
    let syntax = |error: &dyn std::fmt::Display| HoconError::Syntax(error.to_string());
    let parsed = hocon::parse_with_env(text, environment).map_err(|error| syntax(&error))?;
    let mut root: Value = parsed.deserialize().map_err(|error| syntax(&error))?;
    if let Some(collector @ Value::Object(_)) = root.get_mut("collector") {
        root = collector.take();
    }
    if let Some(streams) = root.get_mut("streams").and_then(Value::as_object_mut) {
        modernise(streams);
    }
    let known = serde_json::to_value(CollectorConfig::default())?;
    let mut ignored = Vec::new();
    fit(&mut root, &known, "", &mut ignored);
    Ok(HoconConfig { config: serde_json::from_value(root)?, ignored })
}

/// Turns the legacy style (one `sink` and `buffer` for both streams) into the new one.
fn modernise(streams: &mut Map<String, Value>) {
    let mut shared = match streams.remove("sink") {
        Some(Value::Object(sink)) => sink,
        _ => Map::new(),
    };
    if let Some(buffer) = streams.remove("buffer") {
        shared.insert("buffer".to_owned(), buffer);
    }
    for name in ["good", "bad"] {
        let own = match streams.remove(name) {
            Some(Value::Object(own)) => own,
            Some(Value::Null) | None => Map::new(),
            Some(stream_name) => Map::from_iter([("name".to_owned(), stream_name)]),
        };
        let mut merged = Value::Object(shared.clone());
        merge(&mut merged, Value::Object(own));
        streams.insert(name.to_owned(), merged);
    }
}

/// Lays `over` over `under`, object by object.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// Drops keys that `known` has not, and turns scalars into the type that `known` has, as HOCON's readers do: text from the
/// environment into numbers and booleans, bare words such as `8080` into text.
fn fit(value: &mut Value, known: &Value, path: &str, ignored: &mut Vec<String>) {
    match (&mut *value, known) {
        // An empty default is a free map.
        (Value::Object(members), Value::Object(known)) if known.is_empty() => {
            members.values_mut().for_each(to_text);
        }
        (Value::Object(members), Value::Object(known)) => {
            members.retain(|key, member| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match known.get(key) {
                    Some(known) => fit(member, known, &path, ignored),
                    None => ignored.push(path),
                }
                known.contains_key(key)
            });
        }
        (Value::Array(items), _) => items.iter_mut().for_each(to_text),
        (Value::String(text), Value::Bool(_)) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => *value = Value::Bool(true),
            "false" | "no" | "off" | "0" => *value = Value::Bool(false),
            _ => {}
        },
        (Value::String(text), Value::Number(_)) => {
            if let Ok(number) = text.trim().parse::<u64>() {
                *value = Value::from(number);
            }
        }
        (Value::Number(_) | Value::Bool(_), Value::String(_)) => to_text(value),
        // An optional key; all but one are text.
        (Value::Number(_) | Value::Bool(_), Value::Null) if path != "workers" => to_text(value),
        _ => {}
    }
}

fn to_text(value: &mut Value) {
    if matches!(value, Value::Number(_) | Value::Bool(_)) {
        *value = Value::String(value.to_string());
    }
}

#[cfg(test)]
mod tests;
