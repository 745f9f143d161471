//! Drafts: schemas that are not published yet (iglu-server spec, section 10).

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{LOCKS, Storage, StorageError, while_};
use crate::core::route::DraftId;

/// Most drafts of one list.
const MOST_DRAFTS: i64 = 10_000;

/// A stored draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its identity.
    pub id: DraftId,
    /// When it was stored first, in microseconds since the epoch.
    pub created_us: i64,
    /// When it was stored last, in microseconds since the epoch.
    pub updated_us: i64,
    /// Whether lists show it to everybody.
    pub is_public: bool,
    /// Its body as JSON.
    pub body: String,
}

impl Storage {
    /// Stores a draft, over an earlier one of the same identity; whether it is new.
    ///
    /// # Errors
    /// [`StorageError`] when the database fails.
    pub async fn put_draft(&self, id: &DraftId, is_public: bool, body: &str) -> Result<bool, StorageError> {
        let failed = while_("storing a draft");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        // The unique index may be missing where the original left duplicates.
        sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
            .bind(LOCKS + 2)
            .bind(format!("{}/{}", id.vendor, id.name))
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        let updated = sqlx::query(
            "UPDATE iglu_drafts SET body = $5::json, is_public = $6, updated_at = clock_timestamp()::timestamp
             WHERE vendor = $1 AND name = $2 AND format = $3 AND version = $4",
        )
        .bind(&id.vendor)
        .bind(&id.name)
        .bind(&id.format)
        .bind(id.version)
        .bind(body)
        .bind(is_public)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        let is_new = updated.rows_affected() == 0;
        if is_new {
            sqlx::query(
                "INSERT INTO iglu_drafts (vendor, name, format, version, created_at, updated_at, is_public, body)
                 SELECT $1, $2, $3, $4, now.at, now.at, $5, $6::json
                 FROM (SELECT clock_timestamp()::timestamp AS at) AS now",
            )
            .bind(&id.vendor)
            .bind(&id.name)
            .bind(&id.format)
            .bind(id.version)
            .bind(is_public)
            .bind(body)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(is_new)
    }

    /// One draft; the latest, where the original stored several of one identity.
    ///
    /// # Errors
    /// [`StorageError`] when the database fails.
    pub async fn draft(&self, id: &DraftId) -> Result<Option<Draft>, StorageError> {
        let failed = while_("reading a draft");
        let row = sqlx::query(
            "SELECT vendor, name, format, version, (extract(epoch FROM created_at) * 1000000)::bigint,
                    (extract(epoch FROM updated_at) * 1000000)::bigint, is_public, body::text
             FROM iglu_drafts WHERE vendor = $1 AND name = $2 AND format = $3 AND version = $4
             ORDER BY updated_at DESC LIMIT 1",
        )
        .bind(&id.vendor)
        .bind(&id.name)
        .bind(&id.format)
        .bind(id.version)
        .fetch_optional(&self.pool)
        .await
        .map_err(&failed)?;
        row.as_ref().map(draft).transpose().map_err(&failed)
    }

    /// Every draft by the time it was stored first, at most 10,000.
    ///
    /// # Errors
    /// [`StorageError`] when the database fails.
    pub async fn drafts(&self) -> Result<Vec<Draft>, StorageError> {
        let failed = while_("reading drafts");
        let rows = sqlx::query(
            "SELECT vendor, name, format, version, (extract(epoch FROM created_at) * 1000000)::bigint,
                    (extract(epoch FROM updated_at) * 1000000)::bigint, is_public, body::text
             FROM iglu_drafts ORDER BY created_at, version LIMIT $1",
        )
        .bind(MOST_DRAFTS)
        .fetch_all(&self.pool)
        .await
        .map_err(&failed)?;
        rows.iter().map(draft).collect::<Result<_, _>>().map_err(&failed)
    }
}

fn draft(row: &PgRow) -> Result<Draft, sqlx::Error> {
    let id =
        DraftId { vendor: row.try_get(0)?, name: row.try_get(1)?, format: row.try_get(2)?, version: row.try_get(3)? };
    Ok(Draft {
        id,
        created_us: row.try_get(4)?,
        updated_us: row.try_get(5)?,
        is_public: row.try_get(6)?,
        body: row.try_get(7)?,
    })
}
