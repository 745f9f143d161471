//! The resolver's configuration: `resolver.json` (iglu-client, section 3).

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::{ParseError, SchemaCriterion, SelfDescribing};

/// Schemas a resolver configuration may claim.
const CRITERION: &str = "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-*";

/// Which registries to ask and how long to remember their answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverConfig {
    /// Entries of the cache; 0 means no cache.
    pub cache_size: usize,
    /// Seconds an entry is used; `None`: for ever, 0: no cache.
    pub cache_ttl_seconds: Option<u64>,
    /// In the order they were written.
    pub repositories: Vec<Repository>,
}

/// One configured registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Unique among the registries.
    pub name: String,
    /// Lower is asked first.
    pub priority: i64,
    /// Vendors (plain text prefixes) this registry is asked first for.
    pub vendor_prefixes: Vec<String>,
    /// Where it is.
    pub connection: Connection,
}

/// Where a registry is.
#[derive(Clone, PartialEq, Eq)]
pub enum Connection {
    /// A directory that holds `schemas/VENDOR/NAME/FORMAT/VERSION`.
    Embedded {
        /// The directory.
        path: String,
    },
    /// An Iglu server or a static web site.
    Http {
        /// Base address, with or without one trailing slash.
        uri: String,
        /// Sent as header `apikey`; never printed.
        apikey: Option<String>,
    },
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { path } => f.debug_struct("Embedded").field("path", path).finish(),
            Self::Http { uri, apikey } => {
                let apikey = apikey.as_ref().map(|_| "<redacted>");
                f.debug_struct("Http").field("uri", uri).field("apikey", &apikey).finish()
            }
        }
    }
}

/// Why a resolver configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not self-describing.
    #[error("resolver configuration is not self-describing: {0}")]
    NotSelfDescribing(#[from] ParseError),
    /// Another kind of document.
    #[error("schema {0} does not match criterion {CRITERION}")]
    WrongSchema(String),
    /// A member is missing or has a wrong type.
    #[error("resolver configuration: {0}")]
    Shape(#[from] serde_json::Error),
    /// Names are not unique.
    #[error("{0}")]
    DuplicateNames(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawConfig {
    cache_size: Value,
    #[serde(default)]
    cache_ttl: Value,
    repositories: Vec<RawRepository>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRepository {
    name: String,
    priority: Value,
    vendor_prefixes: Vec<String>,
    connection: RawConnection,
}

#[derive(Deserialize)]
struct RawConnection {
    http: Option<RawHttp>,
    embedded: Option<RawEmbedded>,
}

#[derive(Deserialize)]
struct RawHttp {
    uri: String,
    apikey: Option<String>,
}

#[derive(Deserialize)]
struct RawEmbedded {
    path: String,
}

impl ResolverConfig {
    /// Reads the self-describing document. Unknown members are ignored, `5.0` counts as an integer, and of two kinds
    /// of connection `embedded` wins.
    pub fn parse(document: &Value) -> Result<Self, ConfigError> {
        let SelfDescribing { schema, data } = SelfDescribing::parse(document)?;
        let criterion: SchemaCriterion = CRITERION.parse()?;
        if !criterion.matches(&schema) {
            return Err(ConfigError::WrongSchema(schema.to_string()));
        }
        let raw = RawConfig::deserialize(data)?;
        let repositories: Vec<Repository> = raw.repositories.into_iter().map(repository).collect::<Result<_, _>>()?;
        let config = Self {
            // Zero or less: no cache.
            cache_size: usize::try_from(integer(&raw.cache_size, "cacheSize")?).unwrap_or(0),
            cache_ttl_seconds: match raw.cache_ttl {
                Value::Null => None,
                ref seconds => Some(u64::try_from(integer(seconds, "cacheTtl")?).unwrap_or(0)),
            },
            repositories,
        };
        config.check_names()?;
        Ok(config)
    }

    fn check_names(&self) -> Result<(), ConfigError> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for repository in &self.repositories {
            *counts.entry(&repository.name).or_default() += 1;
        }
        let mut repeated: Vec<_> = counts.into_iter().filter(|&(_, n)| n > 1).collect();
        if repeated.is_empty() {
            return Ok(());
        }
        repeated.sort_unstable();
        let list: Vec<String> = repeated.iter().map(|(name, n)| format!("{name} encountered {n} times")).collect();
        Err(ConfigError::DuplicateNames(format!("Repository names must be unique, {}", list.join(", "))))
    }
}

fn repository(raw: RawRepository) -> Result<Repository, ConfigError> {
    let connection = match (raw.connection.embedded, raw.connection.http) {
        (Some(embedded), _) => Connection::Embedded { path: embedded.path },
        (None, Some(http)) => Connection::Http { uri: http.uri, apikey: http.apikey },
        (None, None) => return Err(shape(format!("connection of {} is neither http nor embedded", raw.name))),
    };
    Ok(Repository {
        priority: integer(&raw.priority, "priority")?,
        name: raw.name,
        vendor_prefixes: raw.vendor_prefixes,
        connection,
    })
}

/// A whole number, however it is written: `5`, `5.0`, `5e0`.
fn integer(value: &Value, member: &str) -> Result<i64, ConfigError> {
    let whole = |n: f64| (n.fract() == 0.0 && n.abs() < 9.0e15).then_some(n as i64);
    value
        .as_i64()
        .or_else(|| value.as_f64().and_then(whole))
        .ok_or_else(|| shape(format!("{member} is not a whole number: {value}")))
}

fn shape(message: String) -> ConfigError {
    ConfigError::Shape(serde::de::Error::custom(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(data: Value) -> Value {
        json!({"schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3", "data": data})
    }

    #[test]
    fn a_configuration_is_read_leniently() {
        let config = ResolverConfig::parse(&document(json!({"cacheSize": 500.0, "cacheTtl": null, "more": 1, "repositories": [
            {"name": "A", "priority": 1, "vendorPrefixes": ["com.x"], "connection": {"http": {"uri": "http://a", "apikey": "secret"}}},
            {"name": "B", "priority": -1.0, "vendorPrefixes": [],
             "connection": {"http": {"uri": "http://b"}, "embedded": {"path": "/e"}}}]})))
        .unwrap();
        assert_eq!((config.cache_size, config.cache_ttl_seconds), (500, None));
        assert_eq!(config.repositories[1].connection, Connection::Embedded { path: "/e".into() });
        assert_eq!(config.repositories[1].priority, -1);
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn repeated_names_fractions_and_other_schemas_are_refused() {
        let entry =
            json!({"name": "A", "priority": 1, "vendorPrefixes": [], "connection": {"embedded": {"path": "/"}}});
        let error = |value: Value| ResolverConfig::parse(&value).unwrap_err().to_string();
        assert_eq!(
            error(document(json!({"cacheSize": 5, "repositories": [entry, entry]}))),
            "Repository names must be unique, A encountered 2 times"
        );
        assert!(error(document(json!({"cacheSize": 5.5, "repositories": [entry]}))).contains("cacheSize"));
        let other = json!({"schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/2-0-0", "data": {}});
        assert!(
            error(other)
                .contains("does not match criterion iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-*")
        );
        let bare = json!({"name": "A", "priority": 1, "vendorPrefixes": [], "connection": {}});
        assert!(error(document(json!({"cacheSize": 5, "repositories": [bare]}))).contains("neither"));
    }
}
