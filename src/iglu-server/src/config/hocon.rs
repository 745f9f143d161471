//! The original's `config.hocon` (iglu-server spec, section 16): the same file works here.
//!
//! Read as the original does: everything at top level or inside `iglu { }`, which wins; `${VAR}` from the environment; unknown keys
//! ignored. Those, and the ones that do nothing here, are told, so that a misspelt one does not go unnoticed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use hocon::{ParseOptions, parse_string_with_options};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::{ServerConfig, WebHook};
use crate::core::api_key::ApiKey;

/// Why a file is no configuration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HoconError {
    /// The text is no HOCON, or a substitution is not set.
    #[error("not valid HOCON: {0}")]
    Syntax(String),
    /// A key has a value of the wrong kind, which is not shown: it may be a secret.
    #[error("{key} has to be {wanted}")]
    Value {
        /// The key.
        key: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// A key that has no default.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// What a file says.
#[derive(Debug)]
pub struct Original {
    /// Host and port to listen on.
    pub listen: (String, u16),
    /// The database's URL; none for `dummy`, which the original keeps in memory.
    pub database: Option<String>,
    /// Connections to it at most.
    pub connections: u32,
    /// Everything else, the super key included.
    pub server: ServerConfig,
    /// Keys that do nothing here, and why.
    pub notes: Vec<String>,
}

/// Every key that is known, with what it does here when that is nothing.
const KNOWN: &[(&str, Option<&str>)] = &[
    ("license.accept", Some("there is nothing to accept here")),
    ("repoServer.interface", None),
    ("repoServer.port", None),
    ("repoServer.idleTimeout", None),
    ("repoServer.maxConnections", None),
    ("repoServer.threadPool", Some("threads are set by `workers`")),
    ("repoServer.hsts.enable", None),
    ("repoServer.hsts.maxAge", None),
    ("repoServer.maxPayloadSize", None),
    ("database.type", None),
    ("database.host", None),
    ("database.port", None),
    ("database.dbname", None),
    ("database.username", None),
    ("database.password", None),
    ("database.driver", Some("the driver is always the same")),
    ("database.maxPoolSize", None),
    ("database.enableStartupChecks", Some("the database is always asked at the start")),
    ("database.pool.maximumPoolSize", None),
    ("database.pool", Some("of the pool, its largest size alone counts")),
    ("swagger.baseUrl", None),
    ("debug", None),
    ("patchesAllowed", None),
    ("webhooks.schemaPublished", None),
    ("superApiKey", None),
    ("maxJsonDepth", None),
    ("preTerminationPeriod", None),
    ("preTerminationUnhealthy", None),
];

/// Reads a `config.hocon`; `folder` is where its includes are, `environment` is what `${VAR}` may stand for.
///
/// # Errors
/// When the text is no HOCON, a `${VAR}` is not set, or a value is missing or of the wrong kind.
pub fn parse(text: &str, folder: &Path, environment: &HashMap<String, String>) -> Result<Original, HoconError> {
    let syntax = |error: &dyn std::fmt::Display| HoconError::Syntax(error.to_string());
    let options = ParseOptions::defaults().with_base_dir(folder.to_owned()).with_env(environment.clone());
    let parsed = parse_string_with_options(text, options).map_err(|error| syntax(&error))?;
    let mut root: Value = parsed.deserialize().map_err(|error| syntax(&error))?;
    if let Some(wrapped) = root.as_object_mut().and_then(|members| members.shift_remove("iglu")) {
        merge(&mut root, wrapped);
    }
    let notes = notes(&root);
    read(&Keys { root: &root }, notes)
}

fn read(keys: &Keys<'_>, notes: Vec<String>) -> Result<Original, HoconError> {
    let default = ServerConfig::default();
    let super_key = match keys.text("superApiKey")? {
        None => None,
        Some(text) => Some(ApiKey::parse(&text).ok_or_else(|| wrong("superApiKey", "a UUID"))?),
    };
    let hsts = keys.flag("repoServer.hsts.enable")?.unwrap_or(false);
    let hsts_age = keys.duration("repoServer.hsts.maxAge")?.unwrap_or(Duration::from_secs(365 * 86_400));
    let server = ServerConfig {
        super_key,
        // The original's own default is true, against its documentation.
        debug: keys.flag("debug")?.unwrap_or(default.debug),
        patches_allowed: keys.flag("patchesAllowed")?.unwrap_or(default.patches_allowed),
        max_json_depth: keys.size("maxJsonDepth")?.unwrap_or(default.max_json_depth),
        max_payload_bytes: keys.size("repoServer.maxPayloadSize")?.unwrap_or(default.max_payload_bytes),
        max_connections: keys.size("repoServer.maxConnections")?.unwrap_or(default.max_connections),
        idle_timeout: keys.duration("repoServer.idleTimeout")?.unwrap_or(default.idle_timeout),
        hsts: hsts.then_some(hsts_age),
        base_url: keys.text("swagger.baseUrl")?.unwrap_or_default(),
        web_hooks: keys.web_hooks()?,
        pre_termination_period: keys.duration("preTerminationPeriod")?.unwrap_or(default.pre_termination_period),
        pre_termination_unhealthy: keys.flag("preTerminationUnhealthy")?.unwrap_or(false),
        ..default
    };
    let port = keys.port("repoServer.port")?.unwrap_or(8080);
    let interface = keys.text("repoServer.interface")?.unwrap_or_else(|| "0.0.0.0".to_owned());
    let largest = keys.size("database.pool.maximumPoolSize")?.or(keys.size("database.maxPoolSize")?).unwrap_or(5);
    let database = match keys.text("database.type")?.as_deref() {
        None | Some("postgres") => Some(keys.database()?),
        Some("dummy") => None,
        Some(_) => return Err(wrong("database.type", "postgres or dummy")),
    };
    // One more: ours listens for changes over one of its own.
    let connections = u32::try_from(largest).unwrap_or(u32::MAX).saturating_add(1);
    Ok(Original { listen: (interface, port), database, connections, server, notes })
}

/// Lays one value over another, key by key.
fn merge(below: &mut Value, over: Value) {
    match (below, over) {
        (Value::Object(below), Value::Object(over)) => {
            for (name, value) in over {
                merge(below.entry(name).or_insert(Value::Null), value);
            }
        }
        (below, over) => *below = over,
    }
}

/// What is to be said of keys that do nothing.
fn notes(root: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    told(root, "", &mut notes);
    notes
}

fn told(value: &Value, path: &str, notes: &mut Vec<String>) {
    let Value::Object(members) = value else { return };
    for (name, member) in members {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let below = format!("{path}.");
        match KNOWN.iter().find(|(known, _)| *known == path) {
            Some((_, Some(why))) if !KNOWN.iter().any(|(known, _)| known.starts_with(&below)) => {
                notes.push(format!("{path} does nothing here: {why}"));
            }
            Some((_, None)) => {}
            // Only some keys below it count.
            Some((_, Some(why))) => {
                for name in member.as_object().into_iter().flat_map(Map::keys) {
                    if !KNOWN.iter().any(|(known, _)| *known == format!("{below}{name}")) {
                        notes.push(format!("{below}{name} does nothing here: {why}"));
                    }
                }
            }
            None if KNOWN.iter().any(|(known, _)| known.starts_with(&below)) => told(member, &path, notes),
            None => notes.push(format!("{path} is unknown; it is ignored, as in the original")),
        }
    }
}

fn wrong(key: &str, wanted: &'static str) -> HoconError {
    HoconError::Value { key: key.to_owned(), wanted }
}

/// Values by their keys. What comes from the environment is text, whatever it should be.
struct Keys<'v> {
    root: &'v Value,
}

