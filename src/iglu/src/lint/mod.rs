//! What is wrong or doubtful about a schema before it is published (iglu-server spec, sections 7.1 and 7.2).
//!
//! Pure: a document goes in, issues come out. [`lint`] is what the server runs on every schema that is published, and
//! `snowmelt iglu lint` on files.

mod linters;
mod model;

#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::Value;

use crate::Report;
use crate::validate::{TOO_DEEP, is_within_depth, syntax_reports, unusable_parts};

/// How bad an issue is. A schema with an [`Level::Error`] is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Advice.
    Info,
    /// Works, but probably not as meant.
    Warning,
    /// Cannot be used.
    Error,
}

impl Level {
    /// The level as reports spell it: `INFO`, `WARNING`, `ERROR`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// One thing to say about a schema. Serializes to the report entry of the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Issue {
    /// English text.
    pub message: String,
    /// How bad it is.
    pub level: Level,
    /// Where in the schema: `/properties/a`, `/` for the root.
    pub pointer: String,
    /// The linter that said so, for skipping it: `syntax`, `rootObject`, `numericMinMax`, ...
    #[serde(skip)]
    pub linter: &'static str,
}

/// Everything to say about a schema document with its `self` and `$schema`, each issue once, no order promised.
#[must_use]
pub fn lint(document: &Value, max_json_depth: usize) -> Vec<Issue> {
    let root = |linter, message: &str| Issue {
        message: message.to_owned(),
        level: Level::Error,
        pointer: "/".to_owned(),
        linter,
    };
    if !is_within_depth(document, max_json_depth) {
        return vec![root("syntax", TOO_DEEP)];
    }
    let (errors, warnings) = syntax_reports(document);
    let of_report = |level| {
        move |report: Report| Issue {
            pointer: pointer_of(&report.path),
            message: report.message,
            level,
            linter: "syntax",
        }
    };
    let mut issues: Vec<Issue> = errors.into_iter().map(of_report(Level::Error)).collect();
    issues.extend(warnings.into_iter().map(of_report(Level::Warning)));
    if model::is_readable(document) {
        linters::run(document, &mut issues);
        issues.extend(unusable_parts(document).iter().map(|fault| root("usable", fault)));
        foreign_references(document, "", &mut issues);
    } else {
        issues.push(root("syntax", "Cannot extract JSON Schema"));
    }
    if !is_self_describing(document) {
        issues.push(root("selfDescribing", "JSON Schema is not self-describing"));
    }
    let vendor = document.get("self").and_then(|own| own.get("vendor")).and_then(Value::as_str).unwrap_or_default();
    if !vendor.is_empty() && vendor.bytes().all(|b| b == b'.') {
        // The pattern allows it, but as a folder it is another one.
        let message = "A vendor needs a character that is no dot".to_owned();
        issues.push(Issue { message, level: Level::Error, pointer: "/self/vendor".to_owned(), linter: "vendor" });
    }
    let mut seen = std::collections::HashSet::new();
    issues.retain(|issue| seen.insert(issue.clone()));
    issues
}

/// Documents that schemas of Iglu Central refer to: such references are doubtful, others are errors.
const KNOWN_DOCUMENTS: [&str; 3] =
    ["http://json-schema.org/draft-04/schema", "http://iglucentral.com/schemas/", "https://iglucentral.com/schemas/"];

/// References to other documents are never followed: whatever they should check, would pass.
fn foreign_references(value: &Value, pointer: &str, issues: &mut Vec<Issue>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                foreign_references(item, &format!("{pointer}/{index}"), issues);
            }
        }
        Value::Object(members) => {
            for (name, member) in members.iter().filter(|(name, _)| !matches!(name.as_str(), "enum" | "default")) {
                match member {
                    Value::String(target) if name == "$ref" && target.contains("://") => issues.push(Issue {
                        message: format!("Reference {target} leads to another document and is not followed"),
                        level: match KNOWN_DOCUMENTS.iter().any(|known| target.starts_with(known)) {
                            true => Level::Warning,
                            false => Level::Error,
                        },
                        pointer: if pointer.is_empty() { "/".to_owned() } else { pointer.to_owned() },
                        linter: "foreignReference",
                    }),
                    _ => foreign_references(member, &format!("{pointer}/{name}"), issues),
                }
            }
        }
        _ => {}
    }
}

/// Whether the document has a complete `self` with a version and the right `$schema`. Characters of its names do not
/// count here: the syntax check refuses those that no key can have.
fn is_self_describing(document: &Value) -> bool {
    let own = |name: &str| document.get("self").and_then(|own| own.get(name)).and_then(Value::as_str);
    let named = ["vendor", "name", "format"].into_iter().all(|name| own(name).is_some());
    let version = own("version").is_some_and(|version| version.parse::<crate::SchemaVer>().is_ok());
    named && version && document.get("$schema").and_then(Value::as_str) == Some(crate::META_SCHEMA)
}

/// The path of a validator's message as a pointer: `$.self.name` is `/self/name`; a path with another `$` is the root.
fn pointer_of(path: &str) -> String {
    match path.strip_prefix('$') {
        None | Some("") => "/".to_owned(),
        Some(rest) if rest.contains('$') => "/".to_owned(),
        Some(rest) => rest.replace('.', "/"),
    }
}
