//! The steps of one load: read the progress, build the rows, make tables ready, then one transaction with COPY, the
//! delivery of bad rows and the new progress.

use std::sync::{Arc, PoisonError};

use snowmelt_protocol::badrow::trim_to_size;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};

use super::batch::{Batch, BatchTable, Purpose, Unusable};
use super::duplicates::{EventIds, Repeats};
use super::events::{EventsTable, add_event};
use super::json_records::{Refusal, add_json, failure_text};
use super::position::Position;
use super::progress;
use super::{BadRow, BadSink, InputRecord, LoadError, LoadReport, LoaderOptions, ProgressKey};
use crate::fault::Fault;
use crate::models::{ModelId, Models, NotReady};
use crate::{Warehouse, WarehouseError};

/// COPY data goes to the server in pieces of this size.
const COPY_CHUNK: usize = 256 * 1024;
/// Records between two points where other tasks of the thread may run.
const RECORDS_A_TURN: usize = 128;
/// How often somebody else may move the progress before we give up.
const MAX_CONTENTIONS: usize = 5;
/// How many connections may break before we give up. A pool may hold some that broke unnoticed: those of a runtime that
/// has ended since, which still answer now and then, or those from before the server's restart.
const MAX_LOST: usize = 3;

/// What both loaders are.
pub(super) struct Core {
    pub(super) warehouse: Warehouse,
    pub(super) models: Models,
    pub(super) purpose: Purpose,
    /// Where duplicates are removed.
    pub(super) ids: Option<EventIds>,
    pub(super) options: LoaderOptions,
}

/// A record that the database refused: its place in the input, and what it said.
pub(super) struct Refused {
    pub(super) place: usize,
    pub(super) fault: Fault,
}

/// The end of a transaction.
enum Outcome {
    Committed(LoadReport),
    /// Somebody else moved the progress in between.
    Moved,
}

/// Why an attempt ended early.
enum Failure {
    Database(Fault),
    BadSink(String),
    Registry(String),
}

impl Failure {
    fn of_shard(self, key: &ProgressKey) -> LoadError {
        let shard = key.shard.clone();
        match self {
            Self::Database(Fault { code, message, .. }) => LoadError::Database { shard, code, message },
            Self::BadSink(message) => LoadError::BadSink { shard, message },
            Self::Registry(message) => LoadError::Registry { shard, message },
        }
    }
}

