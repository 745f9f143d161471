//! What changed between two versions of a schema, and which step of the version it asks for (SchemaVer: an addition is good
//! for all earlier data, a revision perhaps not for all, a model is another table).

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value};
use snowmelt_iglu::SchemaVer;
use snowmelt_iglu::ddl::{ColumnType, columns_of};

use super::fields::{Field, fields_of, text_of};

/// A step from one version to a later one, smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// `1-0-0` to `1-0-1`: everything that was good stays good.
    Addition,
    /// `1-0-0` to `1-1-0`: something that was good is refused.
    Revision,
    /// `1-0-0` to `2-0-0`: the table of the model cannot hold both.
    Model,
}

impl Step {
    /// The step between two versions; `None` for the same.
    #[must_use]
    pub fn between(older: SchemaVer, newer: SchemaVer) -> Option<Self> {
        match () {
            () if older.model != newer.model => Some(Self::Model),
            () if older.revision != newer.revision => Some(Self::Revision),
            () if older.addition != newer.addition => Some(Self::Addition),
            () => None,
        }
    }
}

/// What happened to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another.
    Changed,
    /// Its column would have to be of another type.
    Column,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The field's path, or the column's name.
    pub path: String,
    /// What happened to it.
    pub kind: Kind,
    /// The keyword that changed: `type`, `required`, `maxLength`, ...; nothing for a whole field.
    pub keyword: Option<String>,
    /// What it was, if it was there; for the page as a text.
    #[serde(serialize_with = "as_text")]
    pub before: Option<Value>,
    /// What it is, if it is there.
    #[serde(serialize_with = "as_text")]
    pub after: Option<Value>,
    /// The least step that this change asks for.
    pub needs: Step,
}

/// What changed between two versions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Every change: fields in the order of the older version, then those that are new, then columns.
    pub changes: Vec<Change>,
    /// The least step that all of them ask for; `None` without changes.
    pub needs: Option<Step>,
    /// The step that was made.
    pub made: Option<Step>,
    /// Whether that is enough.
    pub fits: bool,
}

fn as_text<S: serde::Serializer>(value: &Option<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(text_of).serialize(serializer)
}

/// Compares the documents of two versions, the older one first.
#[must_use]
pub fn compare(older: (SchemaVer, &Value), newer: (SchemaVer, &Value)) -> Comparison {
    let (before, after) = (fields_of(older.1), fields_of(newer.1));
    let before_by_path = by_path(&before);
    let after_by_path = by_path(&after);
    let mut changes = Vec::new();
    for field in &before {
        match after_by_path.get(field.path.as_str()) {
            Some(other) => changed(field, other, &mut changes),
            None => {
                // Where objects are open, what the schema does not name any more may still come.
                let refused = after_by_path.get(parent(&field.path)).is_some_and(|parent| !parent.open);
                changes.push(whole(field, Kind::Removed, if refused { Step::Revision } else { Step::Addition }));
            }
        }
    }
    for field in after.iter().filter(|field| !before_by_path.contains_key(field.path.as_str())) {
        // A field below a new one asks for nothing of data that has none of it.
        let is_top = before_by_path.contains_key(parent(&field.path));
        let needs = if field.required && is_top { Step::Revision } else { Step::Addition };
        changes.push(whole(field, Kind::Added, needs));
    }
    if older.0.model == newer.0.model {
        column_changes(older.1, newer.1, &mut changes);
    }
    let needs = changes.iter().map(|change| change.needs).max();
    let made = Step::between(older.0, newer.0);
    Comparison { fits: needs <= made, changes, needs, made }
}

fn by_path(fields: &[Field]) -> HashMap<&str, &Field> {
    fields.iter().map(|field| (field.path.as_str(), field)).collect()
}

/// The path of the object or array that a field is in.
fn parent(path: &str) -> &str {
    let (mut in_text, mut escaped, mut end) = (false, false, 0);
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'.' | b'[' if !in_text => end = at,
            _ => {}
        }
    }
    &path[..end]
}

fn whole(field: &Field, kind: Kind, needs: Step) -> Change {
    let types = words(&field.types);
    let (before, after) = if kind == Kind::Added { (None, Some(types)) } else { (Some(types), None) };
    Change { path: field.path.clone(), kind, keyword: None, before, after, needs }
}

fn words(types: &[String]) -> Value {
    if types.is_empty() { "anything".into() } else { types.join(" or ").into() }
}

