//! A schema as a flat list of fields, from the root down.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

/// Most fields that are listed; a schema that may be published has fewer.
const MOST_FIELDS: usize = 20_000;

/// Members that are no limits: they are shown otherwise, or say nothing about data.
const NO_LIMITS: [&str; 12] = [
    "$schema",
    "$supersededBy",
    "$supersedes",
    "additionalProperties",
    "default",
    "description",
    "id",
    "properties",
    "required",
    "self",
    "title",
    "type",
];

/// One field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// `order.lines[].sku`; empty for the root. A name with other characters than letters, digits, `_`, `-` and `$` is quoted,
    /// so that no two fields share a path.
    pub path: String,
    /// The types it may have; empty where the schema names none, so that all are good.
    pub types: Vec<String>,
    /// Whether its parent must have it.
    pub required: bool,
    /// Its description.
    pub description: Option<String>,
    /// Whether objects here may have members that the schema does not name.
    pub open: bool,
    /// Every other keyword that limits the data, as it stands in the schema; for the page as texts.
    #[serde(serialize_with = "as_texts")]
    pub limits: Map<String, Value>,
}

/// A value for people: a text as it is, all else as JSON. Browsers would round large numbers.
pub(super) fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn as_texts<S: serde::Serializer>(limits: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(limits.iter().map(|(name, value)| (name, text_of(value))))
}

/// The fields of a schema, parents before children, in the schema's order; the root is the first.
#[must_use]
pub fn fields_of(schema: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    visit(schema, String::new(), true, &mut fields);
    fields
}

fn visit(schema: &Value, path: String, required: bool, fields: &mut Vec<Field>) {
    let Value::Object(members) = schema else { return };
    if fields.len() >= MOST_FIELDS {
        return;
    }
    let types = match members.get("type") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    // Items that become fields of their own are no limit.
    let walked = |name: &str, value: &Value| name == "items" && (value.is_object() || value.is_array());
    let limit = |(name, value): &(&String, &Value)| !NO_LIMITS.contains(&name.as_str()) && !walked(name, value);
    let mut limits: Map<String, Value> =
        members.iter().filter(limit).map(|(name, value)| (name.clone(), value.clone())).collect();
    let additional = members.get("additionalProperties");
    if let Some(schema @ Value::Object(_)) = additional {
        limits.insert("additionalProperties".to_owned(), schema.clone());
    }
    fields.push(Field {
        path: path.clone(),
        types,
        required,
        description: members.get("description").and_then(Value::as_str).map(str::to_owned),
        open: additional != Some(&Value::Bool(false)),
        limits,
    });
    let required: Vec<&str> =
        members.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(Value::Object(properties)) = members.get("properties") {
        for (name, property) in properties {
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{}", shown(name));
            visit(property, path, required.contains(&name.as_str()), fields);
        }
    }
    match members.get("items") {
        Some(items @ Value::Object(_)) => visit(items, format!("{path}[]"), false, fields),
        Some(Value::Array(places)) => {
            for (at, place) in places.iter().enumerate() {
                visit(place, format!("{path}[{at}]"), false, fields);
            }
        }
        _ => {}
    }
}

fn shown(name: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$');
    if !name.is_empty() && name.bytes().all(plain) { name.into() } else { Value::from(name).to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_stand_in_the_schemas_order_with_their_limits() {
        let fields = fields_of(&json!({
            "$schema": "x", "self": {}, "type": "object", "description": "all",
            "properties": {
                "b": {"type": ["string", "null"], "maxLength": 5, "description": "bee"},
                "a.b": {"type": "array", "items": {"type": "object", "properties": {"c": {"enum": [1, 2]}}}},
            },
            "required": ["b"], "additionalProperties": false
        }));
        let paths: Vec<&str> = fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["", "b", "\"a.b\"", "\"a.b\"[]", "\"a.b\"[].c"]);
        let flags: Vec<(bool, bool)> = fields.iter().map(|field| (field.required, field.open)).collect();
        assert_eq!(flags, [(true, false), (true, true), (false, true), (false, true), (false, true)]);
        assert_eq!(fields[1].types, ["string", "null"]);
        assert_eq!(Value::Object(fields[1].limits.clone()), json!({"maxLength": 5}));
        assert_eq!(json!(fields[1])["limits"], json!({"maxLength": "5"}));
        assert!(fields[0].limits.is_empty() && fields[2].limits.is_empty());
        assert_eq!(Value::Object(fields[4].limits.clone()), json!({"enum": [1, 2]}));
    }

    #[test]
    fn what_is_no_schema_has_no_fields() {
        assert!(fields_of(&json!(5)).is_empty());
        let odd = fields_of(&json!({"properties": {"a": 5}, "items": 7, "required": "a", "type": 3}));
        assert_eq!(odd.len(), 1);
        assert_eq!(odd[0].limits["items"], json!(7));
    }
}