impl From<WarehouseError> for Failure {
    fn from(error: WarehouseError) -> Self {
        Self::Database(Fault { code: None, message: error.to_string(), connection_lost: false })
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl Core {
    pub(super) async fn load(
        &self,
        records: &[InputRecord<'_>],
        key: &ProgressKey,
        last_sequence: &str,
        bad: &dyn BadSink,
    ) -> Result<LoadReport, LoadError> {
        let after = self.options.load_timeout;
        let work = Box::pin(self.load_untimed(records, key, last_sequence, bad));
        tokio::time::timeout(after, work)
            .await
            .unwrap_or_else(|_| Err(LoadError::Timeout { shard: key.shard.clone(), after }))
    }

    pub(super) async fn stored_progress(&self, key: &ProgressKey) -> Result<Option<String>, LoadError> {
        let stored = self.read_progress(key).await.map_err(|failure| failure.of_shard(key))?;
        Ok(stored.map(|position| position.to_string()))
    }

    async fn load_untimed(
        &self,
        records: &[InputRecord<'_>],
        key: &ProgressKey,
        last_sequence: &str,
        bad: &dyn BadSink,
    ) -> Result<LoadReport, LoadError> {
        let no_sequence =
            |sequence: &str| LoadError::Sequence { shard: key.shard.clone(), sequence: sequence.to_owned() };
        let last = Position::up_to(last_sequence).ok_or_else(|| no_sequence(last_sequence))?;
        let positions = records
            .iter()
            .map(|record| Position::of_record(record.sequence).ok_or_else(|| no_sequence(record.sequence)))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut contentions, mut lost) = (0, 0);
        loop {
            match self.attempt(records, &positions, key, &last, bad).await {
                Ok(Outcome::Committed(report)) => {
                    if let Some(ids) = &self.ids {
                        ids.tidy(&self.warehouse).await;
                    }
                    return Ok(report);
                }
                Ok(Outcome::Moved) if contentions < MAX_CONTENTIONS => contentions += 1,
                Ok(Outcome::Moved) => return Err(LoadError::Contended { shard: key.shard.clone() }),
                Err(Failure::Database(fault)) if fault.connection_lost && lost < MAX_LOST => {
                    tracing::debug!(shard = key.shard, fault.message, "trying another connection");
                    lost += 1;
                }
                Err(failure) => return Err(failure.of_shard(key)),
            }
        }
    }

    async fn attempt(
        &self,
        records: &[InputRecord<'_>],
        positions: &[Position],
        key: &ProgressKey,
        last: &Position,
        bad: &dyn BadSink,
    ) -> Result<Outcome, Failure> {
        let stored = self.read_progress(key).await?;
        let is_new = |position: &Position| stored.as_ref().is_none_or(|stored| position > stored);
        let new: Vec<InputRecord<'_>> =
            records.iter().zip(positions).filter(|(_, at)| is_new(at)).map(|(record, _)| *record).collect();
        let skipped = (records.len() - new.len()) as u64;
        if new.is_empty() && !is_new(last) {
            return Ok(Outcome::Committed(LoadReport { skipped, ..LoadReport::default() }));
        }
        let mut batch = self.build(&new).await?;
        let target = if is_new(last) { last } else { stored.as_ref().unwrap_or(last) };
        match self.run(&new, &mut batch, key, stored.as_ref(), target, bad).await {
            Ok(Outcome::Committed(report)) => Ok(Outcome::Committed(LoadReport { skipped, ..report })),
            Ok(Outcome::Moved) => Ok(Outcome::Moved),
            Err(failure) => {
                if matches!(&failure, Failure::Database(fault) if fault.is_about_tables()) {
                    self.look_again(&batch);
                }
                Err(failure)
            }
        }
    }

    async fn read_progress(&self, key: &ProgressKey) -> Result<Option<Position>, Failure> {
        let mut connection = self.warehouse.pool.acquire().await?;
        let read = progress::read(&mut connection, key).await;
        if read.is_err() {
            connection.close_on_drop();
        }
        Ok(read?)
    }

    /// The table `events` as it was last read; makes it, and what goes with it, when that was never done.
    pub(super) async fn events(&self) -> Result<Option<Arc<EventsTable>>, WarehouseError> {
        let Purpose::Events(known) = &self.purpose else {
            return Ok(None);
        };
        if let Some(table) = &*known.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Some(Arc::clone(table)));
        }
        self.warehouse.prepare_events().await?;
        if let Some(ids) = &self.ids {
            ids.prepare(&self.warehouse).await?;
        }
        let table = Arc::new(EventsTable::read(&self.warehouse).await?);
        *known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&table));
        Ok(Some(table))
    }

