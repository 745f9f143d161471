//! Configuration, and reading the documents of the enrichments directory: the only I/O of this crate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use snowmelt_iglu::ResolverOptions;
use snowmelt_protocol::badrow::Processor;
use snowmelt_protocol::event::{Column, Kind};

use crate::enrichments::{ConfigDocument, ConfigError};
use crate::lengths::{Limits, UnsupportedLimits};

/// Settings of enrichment, with the original's defaults (enrich-core 7.4).
#[derive(Debug, Clone)]
pub struct EnrichConfig {
    /// Who we are in bad rows and in v_etl.
    pub processor: Processor,
    /// `validation.acceptInvalid`: events with too long fields are good.
    pub accept_invalid: bool,
    /// `validation.atomicFieldsLimits` over the defaults.
    pub limits: Limits,
    /// `validation.maxJsonDepth`: 50. Values above [`MAX_JSON_DEPTH`] count as that.
    pub max_json_depth: usize,
    /// `decompression.maxBytesSinglePayload`: 10,000,000 bytes.
    pub max_payload_bytes: usize,
    /// `output.good.maxRecordSize`: 1,000,000 bytes, for all outputs.
    pub max_record_bytes: usize,
    /// Whether events with errors are also given as [`Outputs::failed`](crate::Outputs).
    pub failed_output: bool,
    /// `output.good.partitionKey`; random keys without.
    pub partition_key: Option<Column>,
    /// `assetsUpdatePeriod`: how long after the start, and after each refresh, the files of the enrichments are looked
    /// at again; 7 days.
    pub assets_update_period: Duration,
    /// `iglu.maxRetry`, `iglu.maxWait`, `http.client.requestTimeout` and the depth of JSON: how registries are asked.
    pub resolver: ResolverOptions,
}

/// The deepest JSON that can be allowed: readers of bad rows refuse deeper ones, `serde_json` among them.
pub const MAX_JSON_DEPTH: usize = 120;

impl EnrichConfig {
    /// The defaults, for a processor.
    pub fn new(processor: Processor) -> Self {
        EnrichConfig {
            processor,
            accept_invalid: false,
            limits: Limits::default(),
            max_json_depth: 50,
            max_payload_bytes: 10_000_000,
            max_record_bytes: 1_000_000,
            failed_output: false,
            partition_key: None,
            assets_update_period: Duration::from_secs(7 * 24 * 3600),
            resolver: ResolverOptions::default(),
        }
    }

    /// The settings in the original's application configuration (enrich-core 7.4), over the defaults. Keys may be
    /// nested under `snowplow`, where they win; keys that do not concern enrichment are ignored.
    pub fn from_document(processor: Processor, document: &Value) -> Result<Self, SettingError> {
        let mut config = EnrichConfig::new(processor);
        let find = |path: &str| find(document, path);
        if let Some(value) = find("validation.acceptInvalid") {
            config.accept_invalid = flag("validation.acceptInvalid", value)?;
        }
        for (path, setting) in [
            ("validation.maxJsonDepth", &mut config.max_json_depth),
            ("decompression.maxBytesSinglePayload", &mut config.max_payload_bytes),
            ("output.good.maxRecordSize", &mut config.max_record_bytes),
        ] {
            if let Some(value) = find(path) {
                *setting = number(path, value)?;
            }
        }
        if let Some(Value::Object(limits)) = find("validation.atomicFieldsLimits") {
            let limit = |(name, value): (&'_ String, &Value)| -> Result<(String, u32), SettingError> {
                let limit = number("validation.atomicFieldsLimits", value)?;
                Ok((name.clone(), u32::try_from(limit).unwrap_or(u32::MAX)))
            };
            let limits: Vec<(String, u32)> = limits.iter().map(limit).collect::<Result<_, _>>()?;
            config.limits = Limits::with_overrides(limits.iter().map(|(name, limit)| (name.as_str(), *limit)))?;
        }
        if let Some(name) = find("output.good.partitionKey").and_then(Value::as_str) {
            let column = Column::from_name(name).filter(|column| column.kind() != Kind::Json);
            config.partition_key = Some(column.ok_or_else(|| SettingError::NotAField(name.to_owned()))?);
        }
        if let Some(value) = find("assetsUpdatePeriod") {
            config.assets_update_period = duration("assetsUpdatePeriod", value)?;
        }
        if let Some(value) = find("iglu.maxRetry") {
            config.resolver.max_retries = u32::try_from(number("iglu.maxRetry", value)?).unwrap_or(u32::MAX);
        }
        for (path, setting) in [
            ("iglu.maxWait", &mut config.resolver.max_retry_wait),
            ("http.client.requestTimeout", &mut config.resolver.request_timeout),
        ] {
            if let Some(value) = find(path) {
                *setting = duration(path, value)?;
            }
        }
        config.resolver.max_json_depth = config.max_json_depth;
        config.failed_output = find("output.failed.streamName").is_some();
        Ok(config)
    }
}

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// A value of another type.
    #[error("{path}: expected {expected}, found {found}")]
    Type {
        /// Where.
        path: &'static str,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Limits of fields that have none.
    #[error(transparent)]
    Limits(#[from] UnsupportedLimits),
    /// A partition key that is no scalar column.
    #[error("{0} is not a field of EnrichedEvent")]
    NotAField(String),
}

fn find<'v>(document: &'v Value, path: &str) -> Option<&'v Value> {
    let within = |root: &'v Value| path.split('.').try_fold(root, |value, name| value.get(name));
    let found = document.get("snowplow").and_then(within).or_else(|| within(document));
    found.filter(|value| !value.is_null())
}

