//! Moving from the tables before 0.6 (iglu-server spec, section 14, `--migrate 0.5.0`): everything is checked before
//! anything is written, and the old tables stay.

use std::collections::HashMap;

use serde_json::{Map, Value};
use snowmelt_iglu::{SchemaKey, SchemaVer, schema_key_of};
use sqlx::{PgConnection, Row};

use super::publish::numbers;
use super::{Storage, StorageError, while_};
use crate::core::publish::{Candidate, Existing, decide};
use crate::core::representation::members_of;

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Rows that cannot be moved.
    #[error("Inconsistent entities found: {}", .0.join(", "))]
    Inconsistent(Vec<String>),
}

/// How much was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Migrated {
    /// Schemas.
    pub schemas: usize,
    /// Drafts.
    pub drafts: usize,
    /// Keys.
    pub keys: usize,
}

/// A row of the old `schemas` table.
struct OldRow {
    vendor: String,
    name: String,
    format: String,
    version: String,
    schema: String,
    draft: String,
    created: String,
    updated: String,
    is_public: bool,
}

impl Storage {
    /// Moves schemas, drafts and keys from the old tables `schemas` and `apikeys`, all or nothing.
    ///
    /// # Errors
    /// [`MigrateError`] when the old tables are not there or hold rows that cannot be moved.
    pub async fn migrate_from_0_5(&self) -> Result<Migrated, MigrateError> {
        let failed = while_("moving the tables of 0.5");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        let rows = sqlx::query(
            "SELECT vendor, name, format, version, schema::text, draftnumber::text, createdat::timestamp::text,
                    updatedat::timestamp::text, ispublic::boolean
             FROM schemas ORDER BY createdat",
        )
        .fetch_all(&mut *transaction)
        .await
        .map_err(&failed)?;
        let rows = rows.iter().map(old_row).collect::<Result<Vec<_>, _>>().map_err(&failed)?;
        let (schemas, drafts): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.draft == "0");
        let schemas = checked(schemas)?;
        let drafts = checked_drafts(drafts)?;
        for (row, key, members) in &schemas {
            insert_schema(&mut transaction, row, key, members).await.map_err(&failed)?;
        }
        for (row, number, body) in &drafts {
            insert_draft(&mut transaction, row, *number, body).await.map_err(&failed)?;
        }
        let keys = sqlx::query(
            "INSERT INTO iglu_permissions (apikey, vendor, wildcard, schema_action, key_action)
             SELECT uid::text::uuid, vendor_prefix, TRUE,
                    (CASE permission::text WHEN 'super' THEN 'CREATE_VENDOR' WHEN 'write' THEN 'CREATE_VENDOR'
                     ELSE 'READ' END)::schema_action,
                    CASE permission::text WHEN 'super' THEN '{CREATE,DELETE}'::key_action[] ELSE '{}' END
             FROM apikeys",
        )
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        let keys = usize::try_from(keys.rows_affected()).unwrap_or(usize::MAX);
        Ok(Migrated { schemas: schemas.len(), drafts: drafts.len(), keys })
    }
}

/// Old rows of schemas with their keys and the members of their bodies, in order; or everything that is wrong.
fn checked(rows: Vec<OldRow>) -> Result<Vec<(OldRow, SchemaKey, String)>, MigrateError> {
    let mut wrong = Vec::new();
    let mut schemas = Vec::with_capacity(rows.len());
    for row in rows {
        match row.read() {
            Ok((key, members)) => schemas.push((row, key, members)),
            Err(reason) => wrong.push(format!("{}: {reason}", row.id())),
        }
    }
    let mut groups: HashMap<(&str, &str), Vec<Existing>> = HashMap::new();
    for (row, key, _) in &schemas {
        let existing = groups.entry((key.vendor(), key.name())).or_default();
        let candidate =
            Candidate { version: key.version(), format: key.format(), is_public: row.is_public, supersedes: &[] };
        if let Err(conflict) = decide(existing, candidate, false) {
            wrong.push(format!("{}: {conflict}", row.id()));
        }
        existing.push(Existing {
            version: key.version(),
            format: key.format().to_owned(),
            is_public: row.is_public,
            superseded_by: None,
        });
    }
    if wrong.is_empty() { Ok(schemas) } else { Err(MigrateError::Inconsistent(wrong)) }
}