/// The keywords in which a field differs.
fn changed(before: &Field, after: &Field, changes: &mut Vec<Change>) {
    let mut push = |keyword: &str, old: Option<Value>, new: Option<Value>, needs: Step| {
        let (path, kind, keyword) = (before.path.clone(), Kind::Changed, Some(keyword.to_owned()));
        changes.push(Change { path, kind, keyword, before: old, after: new, needs });
    };
    let stricter = |is: bool| if is { Step::Revision } else { Step::Addition };
    let mut types = [before.types.clone(), after.types.clone()];
    types.iter_mut().for_each(|types| types.sort_unstable());
    if types[0] != types[1] {
        let [old, new] = [&before.types, &after.types];
        let is_stricter = !new.is_empty() && (old.is_empty() || !old.iter().all(|one| covers(new, one)));
        push("type", Some(words(old)), Some(words(new)), stricter(is_stricter));
    }
    if before.required != after.required {
        push("required", Some(before.required.into()), Some(after.required.into()), stricter(after.required));
    }
    if before.open != after.open {
        push("additionalProperties", Some(before.open.into()), Some(after.open.into()), stricter(!after.open));
    }
    if before.description != after.description {
        let text = |text: &Option<String>| text.clone().map(Value::from);
        push("description", text(&before.description), text(&after.description), Step::Addition);
    }
    let names = before.limits.keys().chain(after.limits.keys().filter(|name| !before.limits.contains_key(*name)));
    for name in names {
        let (old, new) = (before.limits.get(name), after.limits.get(name));
        if old != new {
            push(name, old.cloned(), new.cloned(), stricter(is_stricter(name, old, new, &after.limits)));
        }
    }
}

/// Whether one of the types takes all that are of `one`.
fn covers(types: &[String], one: &str) -> bool {
    types.iter().any(|other| other == one || (one == "integer" && other == "number"))
}

/// Whether a limit that changed refuses something that was good. What cannot be told counts as if it did.
fn is_stricter(name: &str, old: Option<&Value>, new: Option<&Value>, all_new: &Map<String, Value>) -> bool {
    let Some(new) = new else {
        // Without its bound, this says nothing; but a bound alone is weaker than one that is excluded.
        return false;
    };
    let number = |value: &Value| value.as_f64();
    match (name, old) {
        ("exclusiveMaximum" | "exclusiveMinimum", _) => new.as_bool() != Some(false),
        ("uniqueItems", _) => new.as_bool() != Some(false),
        ("definitions", _) => all_new.contains_key("$ref"),
        (_, None) => true,
        ("maximum" | "maxLength" | "maxItems" | "maxProperties", Some(old)) => {
            !matches!((number(old), number(new)), (Some(old), Some(new)) if new >= old)
        }
        ("minimum" | "minLength" | "minItems" | "minProperties", Some(old)) => {
            !matches!((number(old), number(new)), (Some(old), Some(new)) if new <= old)
        }
        ("enum", Some(Value::Array(old))) => {
            !new.as_array().is_some_and(|new| old.iter().all(|value| new.contains(value)))
        }
        (_, Some(_)) => true,
    }
}

/// Columns that would have to be of another type, which a table with rows in it does not get.
fn column_changes(older: &Value, newer: &Value, changes: &mut Vec<Change>) {
    // Schemas that give no table are told elsewhere.
    let (Ok(before), Ok(after)) = (columns_of(&[older]), columns_of(&[newer])) else { return };
    let before: HashMap<&str, ColumnType> =
        before.iter().map(|column| (column.stored.as_str(), column.column_type)).collect();
    for column in &after {
        let Some(&old) = before.get(column.stored.as_str()) else { continue };
        let new = column.column_type;
        if !holds(old, new) {
            let text = |column_type: ColumnType| Some(Value::from(column_type.to_string()));
            let (path, kind, keyword) = (column.stored.clone(), Kind::Column, None);
            changes.push(Change { path, kind, keyword, before: text(old), after: text(new), needs: Step::Model });
        }
    }
}

