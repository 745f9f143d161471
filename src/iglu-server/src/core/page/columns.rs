//! The Postgres table of a model, as the loaders make it.

use serde::Serialize;
use serde_json::Value;
use snowmelt_iglu::SchemaKey;
use snowmelt_iglu::ddl::{DdlError, ExistingColumn, Table, alter_table, comment_on_table, create_table};

/// Database schema of the loaders' tables, unless they are told otherwise.
const SCHEMA: &str = "atomic";

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PageTable {
    /// `atomic.com_acme_event_1`.
    pub name: String,
    /// Its columns in order, those that tie a row to its event first.
    pub columns: Vec<PageColumn>,
    /// The statements that make it.
    pub sql: String,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PageColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub column_type: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// The fields it is filled from, as paths; the first with a value counts. None for what ties a row to its event.
    pub from: Vec<String>,
}

/// The table of a model from its versions in order, the last of which is the newest to count.
///
/// # Errors
/// [`DdlError`] when a version's keywords cannot be read.
pub fn table_of(versions: &[(SchemaKey, &Value)]) -> Result<PageTable, DdlError> {
    let table = Table::of(SCHEMA, versions, true)?;
    let meta = table.meta_columns().iter().map(|(name, column_type)| PageColumn {
        name: (*name).to_owned(),
        column_type: column_type.to_string(),
        nullable: true,
        from: Vec::new(),
    });
    let own = table.columns.iter().map(|column| PageColumn {
        name: column.stored.clone(),
        column_type: column.needed_type.to_string(),
        nullable: column.nullable || column.needs_null,
        from: column.paths.iter().map(|path| path.join(".")).collect(),
    });
    let columns = meta.chain(own).collect();
    // The original's table, and what brings it to the needs of all versions.
    let meta = table.meta_columns().iter().map(|(name, column_type)| ((*name).to_owned(), *column_type, true));
    let own = table.columns.iter().map(|column| (column.stored.clone(), column.column_type, column.nullable));
    let made: Vec<ExistingColumn> = meta
        .chain(own)
        .map(|(name, column_type, nullable)| ExistingColumn { name, column_type: Some(column_type), nullable })
        .collect();
    let statements = [create_table(&table)].into_iter().chain(alter_table(&table, &made, false));
    let statements = statements.chain([comment_on_table(&table)]);
    let sql = statements.map(|statement| statement + ";\n").collect();
    Ok(PageTable { name: table.qualified(), columns, sql })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_has_the_columns_of_all_versions() {
        let one = json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": 5}}, "required": ["a"]});
        let two = json!({"type": "object", "properties": {
            "a": {"type": "string", "maxLength": 9}, "b": {"type": "boolean"}}});
        let key = |version: &str| format!("iglu:com.acme/e/jsonschema/{version}").parse::<SchemaKey>().unwrap();
        let table = table_of(&[(key("1-0-0"), &one), (key("1-0-1"), &two)]).unwrap();
        assert_eq!(table.name, "atomic.com_acme_e_1");
        let own: Vec<(&str, &str, bool)> = table.columns[6..]
            .iter()
            .map(|column| (column.name.as_str(), column.column_type.as_str(), column.nullable))
            .collect();
        assert_eq!(own, [("a", "VARCHAR(9)", true), ("b", "BOOLEAN", true)]);
        assert_eq!(table.columns[0].name, "schema_vendor");
        assert!(table.sql.contains("\"a\" VARCHAR(5) NOT NULL"), "{}", table.sql);
        assert!(table.sql.contains("ALTER COLUMN \"a\" TYPE VARCHAR(9);"), "{}", table.sql);
        assert!(table_of(&[]).is_err());
    }
}
