//! The linters: one function a rule of the table in iglu-server spec 7.1, run on every sub-schema that can be reached.

use std::fmt::Display;

use serde_json::{Value, json};

use super::model::Node;
use super::{Issue, Level};
use crate::META_SCHEMA;

/// Formats that a validator knows. The original misspells `ipv6` and so reports it; ours does not (spec 20.6).
const FORMATS: [&str; 8] = ["uri", "ipv4", "ipv6", "email", "date-time", "date", "hostname", "uuid"];
/// Redshift's longest VARCHAR.
const REDSHIFT_MAX: f64 = 65_535.0;

/// One rule: its name, its level, and its message where it fires.
type Rule = (&'static str, Level, fn(Node<'_>) -> Option<String>);

use Level::{Error, Info, Warning};

/// Rules for every sub-schema.
const RULES: &[Rule] = &[
    ("numericMinimumMaximum", Error, |node| {
        let (low, high) = reversed(node, "minimum", "maximum")?;
        Some(format!("A field with numeric type has a minimum value [{low}] greater than the maximum value [{high}]"))
    }),
    ("stringMinMaxLength", Error, |node| {
        let (low, high) = reversed(node, "minLength", "maxLength")?;
        Some(format!(
            "A string type with \"minLength\" and \"maxLength\" property values has a minimum value [{low}] higher \
             than the maximum [{high}]"
        ))
    }),
    ("stringMaxLengthRange", Warning, |node| {
        let (text, length) = node.number("maxLength").filter(|_| node.is_of(&["string"]))?;
        (length > REDSHIFT_MAX).then(|| {
            format!("A string property has a \"maxLength\" [{text}] greater than the Redshift VARCHAR maximum of 65535")
        })
    }),
    ("arrayMinMaxItems", Error, |node| {
        let (low, high) = reversed(node, "minItems", "maxItems")?;
        Some(format!(
            "A field of array type has a \"minItems\" value [{low}] with a greater value than the \"maxItems\" [{high}]"
        ))
    }),
    ("numericProperties", Error, |node| {
        let foreign = foreign(node, &["multipleOf", "minimum", "maximum"], &["number", "integer"])?;
        Some(format!("Numeric properties [{foreign}] require either a number, integer or absent values"))
    }),
    ("stringProperties", Error, |node| {
        let foreign = foreign(node, &["maxLength", "minLength", "pattern", "format"], &["string"])?;
        Some(format!("String properties [{foreign}] require either string or absent values"))
    }),
    ("arrayProperties", Error, |node| {
        let foreign = foreign(node, &["items", "additionalItems", "minItems", "maxItems"], &["array"])?;
        Some(format!("Array properties [{foreign}] require either array or absent values"))
    }),
    ("objectProperties", Error, |node| {
        let own = ["properties", "additionalProperties", "required", "patternProperties"];
        let foreign = foreign(node, &own, &["object"])?;
        Some(format!("Object properties [{foreign}] require either object or absent values"))
    }),
    ("requiredPropertiesExist", Error, |node| {
        let closed = node.get("additionalProperties") == Some(&Value::Bool(false)) && !node.has("patternProperties");
        let (required, properties) = (node.required().filter(|_| closed)?, node.object("properties")?);
        let missing = join(required.into_iter().filter(|name| !properties.contains_key(*name)), ",")?;
        Some(format!("Elements specified as required [{missing}] don't exist in schema properties"))
    }),
    ("unknownFormats", Warning, |node| {
        let format = node.text("format").filter(|format| !FORMATS.contains(format))?;
        Some(format!(
            "Unknown format [{format}] detected. Known formats are: date-time, date, email, hostname, ipv4, ipv6 or uri"
        ))
    }),
    ("numericMinMax", Warning, |node| {
        let open = node.is_of(&["number", "integer"]) && !(node.has("minimum") && node.has("maximum"));
        open.then(|| "A numeric property should have \"minimum\" and \"maximum\" properties".to_owned())
    }),
    ("stringLength", Warning, |node| {
        let known_format = node.text("format").is_some_and(|format| FORMATS.contains(&format));
        let open = node.is_of(&["string"]) && !node.has("enum") && !node.has("maxLength") && !known_format;
        open.then(|| "A string type in the schema doesn't contain \"maxLength\" or format which is required".to_owned())
    }),
    ("optionalNull", Info, |node| {
        let (required, properties) = (node.required()?, node.object("properties")?);
        let mut optional: Vec<&str> = properties
            .iter()
            .filter(|(name, schema)| {
                !required.contains(&name.as_str())
                    && Node::of(schema).is_some_and(|schema| schema.is_none_of(&["null"]))
            })
            .map(|(name, _)| name.as_str())
            .collect();
        optional.sort_unstable();
        let optional = join(optional, ",")?;
        Some(format!("Use \"type: null\" to indicate a field as optional for properties {optional}"))
    }),
    ("description", Info, |node| {
        (!node.has("description")).then(|| "The schema is missing the \"description\" property".to_owned())
    }),
    ("bqDisallowedCharacters", Warning, |node| {
        let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let names = join(node.object("properties")?.keys().filter(|name| !plain(name)), ", ")?;
        Some(format!("Following properties contain disallowed characters for BigQuery column name: [{names}]"))
    }),
    ("bqIllegalStart", Warning, |node| {
        let legal = |name: &str| name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let names = join(node.object("properties")?.keys().filter(|name| !legal(name)), ", ")?;
        Some(format!("Following properties start with illegal character for BigQuery column name: [{names}]"))
    }),
];

