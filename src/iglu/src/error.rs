//! What goes wrong with a self-describing value, as bad rows carry it (iglu-client, section 10).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::SchemaVer;

/// Longest message of a registry failure that is kept, in characters: the published bad-row schema allows no more.
pub const MAX_FAILURE_MESSAGE: usize = 256;

/// One violation of a schema by data. Order among reports means nothing, the order of `targets` does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Report {
    /// English text, starting with the path.
    pub message: String,
    /// Where: `$`, `$.a`, `$.list[0]`; `/` for excessive depth.
    pub path: String,
    /// What was violated; `None` for excessive depth.
    pub keyword: Option<&'static str>,
    /// Arguments of the message.
    pub targets: Vec<String>,
}

/// One fault of a schema itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct SchemaIssue {
    /// Where in the schema document: `$.properties.a.type`.
    pub path: String,
    /// English text.
    pub message: String,
}

/// Why one registry gave no schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RegistryError {
    /// The registry answered that it has no such schema.
    NotFound,
    /// The registry is at fault (5xx, unreadable file).
    RepoFailure(String),
    /// Request, connection or answer are at fault.
    ClientFailure(String),
}

impl RegistryError {
    /// A [`RegistryError::RepoFailure`] with its text cut to [`MAX_FAILURE_MESSAGE`].
    #[must_use]
    pub fn repo(message: impl Into<String>) -> Self {
        Self::RepoFailure(cut(message.into()))
    }

    /// A [`RegistryError::ClientFailure`] with its text cut to [`MAX_FAILURE_MESSAGE`].
    #[must_use]
    pub fn client(message: impl Into<String>) -> Self {
        Self::ClientFailure(cut(message.into()))
    }
}

fn cut(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MAX_FAILURE_MESSAGE) {
        message.truncate(end);
    }
    message
}

impl Serialize for RegistryError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (error, message) = match self {
            Self::NotFound => ("NotFound", None),
            Self::RepoFailure(message) => ("RepoFailure", Some(message)),
            Self::ClientFailure(message) => ("ClientFailure", Some(message)),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("error", error)?;
        if let Some(message) = message {
            map.serialize_entry("message", message)?;
        }
        map.end()
    }
}

/// What asking one registry for one schema gave so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupHistory {
    /// Distinct errors, at most 32.
    pub errors: Vec<RegistryError>,
    /// How often the registry was asked.
    pub attempts: u32,
    /// When it was asked last, in milliseconds since the epoch.
    pub last_attempt_ms: i64,
}

/// No registry gave the schema: what each of them said, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolutionError {
    /// Registry name to history; every registry that was asked is in it.
    pub history: BTreeMap<String, LookupHistory>,
}

impl ResolutionError {
    /// Some registry failed for another reason than not having the schema, so that asking later may help. Enrich stops
    /// on such an error instead of writing a bad row (enrich-core 5.4).
    #[must_use]
    pub fn is_system_failure(&self) -> bool {
        self.history.values().flat_map(|h| &h.errors).any(|error| *error != RegistryError::NotFound)
    }
}

impl fmt::Display for ResolutionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl std::error::Error for ResolutionError {}

impl Serialize for ResolutionError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry<'a> {
            repository: &'a str,
            errors: &'a [RegistryError],
            attempts: u32,
            last_attempt: String,
        }
        let entries: Vec<Entry<'_>> = self
            .history
            .iter()
            .map(|(repository, history)| Entry {
                repository,
                errors: &history.errors,
                attempts: history.attempts,
                last_attempt: instant(history.last_attempt_ms),
            })
            .collect();
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("error", "ResolutionError")?;
        map.serialize_entry("lookupHistory", &entries)?;
        map.end()
    }
}

/// UTC instant with milliseconds only where they are not zero.
fn instant(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(at) if ms % 1000 == 0 => format!("{at:.0}"),
        Ok(at) => format!("{at:.3}"),
        // A clock outside years -9999..9999 is no clock; the field still has to be an instant.
        Err(_) => "1970-01-01T00:00:00Z".to_owned(),
    }
}

/// Why a self-describing value is not accepted. Serializes to the JSON of bad rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientError {
    /// The schema could not be had.
    Resolution(Arc<ResolutionError>),
    /// The data violates the schema.
    Data {
        /// At least one.
        reports: Vec<Report>,
        /// The newer version that was used instead of the requested one, if any.
        superseded_by: Option<SchemaVer>,
    },
    /// The schema itself is faulty.
    Schema {
        /// At least one.
        issues: Vec<SchemaIssue>,
        /// The newer version that was used instead of the requested one, if any.
        superseded_by: Option<SchemaVer>,
    },
}

impl Serialize for ClientError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let superseded_by = match self {
            Self::Resolution(error) => return error.serialize(serializer),
            Self::Data { superseded_by, .. } | Self::Schema { superseded_by, .. } => superseded_by,
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("error", "ValidationError")?;
        match self {
            Self::Data { reports, .. } => map.serialize_entry("dataReports", reports)?,
            Self::Schema { issues, .. } => map.serialize_entry("schemaIssues", issues)?,
            Self::Resolution(_) => {}
        }
        if let Some(version) = superseded_by {
            map.serialize_entry("supersededBy", version)?;
        }
        map.end()
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl std::error::Error for ClientError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_json_has_the_members_in_order() {
        let mut error = ResolutionError::default();
        let history = |errors, ms| LookupHistory { errors, attempts: 1, last_attempt_ms: ms };
        error.history.insert("B".into(), history(vec![RegistryError::repo("x".repeat(300))], 1_714_557_600_123));
        error.history.insert("A".into(), history(vec![RegistryError::NotFound], 1_714_557_600_000));
        let cut = "x".repeat(256);
        let expected = format!(
            r#"{{"error":"ResolutionError","lookupHistory":[{{"repository":"A","errors":[{{"error":"NotFound"}}],"attempts":1,"lastAttempt":"2024-05-01T10:00:00Z"}},{{"repository":"B","errors":[{{"error":"RepoFailure","message":"{cut}"}}],"attempts":1,"lastAttempt":"2024-05-01T10:00:00.123Z"}}]}}"#
        );
        assert_eq!(error.to_string(), expected);
        assert!(error.is_system_failure());
    }

    #[test]
    fn the_superseding_version_follows_the_reports() {
        let report = Report { message: "m".into(), path: "/".into(), keyword: None, targets: vec![] };
        let error = ClientError::Data { reports: vec![report], superseded_by: Some(SchemaVer::new(1, 0, 1)) };
        assert_eq!(
            error.to_string(),
            r#"{"error":"ValidationError","dataReports":[{"message":"m","path":"/","keyword":null,"targets":[]}],"supersededBy":"1-0-1"}"#
        );
    }
}
