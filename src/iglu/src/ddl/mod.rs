//! From the JSON Schemas of one model to a PostgreSQL table: names, flattening, types, order, statements.
//!
//! Pure: a list of schema documents goes in, columns and SQL text come out
//! (spec schema-ddl-postgres, sections 1 to 8). [`create_table`] writes what the original would write, so that both can
//! work on one database; [`alter_table`] brings any table, a fresh one included, to what *all* versions need.

mod flatten;
mod names;
mod statements;
mod types;

#[cfg(test)]
mod tests;

pub use flatten::{Column, columns_of};
pub use names::{column_name, quote_identifier, quote_if_needed, snake_case, stored_name, table_name};
pub use statements::{ExistingColumn, Table, alter_table, comment_on_table, create_table};
pub use types::ColumnType;

/// Why no table can be derived from a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DdlError {
    /// A keyword has a value of the wrong kind, which makes the whole schema unusable.
    #[error("schema number {version} of the list: keyword {keyword} at {pointer:?} has a value of the wrong kind")]
    WrongKind {
        /// Place in the list, from 0.
        version: usize,
        /// JSON pointer of the sub-schema.
        pointer: String,
        /// The keyword.
        keyword: &'static str,
    },
    /// A table needs at least one version.
    #[error("the list of schemas is empty")]
    NoVersions,
    /// A schema or sub-schema is no JSON object.
    #[error("schema number {version} of the list: {pointer:?} is no schema")]
    NoSchema {
        /// Place in the list, from 0.
        version: usize,
        /// JSON pointer of what is no schema.
        pointer: String,
    },
}

impl DdlError {
    /// Place of the schema in the list, from 0.
    #[must_use]
    pub fn version(&self) -> usize {
        match self {
            Self::WrongKind { version, .. } | Self::NoSchema { version, .. } => *version,
            Self::NoVersions => 0,
        }
    }
}
