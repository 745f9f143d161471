//! The schema model of the linters: which keywords are read, with which values, and where sub-schemas are
//! (iglu-server spec, section 7.2).

use serde_json::{Map, Value};

/// The seven type names.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Whether a document can be read into the model: one keyword with a value of the wrong kind makes all of it unusable.
/// The document's depth has been checked.
pub(super) fn is_readable(schema: &Value) -> bool {
    let Some(members) = schema.as_object() else { return false };
    members.iter().all(|(keyword, value)| value.is_null() || is_legal(keyword, value))
}

fn is_legal(keyword: &str, value: &Value) -> bool {
    match keyword {
        "multipleOf" => value.is_number() || is_numeric_text(value),
        "minimum" | "maximum" => value.is_number(),
        "maxLength" | "minLength" => whole(value).is_some() || is_numeric_text(value),
        "minItems" | "maxItems" => whole(value).is_some(),
        "pattern" | "format" | "description" | "$schema" => value.is_string(),
        "items" => match value {
            Value::Array(schemas) => schemas.iter().all(is_readable),
            schema => is_readable(schema),
        },
        "additionalItems" | "additionalProperties" => value.is_boolean() || is_readable(value),
        "properties" | "patternProperties" => {
            value.as_object().is_some_and(|schemas| schemas.values().all(is_readable))
        }
        "required" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
        "type" => match value {
            Value::Array(names) => names.iter().all(is_type),
            name => is_type(name),
        },
        "enum" => value.is_array(),
        "oneOf" | "anyOf" => value.as_array().is_some_and(|schemas| schemas.iter().all(is_readable)),
        _ => true,
    }
}

fn is_type(value: &Value) -> bool {
    value.as_str().is_some_and(|name| TYPES.contains(&name))
}

fn is_numeric_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<f64>().is_ok_and(f64::is_finite))
}

/// A number without a fraction, however it is written.
fn whole(value: &Value) -> Option<f64> {
    value.as_number().and_then(serde_json::Number::as_f64).filter(|number| number.fract() == 0.0)
}

/// One sub-schema as the linters see it.
#[derive(Clone, Copy)]
pub(super) struct Node<'d> {
    members: &'d Map<String, Value>,
}

impl<'d> Node<'d> {
    /// A readable document's root, or one of its sub-schemas.
    pub(super) fn of(schema: &'d Value) -> Option<Self> {
        Some(Self { members: schema.as_object()? })
    }

    /// A keyword's value; `null` is the same as absent.
    pub(super) fn get(self, keyword: &str) -> Option<&'d Value> {
        self.members.get(keyword).filter(|value| !value.is_null())
    }

    pub(super) fn has(self, keyword: &str) -> bool {
        self.get(keyword).is_some()
    }

    pub(super) fn text(self, keyword: &str) -> Option<&'d str> {
        self.get(keyword).and_then(Value::as_str)
    }

    pub(super) fn object(self, keyword: &str) -> Option<&'d Map<String, Value>> {
        self.get(keyword).and_then(Value::as_object)
    }

    /// A number as it is written, and its value: numeric text counts where the model takes it.
    pub(super) fn number(self, keyword: &str) -> Option<(&'d str, f64)> {
        let text = match self.get(keyword)? {
            Value::Number(number) => number.as_str(),
            Value::String(text) => text,
            _ => return None,
        };
        Some((text, text.parse().ok()?))
    }

    /// The names in `type`; `None` when there is no `type`.
    pub(super) fn types(self) -> Option<Vec<&'d str>> {
        Some(match self.get("type")? {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            name => name.as_str().into_iter().collect(),
        })
    }

    /// Whether `type` is there and names one of these.
    pub(super) fn is_of(self, names: &[&str]) -> bool {
        self.types().is_some_and(|types| types.iter().any(|name| names.contains(name)))
    }

    /// Whether `type` is there and names none of these.
    pub(super) fn is_none_of(self, names: &[&str]) -> bool {
        self.types().is_some_and(|types| !types.iter().any(|name| names.contains(name)))
    }

    pub(super) fn required(self) -> Option<Vec<&'d str>> {
        Some(self.get("required")?.as_array()?.iter().filter_map(Value::as_str).collect())
    }

    /// The sub-schemas that linters look at, each with its place below this one.
    pub(super) fn children(self) -> Vec<(String, Node<'d>)> {
        let mut children = Vec::new();
        let mut push = |place: String, schema: &'d Value| {
            if let Some(node) = Self::of(schema) {
                children.push((place, node));
            }
        };
        for keyword in ["items", "additionalItems", "additionalProperties", "oneOf"] {
            match self.get(keyword) {
                Some(Value::Array(schemas)) => {
                    for (index, schema) in schemas.iter().enumerate() {
                        push(format!("/{keyword}/{index}"), schema);
                    }
                }
                Some(schema) => push(format!("/{keyword}"), schema),
                None => {}
            }
        }
        for keyword in ["properties", "patternProperties"] {
            for (name, schema) in self.object(keyword).into_iter().flatten() {
                push(format!("/{keyword}/{name}"), schema);
            }
        }
        children
    }
}