impl<'v> Keys<'v> {
    fn get(&self, key: &str) -> Option<&'v Value> {
        key.split('.').try_fold(self.root, |value, name| value.get(name)).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Result<Option<String>, HoconError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            // A password of digits, say.
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
            Some(_) => Err(wrong(key, "a text")),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, HoconError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if matches!(text.as_str(), "true" | "yes" | "on") => Ok(Some(true)),
            Some(Value::String(text)) if matches!(text.as_str(), "false" | "no" | "off") => Ok(Some(false)),
            Some(_) => Err(wrong(key, "true or false")),
        }
    }

    fn size(&self, key: &str) -> Result<Option<usize>, HoconError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let size = number.and_then(|number| usize::try_from(number).ok()).filter(|size| *size > 0);
        size.map(Some).ok_or_else(|| wrong(key, "a whole number above 0"))
    }

    fn port(&self, key: &str) -> Result<Option<u16>, HoconError> {
        match self.size(key)?.map(u16::try_from) {
            None => Ok(None),
            Some(port) => port.map(Some).map_err(|_| wrong(key, "a port")),
        }
    }

    fn duration(&self, key: &str) -> Result<Option<Duration>, HoconError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        // A bare number counts milliseconds.
        let read = value.as_u64().map(Duration::from_millis).or_else(|| duration(value.as_str()?));
        read.map(Some).ok_or_else(|| wrong(key, "a time such as \"60 seconds\""))
    }

    fn database(&self) -> Result<String, HoconError> {
        let needed = |key: &'static str| self.text(key)?.ok_or(HoconError::Missing(key));
        let (host, name) = (needed("database.host")?, needed("database.dbname")?);
        let (user, password) = (needed("database.username")?, needed("database.password")?);
        let port = self.port("database.port")?.unwrap_or(5432);
        let host = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => host,
        };
        let [user, password, name] = [user, password, name].map(|text| encoded(&text));
        Ok(format!("postgres://{user}:{password}@{host}:{port}/{name}"))
    }

    fn web_hooks(&self) -> Result<Vec<WebHook>, HoconError> {
        const KEY: &str = "webhooks.schemaPublished";
        let Some(value) = self.get(KEY) else { return Ok(Vec::new()) };
        let hooks = value.as_array().ok_or_else(|| wrong(KEY, "a list"))?;
        hooks
            .iter()
            .map(|hook| web_hook(hook).ok_or_else(|| wrong(KEY, "a list of { uri, vendorPrefixes, usePost }")))
            .collect()
    }
}

