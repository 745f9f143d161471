//! What the database's catalogue says of tables, and locks by name among everybody who changes them.

use snowmelt_iglu::ddl::{ColumnType, ExistingColumn};
use sqlx::{PgConnection, Row};

/// First key of our advisory locks.
const LOCK_CLASS: i32 = 0x736e_6f77;

/// A table as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExistingTable {
    /// Its comment: the URI of the version it is at.
    pub(crate) comment: Option<String>,
    /// Columns that can be written, in order.
    pub(crate) columns: Vec<ExistingColumn>,
}

/// Waits for the lock of this name, held until the transaction ends. Different names may share a lock.
pub(crate) async fn lock_name(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
        .bind(LOCK_CLASS)
        .bind(hash.cast_signed())
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether the database has this schema.
pub(crate) async fn schema_exists(connection: &mut PgConnection, schema: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)")
        .bind(schema)
        .fetch_one(connection)
        .await
}

/// The table, partitioned ones included; `None` when there is none of this name.
pub(crate) async fn read_table(
    connection: &mut PgConnection,
    schema: &str,
    table: &str,
) -> Result<Option<ExistingTable>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT obj_description(c.oid, 'pg_class'), a.attname::text, format_type(a.atttypid, a.atttypmod), \
                NOT a.attnotnull \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
              AND a.attgenerated = '' \
         WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'f', 'v') \
         ORDER BY a.attnum",
    )
    .bind(schema)
    .bind(table)
    .fetch_all(connection)
    .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let mut existing = ExistingTable { comment: first.try_get(0)?, columns: Vec::with_capacity(rows.len()) };
    for row in &rows {
        let Some(name) = row.try_get::<Option<String>, _>(1)? else {
            continue;
        };
        let written: String = row.try_get(2)?;
        existing.columns.push(ExistingColumn { name, column_type: parse_type(&written), nullable: row.try_get(3)? });
    }
    Ok(Some(existing))
}

/// The type that `format_type` writes so; `None` for one whose text form we know nothing of.
fn parse_type(written: &str) -> Option<ColumnType> {
    let (name, length) = match written.split_once('(') {
        Some((name, rest)) => (name, rest.split(')').next().and_then(|length| length.parse().ok())),
        None => (written, None),
    };
    Some(match name {
        "jsonb" | "json" => ColumnType::Jsonb,
        "date" => ColumnType::Date,
        "bigint" => ColumnType::BigInt,
        "integer" | "smallint" => ColumnType::Integer,
        "double precision" | "real" | "numeric" => ColumnType::Double,
        "boolean" => ColumnType::Boolean,
        "uuid" => ColumnType::Uuid,
        "text" => ColumnType::Text,
        "character varying" => length.map_or(ColumnType::Text, ColumnType::Varchar),
        "character" => ColumnType::Char(length?),
        // `timestamp(3) without time zone` has its length in the middle.
        _ if name.starts_with("timestamp") => ColumnType::Timestamp,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_the_catalogue_writes_them() {
        for (written, expected) in [
            ("character varying(255)", Some(ColumnType::Varchar(255))),
            ("character varying", Some(ColumnType::Text)),
            ("character(2)", Some(ColumnType::Char(2))),
            ("timestamp without time zone", Some(ColumnType::Timestamp)),
            ("timestamp(3) with time zone", Some(ColumnType::Timestamp)),
            ("numeric(10,2)", Some(ColumnType::Double)),
            ("double precision", Some(ColumnType::Double)),
            ("inet", None),
        ] {
            assert_eq!(parse_type(written), expected, "{written}");
        }
    }
}
