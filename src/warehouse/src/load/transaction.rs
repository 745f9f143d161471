//! The steps of one load: read the progress, build the rows, make tables ready, then one transaction with COPY, the
//! delivery of bad rows and the new progress.
//!
//! Rows are copied while later ones are built (`streaming.rs`), unless one is known to be refused or ids are claimed first: then the
//! batch is built whole. When a record needs a table that is to be made or changed, what was copied before is committed with
//! the progress up to there: a change of a table waits for the transactions that use it, ours included.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use snowmelt_protocol::badrow::trim_to_size;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};

use super::batch::{Batch, Purpose, Unusable};
use super::copying::{Refused, copy_all, copy_hopefully};
use super::duplicates::{EventIds, Repeats};
use super::events::{EventsTable, add_event};
use super::json_records::{Refusal, add_json, failure_text};
use super::position::Position;
use super::progress;
use super::streaming::{Source, copy_while_building};
use super::{BadRow, BadSink, InputRecord, LoadError, LoadReport, LoaderOptions, ProgressKey};
use crate::fault::Fault;
use crate::models::{ModelId, Models, NotReady};
use crate::{Warehouse, WarehouseError};

/// Records between two points where other tasks of the thread may run.
const RECORDS_A_TURN: usize = 128;
/// How often somebody else may move the progress before we give up.
const MAX_CONTENTIONS: usize = 5;
/// How many connections may break before we give up. A pool may hold some that broke unnoticed: those of a runtime that
/// has ended since, which still answer now and then, or those from before the server's restart.
pub(super) const MAX_LOST: usize = 3;

/// What both loaders are.
pub(super) struct Core {
    warehouse: Warehouse,
    models: Models,
    purpose: Purpose,
    /// Where duplicates are removed.
    ids: Option<EventIds>,
    /// What we committed last of each shard: a guess at what is stored, which every transaction checks.
    committed: Mutex<HashMap<ProgressKey, Position>>,
    options: LoaderOptions,
}

/// The end of a transaction.
enum Outcome {
    Committed(LoadReport),
    /// Somebody else moved the progress in between.
    Moved,
}

/// How rows are copied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// As if all were good: a refused row ends the attempt.
    Hopeful,
    /// With savepoints, so that refused rows are found.
    Searching,
}

/// What an attempt is for, besides its records.
#[derive(Clone, Copy)]
struct Aim<'a> {
    key: &'a ProgressKey,
    /// The progress when all is loaded.
    target: &'a Position,
    manner: Manner,
    bad: &'a dyn BadSink,
}

/// Why an attempt ended early.
enum Failure {
    Database(Fault),
    /// A row was refused in an attempt that did not search for such.
    Refused(Fault),
    BadSink(String),
    Registry(String),
}

impl Failure {
    fn of_shard(self, key: &ProgressKey) -> LoadError {
        let shard = key.shard.clone();
        match self {
            Self::Database(Fault { code, message, .. }) | Self::Refused(Fault { code, message, .. }) => {
                LoadError::Database { shard, code, message }
            }
            Self::BadSink(message) => LoadError::BadSink { shard, message },
            Self::Registry(message) => LoadError::Registry { shard, message },
        }
    }
}

