//! Flattening: the leaves of every version of a model, merged into the columns of one table
//! (spec schema-ddl-postgres, sections 3, 5 and 6).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::types::{Leaf, Types, whole};
use super::{ColumnType, DdlError, column_name, stored_name};

/// One column of an entity's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name after the rules, uncut: `buyer.loyalty_id`.
    pub name: String,
    /// Name in the database: at most 63 bytes and unique in its table.
    pub stored: String,
    /// Type in the version which brought the column: that of the original.
    pub column_type: ColumnType,
    /// Whether CREATE TABLE says NULL. Columns of later versions always do.
    pub nullable: bool,
    /// Type that holds the values of all versions: longer text than `column_type`, or wider integers.
    pub needed_type: ColumnType,
    /// Whether some version allows an event without a value, so that NOT NULL would refuse it.
    pub needs_null: bool,
    /// Property names from the entity's root to the value. More than one path where two properties (`userId`,
    /// `user_id`) share a name: the first with a value counts.
    pub paths: Vec<Vec<String>>,
}

/// The columns of a model's table, without meta columns, in the order of the original: those of the first version
/// (NOT NULL before NULL, then by name), then what each later version added. `schemas` are all versions in the
/// registry's order.
///
/// # Errors
/// [`DdlError`] when a schema has a keyword of the wrong kind.
pub fn columns_of(schemas: &[&Value]) -> Result<Vec<Column>, DdlError> {
    let mut columns: Vec<Column> = Vec::new();
    let mut place: HashMap<Vec<String>, usize> = HashMap::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for (version, schema) in schemas.iter().enumerate() {
        let mut leaves = leaves_of(schema, version)?;
        leaves.sort_by(|a, b| (a.nullable, &a.name).cmp(&(b.nullable, &b.name)));
        let present: HashSet<&Vec<String>> = leaves.iter().map(|leaf| &leaf.path).collect();
        for column in &mut columns {
            column.needs_null |= !column.paths.iter().any(|path| present.contains(path));
        }
        for leaf in &leaves {
            let known = place.get(&leaf.path).or_else(|| by_name.get(&leaf.name));
            if let Some(&at) = known {
                let column = &mut columns[at];
                column.needed_type = widest(column.needed_type, leaf.column_type);
                column.needs_null |= leaf.may_be_absent;
                if !column.paths.contains(&leaf.path) {
                    // Two properties, one column: either may be the absent one.
                    column.needs_null = true;
                    column.paths.push(leaf.path.clone());
                }
                place.insert(leaf.path.clone(), at);
                continue;
            }
            place.insert(leaf.path.clone(), columns.len());
            by_name.insert(leaf.name.clone(), columns.len());
            let late = version > 0;
            columns.push(Column {
                name: leaf.name.clone(),
                stored: String::new(),
                column_type: leaf.column_type,
                nullable: leaf.nullable || late,
                needed_type: leaf.column_type,
                needs_null: leaf.may_be_absent || late,
                paths: vec![leaf.path.clone()],
            });
        }
    }
    drop_ancestors(&mut columns);
    let mut taken: HashSet<String> = HashSet::new();
    for column in &mut columns {
        column.stored = stored_name(&column.name, |name| taken.contains(name));
        taken.insert(column.stored.clone());
    }
    Ok(columns)
}

/// A column that lies above another one vanishes, as does the root's (and whatever would have an empty name).
fn drop_ancestors(columns: &mut Vec<Column>) {
    let above: HashSet<Vec<String>> = columns
        .iter()
        .flat_map(|column| &column.paths)
        .flat_map(|path| (0..path.len()).map(|depth| path[..depth].to_vec()))
        .collect();
    for column in columns.iter_mut() {
        column.paths.retain(|path| !above.contains(path));
    }
    columns.retain(|column| !column.paths.is_empty() && !column.name.is_empty());
}

/// The type that holds the values of both; the first where none does.
fn widest(now: ColumnType, other: ColumnType) -> ColumnType {
    match (now, other) {
        (ColumnType::Varchar(a), ColumnType::Varchar(b) | ColumnType::Char(b)) => ColumnType::Varchar(a.max(b)),
        (ColumnType::Char(a), ColumnType::Varchar(b)) => ColumnType::Varchar(a.max(b)),
        (ColumnType::Char(a), ColumnType::Char(b)) if a != b => ColumnType::Varchar(a.max(b)),
        (ColumnType::Integer, ColumnType::BigInt) => ColumnType::BigInt,
        (now, _) => now,
    }
}

/// A leaf of one version.
struct FlatLeaf {
    path: Vec<String>,
    name: String,
    column_type: ColumnType,
    /// By the rules of the original.
    nullable: bool,
    /// Also when only a parent may be null.
    may_be_absent: bool,
}

/// The keywords of a sub-schema, checked for their kind.
struct Read<'a> {
    leaf: Leaf<'a>,
    properties: Option<&'a Map<String, Value>>,
    required: Vec<&'a str>,
    alternatives: u32,
}

fn leaves_of(schema: &Value, version: usize) -> Result<Vec<FlatLeaf>, DdlError> {
    let mut walk = Walk { version, leaves: Vec::new() };
    walk.visit(schema, &mut Vec::new(), Place { required: true, under_nullable: false, silent: false })?;
    Ok(walk.leaves)
}

/// What the walk knows of a position from above.
#[derive(Clone, Copy)]
struct Place {
    /// Every step down to here is listed in `required`.
    required: bool,
    /// Some parent may be null.
    under_nullable: bool,
    /// Below items, patternProperties, oneOf or a union: only checked for readability.
    silent: bool,
}

