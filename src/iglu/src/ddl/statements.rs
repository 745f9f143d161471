//! CREATE TABLE, ALTER TABLE and COMMENT (spec schema-ddl-postgres, sections 7 and 8).

use serde_json::Value;

use super::names::quote_if_needed;
use super::{Column, ColumnType, DdlError, columns_of, quote_identifier, stored_name, table_name};
use crate::SchemaKey;

/// The columns in front of an entity's own, which tie it to its event.
const META_COLUMNS: [(&str, ColumnType); 6] = [
    ("schema_vendor", ColumnType::Varchar(128)),
    ("schema_name", ColumnType::Varchar(128)),
    ("schema_format", ColumnType::Varchar(128)),
    ("schema_version", ColumnType::Varchar(128)),
    ("root_id", ColumnType::Uuid),
    ("root_tstamp", ColumnType::Timestamp),
];

/// The table of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Database schema.
    pub schema: String,
    /// Name in the database, at most 63 bytes.
    pub name: String,
    /// URI of the last version of the list: the table's comment, which is its only persistent state.
    pub uri: String,
    /// Whether the six meta columns stand in front: for entities of events, not for bad rows.
    pub meta: bool,
    /// The model's columns.
    pub columns: Vec<Column>,
}

impl Table {
    /// The table of a model from all its versions in the registry's order; for printing statements. (The loaders also
    /// look whether another model has taken the name.)
    ///
    /// # Errors
    /// [`DdlError`] when a schema is unusable or the list is empty.
    pub fn of(schema: &str, versions: &[(SchemaKey, &Value)], meta: bool) -> Result<Self, DdlError> {
        let documents: Vec<&Value> = versions.iter().map(|(_, document)| *document).collect();
        let columns = columns_of(&documents)?;
        let (last, _) = versions.last().ok_or(DdlError::NoVersions)?;
        let name = table_name(last.vendor(), last.name(), last.version().model);
        Ok(Self {
            schema: schema.to_owned(),
            name: stored_name(&name, |_| false),
            uri: last.uri().to_owned(),
            meta,
            columns,
        })
    }

    /// `schema.table`, quoted where needed.
    #[must_use]
    pub fn qualified(&self) -> String {
        format!("{}.{}", quote_if_needed(&self.schema), quote_if_needed(&self.name))
    }

    /// Names and types of the meta columns; empty where the table has none.
    #[must_use]
    pub fn meta_columns(&self) -> &'static [(&'static str, ColumnType)] {
        if self.meta { &META_COLUMNS } else { &[] }
    }
}

/// A column that a table of the database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingColumn {
    /// Its name.
    pub name: String,
    /// Its type; `None` when it is none that a schema can give.
    pub column_type: Option<ColumnType>,
    /// Whether it accepts NULL.
    pub nullable: bool,
}

/// The statement of the original for a new table. It fails when the table exists.
#[must_use]
pub fn create_table(table: &Table) -> String {
    let mut sql = format!("CREATE TABLE {} (\n", table.qualified());
    let meta = table.meta_columns().iter().map(|(name, column_type)| (*name, *column_type, true));
    let own = table.columns.iter().map(|column| (column.stored.as_str(), column.column_type, column.nullable));
    for (at, (name, column_type, nullable)) in meta.chain(own).enumerate() {
        if at > 0 {
            sql.push_str(",\n");
        }
        let null = if nullable { "NULL" } else { "NOT NULL" };
        sql.push_str(&format!("{} {column_type} {null}", quote_identifier(name)));
    }
    sql.push_str("\n)");
    sql
}

/// The statements that bring an existing table to what all versions of its model need: columns it lacks (always NULL),
/// NOT NULL dropped where a version allows absence, VARCHAR made longer. Nothing is dropped or narrowed, and no type
/// is changed in a way that rewrites the table. In an empty table (`filled` false) integers are widened too.
#[must_use]
pub fn alter_table(table: &Table, existing: &[ExistingColumn], filled: bool) -> Vec<String> {
    let qualified = table.qualified();
    let find = |name: &str| existing.iter().find(|column| column.name == name);
    let mut statements = Vec::new();
    for (name, column_type) in table.meta_columns() {
        if find(name).is_none() {
            statements.push(add_column(&qualified, name, *column_type));
        }
    }
    for column in &table.columns {
        let Some(there) = find(&column.stored) else {
            statements.push(add_column(&qualified, &column.stored, column.needed_type));
            continue;
        };
        let name = quote_identifier(&column.stored);
        if column.needs_null && !there.nullable {
            statements.push(format!("ALTER TABLE {qualified} ALTER COLUMN {name} DROP NOT NULL"));
        }
        let widen = match (there.column_type, column.needed_type) {
            (Some(ColumnType::Varchar(now)), ColumnType::Varchar(needed)) => needed > now,
            (Some(ColumnType::Char(now)), ColumnType::Varchar(needed)) => !filled && needed >= now,
            (Some(ColumnType::Integer), ColumnType::BigInt) => !filled,
            _ => false,
        };
        if widen {
            let needed = column.needed_type;
            statements.push(format!("ALTER TABLE {qualified} ALTER COLUMN {name} TYPE {needed}"));
        }
    }
    statements
}

fn add_column(qualified: &str, name: &str, column_type: ColumnType) -> String {
    let name = quote_identifier(name);
    format!("ALTER TABLE {qualified} ADD COLUMN IF NOT EXISTS {name} {column_type} NULL")
}

/// The comment that says which version the table is at.
#[must_use]
pub fn comment_on_table(table: &Table) -> String {
    let uri = table.uri.replace('\'', "''");
    format!("COMMENT ON TABLE {} IS '{uri}'", table.qualified())
}
