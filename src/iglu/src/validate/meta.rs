//! The draft-04 meta-schema: the shape a schema itself must have (iglu-client, section 9, step 3).

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::program::Program;

/// Compiled once.
pub(super) static META: LazyLock<Program> = LazyLock::new(|| Program::compile(&draft_04()));

/// The meta-schema as a document.
pub(super) fn draft_04() -> Value {
    let schema = || json!({"$ref": "#"});
    let schemas = || json!({"$ref": "#/definitions/schemaArray"});
    let named_schemas = || json!({"type": "object", "additionalProperties": {"$ref": "#"}});
    let size = || json!({"$ref": "#/definitions/positiveInteger"});
    let text = || json!({"type": "string"});
    let flag = || json!({"type": "boolean"});
    let flag_or_schema = || json!({"anyOf": [{"type": "boolean"}, {"$ref": "#"}]});
    json!({
        "type": "object",
        "definitions": {
            "schemaArray": {"type": "array", "minItems": 1, "items": schema()},
            "positiveInteger": {"type": "integer", "minimum": 0},
            "simpleTypes": {"enum": ["array", "boolean", "integer", "null", "number", "object", "string"]},
            "stringArray": {"type": "array", "items": text(), "minItems": 1, "uniqueItems": true}
        },
        "properties": {
            "id": text(),
            "$schema": text(),
            "title": text(),
            "description": text(),
            "default": {},
            "multipleOf": {"type": "number", "minimum": 0, "exclusiveMinimum": true},
            "maximum": {"type": "number"},
            "exclusiveMaximum": flag(),
            "minimum": {"type": "number"},
            "exclusiveMinimum": flag(),
            "maxLength": size(),
            "minLength": size(),
            "pattern": text(),
            "additionalItems": flag_or_schema(),
            "items": {"anyOf": [schema(), schemas()]},
            "maxItems": size(),
            "minItems": size(),
            "uniqueItems": flag(),
            "maxProperties": size(),
            "minProperties": size(),
            "required": {"$ref": "#/definitions/stringArray"},
            "additionalProperties": flag_or_schema(),
            "definitions": named_schemas(),
            "properties": named_schemas(),
            "patternProperties": named_schemas(),
            "dependencies": {
                "type": "object",
                "additionalProperties": {"anyOf": [schema(), {"$ref": "#/definitions/stringArray"}]}
            },
            "enum": {"type": "array", "minItems": 1, "uniqueItems": true},
            "type": {"anyOf": [
                {"$ref": "#/definitions/simpleTypes"},
                {"type": "array", "items": {"$ref": "#/definitions/simpleTypes"}, "minItems": 1, "uniqueItems": true}
            ]},
            "format": text(),
            "allOf": schemas(),
            "anyOf": schemas(),
            "oneOf": schemas(),
            "not": schema()
        },
        "dependencies": {"exclusiveMaximum": ["maximum"], "exclusiveMinimum": ["minimum"]}
    })
}