fn checked_drafts(rows: Vec<OldRow>) -> Result<Vec<(OldRow, i32, String)>, MigrateError> {
    let mut wrong = Vec::new();
    let mut drafts = Vec::with_capacity(rows.len());
    for row in rows {
        let number = row.draft.parse::<i32>().ok().filter(|number| *number >= 0);
        match (number, serde_json::from_str::<Value>(&row.schema)) {
            (Some(number), Ok(body)) => drafts.push((row, number, body.to_string())),
            (None, _) => wrong.push(format!("{}: {:?} is no number of a draft", row.id(), row.draft)),
            (_, Err(_)) => wrong.push(format!("{}: its body is not JSON", row.id())),
        }
    }
    if wrong.is_empty() { Ok(drafts) } else { Err(MigrateError::Inconsistent(wrong)) }
}

impl OldRow {
    fn id(&self) -> String {
        format!("{}/{}/{}/{}", self.vendor, self.name, self.format, self.version)
    }

    fn read(&self) -> Result<(SchemaKey, String), String> {
        let version: SchemaVer = self.version.parse().map_err(|_| format!("{:?} is no version", self.version))?;
        let key = SchemaKey::new(&self.vendor, &self.name, &self.format, version)
            .map_err(|_| "its name is not one of a schema".to_owned())?;
        let body: Map<String, Value> =
            serde_json::from_str(&self.schema).map_err(|_| "its body is not a JSON object".to_owned())?;
        let document = Value::Object(body);
        match schema_key_of(&document) {
            Ok(own) if own == key => {}
            Ok(own) => return Err(format!("its body says it is {own}")),
            Err(code) => return Err(format!("its body is not self-describing, {code}")),
        }
        let Value::Object(body) = document else { unreachable!("made of an object above") };
        Ok((key, format!("{{{}}}", members_of(body))))
    }
}

fn old_row(row: &sqlx::postgres::PgRow) -> Result<OldRow, sqlx::Error> {
    Ok(OldRow {
        vendor: row.try_get(0)?,
        name: row.try_get(1)?,
        format: row.try_get(2)?,
        version: row.try_get(3)?,
        schema: row.try_get(4)?,
        draft: row.try_get(5)?,
        created: row.try_get(6)?,
        updated: row.try_get(7)?,
        is_public: row.try_get(8)?,
    })
}

async fn insert_schema(
    connection: &mut PgConnection,
    row: &OldRow,
    key: &SchemaKey,
    body: &str,
) -> Result<(), sqlx::Error> {
    let [model, revision, addition] = numbers(key.version());
    sqlx::query(
        "INSERT INTO iglu_schemas
             (vendor, name, format, model, revision, addition, created_at, updated_at, is_public, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7::text::timestamp, $8::text::timestamp, $9, $10::json)",
    )
    .bind(key.vendor())
    .bind(key.name())
    .bind(key.format())
    .bind(model)
    .bind(revision)
    .bind(addition)
    .bind(&row.created)
    .bind(&row.updated)
    .bind(row.is_public)
    .bind(body)
    .execute(connection)
    .await
    .map(drop)
}

async fn insert_draft(connection: &mut PgConnection, row: &OldRow, number: i32, body: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO iglu_drafts (vendor, name, format, version, created_at, updated_at, is_public, body)
         VALUES ($1, $2, $3, $4, $5::text::timestamp, $6::text::timestamp, $7, $8::json)",
    )
    .bind(&row.vendor)
    .bind(&row.name)
    .bind(&row.format)
    .bind(number)
    .bind(&row.created)
    .bind(&row.updated)
    .bind(row.is_public)
    .bind(body)
    .execute(connection)
    .await
    .map(drop)
}
