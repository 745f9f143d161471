//! The rows of a batch on their way into the tables, and the search for those that the database refuses.

use sqlx::PgConnection;
use sqlx::postgres::PgCopyIn;

use super::LoadReport;
use super::batch::{Batch, BatchTable};
use crate::fault::Fault;

/// COPY data goes to the server in pieces of this size.
const COPY_CHUNK: usize = 256 * 1024;

/// A record that the database refused: its place among those that were built, and what it said.
pub(super) struct Refused {
    pub(super) place: usize,
    pub(super) fault: Fault,
}

/// Copies all records, none of which may be refused.
pub(super) async fn copy_hopefully(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    report: &mut LoadReport,
) -> Result<(), Fault> {
    report.rows += copy_run(connection, &batch.tables, 0, u32::MAX).await?;
    report.records += batch.loaded.len() as u64;
    Ok(())
}

/// Copies all records; those that the database refuses are found by halving, inside savepoints, and given back with
/// what it said. Rows keep the order of the records.
pub(super) async fn copy_all(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    report: &mut LoadReport,
) -> Result<Vec<Refused>, Fault> {
    let mut refused = Vec::new();
    let mut runs = vec![(0, batch.loaded.len() as u32)];
    while let Some((from, to)) = runs.pop() {
        if from == to {
            continue;
        }
        sqlx::raw_sql("SAVEPOINT run").execute(&mut *connection).await?;
        match copy_run(connection, &batch.tables, from, to).await {
            Ok(rows) => {
                sqlx::raw_sql("RELEASE SAVEPOINT run").execute(&mut *connection).await?;
                report.records += u64::from(to - from);
                report.rows += rows;
            }
            Err(error) => {
                let fault = Fault::from(error);
                if !fault.is_about_data() {
                    return Err(fault);
                }
                sqlx::raw_sql("ROLLBACK TO SAVEPOINT run; RELEASE SAVEPOINT run").execute(&mut *connection).await?;
                if to - from == 1 {
                    refused.push(Refused { place: batch.loaded[from as usize], fault });
                } else {
                    let middle = from + (to - from) / 2;
                    runs.push((middle, to));
                    runs.push((from, middle));
                }
            }
        }
    }
    Ok(refused)
}

/// Copies the rows of the records `from..to` into each table.
pub(super) async fn copy_run(
    connection: &mut PgConnection,
    tables: &[BatchTable],
    from: u32,
    to: u32,
) -> Result<u64, sqlx::Error> {
    let mut rows = 0;
    for table in tables {
        let (bytes, count) = table.slice(from, to);
        if count == 0 {
            continue;
        }
        rows += count;
        match (&table.model, table.copy()) {
            (_, Some(statement)) => {
                let copy = connection.copy_in_raw(statement).await?;
                send(copy, bytes).await?.finish().await?;
            }
            (Some(model), None) => insert_empty_rows(connection, &model.qualified, count).await?,
            (None, None) => {}
        }
    }
    Ok(rows)
}

/// Sends rows into a COPY; gives it back unless that failed.
pub(super) async fn send<'c>(
    mut copy: PgCopyIn<&'c mut PgConnection>,
    bytes: &[u8],
) -> Result<PgCopyIn<&'c mut PgConnection>, sqlx::Error> {
    for chunk in bytes.chunks(COPY_CHUNK) {
        if let Err(error) = copy.send(chunk).await {
            // What it says to the abort is less telling than the error itself.
            if let Err(abort) = copy.abort("sending failed").await {
                tracing::debug!(%abort, "COPY could not be aborted");
            }
            return Err(error);
        }
    }
    Ok(copy)
}

/// COPY needs a column; a table without any still has rows.
async fn insert_empty_rows(connection: &mut PgConnection, qualified: &str, count: u64) -> Result<(), sqlx::Error> {
    let sql = format!("INSERT INTO {qualified} SELECT FROM generate_series(1, {count})");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}
