//! The syntax check of the lint: a schema document as data against three schemas (iglu-server spec, section 7.1 a).

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::meta::{META, draft_04};
use super::program::Program;
use super::walk;
use crate::{META_SCHEMA, Report};

const VERSION: &str = "^[1-9][0-9]*(-(0|[1-9][0-9]*)){2}$";

/// `self`, `$schema` and supersession as a registry wants them.
static SELF_SYNTAX: LazyLock<Program> = LazyLock::new(|| {
    let text = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let part = || text("^[a-zA-Z0-9-_]+$");
    Program::compile(&json!({
        "type": "object",
        "properties": {
            "$schema": {"type": "string", "enum": [META_SCHEMA]},
            "$supersededBy": text(VERSION),
            "$supersedes": {"type": "array", "items": text(VERSION)},
            "self": {
                "type": "object",
                "properties": {
                    "vendor": text(r"^[a-zA-Z0-9-_\.]+$"),
                    "name": part(),
                    "format": part(),
                    "version": text(VERSION)
                },
                "required": ["vendor", "name", "format", "version"]
            }
        }
    }))
});

/// The meta-schema without members of other names. The original's list lacks `exclusiveMinimum`, `exclusiveMaximum` and
/// `dependencies`, which are legal, so it warned of them; ours has them (iglu-server spec, section 20.6).
static STRICT: LazyLock<Program> = LazyLock::new(|| {
    let mut schema = draft_04();
    let own = json!({
        "type": "object",
        "properties": {"vendor": {}, "name": {}, "format": {}, "version": {}},
        "additionalProperties": false
    });
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("self".to_owned(), own);
        properties.insert("$supersededBy".to_owned(), json!({}));
        properties.insert("$supersedes".to_owned(), json!({}));
    }
    schema["additionalProperties"] = json!(false);
    Program::compile(&schema)
});

/// What the document's syntax violates: reports that make it unusable, and reports that only warn.
pub(crate) fn syntax_reports(document: &Value) -> (Vec<Report>, Vec<Report>) {
    let reports = |program: &'static Program| {
        walk::reports(program, document).unwrap_or_else(|reason| {
            vec![Report { message: reason.to_owned(), path: "$".to_owned(), keyword: None, targets: Vec::new() }]
        })
    };
    let mut errors = reports(&META);
    for report in reports(&SELF_SYNTAX) {
        if !errors.contains(&report) {
            errors.push(report);
        }
    }
    let mut warnings = reports(&STRICT);
    warnings.retain(|warning| !errors.iter().any(|error| error.message == warning.message));
    (errors, warnings)
}

/// What cannot be used of the document: references to nowhere or back to themselves without end, patterns that are none.
/// The reference finds out when data reaches them.
pub(crate) fn unusable_parts(document: &Value) -> Vec<String> {
    let program = Program::compile(document);
    let mut faults = Vec::new();
    for node in &program.nodes {
        faults.extend(node.broken.as_deref().map(str::to_owned));
        faults.extend(node.text.iter().filter_map(|rules| rules.broken_pattern.as_deref()).map(str::to_owned));
        let patterns = node.object.iter().flat_map(|rules| &rules.patterns);
        faults.extend(patterns.filter_map(|(pattern, _)| pattern.as_ref().err()).map(ToString::to_string));
    }
    faults
}