/// HOCON knows only texts where a value was substituted from the environment.
fn flag(path: &'static str, value: &Value) -> Result<bool, SettingError> {
    let text = value.as_str().map(str::to_ascii_lowercase);
    match (value.as_bool(), text.as_deref()) {
        (Some(flag), _) => Ok(flag),
        (None, Some("true" | "yes" | "on")) => Ok(true),
        (None, Some("false" | "no" | "off")) => Ok(false),
        _ => Err(SettingError::Type { path, expected: "a boolean", found: value.to_string() }),
    }
}

fn number(path: &'static str, value: &Value) -> Result<usize, SettingError> {
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
    number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| SettingError::Type {
        path,
        expected: "a positive number",
        found: value.to_string(),
    })
}

/// As HOCON writes it: `7 days`, `500 ms`; a bare number means milliseconds. Never nothing.
fn duration(path: &'static str, value: &Value) -> Result<Duration, SettingError> {
    let wrong = || SettingError::Type { path, expected: "a duration such as \"7 days\"", found: value.to_string() };
    let text = value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned());
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let unit_seconds = match unit.trim() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "second" | "seconds" => 1.0,
        "m" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * unit_seconds;
    Duration::try_from_secs_f64(seconds).ok().filter(|period| !period.is_zero()).ok_or_else(wrong)
}

/// Why a configuration file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A directory or file.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is no HOCON or JSON.
    #[error("{} is not HOCON: {reason}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A document is not a configuration of an enrichment.
    #[error("{}: {error}", path.display())]
    Document {
        /// Which.
        path: PathBuf,
        /// Why.
        error: ConfigError,
    },
    /// A document has not the shape that its enrichment wants; names the file itself.
    #[error(transparent)]
    Shape(ConfigError),
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> FileError {
    let path = path.to_path_buf();
    move |source| FileError::Read { path, source }
}

/// Reads a file of HOCON or JSON as JSON, with substitutions from the environment.
pub fn read_hocon(path: &Path) -> Result<Value, FileError> {
    let text = std::fs::read_to_string(path).map_err(unreadable(path))?;
    parse(&text).map_err(|reason| FileError::Syntax { path: path.to_path_buf(), reason })
}

/// Reads every `.json` file of a directory (not of those below it), in the order of their names, and checks the shape
/// of what is in them.
pub fn read_enrichments(directory: &Path) -> Result<Vec<ConfigDocument>, FileError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable(directory))? {
        let path = entry.map_err(unreadable(directory))?.path();
        if path.extension().is_some_and(|extension| extension == "json") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let document = |path: PathBuf| {
        let json = read_hocon(&path)?;
        let document = match ConfigDocument::from_json(&json) {
            Ok(document) => document.from_file(&path),
            Err(error) => return Err(FileError::Document { path, error }),
        };
        document.check().map_err(FileError::Shape)?;
        Ok(document)
    };
    paths.into_iter().map(document).collect()
}

