//! Configuration documents of enrichments and the files they name (enrichments 1, 2).

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;
use snowmelt_iglu::{ParseError, SchemaKey, SelfDescribing};
use snowmelt_protocol::badrow::EnrichmentRef;

/// One self-describing configuration document.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigDocument {
    /// Its schema; the name alone selects the enrichment.
    pub schema: SchemaKey,
    /// Its data: `enabled`, `parameters`, and `vendor` and `name`, which nobody looks at.
    pub data: Value,
    /// The file it was read from, which errors name.
    pub file: Option<PathBuf>,
}

/// Why enrichments cannot be built from their configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The document does not name its schema.
    #[error("enrichment configuration is not self-describing: {0}")]
    NotSelfDescribing(#[from] ParseError),
    /// Right name, wrong version.
    #[error("Schema key {schema} is not supported. A '{name}' enrichment must have schema {criterion}.")]
    UnsupportedSchema {
        /// What the document claims.
        schema: String,
        /// The enrichment's name.
        name: String,
        /// What is supported.
        criterion: String,
    },
    /// The document has not the shape that its enrichment wants: each fault with its key and value.
    #[error("configuration of '{name}' is wrong: {faults}")]
    Shape {
        /// Schema name of the enrichment.
        name: String,
        /// What is wrong, parted by `; `.
        faults: String,
    },
    /// Any of the others, about the document of one file.
    #[error("{}: {error}", file.display())]
    InFile {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        error: Box<ConfigError>,
    },
    /// A parameter is missing or has another type.
    #[error("Could not extract {path} as {expected} from supplied JSON due to {reason}")]
    Parameter {
        /// Dotted path.
        path: String,
        /// Type wanted.
        expected: &'static str,
        /// What stands there instead.
        reason: String,
    },
    /// A file that the configuration names is not there or cannot be read.
    #[error("Can't build enrichments registry: asset {uri}: {reason}")]
    Asset {
        /// Address of the file.
        uri: String,
        /// What is wrong.
        reason: String,
    },
    /// A value that the schema lets through but that makes no sense.
    #[error("Can't build enrichments registry: {enrichment}: {reason}")]
    Invalid {
        /// Schema name of the enrichment.
        enrichment: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The enrichment exists in the original but not here.
    #[error(
        "enrichment '{0}' is not available in this version; set \"enabled\": false in its configuration to run without it"
    )]
    NotAvailable(String),
}

impl ConfigDocument {
    /// Reads `{"schema": ..., "data": ...}`.
    pub fn from_json(json: &Value) -> Result<Self, ConfigError> {
        let SelfDescribing { schema, data } = SelfDescribing::parse(json)?;
        Ok(ConfigDocument { schema, data: data.clone(), file: None })
    }

    /// The same, remembering the file it was read from.
    #[must_use]
    pub fn from_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// Whether the document has the shape that the enrichment of its name wants, whether or not it is enabled.
    pub fn check(&self) -> Result<(), ConfigError> {
        super::shapes::check(self).map_err(|error| self.named(error))
    }

    /// The error with the document's file in front.
    pub(super) fn named(&self, error: ConfigError) -> ConfigError {
        match &self.file {
            Some(file) => ConfigError::InFile { file: file.clone(), error: Box::new(error) },
            None => error,
        }
    }

    /// False only when the document says `"enabled": false`.
    pub fn enabled(&self) -> bool {
        self.data.get("enabled") != Some(&Value::Bool(false))
    }

    /// Its `parameters`.
    pub fn settings(&self) -> Settings<'_> {
        const NONE: &Value = &Value::Null;
        Settings { value: self.data.get("parameters").unwrap_or(NONE), path: Cow::Borrowed("parameters") }
    }

    /// How failures of the enrichment that this document configures show it.
    pub fn id(&self, identifier: &'static str) -> EnrichmentRef {
        EnrichmentRef { schema_key: self.schema.uri().to_owned().into(), identifier: identifier.into() }
    }
}

/// A part of a configuration document, with typed access that reports what is wrong.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    value: &'a Value,
    /// Dotted, for messages.
    path: Cow<'a, str>,
}

impl<'a> Settings<'a> {
    /// The value itself.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// A member; `None` when absent or null.
    pub fn member(&self, name: &str) -> Option<&'a Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    /// A member that must be there.
    pub fn required(&self, name: &str, expected: &'static str) -> Result<&'a Value, ConfigError> {
        self.member(name).ok_or_else(|| self.error(name, expected, "it is missing".to_owned()))
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<&'a str, ConfigError> {
        let value = self.required(name, "String")?;
        value.as_str().ok_or_else(|| self.error(name, "String", format!("found {value}")))
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Result<i64, ConfigError> {
        let value = self.required(name, "Int")?;
        value.as_i64().ok_or_else(|| self.error(name, "Int", format!("found {value}")))
    }

    /// A boolean, `default` when absent.
    pub fn flag_or(&self, name: &str, default: bool) -> Result<bool, ConfigError> {
        let Some(value) = self.member(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.error(name, "Boolean", format!("found {value}")))
    }

    /// An object, as settings of their own.
    pub fn object(&self, name: &str) -> Result<Settings<'a>, ConfigError> {
        let value = self.required(name, "Object")?;
        if !value.is_object() {
            return Err(self.error(name, "Object", format!("found {value}")));
        }
        Ok(Settings { value, path: Cow::Owned(format!("{}.{name}", self.path)) })
    }

    /// A list of texts.
    pub fn texts(&self, name: &str) -> Result<Vec<&'a str>, ConfigError> {
        let value = self.required(name, "List[String]")?;
        let texts = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
        texts.ok_or_else(|| self.error(name, "List[String]", format!("found {value}")))
    }

    /// An error about a member.
    pub fn error(&self, name: &str, expected: &'static str, reason: String) -> ConfigError {
        ConfigError::Parameter { path: format!("{}.{name}", self.path), expected, reason }
    }

    /// `uri` and `database` of a file put together, as [`Assets`] knows it.
    pub fn asset_uri(uri: &str, database: &str) -> String {
        let slash = if uri.ends_with('/') { "" } else { "/" };
        format!("{uri}{slash}{database}")
    }
}

/// The files that configurations name, in memory, by URI. Fetching them is the caller's.
#[derive(Debug, Clone, Default)]
pub struct Assets {
    files: HashMap<String, Bytes>,
}

impl Assets {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub fn insert(&mut self, uri: impl Into<String>, content: Bytes) {
        self.files.insert(uri.into(), content);
    }

    /// A file's content.
    pub fn get(&self, uri: &str) -> Result<&Bytes, ConfigError> {
        self.files
            .get(uri)
            .ok_or_else(|| ConfigError::Asset { uri: uri.to_owned(), reason: "it was not downloaded".to_owned() })
    }
}
