//! Publishing and deleting schemas: deciding and writing are one transaction, alone among all of one name.

use snowmelt_iglu::{SchemaKey, SchemaVer};
use sqlx::{PgConnection, Row};

use super::{LOCKS, Storage, StorageError, while_};
use crate::core::publish::{Candidate, Change, Conflict, Existing, decide};

/// A schema to store.
#[derive(Debug)]
pub struct Publication<'a> {
    /// Its identity.
    pub key: &'a SchemaKey,
    /// Whether everybody may read it.
    pub is_public: bool,
    /// The versions it declares to replace.
    pub supersedes: &'a [SchemaVer],
    /// Its body as JSON, without what identifies it.
    pub body: &'a str,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is new.
    Created,
    /// It replaced an earlier body.
    Patched,
    /// It was refused; nothing changed.
    Refused(Conflict),
}

/// Versions as columns hold them; they fit, [`SchemaVer`] sees to it.
pub(super) fn numbers(version: SchemaVer) -> [i32; 3] {
    [version.model, version.revision, version.addition].map(|part| i32::try_from(part).unwrap_or(i32::MAX))
}

impl Storage {
    /// Stores a schema, or says why not.
    ///
    /// # Errors
    /// [`StorageError`] when the database fails; then nothing is stored, unless the connection broke while it was told
    /// to commit.
    pub async fn publish(
        &self,
        publication: &Publication<'_>,
        patches_allowed: bool,
    ) -> Result<Published, StorageError> {
        let failed = while_("storing a schema");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        let published = match store(&mut transaction, publication, patches_allowed).await {
            Ok(published) => published,
            // An original server on the same database, which takes no lock, was quicker.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Published::Refused(Conflict::Exists),
            Err(error) => return Err(failed(error)),
        };
        if matches!(published, Published::Refused(_)) {
            transaction.rollback().await.map_err(&failed)?;
        } else {
            transaction.commit().await.map_err(&failed)?;
        }
        Ok(published)
    }

    /// Removes a schema if it is there. Supersession of others stays as it is.
    ///
    /// # Errors
    /// [`StorageError`] when the database fails.
    pub async fn delete(&self, key: &SchemaKey) -> Result<(), StorageError> {
        let [model, revision, addition] = numbers(key.version());
        sqlx::query(
            "DELETE FROM iglu_schemas WHERE vendor = $1 AND name = $2 AND format = $3
             AND model = $4 AND revision = $5 AND addition = $6",
        )
        .bind(key.vendor())
        .bind(key.name())
        .bind(key.format())
        .bind(model)
        .bind(revision)
        .bind(addition)
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(while_("deleting a schema"))
    }
}

async fn store(
    connection: &mut PgConnection,
    publication: &Publication<'_>,
    patches_allowed: bool,
) -> Result<Published, sqlx::Error> {
    let key = publication.key;
    let [model, revision, addition] = numbers(key.version());
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .bind(LOCKS + 1)
        .bind(format!("{}/{}", key.vendor(), key.name()))
        .execute(&mut *connection)
        .await?;
    let rows = sqlx::query(
        "SELECT format, model, revision, addition, is_public, superseded_by
         FROM iglu_schemas WHERE vendor = $1 AND name = $2",
    )
    .bind(key.vendor())
    .bind(key.name())
    .fetch_all(&mut *connection)
    .await?;
    let existing = rows.iter().map(existing).collect::<Result<Vec<_>, _>>()?;
    let candidate = Candidate {
        version: key.version(),
        format: key.format(),
        is_public: publication.is_public,
        supersedes: publication.supersedes,
    };
    match decide(&existing, candidate, patches_allowed) {
        Err(conflict) => Ok(Published::Refused(conflict)),
        Ok(Change::Patch) => {
            sqlx::query(
                "UPDATE iglu_schemas SET body = $7::json, is_public = $8, updated_at = clock_timestamp()::timestamp
                 WHERE vendor = $1 AND name = $2 AND format = $3 AND model = $4 AND revision = $5 AND addition = $6",
            )
            .bind(key.vendor())
            .bind(key.name())
            .bind(key.format())
            .bind(model)
            .bind(revision)
            .bind(addition)
            .bind(publication.body)
            .bind(publication.is_public)
            .execute(connection)
            .await?;
            Ok(Published::Patched)
        }
        Ok(Change::Create { superseded }) => {
            let supersedes: Vec<String> = publication.supersedes.iter().map(ToString::to_string).collect();
            sqlx::query(
                "INSERT INTO iglu_schemas
                     (vendor, name, format, model, revision, addition, created_at, updated_at, is_public, body, supersedes)
                 SELECT $1, $2, $3, $4, $5, $6, now.at, now.at, $7, $8::json, $9::text[]
                 FROM (SELECT clock_timestamp()::timestamp AS at) AS now",
            )
            .bind(key.vendor())
            .bind(key.name())
            .bind(key.format())
            .bind(model)
            .bind(revision)
            .bind(addition)
            .bind(publication.is_public)
            .bind(publication.body)
            .bind((!supersedes.is_empty()).then_some(supersedes))
            .execute(&mut *connection)
            .await?;
            mark(connection, key, superseded.iter().filter_map(|&at| existing.get(at))).await?;
            Ok(Published::Created)
        }
    }
}

/// Marks schemas of the same name as superseded by a new version.
async fn mark(
    connection: &mut PgConnection,
    by: &SchemaKey,
    superseded: impl Iterator<Item = &Existing>,
) -> Result<(), sqlx::Error> {
    for schema in superseded {
        let [model, revision, addition] = numbers(schema.version);
        sqlx::query(
            "UPDATE iglu_schemas SET superseded_by = $7
             WHERE vendor = $1 AND name = $2 AND format = $3 AND model = $4 AND revision = $5 AND addition = $6",
        )
        .bind(by.vendor())
        .bind(by.name())
        .bind(&schema.format)
        .bind(model)
        .bind(revision)
        .bind(addition)
        .bind(by.version().to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn existing(row: &sqlx::postgres::PgRow) -> Result<Existing, sqlx::Error> {
    let number = |at: usize| row.try_get::<i32, _>(at).map(|number| u32::try_from(number).unwrap_or_default());
    Ok(Existing {
        format: row.try_get(0)?,
        version: SchemaVer::new(number(1)?, number(2)?, number(3)?),
        is_public: row.try_get(4)?,
        superseded_by: row.try_get::<Option<String>, _>(5)?.and_then(|text| text.parse().ok()),
    })
}
