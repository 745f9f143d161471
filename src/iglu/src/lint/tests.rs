//! What the linters say, rule by rule.

use serde_json::{Value, json};

use super::{Issue, Level, lint};
use crate::META_SCHEMA;

fn document(body: Value) -> Value {
    let own = json!({"vendor": "com.acme", "name": "x", "format": "jsonschema", "version": "1-0-0"});
    let mut document = json!({"$schema": META_SCHEMA, "self": own, "type": "object", "description": "d"});
    for (name, value) in body.as_object().unwrap() {
        document[name] = value.clone();
    }
    document
}

fn said(body: Value) -> Vec<(Level, String, String)> {
    let mut said: Vec<_> = lint(&document(body), 40).into_iter().map(|i| (i.level, i.pointer, i.message)).collect();
    said.sort();
    said
}

fn linters_of(property: Value) -> Vec<&'static str> {
    let mut property = property;
    if property.get("description").is_none() {
        property["description"] = json!("d");
    }
    let mut names: Vec<_> = lint(&document(json!({"properties": {"p": property}})), 40)
        .into_iter()
        .map(|issue: Issue| issue.linter)
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_tidy_schema_has_no_issues() {
    assert_eq!(
        said(json!({"properties": {"a": {"type": ["string", "null"], "maxLength": 10, "description": "a"}}})),
        []
    );
}

#[test]
fn each_rule_fires_on_what_it_is_for_and_nothing_else() {
    for (property, expected) in [
        (json!({"type": "integer", "minimum": 10, "maximum": 1}), vec!["numericMinimumMaximum"]),
        (json!({"type": "string", "minLength": 5, "maxLength": 1}), vec!["stringMinMaxLength"]),
        (json!({"type": "string", "maxLength": 70000}), vec!["stringMaxLengthRange"]),
        (json!({"type": "array", "minItems": 5, "maxItems": 1}), vec!["arrayMinMaxItems"]),
        (json!({"type": "boolean", "minimum": 1}), vec!["numericProperties"]),
        (json!({"type": "boolean", "pattern": "x"}), vec!["stringProperties"]),
        (json!({"type": "boolean", "maxItems": 1}), vec!["arrayProperties"]),
        (json!({"type": "boolean", "required": ["a"]}), vec!["objectProperties"]),
        (json!({"type": "string", "format": "odd"}), vec!["stringLength", "unknownFormats"]),
        (json!({"type": "string", "format": "ipv6"}), vec![]),
        (json!({"type": "integer", "minimum": 1}), vec!["numericMinMax"]),
        (json!({"type": "string"}), vec!["stringLength"]),
        (json!({"type": "number", "minimum": 0, "maximum": 1, "exclusiveMaximum": true}), vec![]),
        (json!({"$ref": "#/definitions/x"}), vec!["syntax", "usable"]),
        (json!({"$ref": "http://example.com/x"}), vec!["foreignReference", "syntax"]),
        (json!({"type": "string", "maxLength": 1, "pattern": "["}), vec!["usable"]),
    ] {
        assert_eq!(linters_of(property.clone()), expected, "{property}");
    }
}

#[test]
fn issues_name_their_place() {
    let issues = said(json!({"properties": {
        "list": {"type": "array", "description": "d", "items": {"oneOf": [{"type": "null"}]}},
        "1 d": {"type": "null", "description": "d"}
    }}));
    let at = |pointer: &str| issues.iter().filter(|(_, at, _)| at == pointer).count();
    assert_eq!(at("/properties/list/items/oneOf/0"), 1, "{issues:?}");
    assert_eq!(at("/properties/list/items"), 1, "{issues:?}");
    assert_eq!(at("/"), 2, "both BigQuery rules: {issues:?}");
}

#[test]
fn required_names_must_be_declared_where_nothing_else_is_allowed() {
    let issues = said(json!({"properties": {"b": {"type": "null", "description": "d"}}, "additionalProperties": false,
        "required": ["xyz"]}));
    let message = "Elements specified as required [xyz] don't exist in schema properties";
    assert_eq!(issues, [(Level::Error, "/".to_owned(), message.to_owned())]);
}

#[test]
fn optional_properties_should_allow_null() {
    let of = |name: &str| json!({"type": "string", "maxLength": 1, "description": name});
    let issues = said(json!({"properties": {"c": of("c"), "b": of("b"), "a": of("a")}, "required": ["a"]}));
    let message = "Use \"type: null\" to indicate a field as optional for properties b,c";
    assert_eq!(issues, [(Level::Info, "/".to_owned(), message.to_owned())]);
}

#[test]
fn a_keyword_of_the_wrong_kind_makes_the_model_unreadable() {
    let messages: Vec<String> =
        said(json!({"properties": {"n": {"type": "strin"}}})).into_iter().map(|i| i.2).collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(messages.contains(&"Cannot extract JSON Schema".to_owned()));
    assert!(messages.contains(&"$.properties.n.type: string found, array expected".to_owned()));
}

#[test]
fn identity_and_depth_are_looked_at() {
    let mut foreign = document(json!({"properties": {}}));
    foreign["$schema"] = json!("http://json-schema.org/draft-04/schema#");
    let issues = lint(&foreign, 40);
    assert_eq!(issues.len(), 3, "{issues:?}");
    assert!(issues.iter().all(|issue| issue.level == Level::Error && issue.pointer == "/"), "{issues:?}");

    let mut named = document(json!({"properties": {}}));
    named["self"]["name"] = json!("name two");
    let issues = lint(&named, 40);
    assert_eq!(issues.len(), 1, "{issues:?}");
    assert_eq!(issues[0].pointer, "/self/name");

    named["self"]["name"] = json!("x");
    named["self"]["vendor"] = json!("..");
    assert_eq!(lint(&named, 40)[0].linter, "vendor");

    let deep = document(json!({"properties": {"a": {"items": {"items": {"type": "string"}}}}}));
    assert_eq!(lint(&deep, 4)[0].message, "Maximum allowed JSON depth exceeded");
    assert!(lint(&json!([1]), 40).iter().filter(|issue| issue.level == Level::Error).count() > 1);
}
