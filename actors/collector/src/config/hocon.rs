//! The original's `config.hocon` (6.2, 6.3): the same file works here.
//!
//! Read as the original does: everything at top level or inside `collector { }`, `${VAR}` from the environment, both styles of
//! `streams`, settings in the JVM's options stronger than the file, unknown keys ignored. Ignored keys, and those that do nothing
//! here, are told, so that a misspelt one does not go unnoticed. Ours: `include "other.conf"` works, from the file's folder.

use std::{collections::HashMap, path::Path};

use hocon::{ParseOptions, parse_string_with_options};
use serde_json::{Map, Value};

use super::{
    CollectorConfig,
    effect::{self, Note},
    java::JavaOptions,
    read::{self, ConfigProblem},
};

/// Why a file is no collector configuration.
#[derive(Debug, thiserror::Error)]
pub enum HoconError {
    /// The text is no HOCON, a substitution is not set, or an included file cannot be read.
    #[error("not valid HOCON: {0}")]
    Syntax(String),
    /// Keys have values of the wrong type.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Values(Vec<ConfigProblem>),
    /// A key store in the JVM's options, which is read by Java only.
    #[error(
        "TLS's key store {path} is named in the JVM's options; write it as PEM, \
         `openssl pkcs12 -in {path} -nokeys -out certificate.pem` and `openssl pkcs12 -in {path} -nocerts -nodes -out key.pem`, \
         and name the two files in ssl.certificate and ssl.privateKey"
    )]
    KeyStore {
        /// The file.
        path: String,
    },
}

/// A configuration read from HOCON.
#[derive(Debug, Clone)]
pub struct HoconConfig {
    /// The configuration, not yet [checked](CollectorConfig::check).
    pub config: CollectorConfig,
    /// The keys that the file has and that are known, in the new style of `streams` and without nulls; reading them gives
    /// `config`.
    pub written: Value,
    /// Keys of the file that do nothing here, and why.
    pub notes: Vec<Note>,
}

/// Reads a `config.hocon`; `folder` is where its includes are, `environment` is what `${VAR}` may stand for.
///
/// # Errors
/// When the text is no HOCON, a `${VAR}` is not set, a value has the wrong type, or a key store is to be used.
pub fn parse(text: &str, folder: &Path, environment: &HashMap<String, String>) -> Result<HoconConfig, HoconError> {
    let syntax = |error: &dyn std::fmt::Display| HoconError::Syntax(error.to_string());
    let options = ParseOptions::defaults().with_base_dir(folder.to_owned()).with_env(environment.clone());
    let parsed = parse_string_with_options(text, options).map_err(|error| syntax(&error))?;
    let mut root: Value = parsed.deserialize().map_err(|error| syntax(&error))?;
    if let Some(collector @ Value::Object(_)) = root.get_mut("collector") {
        root = collector.take();
    }
    let known = read::defaults();
    let java = JavaOptions::of(environment);
    if let Value::Object(names) = &known {
        java.apply(&mut root, names);
    }
    let streams_as_written = root.get("streams").cloned().unwrap_or(Value::Null);
    if let Some(streams) = root.get_mut("streams").and_then(Value::as_object_mut) {
        modernise(streams);
    }
    let unknown = drop_unknown(&mut root, &known);
    fit(&mut root, &known, "");
    let config = CollectorConfig::from_value(root.clone()).map_err(HoconError::Values)?;
    if let Some(path) = java.key_store().filter(|_| config.ssl.enable && config.ssl.certificate.is_none()) {
        return Err(HoconError::KeyStore { path: path.to_owned() });
    }
    let mut notes: Vec<Note> = Vec::new();
    for note in unknown.into_iter().chain(effect::notes(&root, &config)) {
        let note = Note { key: as_written(&note.key, &streams_as_written), ..note };
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    settle_nulls(&mut root, &serde_json::to_value(&config).expect("a configuration is plain values"));
    Ok(HoconConfig { config, written: root, notes })
}

/// Writes what a null means instead of it: a word, or nothing.
fn settle_nulls(written: &mut Value, meant: &Value) {
    let Value::Object(members) = written else { return };
    members.retain(|name, member| {
        let meant = meant.get(name).unwrap_or(&Value::Null);
        if member.is_null() {
            *member = meant.clone();
        }
        settle_nulls(member, meant);
        !member.is_null()
    });
}

/// Drops keys that `known` has not.
fn drop_unknown(root: &mut Value, known: &Value) -> Vec<Note> {
    read::unknown_keys(root, known)
        .into_iter()
        .map(|unknown| {
            remove(root, &unknown.path);
            let key = unknown.key();
            let why = match effect::without_effect(&key) {
                Some(why) => why.to_owned(),
                None => format!("{}; it is ignored, as in the original", unknown.message()),
            };
            Note { key, why }
        })
        .collect()
}

fn remove(value: &mut Value, path: &[String]) {
    match (value, path) {
        (Value::Object(members), [name]) => {
            members.shift_remove(name);
        }
        (Value::Object(members), [name, rest @ ..]) => {
            if let Some(member) = members.get_mut(name) {
                remove(member, rest);
            }
        }
        _ => {}
    }
}

/// The name that a key of the new style has in a file of the legacy style.
fn as_written(key: &str, streams: &Value) -> String {
    let legacy = || {
        let (stream, rest) = key.strip_prefix("streams.")?.split_once('.')?;
        let own = streams.get(stream).and_then(|own| own.get(rest.split('.').next().unwrap_or(rest)));
        match own {
            Some(_) => None,
            None if rest.starts_with("buffer") => Some(format!("streams.{rest}")),
            None => Some(format!("streams.sink.{rest}")),
        }
    };
    legacy().unwrap_or_else(|| key.to_owned())
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
        let mut shared = shared.clone();
        // What serves both names both queues; each sink has one.
        shared.shift_remove(if name == "good" { "sqsBadBuffer" } else { "sqsGoodBuffer" });
        let mut merged = Value::Object(shared);
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

/// Turns scalars into the type that `known` has, as HOCON's readers do: text from the environment into numbers and booleans, bare
/// words such as `8080` into text.
fn fit(value: &mut Value, known: &Value, path: &str) {
    match (&mut *value, known) {
        // An empty default is a free map.
        (Value::Object(members), Value::Object(known)) if known.is_empty() => {
            members.values_mut().for_each(to_text);
        }
        (Value::Object(members), Value::Object(known)) => {
            for (name, member) in members {
                if let Some(known) = known.get(name) {
                    fit(member, known, name);
                }
            }
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
        (Value::String(text), Value::Null) if path == "workers" => {
            if let Ok(number) = text.trim().parse::<u64>() {
                *value = Value::from(number);
            }
        }
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