fn web_hook(given: &Value) -> Option<WebHook> {
    let uri = given.get("uri")?.as_str()?.to_owned();
    let vendor_prefixes = match given.get("vendorPrefixes") {
        None | Some(Value::Null) => Vec::new(),
        Some(prefixes) => {
            prefixes.as_array()?.iter().map(|prefix| prefix.as_str().map(str::to_owned)).collect::<Option<_>>()?
        }
    };
    let use_post = given.get("usePost").map_or(Some(false), Value::as_bool)?;
    Some(WebHook { uri, vendor_prefixes, use_post })
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A number with a unit, as HOCON writes times; without one it counts milliseconds.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match text[end..].trim() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => Some(Duration::from_nanos(number)),
        "us" | "micro" | "micros" | "microsecond" | "microseconds" => Some(Duration::from_micros(number)),
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => Some(Duration::from_millis(number)),
        "s" | "second" | "seconds" => seconds(1),
        "m" | "minute" | "minutes" => seconds(60),
        "h" | "hour" | "hours" => seconds(3_600),
        "d" | "day" | "days" => seconds(86_400),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "5fb4713d-73ad-4163-93a9-2b82f0177c5b";

    fn read(text: &str) -> Result<Original, HoconError> {
        let environment =
            HashMap::from([("IGLU_SUPER_API_KEY".to_owned(), KEY.to_owned()), ("PORT".to_owned(), "9001".to_owned())]);
        parse(text, Path::new("."), &environment)
    }

    const DATABASE: &str = "database { host = db, dbname = igludb, username = me, password = \"p@ss/1\" }";

    #[test]
    fn a_file_of_the_original_is_read_whole() {
        let original = read(
            r#"
            license { accept = true }
            repoServer {
              interface = "127.0.0.1", port = ${PORT}, idleTimeout = "30 seconds", maxConnections = 16384
              threadPool { type = "fixed", size = 4 }
              hsts { enable = true, maxAge = "10 days" }, maxPayloadSize = 200000
            }
            database {
              type = "postgres", host = "::1", port = 5433, dbname = "igludb", username = "postgres", password = "iglusecret"
              driver = "org.postgresql.Driver", pool { type = "hikari", maximumPoolSize = 9, minimumIdle = 2 }
            }
            swagger { baseUrl = "/iglu" }, debug = true, patchesAllowed = true
            webhooks { schemaPublished = [{ uri = "https://x/h", vendorPrefixes = ["com.acme"], usePost = true }, { uri = "http://y" }] }
            superApiKey = ${?IGLU_SUPER_API_KEY}
            maxJsonDepth = 50, preTerminationPeriod = 2s, preTerminationUnhealthy = yes
            mispelt = 1"#,
        )
        .unwrap();
        let server = &original.server;
        assert_eq!(original.listen, ("127.0.0.1".to_owned(), 9001));
        assert_eq!(original.database.as_deref(), Some("postgres://postgres:iglusecret@[::1]:5433/igludb"));
        assert_eq!((original.connections, server.super_key.unwrap().reveal().as_str()), (10, KEY));
        assert_eq!((server.idle_timeout, server.hsts), (Duration::from_secs(30), Some(Duration::from_secs(864_000))));
        assert_eq!((server.max_connections, server.max_payload_bytes, server.max_json_depth), (16_384, 200_000, 50));
        assert!(server.debug && server.patches_allowed && server.pre_termination_unhealthy);
        assert_eq!((server.base_url.as_str(), server.pre_termination_period), ("/iglu", Duration::from_secs(2)));
        assert_eq!(server.web_hooks.len(), 2);
        assert!(server.web_hooks[0].use_post && server.web_hooks[1].vendor_prefixes.is_empty());
        let told: Vec<&str> = original.notes.iter().filter_map(|note| note.split(' ').next()).collect();
        let expected = [
            "license.accept",
            "repoServer.threadPool",
            "database.driver",
            "database.pool.type",
            "database.pool.minimumIdle",
            "mispelt",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn little_is_needed_and_the_wrapped_wins() {
        let original = read(&format!("{DATABASE}, repoServer.port = 1, iglu {{ repoServer {{ port = 2 }} }}")).unwrap();
        assert_eq!(original.listen, ("0.0.0.0".to_owned(), 2));
        assert_eq!(original.database.as_deref(), Some("postgres://me:p%40ss%2F1@db:5432/igludb"));
        assert!(original.server.super_key.is_none() && !original.server.debug && original.notes.is_empty());
        assert_eq!(read("database.type = dummy").unwrap().database, None);
    }

    #[test]
    fn mistakes_are_named_and_secrets_are_not() {
        let mistake = |more: &str| read(&format!("{DATABASE}\n{more}")).unwrap_err().to_string();
        assert_eq!(mistake("superApiKey = secret"), "superApiKey has to be a UUID");
        assert_eq!(mistake("repoServer.port = 70000"), "repoServer.port has to be a port");
        assert_eq!(
            mistake("repoServer.idleTimeout = soon"),
            "repoServer.idleTimeout has to be a time such as \"60 seconds\""
        );
        assert_eq!(mistake("debug = 5"), "debug has to be true or false");
        assert_eq!(
            mistake("webhooks.schemaPublished = [{}]"),
            "webhooks.schemaPublished has to be a list of { uri, vendorPrefixes, usePost }"
        );
        assert_eq!(read("").unwrap_err(), HoconError::Missing("database.host"));
        assert!(matches!(read("a = ${UNSET}"), Err(HoconError::Syntax(_))));
        assert!(matches!(read("a = {"), Err(HoconError::Syntax(_))));
    }
}
