//! Configuration from a tree of values: every mistake is told with its key, and an unknown key with what was probably meant.

use std::fmt;

use serde_json::{Map, Value};

use super::CollectorConfig;

/// A key whose value cannot be used, or that there is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key with dots; empty for the configuration as a whole.
    pub key: String,
    /// Its value, when it is a plain one.
    pub value: Option<String>,
    /// What is wrong, and what was probably meant.
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}", self.key)?;
            if let Some(value) = &self.value {
                write!(f, " = {value}")?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.message)
    }
}

impl CollectorConfig {
    /// Reads a configuration in which every key must be known; keys that are absent have their defaults. It is not yet
    /// [checked](CollectorConfig::check).
    ///
    /// # Errors
    /// Every key that is not known or whose value is of the wrong type.
    pub fn from_value(value: Value) -> Result<Self, Vec<ConfigProblem>> {
        let known = defaults();
        let mut problems: Vec<ConfigProblem> = unknown_keys(&value, &known)
            .into_iter()
            .map(|unknown| ConfigProblem {
                key: unknown.key(),
                value: plain(unknown.path.iter().try_fold(&value, |value, name| value.get(name))),
                message: unknown.message(),
            })
            .collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        match serde_json::from_value(value.clone()) {
            Ok(config) => Ok(config),
            Err(error) => {
                // The error does not tell where; a configuration of one leaf alone does.
                each_leaf(&value, &mut Vec::new(), &mut |path, leaf| {
                    if let Err(error) = serde_json::from_value::<Self>(only(path, leaf)) {
                        problems.push(ConfigProblem {
                            key: path.join("."),
                            value: plain(Some(leaf)),
                            message: error.to_string(),
                        });
                    }
                });
                if problems.is_empty() {
                    problems.push(ConfigProblem { key: String::new(), value: None, message: error.to_string() });
                }
                Err(problems)
            }
        }
    }
}

/// The whole configuration with its defaults, as the tree of known keys; an empty table is one for free names.
pub(super) fn defaults() -> Value {
    serde_json::to_value(CollectorConfig::default()).expect("the defaults are plain values")
}

/// A key that there is not.
#[derive(Debug)]
pub(super) struct Unknown {
    pub(super) path: Vec<String>,
    /// The known key beside it that it resembles most.
    nearest: Option<String>,
}

impl Unknown {
    pub(super) fn key(&self) -> String {
        self.path.join(".")
    }

    pub(super) fn message(&self) -> String {
        match &self.nearest {
            Some(nearest) => {
                let beside = &self.path[..self.path.len() - 1];
                let key: Vec<&str> = beside.iter().map(String::as_str).chain([nearest.as_str()]).collect();
                format!("unknown key; did you mean `{}`?", key.join("."))
            }
            None => "unknown key".to_owned(),
        }
    }
}

/// All keys of `value` that are not in `known`.
pub(super) fn unknown_keys(value: &Value, known: &Value) -> Vec<Unknown> {
    let mut found = Vec::new();
    find_unknown(value, known, &mut Vec::new(), &mut found);
    found
}

fn find_unknown<'a>(value: &'a Value, known: &Value, path: &mut Vec<&'a str>, found: &mut Vec<Unknown>) {
    let (Value::Object(members), Value::Object(names)) = (value, known) else { return };
    if names.is_empty() {
        return;
    }
    for (name, member) in members {
        path.push(name);
        match names.get(name) {
            Some(known) => find_unknown(member, known, path, found),
            None => found.push(Unknown {
                path: path.iter().map(|name| (*name).to_owned()).collect(),
                nearest: nearest(name, names).map(str::to_owned),
            }),
        }
        path.pop();
    }
}

fn nearest<'a>(name: &str, known: &'a Map<String, Value>) -> Option<&'a str> {
    known
        .keys()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate.as_str()))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn plain(value: Option<&Value>) -> Option<String> {
    value.filter(|value| !value.is_object() && !value.is_array()).map(Value::to_string)
}

/// Calls `visit` with each value that is no table, and with empty tables.
fn each_leaf<'a>(value: &'a Value, path: &mut Vec<&'a str>, visit: &mut impl FnMut(&[&str], &Value)) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                path.push(name);
                each_leaf(member, path, visit);
                path.pop();
            }
        }
        leaf => visit(path, leaf),
    }
}

/// A tree with one leaf.
fn only(path: &[&str], leaf: &Value) -> Value {
    path.iter().rev().fold(leaf.clone(), |inner, name| Value::Object(Map::from_iter([((*name).to_owned(), inner)])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(value: Value) -> Vec<String> {
        CollectorConfig::from_value(value).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_unknown_key_is_told_with_the_nearest_right_name() {
        let found = problems(json!({
            "prot": 1,
            "cookie": {"sameSit": "Lax"},
            "streams": {"good": {"buffer": {"bytesLimit": 1}}},
            "weather": {"is": "fine"},
        }));
        let expected = [
            "prot = 1: unknown key; did you mean `port`?",
            "cookie.sameSit = \"Lax\": unknown key; did you mean `cookie.sameSite`?",
            "streams.good.buffer.bytesLimit = 1: unknown key; did you mean `streams.good.buffer.byteLimit`?",
            "weather: unknown key",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn every_wrong_value_is_told_with_its_key() {
        let found = problems(json!({
            "port": "nowhere",
            "cookie": {"sameSite": "Some", "name": "sp"},
            "networking": {"idleTimeout": "-1 s"},
            "durability": "disk",
        }));
        for (problem, start) in found.iter().zip([
            "port = \"nowhere\": invalid type",
            "cookie.sameSite = \"Some\": sameSite is Strict, Lax",
            "networking.idleTimeout = \"-1 s\": duration is negative",
            "durability = \"disk\": unknown variant",
        ]) {
            assert!(problem.starts_with(start), "{problem}");
        }
        assert_eq!(found.len(), 4);
        assert_eq!(problems(json!({"cookie": 5})).len(), 1);
        assert_eq!(problems(json!(5)).len(), 1);
    }

    #[test]
    fn free_names_and_absent_keys_are_fine() {
        let config = CollectorConfig::from_value(json!({"paths": {"/a/b": "/c/d"}, "cookie": {}})).unwrap();
        assert_eq!(config.paths.len(), 1);
        assert_eq!(CollectorConfig::from_value(json!({})), Ok(CollectorConfig::default()));
    }
}
