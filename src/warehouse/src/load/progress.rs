//! The rows of `snowmelt.progress`.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row};

use super::ProgressKey;
use super::position::Position;

/// What is stored; `None` when nothing is.
pub(crate) async fn read(connection: &mut PgConnection, key: &ProgressKey) -> Result<Option<Position>, sqlx::Error> {
    let sql = "SELECT sequence::text, sub_sequence FROM snowmelt.progress \
               WHERE application = $1 AND stream = $2 AND shard = $3";
    let row =
        sqlx::query(sql).bind(&key.application).bind(&key.stream).bind(&key.shard).fetch_optional(connection).await?;
    row.as_ref().map(position).transpose()
}

/// Begins a transaction that holds the row until it ends, so that two loaders of one shard follow each other, and gives what
/// is stored. A missing row is held too, by inserting it.
pub(crate) async fn begin(connection: &mut PgConnection, key: &ProgressKey) -> Result<Option<Position>, sqlx::Error> {
    // One way to the server and back; with parameters it would be two.
    let select = format!("SELECT sequence::text, sub_sequence FROM snowmelt.progress WHERE {} FOR UPDATE", is(key));
    let begin = format!("BEGIN; {select}");
    if let Some(row) = sqlx::raw_sql(AssertSqlSafe(begin)).fetch_optional(&mut *connection).await? {
        return position(&row).map(Some);
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
    if inserted.rows_affected() == 1 {
        return Ok(None);
    }
    sqlx::raw_sql(AssertSqlSafe(select)).fetch_optional(connection).await?.as_ref().map(position).transpose()
}

/// Moves the progress in the transaction that holds it, and commits.
pub(crate) async fn store_and_commit(
    connection: &mut PgConnection,
    key: &ProgressKey,
    position: &Position,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE snowmelt.progress SET sequence = {}, sub_sequence = {}, updated_at = now() WHERE {}; COMMIT",
        literal(position.digits()),
        position.part(),
        is(key)
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

fn is(key: &ProgressKey) -> String {
    let ProgressKey { application, stream, shard } = key;
    format!("application = {} AND stream = {} AND shard = {}", literal(application), literal(stream), literal(shard))
}

/// A text in SQL; backslashes stand for themselves in our sessions.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn position(row: &PgRow) -> Result<Position, sqlx::Error> {
    Ok(Position::stored(row.try_get(0)?, row.try_get(1)?))
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
