//! The original's configuration of a Postgres loader, as a definition of ours (spec postgres-loader, section 10).

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use toml::{Table, Value as Toml};

use super::keys;
use crate::trouble::{Outcome, Trouble};

/// What the original is called in its lease table when nothing is said.
const DEFAULT_NAME: &str = "snowplow-postgres-loader";

/// A configuration file of the original's Postgres loader that was read and checked.
#[derive(Debug, Clone)]
pub struct OriginalPostgres {
    file: PathBuf,
    /// The original's second file, from its own flag.
    resolver: Option<PathBuf>,
    settings: Settings,
    notes: Vec<String>,
}

/// What the file says of what there is here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    name: String,
    /// `enriched` or `bad`.
    purpose: &'static str,
    stream: String,
    start: Option<String>,
    max_read: Option<i64>,
    bad: Option<String>,
    database: String,
    schema: String,
    connections: i64,
    max_records: Option<i64>,
    max_age: Option<Duration>,
}

impl OriginalPostgres {
    /// Reads a file; `${VARIABLE}`s come from the environment.
    ///
    /// # Errors
    /// When it cannot be read, is no HOCON, or a key has a value that cannot be used: all of them.
    pub fn read(file: &Path, resolver: Option<&Path>) -> Outcome<Self> {
        let document = snowmelt_enrich::config::read_hocon(file)
            .map_err(|error| Trouble::user(snowmelt_runtime::failure::explain(&error)))?;
        Self::from_document(file, resolver, document)
    }

    fn from_document(file: &Path, resolver: Option<&Path>, mut document: Value) -> Outcome<Self> {
        if let Some(inner @ Value::Object(_)) = document.get_mut("snowplow") {
            document = inner.take();
        }
        let mut reader = Reader { document: &document, problems: Vec::new(), notes: keys::notes(&document) };
        let settings = reader.settings();
        let told = |text: String| format!("{}: {text}", file.display());
        if !reader.problems.is_empty() {
            return Err(Trouble::User(reader.problems.into_iter().map(told).collect()));
        }
        let notes = reader.notes.into_iter().map(told).collect();
        Ok(Self { file: file.to_owned(), resolver: resolver.map(Path::to_owned), settings, notes })
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The name of the definition that it is alone: the original's `appName`.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// What its writer should know: keys that do nothing here.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A definition with all that it says.
    ///
    /// # Errors
    /// Without the original's resolver file: tables cannot be made.
    pub fn definition(&self) -> Outcome<String> {
        let Some(resolver) = &self.resolver else {
            let message = "needs the original's second file too: --resolver resolver.json";
            return Err(Trouble::user(format!("{}: {message}", self.file.display())));
        };
        let settings = &self.settings;
        let mut source = Table::new();
        source.insert("stream".to_owned(), settings.stream.as_str().into());
        insert(&mut source, "start", settings.start.as_deref());
        insert(&mut source, "max_records", settings.max_read);
        let mut sink = Table::new();
        sink.insert("kind".to_owned(), "postgres".into());
        sink.insert("purpose".to_owned(), settings.purpose.into());
        sink.insert("resolver".to_owned(), absolute(resolver).into());
        self.settle(&mut sink);
        let default_bad = if settings.purpose == "bad" { "bad-2" } else { "bad-1" };
        let mut bad = Table::new();
        bad.insert("stream".to_owned(), settings.bad.as_deref().unwrap_or(default_bad).into());
        let mut document = Table::new();
        document.insert("name".to_owned(), settings.name.as_str().into());
        document.insert("source".to_owned(), source.into());
        document.insert("sink".to_owned(), Toml::Array(vec![sink.into()]));
        document.insert("bad".to_owned(), bad.into());
        Ok(format!("# The Postgres loader of {}.\n{document}", self.file.display()))
    }

    /// Whether a definition loads into Postgres what this one does.
    pub fn fits(&self, text: &str) -> bool {
        text.parse().is_ok_and(|document: Table| sinks(&document).any(|sink| self.fits_sink(sink)))
    }

    /// The definition in `text` with the database of this one; its streams stay, since others write them.
    ///
    /// # Errors
    /// When `text` is no TOML.
    pub fn instead_of(&self, text: &str) -> Result<String, toml::de::Error> {
        let mut document: Table = text.parse()?;
        let all = document.get_mut("sink").and_then(Toml::as_array_mut);
        for sink in all.into_iter().flatten().filter_map(Toml::as_table_mut) {
            if self.fits_sink(sink) {
                self.settle(sink);
                insert(sink, "resolver", self.resolver.as_deref().map(absolute));
            }
        }
        Ok(document.to_string())
    }

    fn fits_sink(&self, sink: &Table) -> bool {
        let is = |key: &str, value: &str| sink.get(key).and_then(Toml::as_str) == Some(value);
        is("kind", "postgres") && is("purpose", self.settings.purpose)
    }

    /// Writes what the file says of the database into a sink.
    fn settle(&self, sink: &mut Table) {
        let settings = &self.settings;
        sink.insert("database".to_owned(), settings.database.as_str().into());
        sink.insert("schema".to_owned(), settings.schema.as_str().into());
        sink.insert("connections".to_owned(), settings.connections.into());
        insert(sink, "max_records", settings.max_records);
        insert(sink, "max_age", settings.max_age.map(|age| format!("{}ms", age.as_millis())));
    }
}

fn sinks(document: &Table) -> impl Iterator<Item = &Table> {
    document.get("sink").and_then(Toml::as_array).into_iter().flatten().filter_map(Toml::as_table)
}

fn insert(table: &mut Table, key: &str, value: Option<impl Into<Toml>>) {
    if let Some(value) = value {
        table.insert(key.to_owned(), value.into());
    }
}

/// Paths of a definition are taken from its own folder, those of the command line from where one is.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Reads keys, and gathers what is wrong with them.
struct Reader<'a> {
    document: &'a Value,
    problems: Vec<String>,
    notes: Vec<String>,
}