/// Rules for the root alone.
const ROOT_RULES: &[Rule] = &[
    ("rootObject", Warning, |node| {
        let object = node.get("type") == Some(&json!("object")) && node.has("properties");
        (!object).then(|| {
            "At the root level, the schema should have a \"type\" property set to \"object\" and have a \"properties\" \
             property"
                .to_owned()
        })
    }),
    ("schemaUri", Error, |node| match node.text("$schema") {
        None => Some("No $schema field in top-level of schema".to_owned()),
        Some(META_SCHEMA) => None,
        Some(_) => Some(format!("Given $schema is not {META_SCHEMA}")),
    }),
];

/// Runs every rule on a readable document whose depth has been checked.
pub(super) fn run(document: &Value, issues: &mut Vec<Issue>) {
    let Some(root) = Node::of(document) else { return };
    apply(ROOT_RULES, root, "", issues);
    visit(root, "", issues);
}

fn visit(node: Node<'_>, pointer: &str, issues: &mut Vec<Issue>) {
    apply(RULES, node, pointer, issues);
    for (place, child) in node.children() {
        visit(child, &format!("{pointer}{place}"), issues);
    }
}

fn apply(rules: &[Rule], node: Node<'_>, pointer: &str, issues: &mut Vec<Issue>) {
    let pointer = if pointer.is_empty() { "/" } else { pointer };
    issues.extend(rules.iter().filter_map(|&(linter, level, rule)| {
        Some(Issue { message: rule(node)?, level, pointer: pointer.to_owned(), linter })
    }));
}

/// The limits as they are written, where the upper one is below the lower one.
fn reversed<'d>(node: Node<'d>, low: &str, high: &str) -> Option<(&'d str, &'d str)> {
    let ((low, least), (high, most)) = (node.number(low)?, node.number(high)?);
    (most < least).then_some((low, high))
}

/// The keywords that are there although `type` names none of the types they are for.
fn foreign(node: Node<'_>, keywords: &[&str], types: &[&str]) -> Option<String> {
    node.is_none_of(types).then(|| join(keywords.iter().filter(|keyword| node.has(keyword)), ",")).flatten()
}

/// `None` for nothing.
fn join<T: Display>(items: impl IntoIterator<Item = T>, separator: &str) -> Option<String> {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    (!texts.is_empty()).then(|| texts.join(separator))
}
