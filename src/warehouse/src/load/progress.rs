//! The rows of `snowmelt.progress`.

use sqlx::{PgConnection, PgPool, Row};

use super::ProgressKey;
use super::position::Position;

/// What is stored; `None` when nothing is.
pub(crate) async fn read(connection: &mut PgConnection, key: &ProgressKey) -> Result<Option<Position>, sqlx::Error> {
    fetch(
        connection,
        key,
        "SELECT sequence::text, sub_sequence FROM snowmelt.progress \
         WHERE application = $1 AND stream = $2 AND shard = $3",
    )
    .await
}

/// Holds the row until the transaction ends, so that two loaders of one shard follow each other, and gives what is
/// stored. A missing row is held too, by inserting it.
pub(crate) async fn lock(connection: &mut PgConnection, key: &ProgressKey) -> Result<Option<Position>, sqlx::Error> {
    const SELECT: &str = "SELECT sequence::text, sub_sequence FROM snowmelt.progress \
         WHERE application = $1 AND stream = $2 AND shard = $3 FOR UPDATE";
    if let Some(position) = fetch(connection, key, SELECT).await? {
        return Ok(Some(position));
    }
    let inserted = sqlx::query(
        "INSERT INTO snowmelt.progress (application, stream, shard, sequence, sub_sequence) \
         VALUES ($1, $2, $3, -1, 0) ON CONFLICT DO NOTHING",
    )
    .bind(&key.application)
    .bind(&key.stream)
    .bind(&key.shard)
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 1 { Ok(None) } else { fetch(connection, key, SELECT).await }
}

/// Moves the progress, in the transaction that holds it.
pub(crate) async fn store(
    connection: &mut PgConnection,
    key: &ProgressKey,
    position: &Position,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE snowmelt.progress SET sequence = $4::text::numeric, sub_sequence = $5, updated_at = now() \
         WHERE application = $1 AND stream = $2 AND shard = $3",
    )
    .bind(&key.application)
    .bind(&key.stream)
    .bind(&key.shard)
    .bind(position.digits())
    .bind(position.part())
    .execute(connection)
    .await?;
    Ok(())
}

/// All rows.
pub(crate) async fn read_all(pool: &PgPool) -> Result<Vec<(ProgressKey, String)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT application, stream, shard, sequence::text, sub_sequence FROM snowmelt.progress ORDER BY 1, 2, 3",
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let key = ProgressKey { application: row.try_get(0)?, stream: row.try_get(1)?, shard: row.try_get(2)? };
            Ok((key, Position::stored(row.try_get(3)?, row.try_get(4)?).to_string()))
        })
        .collect()
}

/// Removes a row.
pub(crate) async fn forget(pool: &PgPool, key: &ProgressKey) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM snowmelt.progress WHERE application = $1 AND stream = $2 AND shard = $3")
        .bind(&key.application)
        .bind(&key.stream)
        .bind(&key.shard)
        .execute(pool)
        .await?;
    Ok(())
}

async fn fetch(
    connection: &mut PgConnection,
    key: &ProgressKey,
    sql: &'static str,
) -> Result<Option<Position>, sqlx::Error> {
    let row =
        sqlx::query(sql).bind(&key.application).bind(&key.stream).bind(&key.shard).fetch_optional(connection).await?;
    row.map(|row| Ok(Position::stored(row.try_get(0)?, row.try_get(1)?))).transpose()
}