impl Reader<'_> {
    fn settings(&mut self) -> Settings {
        let input = self.choice("input.type", &["Kinesis", "PubSub", "Local"], None).unwrap_or_default();
        match input {
            "PubSub" => self.wrong("input.type", "Pub/Sub is not read here; streams are Kinesis's"),
            "Local" => self.wrong("input.type", "files are not loaded by themselves here; put them into a stream"),
            _ => {}
        }
        let purpose = self.choice("purpose", &["ENRICHED_EVENTS", "JSON"], Some("ENRICHED_EVENTS"));
        let purpose = if purpose == Some("JSON") { "bad" } else { "enriched" };
        let start = self.position();
        let bad = self.bad(purpose);
        if let Some("Polling") = self.get("input.retrievalMode").and_then(Value::as_str) {
            self.wrong("input.retrievalMode", "has to be FanOut, or { type = Polling, maxRecords = 10000 }");
        }
        Settings {
            name: self.text("input.appName").unwrap_or_else(|| DEFAULT_NAME.to_owned()),
            purpose,
            stream: if input == "Kinesis" { self.required("input.streamName") } else { String::new() },
            start,
            max_read: self.number("input.retrievalMode.maxRecords", 1, 10_000),
            bad,
            database: self.database(),
            schema: self.required("output.good.schema"),
            connections: self.number("output.good.maxConnections", 1, 1000).unwrap_or(10),
            max_records: self.number("input.checkpointSettings.maxBatchSize", 1, 1_000_000),
            max_age: self.duration("input.checkpointSettings.maxBatchWait"),
        }
    }

    /// Where reading begins, as a definition says it.
    fn position(&mut self) -> Option<String> {
        const KEY: &str = "input.initialPosition";
        if let Some(at) = self.text("input.initialPosition.AT_TIMESTAMP.timestamp") {
            if at.parse::<jiff::Timestamp>().is_err() {
                self.wrong(
                    "input.initialPosition.AT_TIMESTAMP.timestamp",
                    "has to be an instant: 2024-03-05T00:00:00Z",
                );
            }
            return Some(at);
        }
        match self.get(KEY) {
            None => None,
            Some(Value::String(text)) if text == "TRIM_HORIZON" => Some("trim_horizon".to_owned()),
            Some(Value::String(text)) if text == "LATEST" => Some("latest".to_owned()),
            Some(_) => {
                self.wrong(KEY, "has to be TRIM_HORIZON, LATEST or { AT_TIMESTAMP = { timestamp = \"…\" } }");
                None
            }
        }
    }

    /// The bad stream that the file names. Where it names none, bad rows go to a stream all the same.
    fn bad(&mut self, purpose: &str) -> Option<String> {
        let kept = if purpose == "bad" { "bad-2" } else { "bad-1" };
        let to = self.choice("output.bad.type", &["Noop", "Kinesis", "PubSub", "Local"], Some("Noop"));
        match to {
            Some("Kinesis") => return Some(self.required("output.bad.streamName")),
            Some("PubSub") => self.wrong("output.bad.type", "Pub/Sub is not written here; streams are Kinesis's"),
            Some("Local") => {
                self.notes.push(format!("output.bad.path: bad rows go to the stream {kept}, not to a file"))
            }
            Some(_) => {
                self.notes.push(format!("output.bad: bad rows are not thrown away; they go to the stream {kept}"))
            }
            None => {}
        }
        None
    }

    /// The URL of the database, with TLS as the original's driver would have it.
    fn database(&mut self) -> String {
        const MODES: [&str; 6] = ["DISABLE", "ALLOW", "PREFER", "REQUIRE", "VERIFY_CA", "VERIFY_FULL"];
        let host = self.required("output.good.host");
        let port = self.number("output.good.port", 1, 65_535).and_then(|port| u16::try_from(port).ok());
        let names = ["database", "username", "password"].map(|name| self.required(&format!("output.good.{name}")));
        let mode = self.choice("output.good.sslMode", &MODES, Some("REQUIRE")).unwrap_or_default();
        let [database, username, password] = names;
        let url = url(&host, port.unwrap_or(5432), [&database, &username, &password], mode);
        if url.is_none() && !host.is_empty() {
            self.wrong("output.good.host", "is no name of a host");
        }
        url.unwrap_or_default()
    }

    fn get(&self, key: &str) -> Option<&Value> {
        let found = key.split('.').try_fold(self.document, |value, name| value.get(name))?;
        (!found.is_null()).then_some(found)
    }

    fn wrong(&mut self, key: &str, message: &str) {
        let secret = key == "output.good.password";
        let shown = self.get(key).filter(|value| !secret && !value.is_object()).map(|value| format!(" = {value}"));
        self.problems.push(format!("{key}{}: {message}", shown.unwrap_or_default()));
    }

    /// HOCON's numbers and flags are texts where a text is wanted.
    fn text(&mut self, key: &str) -> Option<String> {
        match self.get(key)? {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            _ => {
                self.wrong(key, "has to be a text");
                None
            }
        }
    }

    fn required(&mut self, key: &str) -> String {
        if self.get(key).is_none() {
            self.problems.push(format!("{key}: is missing"));
        }
        self.text(key).unwrap_or_default()
    }

    fn choice(&mut self, key: &str, choices: &[&'static str], default: Option<&'static str>) -> Option<&'static str> {
        let Some(value) = self.get(key) else {
            if default.is_none() {
                self.problems.push(format!("{key}: is missing; one of {}", choices.join(", ")));
            }
            return default;
        };
        let found = choices.iter().find(|choice| value.as_str() == Some(choice)).copied();
        if found.is_none() {
            self.wrong(key, &format!("is not one of {}", choices.join(", ")));
        }
        found
    }

    fn number(&mut self, key: &str, low: i64, high: i64) -> Option<i64> {
        let number = match self.get(key)? {
            Value::Number(number) => number.as_i64(),
            // From the environment.
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| (low..=high).contains(number));
        if number.is_none() {
            self.wrong(key, &format!("has to be a whole number from {low} to {high}"));
        }
        number
    }

    fn duration(&mut self, key: &str) -> Option<Duration> {
        let duration = match self.get(key)? {
            Value::Number(number) => number.as_u64().map(Duration::from_millis),
            Value::String(text) => keys::duration(text),
            _ => None,
        };
        if duration.is_none() {
            self.wrong(key, "has to be a duration, such as 10 seconds");
        }
        duration
    }
}

fn url(host: &str, port: u16, [database, username, password]: [&str; 3], mode: &str) -> Option<String> {
    let mut url = reqwest::Url::parse("postgres://localhost").ok()?;
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    url.set_host(Some(&host)).ok()?;
    url.set_port(Some(port)).ok()?;
    url.set_username(username).ok()?;
    url.set_password(Some(password)).ok()?;
    url.path_segments_mut().ok()?.pop_if_empty().push(database);
    url.query_pairs_mut().append_pair("sslmode", &mode.to_lowercase().replace('_', "-"));
    Some(url.to_string())
}

#[cfg(test)]
#[path = "postgres_tests.rs"]
mod tests;
