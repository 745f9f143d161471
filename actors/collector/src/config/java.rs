//! What deployments of the original say in the JVM's options (6.2, 6.6): settings that are stronger than the file, and TLS's key store.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// The variables the original's images read.
const VARIABLES: [&str; 2] = ["JDK_JAVA_OPTIONS", "JAVA_OPTS"];
/// Variables that are settings when `-Dconfig.override_with_env_vars=true`.
const FORCED: &str = "CONFIG_FORCE_";

/// `-D` properties, in order.
#[derive(Debug, Default)]
pub(super) struct JavaOptions {
    properties: Vec<(String, String)>,
}

impl JavaOptions {
    /// Reads them out of the environment.
    pub(super) fn of(environment: &HashMap<String, String>) -> Self {
        let mut properties: Vec<(String, String)> = VARIABLES
            .iter()
            .filter_map(|variable| environment.get(*variable))
            .flat_map(|options| words(options))
            .filter_map(|word| {
                word.strip_prefix("-D")
                    .map(|property| property.split_once('=').unwrap_or((property, "")))
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
            })
            .collect();
        if properties.iter().any(|(key, value)| key == "config.override_with_env_vars" && value == "true") {
            let mut forced: Vec<(String, String)> = environment
                .iter()
                .filter_map(|(name, value)| Some((unmangle(name.strip_prefix(FORCED)?), value.clone())))
                .collect();
            forced.sort();
            properties.extend(forced);
        }
        Self { properties }
    }

    /// The file of a key store.
    pub(super) fn key_store(&self) -> Option<&str> {
        self.properties.iter().rev().find(|(key, _)| key == "javax.net.ssl.keyStore").map(|(_, value)| value.as_str())
    }

    /// Lays the settings among the properties over a configuration; `known` are the names at its top.
    pub(super) fn apply(&self, root: &mut Value, known: &Map<String, Value>) {
        for (key, value) in &self.properties {
            let path: Vec<&str> = key.strip_prefix("collector.").unwrap_or(key).split('.').collect();
            let prefixed = key.starts_with("collector.");
            if prefixed || path.first().is_some_and(|name| known.contains_key(*name)) {
                set(root, &path, value);
            }
        }
    }
}

fn set(root: &mut Value, path: &[&str], value: &str) {
    let [name, rest @ ..] = path else {
        *root = Value::from(value);
        return;
    };
    if !root.is_object() {
        *root = Value::Object(Map::new());
    }
    if let Value::Object(members) = root {
        set(members.entry((*name).to_owned()).or_insert(Value::Null), rest, value);
    }
}

/// `a_b__c___d` stands for `a.b-c_d`.
fn unmangle(name: &str) -> String {
    name.replace("___", "\u{0}").replace("__", "\u{1}").replace('_', ".").replace('\u{1}', "-").replace('\u{0}', "_")
}

/// Divides at white space, except within quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn properties_are_settings_and_the_rest_is_left_alone() {
        let options = JavaOptions::of(&environment(&[
            ("JDK_JAVA_OPTIONS", "-Dcom.amazonaws.sdk.disableCbor -XX:MaxRAMPercentage=75 -Dport=81"),
            ("JAVA_OPTS", "-Dcollector.port=80 '-Dcookie.name=my sp' -Djavax.net.ssl.keyStore=/tls/a.p12"),
        ]));
        let known = json!({"port": 1, "cookie": {}});
        let mut root = json!({"port": 8080, "cookie": {"enabled": true}});
        options.apply(&mut root, known.as_object().unwrap());
        assert_eq!(root, json!({"port": "80", "cookie": {"enabled": true, "name": "my sp"}}));
        assert_eq!(options.key_store(), Some("/tls/a.p12"));
    }

    #[test]
    fn forced_variables_count_when_they_are_asked_for() {
        let forced = ("CONFIG_FORCE_collector_streams_good_name", "raw");
        let known = json!({"streams": {}});
        for (options, expected) in [
            ("-Dconfig.override_with_env_vars=true", json!({"streams": {"good": {"name": "raw"}}})),
            ("", json!({"streams": {"good": "a"}})),
        ] {
            let mut root = json!({"streams": {"good": "a"}});
            JavaOptions::of(&environment(&[("JAVA_OPTS", options), forced]))
                .apply(&mut root, known.as_object().unwrap());
            assert_eq!(root, expected);
        }
        assert_eq!(unmangle("a_b__c___d"), "a.b-c_d");
    }
}
