//! Copying rows while they are built: the usual way of a batch.
//!
//! The rows of the batch's first table, which for events is `events`, leave in one COPY as they come, so that the server is at
//! work from the first of them on: it takes longer over a row than we do. Those of the other tables are gathered meanwhile and
//! follow, each table in one COPY: what a COPY costs besides its rows is paid once a table and batch.

use sqlx::PgConnection;

use super::batch::Batch;
use super::copying::{copy_run, send};
use super::transaction::Core;
use super::{InputRecord, LoadReport};
use crate::fault::Fault;

/// Records that are built between two sends: few, so that the server soon has its first rows, and as many as are worth a system call.
const RECORDS_A_SEND: usize = 128;

/// What is to be copied: records, of which those before `built` are in the batch.
pub(super) struct Source<'a> {
    pub(super) records: &'a [InputRecord<'a>],
    pub(super) built: usize,
}

impl Source<'_> {
    /// Where the next part of the records ends.
    pub(super) fn next_end(&self) -> usize {
        (self.built + RECORDS_A_SEND).min(self.records.len())
    }

    /// Builds the next part, if there is one and its tables are ready. Tells whether that was so.
    async fn build_more(&mut self, core: &Core, batch: &mut Batch<'_>) -> bool {
        let end = self.next_end();
        if end == self.built {
            return false;
        }
        let mark = batch.mark();
        core.add_records(batch, self.records, self.built..end).await;
        if !batch.needs.is_empty() {
            batch.take_back(mark);
            return false;
        }
        self.built = end;
        true
    }
}

/// Copies the rows of the batch and of the records after it, none of which may be refused, up to the end or to where a table
/// is needed that is not ready. Afterwards `source.built` tells how many records these are.
pub(super) async fn copy_while_building(
    core: &Core,
    connection: &mut PgConnection,
    source: &mut Source<'_>,
    batch: &mut Batch<'_>,
    report: &mut LoadReport,
) -> Result<(), Fault> {
    while batch.first_copy().is_none() && source.build_more(core, batch).await {}
    if let Some(statement) = batch.first_copy() {
        let mut copy = connection.copy_in_raw(statement).await?;
        while let Some(table) = batch.tables.first_mut() {
            let (bytes, rows) = table.all();
            copy = send(copy, bytes).await?;
            report.rows += rows;
            table.clear();
            if !source.build_more(core, batch).await {
                break;
            }
        }
        copy.finish().await?;
    }
    report.rows += copy_run(connection, &batch.tables, 0, u32::MAX).await?;
    report.records += batch.loaded.len() as u64;
    Ok(())
}
