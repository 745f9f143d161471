//! Configuration files of the original as definitions of ours: the collector's `config.hocon` here, the Postgres loader's in
//! [`postgres`].

mod keys;
pub mod postgres;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use snowmelt_collector::CollectorConfig;
use snowmelt_collector::config::hocon::{self, HoconConfig};
use toml::{Table, Value as Toml};

use crate::trouble::{Outcome, Trouble};

/// The streams of the quick start, for a file that names none.
const DEFAULT_STREAMS: [&str; 2] = ["raw", "bad-1"];

/// A `config.hocon` that was read and checked.
#[derive(Debug, Clone)]
pub struct OriginalCollector {
    file: PathBuf,
    read: HoconConfig,
}

impl OriginalCollector {
    /// Reads a file; `${VARIABLE}`s come from the environment, `include`s from its folder.
    ///
    /// # Errors
    /// When it cannot be read, is no HOCON, or a key has a value that cannot be used.
    pub fn read(file: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Trouble::user(format!("{} can't be read: {error}", file.display())))?;
        Self::parse(file, &text, &std::env::vars().collect())
    }

    fn parse(file: &Path, text: &str, environment: &HashMap<String, String>) -> Outcome<Self> {
        let wrong = |error: &dyn std::fmt::Display| Trouble::user(format!("{}: {error}", file.display()));
        let folder = file.parent().unwrap_or(Path::new(""));
        let read = hocon::parse(text, folder, environment).map_err(|error| match error {
            hocon::HoconError::Values(problems) => {
                Trouble::User(problems.iter().map(|problem| format!("{}: {problem}", file.display())).collect())
            }
            error => wrong(&error),
        })?;
        read.config.check().map_err(|error| wrong(&error))?;
        Ok(Self { file: file.to_owned(), read })
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The name of the definition that it is alone.
    pub fn name(&self) -> &'static str {
        "collector"
    }

    /// What its writer should know: keys that do nothing here.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.read.notes.iter().map(|note| format!("{}: {note}", self.file.display()))
    }

    /// A definition with all that it says.
    pub fn definition(&self) -> String {
        let streams = &self.read.config.streams;
        let [good, bad] = DEFAULT_STREAMS;
        let mut collector = Table::new();
        collector.insert("listen".to_owned(), listen(&self.read.config).into());
        collector.insert("good".to_owned(), streams.good.name.as_deref().unwrap_or(good).into());
        collector.insert("bad".to_owned(), streams.bad.name.as_deref().unwrap_or(bad).into());
        collector.insert("settings".to_owned(), self.settings());
        let mut document = Table::new();
        document.insert("name".to_owned(), self.name().into());
        document.insert("collector".to_owned(), collector.into());
        format!("# The collector of {}.\n{document}", self.file.display())
    }

    /// The definition in `text` with its collector's settings replaced by these; its streams stay, since others read them.
    ///
    /// # Errors
    /// When `text` is no TOML.
    pub fn instead_of(&self, text: &str) -> Result<String, toml::de::Error> {
        let mut document: Table = text.parse()?;
        if let Some(Toml::Table(collector)) = document.get_mut("collector") {
            collector.remove("config");
            collector.insert("settings".to_owned(), self.settings());
            if ["interface", "port", "ssl"].iter().any(|key| self.read.written.get(key).is_some()) {
                collector.insert("listen".to_owned(), listen(&self.read.config).into());
            }
        }
        Ok(document.to_string())
    }

    /// What it says, without what a definition says elsewhere: the address and the streams.
    fn settings(&self) -> Toml {
        let mut settings = self.read.written.clone();
        let tls = self.read.config.ssl.enable;
        remove(&mut settings, &["interface"]);
        remove(&mut settings, if tls { &["ssl", "port"] } else { &["port"] });
        remove(&mut settings, &["streams", "good", "name"]);
        remove(&mut settings, &["streams", "bad", "name"]);
        prune(&mut settings);
        to_toml(&settings).unwrap_or_else(|| Toml::Table(Table::new()))
    }
}

/// Where it listens, `host:port`.
fn listen(config: &CollectorConfig) -> String {
    let (host, port) = config.address();
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn remove(value: &mut Value, path: &[&str]) {
    if let ([name, rest @ ..], Value::Object(members)) = (path, value) {
        if rest.is_empty() {
            members.remove(*name);
        } else if let Some(member) = members.get_mut(*name) {
            remove(member, rest);
        }
    }
}

/// Drops empty tables, which say nothing.
fn prune(value: &mut Value) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(prune);
        members.retain(|_, member| member.as_object().is_none_or(|members| !members.is_empty()));
    }
}

/// TOML has no null.
pub(super) fn to_toml(value: &Value) -> Option<Toml> {
    let table = |members: &Map<String, Value>| {
        members.iter().filter_map(|(name, member)| Some((name.clone(), to_toml(member)?))).collect::<Table>()
    };
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => Toml::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Toml::Integer(whole),
            None => Toml::Float(number.as_f64()?),
        },
        Value::String(text) => Toml::String(text.clone()),
        Value::Array(items) => Toml::Array(items.iter().filter_map(to_toml).collect()),
        Value::Object(members) => Toml::Table(table(members)),
    })
}

#[cfg(test)]
mod tests;