/// Whether a column of a table with rows in it can take what one of another type could, being made longer if need be.
fn holds(column: ColumnType, values: ColumnType) -> bool {
    use ColumnType::{BigInt, Char, Double, Integer, Jsonb, Text, Varchar};
    column == values
        || matches!(
            (column, values),
            (Jsonb, _)
                | (Varchar(_), Varchar(_) | Char(_))
                | (Text, Varchar(_) | Char(_))
                | (BigInt, Integer)
                | (Double, Integer | BigInt)
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn between(older: &str, old: Value, newer: &str, new: Value) -> Comparison {
        compare((older.parse().unwrap(), &old), (newer.parse().unwrap(), &new))
    }

    fn object(properties: Value, required: &[&str], open: bool) -> Value {
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": open})
    }

    #[test]
    fn an_optional_field_is_an_addition() {
        let old = object(json!({"a": {"type": "string", "maxLength": 5}}), &["a"], false);
        let new = object(json!({"a": {"type": "string", "maxLength": 9}, "b": {"type": "null"}}), &["a"], false);
        let found = between("1-0-0", old.clone(), "1-0-1", new.clone());
        assert_eq!((found.needs, found.made, found.fits), (Some(Step::Addition), Some(Step::Addition), true));
        let kinds: Vec<_> = found.changes.iter().map(|change| (change.path.as_str(), change.kind)).collect();
        assert_eq!(kinds, [("a", Kind::Changed), ("b", Kind::Added)]);
        assert_eq!(found.changes[0].keyword.as_deref(), Some("maxLength"));

        let back = between("1-0-0", new, "1-0-1", old);
        assert_eq!((back.needs, back.fits), (Some(Step::Revision), false));
        assert!(back.changes.iter().all(|change| change.needs == Step::Revision), "{back:?}");
    }

    #[test]
    fn each_keyword_is_judged_by_what_it_refuses() {
        for (old, new, stricter) in [
            (json!({"enum": [1]}), json!({"enum": [1, 2]}), false),
            (json!({"enum": [1, 2]}), json!({"enum": [1]}), true),
            (json!({}), json!({"enum": [1]}), true),
            (json!({"minimum": 5}), json!({"minimum": 4}), false),
            (json!({"minimum": 5}), json!({"minimum": 6}), true),
            (json!({"maximum": 5}), json!({}), false),
            (json!({"type": "integer"}), json!({"type": ["number", "null"]}), false),
            (json!({"type": "number"}), json!({"type": "integer"}), true),
            (json!({"type": "string"}), json!({}), false),
            (json!({}), json!({"type": "string"}), true),
            (json!({"type": ["null", "string"]}), json!({"type": ["string", "null"], "description": "d"}), false),
            (json!({"pattern": "a"}), json!({"pattern": "b"}), true),
            (json!({"additionalProperties": false}), json!({}), false),
            (json!({}), json!({"additionalProperties": false}), true),
            (json!({"anyOf": [{}]}), json!({"anyOf": [{"type": "null"}]}), true),
        ] {
            let mut changes = Vec::new();
            changed(&fields_of(&old)[0], &fields_of(&new)[0], &mut changes);
            let found = changes.iter().any(|change| change.needs == Step::Revision);
            assert_eq!((changes.len(), found), (1, stricter), "{old} {new}: {changes:?}");
        }
    }

    #[test]
    fn a_column_of_another_type_asks_for_a_model() {
        let with = |schema: Value| object(json!({"a": schema}), &[], true);
        let integer = with(json!({"type": "integer", "maximum": 5, "minimum": 0}));
        let found = between("1-0-0", integer.clone(), "1-1-0", with(json!({"type": "string", "maxLength": 9})));
        assert_eq!((found.needs, found.fits), (Some(Step::Model), false));
        assert_eq!(found.changes.last().unwrap().kind, Kind::Column);
        let found = between("1-0-0", integer.clone(), "2-0-0", with(json!({"type": "string", "maxLength": 9})));
        assert!(found.fits, "another model is another table");
        let same = between("1-0-0", integer.clone(), "1-0-1", integer);
        assert_eq!((same.changes.len(), same.needs, same.fits), (0, None, true));
    }

    #[test]
    fn what_is_required_below_a_new_optional_field_is_no_revision() {
        let inner = object(json!({"c": {"type": "null"}}), &["c"], false);
        let found = between("1-0-0", object(json!({}), &[], false), "1-0-1", object(json!({"b": inner}), &[], false));
        assert_eq!(found.needs, Some(Step::Addition));
        assert_eq!(
            (parent("a.b[].c"), parent("a"), parent("\"x.y\"[]"), parent("b.\"x.[y\"")),
            ("a.b[]", "", "\"x.y\"", "b")
        );
    }
}