    /// The rows of the records; makes the tables they need ready first.
    async fn build(&self, records: &[InputRecord<'_>]) -> Result<Batch<'_>, Failure> {
        let events = self.events().await?;
        let mut unusable = Unusable::new();
        loop {
            let mut batch = Batch::new(events.clone(), &self.models, unusable, self.ids.is_some());
            self.add_records(&mut batch, records).await;
            if batch.needs.is_empty() {
                return Ok(batch);
            }
            unusable = std::mem::take(&mut batch.unusable);
            for schema in &batch.needs {
                match self.models.prepare(schema).await {
                    Ok(_) => {}
                    Err(NotReady::Bad(message)) => {
                        unusable.insert(ModelId::of(schema), message);
                    }
                    Err(NotReady::Registry(message)) => return Err(Failure::Registry(failure_text(&message))),
                    Err(NotReady::Database(fault)) => return Err(Failure::Database(fault)),
                }
            }
        }
    }

    async fn add_records(&self, batch: &mut Batch<'_>, records: &[InputRecord<'_>]) {
        let refusal = self.refusal();
        let events = batch.events.clone();
        for (place, record) in records.iter().enumerate() {
            match &events {
                Some(events) => add_event(events, batch, place, record, refusal),
                None => add_json(batch, place, record, refusal),
            }
            if place % RECORDS_A_TURN == RECORDS_A_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        for row in &mut batch.bad {
            self.limit_size(&mut row.line);
        }
    }

    /// A bad row that no stream takes would be refused for ever: it becomes one about its size.
    fn limit_size(&self, line: &mut String) {
        let now_micros = (self.options.clock)().saturating_mul(1000);
        let expectation = "bad row is expected to fit the bad stream";
        trim_to_size(line, self.options.max_bad_row_bytes, expectation, &self.options.processor, now_micros);
    }

    /// Has the tables of a batch looked at again after one turned out to be otherwise than we knew it.
    fn look_again(&self, batch: &Batch<'_>) {
        batch.tables.iter().flat_map(|table| &table.model).for_each(|model| self.models.forget(&model.id));
        if let Purpose::Events(known) = &self.purpose {
            *known.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn refusal(&self) -> Refusal<'_> {
        Refusal { processor: &self.options.processor, now_ms: (self.options.clock)() }
    }

    /// The transaction. Whatever ends it early, the future's drop included, closes the connection, so that no half-sent
    /// COPY is ever mistaken for something else and the server rolls back.
    async fn run(
        &self,
        records: &[InputRecord<'_>],
        batch: &mut Batch<'_>,
        key: &ProgressKey,
        stored: Option<&Position>,
        target: &Position,
        bad: &dyn BadSink,
    ) -> Result<Outcome, Failure> {
        let mut session = Session { connection: self.warehouse.pool.acquire().await?, finished: false };
        let connection = &mut *session.connection;
        sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
        if progress::lock(connection, key).await?.as_ref() != stored {
            sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
            session.finished = true;
            return Ok(Outcome::Moved);
        }
        let mut repeats = match &self.ids {
            Some(ids) => ids.claim(connection, batch).await?,
            None => Repeats::default(),
        };
        let mut report = LoadReport::default();
        let mut refused = self.copy_all(connection, batch, &mut report).await?;
        if let Some(ids) = self.ids.as_ref().filter(|_| !refused.is_empty()) {
            ids.release(connection, batch, &mut repeats, &mut refused).await?;
        }
        report.duplicates = repeats.count;
        let refusal = self.refusal();
        for Refused { place, fault } in refused {
            let record = &records[place];
            let mut line = match &self.purpose {
                Purpose::Events(_) => refusal.event_refused_by_database(record.data, &fault.message),
                Purpose::Json => refusal.json_refused_by_database(record.data, &fault.message),
            };
            self.limit_size(&mut line);
            batch.bad.push(BadRow { sequence: record.sequence.to_owned(), line });
        }
        report.bad = batch.bad.len() as u64;
        if !batch.bad.is_empty() {
            bad.deliver(&batch.bad).await.map_err(Failure::BadSink)?;
        }
        progress::store(connection, key, target).await?;
        sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
        session.finished = true;
        Ok(Outcome::Committed(report))
    }

    /// Copies all records; those that the database refuses are found by halving, inside savepoints, and given back with
    /// what it said. Rows keep the order of the records.
    async fn copy_all(
        &self,
        connection: &mut PgConnection,
        batch: &Batch<'_>,
        report: &mut LoadReport,
    ) -> Result<Vec<Refused>, Failure> {
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
                        return Err(Failure::Database(fault));
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
}

/// A connection in a transaction.
struct Session {
    connection: PoolConnection<Postgres>,
    /// The transaction has ended and the connection may be used again.
    finished: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.finished {
            self.connection.close_on_drop();
        }
    }
}

/// Copies the rows of the records `from..to` into each table.
async fn copy_run(
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
        match &table.model {
            Some(model) if model.columns.is_empty() && !model.meta => {
                insert_empty_rows(connection, &model.qualified, count).await?;
            }
            _ => copy(connection, &table.copy, bytes).await?,
        }
    }
    Ok(rows)
}

async fn copy(connection: &mut PgConnection, statement: &str, bytes: &[u8]) -> Result<(), sqlx::Error> {
    let mut copy = connection.copy_in_raw(statement).await?;
    for chunk in bytes.chunks(COPY_CHUNK) {
        if let Err(error) = copy.send(chunk).await {
            // What it says to the abort is less telling than the error itself.
            if let Err(abort) = copy.abort("sending failed").await {
                tracing::debug!(%abort, "COPY could not be aborted");
            }
            return Err(error);
        }
    }
    copy.finish().await?;
    Ok(())
}

/// COPY needs a column; a table without any still has rows.
async fn insert_empty_rows(connection: &mut PgConnection, qualified: &str, count: u64) -> Result<(), sqlx::Error> {
    let sql = format!("INSERT INTO {qualified} SELECT FROM generate_series(1, {count})");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}