struct Walk {
    version: usize,
    leaves: Vec<FlatLeaf>,
}

impl Walk {
    fn visit(&mut self, schema: &Value, path: &mut Vec<String>, place: Place) -> Result<(), DdlError> {
        let read = self.read(schema, path)?;
        let types = read.leaf.types;
        let is_parent = types.is_some_and(|types| types.contains(Types::OBJECT) && !types.is_union())
            && read.properties.is_some()
            && read.alternatives < 2;
        if !place.silent && !is_parent {
            self.push_leaf(path, &read.leaf, place);
        }
        let union = types.is_some_and(Types::is_union);
        let inside = Place { silent: true, ..place };
        for keyword in ["items", "additionalItems", "additionalProperties"] {
            match schema.get(keyword) {
                Some(Value::Object(_)) => self.visit(&schema[keyword], path, inside)?,
                Some(Value::Array(all)) if keyword == "items" => {
                    for one in all {
                        self.visit(one, path, inside)?;
                    }
                }
                Some(Value::Bool(_)) if keyword != "items" => {}
                Some(_) => return Err(self.wrong(path, keyword_name(keyword))),
                None => {}
            }
        }
        for (name, property) in read.properties.into_iter().flatten() {
            path.push(name.clone());
            let place = Place {
                required: place.required && read.required.contains(&name.as_str()),
                under_nullable: place.under_nullable || types.is_some_and(|types| types.contains(Types::NULL)),
                silent: place.silent || union,
            };
            self.visit(property, path, place)?;
            path.pop();
        }
        if let Some(patterns) = schema.get("patternProperties") {
            let patterns = patterns.as_object().ok_or_else(|| self.wrong(path, "patternProperties"))?;
            for one in patterns.values() {
                self.visit(one, path, inside)?;
            }
        }
        Ok(())
    }

    fn push_leaf(&mut self, path: &[String], leaf: &Leaf<'_>, place: Place) {
        let null_allowed = leaf.types.is_some_and(|types| types.contains(Types::NULL))
            || leaf.values.is_some_and(|values| values.iter().any(Value::is_null));
        let nullable = null_allowed || !place.required;
        let mut leaf = *leaf;
        if nullable {
            // Null joins the type; a leaf without type then has the type null alone.
            leaf.types = Some(leaf.types.unwrap_or_default().with(Types::NULL));
        }
        self.leaves.push(FlatLeaf {
            name: column_name(path),
            path: path.to_vec(),
            column_type: leaf.column_type(),
            nullable,
            may_be_absent: nullable || place.under_nullable,
        });
    }

    fn read<'a>(&self, schema: &'a Value, path: &[String]) -> Result<Read<'a>, DdlError> {
        let object =
            schema.as_object().ok_or_else(|| DdlError::NoSchema { version: self.version, pointer: pointer(path) })?;
        let types =
            object.get("type").map(|value| Types::parse(value).ok_or_else(|| self.wrong(path, "type"))).transpose()?;
        let length = |keyword: &'static str| {
            object
                .get(keyword)
                .map(|value| {
                    whole(value)
                        .filter(|length| *length >= 0.0)
                        .map(|length| length as u64)
                        .ok_or_else(|| self.wrong(path, keyword))
                })
                .transpose()
        };
        let number = |keyword: &'static str| {
            object
                .get(keyword)
                .map(|value| value.is_number().then_some(value).ok_or_else(|| self.wrong(path, keyword)))
                .transpose()
        };
        let text = |keyword: &'static str| {
            object.get(keyword).map(|value| value.as_str().ok_or_else(|| self.wrong(path, keyword))).transpose()
        };
        number("minimum")?;
        length("minItems")?;
        length("maxItems")?;
        text("pattern")?;
        text("description")?;
        let values = object
            .get("enum")
            .map(|value| value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(path, "enum")))
            .transpose()?;
        let properties = object
            .get("properties")
            .map(|value| value.as_object().ok_or_else(|| self.wrong(path, "properties")))
            .transpose()?;
        let required = match object.get("required") {
            None => Vec::new(),
            Some(value) => value
                .as_array()
                .and_then(|names| names.iter().map(Value::as_str).collect::<Option<Vec<_>>>())
                .ok_or_else(|| self.wrong(path, "required"))?,
        };
        Ok(Read {
            leaf: Leaf {
                types,
                values,
                format: text("format")?,
                maximum: number("maximum")?,
                multiple_of: number("multipleOf")?,
                min_length: length("minLength")?,
                max_length: length("maxLength")?,
            },
            properties,
            required,
            alternatives: self.alternatives(object, path)?,
        })
    }

    /// How many different types besides null the branches of `oneOf` name.
    fn alternatives(&self, object: &Map<String, Value>, path: &[String]) -> Result<u32, DdlError> {
        let Some(branches) = object.get("oneOf") else {
            return Ok(0);
        };
        let branches = branches.as_array().ok_or_else(|| self.wrong(path, "oneOf"))?;
        let mut named = Types::default();
        for branch in branches {
            if let Some(types) = self.read(branch, path)?.leaf.types {
                named = named.with(types);
            }
        }
        Ok(named.without_null().count())
    }

    fn wrong(&self, path: &[String], keyword: &'static str) -> DdlError {
        DdlError::WrongKind { version: self.version, pointer: pointer(path), keyword }
    }
}

fn keyword_name(keyword: &str) -> &'static str {
    match keyword {
        "items" => "items",
        "additionalItems" => "additionalItems",
        _ => "additionalProperties",
    }
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|name| format!("/properties/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
}