impl From<WarehouseError> for Failure {
    fn from(error: WarehouseError) -> Self {
        Self::Database(Fault { code: None, message: error.to_string(), connection_lost: error.is_outage() })
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Database(fault)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl Core {
    pub(super) fn new(
        warehouse: Warehouse,
        models: Models,
        purpose: Purpose,
        ids: Option<EventIds>,
        options: LoaderOptions,
    ) -> Self {
        Self { warehouse, models, purpose, ids, committed: Mutex::default(), options }
    }

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
        let (mut contentions, mut lost, mut manner) = (0, 0, Manner::Hopeful);
        loop {
            match self.attempt(records, &positions, key, &last, manner, bad).await {
                Ok(Outcome::Committed(report)) => {
                    if let Some(ids) = &self.ids {
                        ids.tidy(&self.warehouse).await;
                    }
                    return Ok(report);
                }
                Ok(Outcome::Moved) if contentions < MAX_CONTENTIONS => contentions += 1,
                Ok(Outcome::Moved) => return Err(LoadError::Contended { shard: key.shard.clone() }),
                Err(Failure::Refused(_)) if manner == Manner::Hopeful => manner = Manner::Searching,
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
        manner: Manner,
        bad: &dyn BadSink,
    ) -> Result<Outcome, Failure> {
        let stored = match self.guess_progress(key, positions) {
            Some(guess) => Some(guess),
            None => self.read_progress(key).await?,
        };
        let is_new = |position: &Position| stored.as_ref().is_none_or(|stored| position > stored);
        let new: Vec<InputRecord<'_>> =
            records.iter().zip(positions).filter(|(_, at)| is_new(at)).map(|(record, _)| *record).collect();
        let skipped = (records.len() - new.len()) as u64;
        if new.is_empty() && !is_new(last) {
            return Ok(Outcome::Committed(LoadReport { skipped, ..LoadReport::default() }));
        }
        let target = if is_new(last) { last } else { stored.as_ref().unwrap_or(last) }.clone();
        let places: Vec<&Position> = positions.iter().filter(|at| is_new(at)).collect();
        let aim = Aim { key, target: &target, manner, bad };
        match Box::pin(self.run(&new, &places, stored.clone(), aim)).await? {
            Outcome::Committed(report) => {
                self.committed.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), target);
                Ok(Outcome::Committed(LoadReport { skipped, ..report }))
            }
            Outcome::Moved => Ok(Outcome::Moved),
        }
    }

    /// What is stored if nobody else moved it, which saves asking. Only where all records would be new: none is skipped on a guess.
    fn guess_progress(&self, key: &ProgressKey, positions: &[Position]) -> Option<Position> {
        let guess = self.committed.lock().unwrap_or_else(PoisonError::into_inner).remove(key)?;
        positions.first().is_some_and(|first| *first > guess).then_some(guess)
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

    /// The rows of some of the records; makes the tables they need ready first. Never within a transaction.
    async fn build(
        &self,
        events: Option<&Arc<EventsTable>>,
        records: &[InputRecord<'_>],
        range: Range<usize>,
        mut unusable: Unusable,
    ) -> Result<Batch<'_>, Failure> {
        loop {
            let mut batch = Batch::new(events.cloned(), &self.models, unusable, self.ids.is_some());
            self.add_records(&mut batch, records, range.clone()).await;
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

    /// Adds some of the records. If the batch then needs tables that are not ready, what was added is of no use.
    pub(super) async fn add_records(&self, batch: &mut Batch<'_>, records: &[InputRecord<'_>], range: Range<usize>) {
        let refusal = self.refusal();
        let events = batch.events.clone();
        let known_bad = batch.bad.len();
        for place in range {
            let record = &records[place];
            match &events {
                Some(events) => add_event(events, batch, place, record, refusal),
                None => add_json(batch, place, record, refusal),
            }
            if place % RECORDS_A_TURN == RECORDS_A_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        for (_, row) in &mut batch.bad[known_bad..] {
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

    /// Loads records that are all new. In one transaction, unless tables have to be made on the way.
    async fn run(
        &self,
        records: &[InputRecord<'_>],
        places: &[&Position],
        mut stored: Option<Position>,
        aim: Aim<'_>,
    ) -> Result<Outcome, Failure> {
        let Aim { key, target, manner, bad } = aim;
        let events = self.events().await?;
        // Ids are claimed in one statement a transaction, in order: two would let two loaders wait for each other.
        let whole = self.ids.is_some() || manner == Manner::Searching;
        let mut report = LoadReport::default();
        let mut unusable = Unusable::new();
        let mut source = Source { records, built: 0 };
        loop {
            let end = if whole { records.len() } else { source.next_end() };
            let mut batch = self.build(events.as_ref(), records, source.built..end, unusable).await?;
            source.built = end;
            let Some(mut session) = self.begin(key, stored.as_ref()).await? else {
                return Ok(Outcome::Moved);
            };
            let connection = &mut *session.connection;
            if whole {
                self.copy_whole(connection, records, &mut batch, manner, &mut report).await?;
            } else {
                let copied = copy_while_building(self, connection, &mut source, &mut batch, &mut report).await;
                copied.map_err(|fault| self.copy_failed(fault, &batch))?;
            }
            report.bad += batch.bad.len() as u64;
            let bad_rows: Vec<BadRow> = std::mem::take(&mut batch.bad).into_iter().map(|(_, row)| row).collect();
            let done = source.built == records.len();
            let reached = if done { target } else { places[source.built - 1] };
            session.commit(key, reached, &bad_rows, bad).await?;
            if done {
                return Ok(Outcome::Committed(report));
            }
            stored = Some(reached.clone());
            unusable = batch.unusable;
        }
    }

    /// A transaction that holds the progress; `None` when that is not what we think.
    async fn begin(&self, key: &ProgressKey, stored: Option<&Position>) -> Result<Option<Session>, Failure> {
        let mut session = Session { connection: self.warehouse.pool.acquire().await?, finished: false };
        let connection = &mut *session.connection;
        if progress::begin(connection, key).await?.as_ref() == stored {
            return Ok(Some(session));
        }
        sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
        session.finished = true;
        Ok(None)
    }

    /// Copies the rows of a batch that is built. Records that the database refuses become bad rows, in their places.
    async fn copy_whole(
        &self,
        connection: &mut PgConnection,
        records: &[InputRecord<'_>],
        batch: &mut Batch<'_>,
        manner: Manner,
        report: &mut LoadReport,
    ) -> Result<(), Failure> {
        let mut repeats = match &self.ids {
            Some(ids) => ids.claim(connection, batch).await?,
            None => Repeats::default(),
        };
        let copied = match manner {
            Manner::Hopeful => copy_hopefully(connection, batch, report).await.map(|()| Vec::new()),
            Manner::Searching => copy_all(connection, batch, report).await,
        };
        let mut refused = copied.map_err(|fault| self.copy_failed(fault, batch))?;
        if let Some(ids) = self.ids.as_ref().filter(|_| !refused.is_empty()) {
            ids.release(connection, batch, &mut repeats, &mut refused).await?;
        }
        report.duplicates += repeats.count;
        let refusal = self.refusal();
        for Refused { place, fault } in refused {
            let record = &records[place];
            let mut line = match &self.purpose {
                Purpose::Events(_) => refusal.event_refused_by_database(record.data, &fault.message),
                Purpose::Json => refusal.json_refused_by_database(record.data, &fault.message),
            };
            self.limit_size(&mut line);
            batch.bad.push((place, BadRow { sequence: record.sequence.to_owned(), line }));
        }
        batch.bad.sort_by_key(|(place, _)| *place);
        Ok(())
    }

    fn copy_failed(&self, fault: Fault, batch: &Batch<'_>) -> Failure {
        if fault.is_about_tables() {
            self.look_again(batch);
        }
        if fault.is_about_data() { Failure::Refused(fault) } else { Failure::Database(fault) }
    }
}

/// A connection in a transaction. Whatever ends it early, the drop of a load's future included, closes the connection, so that
/// no half-sent COPY is ever mistaken for something else and the server rolls back.
struct Session {
    connection: PoolConnection<Postgres>,
    /// The transaction has ended and the connection may be used again.
    finished: bool,
}

impl Session {
    /// Delivers the bad rows, moves the progress, and commits.
    async fn commit(
        mut self,
        key: &ProgressKey,
        progress: &Position,
        bad_rows: &[BadRow],
        bad: &dyn BadSink,
    ) -> Result<(), Failure> {
        if !bad_rows.is_empty() {
            bad.deliver(bad_rows).await.map_err(Failure::BadSink)?;
        }
        progress::store_and_commit(&mut self.connection, key, progress).await?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.finished {
            self.connection.close_on_drop();
        }
    }
}
