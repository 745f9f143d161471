//! Validation with the reference validator's verdicts and words (iglu-client, sections 9, 11 and 12).

mod data;
mod format;
mod meta;
mod names;
mod number;
mod pattern;
mod program;
mod shape;
mod syntax;
mod walk;

use serde_json::Value;

use crate::{META_SCHEMA, Report, SchemaIssue};
pub(crate) use data::Data;
use program::Program;
pub(crate) use syntax::{syntax_reports, unusable_parts};

/// Words of the reference for a value that is nested too deeply.
pub(crate) const TOO_DEEP: &str = "Maximum allowed JSON depth exceeded";

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Validator {
    program: Program,
}

/// What is wrong with data, or with the part of the schema that the data reached.
#[derive(Debug, PartialEq)]
pub(crate) enum Violation {
    Data(Vec<Report>),
    Schema(SchemaIssue),
}

impl Validator {
    /// Compiles. See [`schema_issues`] for what should be looked at before.
    pub(crate) fn new(document: &Value) -> Self {
        Self { program: Program::compile(document) }
    }

    /// Whether the data is valid; allocates nothing.
    #[inline]
    pub(crate) fn is_valid<'d>(&self, data: impl Data<'d>) -> bool {
        walk::is_valid(&self.program, data) == Ok(true)
    }

    /// All violations.
    #[inline]
    pub(crate) fn validate<'d>(&self, data: impl Data<'d>) -> Result<(), Violation> {
        if self.is_valid(data) { Ok(()) } else { self.violations(data) }
    }

    #[cold]
    fn violations<'d>(&self, data: impl Data<'d>) -> Result<(), Violation> {
        match walk::reports(&self.program, data) {
            Ok(reports) if reports.is_empty() => Ok(()),
            Ok(reports) => Err(Violation::Data(reports)),
            Err(reason) => Err(Violation::Schema(SchemaIssue { path: "$".into(), message: reason.to_owned() })),
        }
    }
}

/// Faults of a schema document: too deep, against the meta-schema, or of another dialect.
pub(crate) fn schema_issues(document: &Value, max_depth: usize) -> Vec<SchemaIssue> {
    if !is_within_depth(document, max_depth) {
        return vec![SchemaIssue { path: "/".into(), message: TOO_DEEP.into() }];
    }
    let issues: Vec<SchemaIssue> = match walk::reports(&meta::META, document) {
        Ok(reports) => reports.into_iter().map(|r| SchemaIssue { path: r.path, message: r.message }).collect(),
        Err(reason) => vec![SchemaIssue { path: "$".into(), message: reason.to_owned() }],
    };
    if !issues.is_empty() {
        return issues;
    }
    match document.get("$schema").and_then(Value::as_str) {
        Some(uri) if uri.trim_end_matches('#') != META_SCHEMA.trim_end_matches('#') => {
            vec![SchemaIssue { path: "$".into(), message: format!("Unknown MetaSchema: {uri}") }]
        }
        _ => Vec::new(),
    }
}

/// The report for data that is nested too deeply.
pub(crate) fn too_deep() -> Report {
    Report { message: TOO_DEEP.into(), path: "/".into(), keyword: None, targets: Vec::new() }
}

/// Whether no value is nested deeper than `max` levels; a scalar at the root is level 1.
#[must_use]
pub fn is_within_depth(value: &Value, max: usize) -> bool {
    let Some(below) = max.checked_sub(1) else { return false };
    match value {
        Value::Array(items) => items.iter().all(|item| is_within_depth(item, below)),
        Value::Object(members) => members.values().all(|member| is_within_depth(member, below)),
        _ => true,
    }
}