/// Plain JSON keeps its numbers' text; anything else is HOCON with substitutions from the environment.
fn parse(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(json) => Ok(json),
        Err(_) => {
            let config = hocon::parse(text).map_err(|error| error.to_string())?;
            config.deserialize().map_err(|error| error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(document: Value) -> Result<EnrichConfig, SettingError> {
        EnrichConfig::from_document(Processor::new("a", "1.0.0"), &document)
    }

    #[test]
    fn settings_are_taken_from_the_originals_keys_and_others_ignored() {
        let config = read(json!({
            "license": {"accept": true},
            "validation": {"acceptInvalid": "true", "maxJsonDepth": 40, "atomicFieldsLimits": {"app_id": 5}},
            "output": {"good": {"streamName": "x", "partitionKey": "user_id"}, "failed": {"streamName": "f"}},
            "snowplow": {"validation": {"maxJsonDepth": "30"}},
        }))
        .unwrap();
        assert!(config.accept_invalid && config.failed_output);
        assert_eq!((config.max_json_depth, config.partition_key), (30, Some(Column::UserId)));
    }

    #[test]
    fn registries_are_asked_as_the_file_says() {
        let config = read(json!({
            "iglu": {"maxRetry": 7, "maxWait": "250 millis"}, "http": {"client": {"requestTimeout": "2 seconds"}},
            "validation": {"maxJsonDepth": 40},
        }))
        .unwrap();
        let asked = (config.resolver.max_retries, config.resolver.max_retry_wait, config.resolver.request_timeout);
        assert_eq!(asked, (7, Duration::from_millis(250), Duration::from_secs(2)));
        assert_eq!(config.resolver.max_json_depth, 40);
        assert!(read(json!({"iglu": {"maxRetry": "often"}})).unwrap_err().to_string().starts_with("iglu.maxRetry: "));
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        let error = |document| read(document).unwrap_err().to_string();
        assert_eq!(
            error(json!({"output": {"good": {"partitionKey": "nope"}}})),
            "nope is not a field of EnrichedEvent"
        );
        let text = error(json!({"validation": {"maxJsonDepth": []}}));
        assert_eq!(text, "validation.maxJsonDepth: expected a positive number, found []");
        assert!(
            error(json!({"validation": {"atomicFieldsLimits": {"x": 1}}})).starts_with("Configured atomic fields: [x]")
        );
    }

    #[test]
    fn the_period_of_refreshes_is_a_duration() {
        let period =
            |value: Value| read(json!({"assetsUpdatePeriod": value})).map(|config| config.assets_update_period);
        assert_eq!(period(json!("7 days")), Ok(Duration::from_secs(604_800)));
        assert_eq!(period(json!(1500)), Ok(Duration::from_millis(1_500)));
        let text = period(json!("soon")).unwrap_err().to_string();
        assert_eq!(text, r#"assetsUpdatePeriod: expected a duration such as "7 days", found "soon""#);
        assert!(period(json!("0 s")).is_err() && period(json!("1e9 days")).is_err());
    }

    #[test]
    fn a_mistake_in_an_enrichment_is_told_with_file_key_and_value() {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"{"schema": "iglu:com.snowplowanalytics.snowplow/anon_ip/jsonschema/1-0-1",
            "data": {"vendor": "v", "name": "n", "enabled": false, "parameters": {"anonOctets": "two"}}}"#;
        std::fs::write(directory.path().join("anon.json"), text).unwrap();
        let error = read_enrichments(directory.path()).unwrap_err().to_string();
        for part in ["anon.json: ", "parameters.anonOctets", "\"two\""] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn enrichments_are_read_in_the_order_of_their_names_and_may_be_hocon() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("b.json", r#"{"schema": "iglu:a/second/jsonschema/1-0-0", "data": {"n": 1.50}}"#);
        write("a.json", "schema = \"iglu:a/first/jsonschema/1-0-0\"\ndata { home = ${PATH} } # HOCON");
        write("c.txt", "not read");
        let documents = read_enrichments(directory.path()).unwrap();
        let names: Vec<&str> = documents.iter().map(|document| document.schema.name()).collect();
        assert_eq!(names, ["first", "second"]);
        assert!(documents[0].data["home"].as_str().is_some_and(|path| !path.is_empty()));
        assert_eq!(documents[1].data.to_string(), r#"{"n":1.50}"#);
        write("d.json", "{ nonsense");
        assert!(read_enrichments(directory.path()).unwrap_err().to_string().contains("d.json is not HOCON"));
    }
}
