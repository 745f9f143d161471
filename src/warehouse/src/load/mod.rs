//! Loading: one call is one batch of one shard is one transaction.

mod batch;
mod copying;
mod duplicates;
mod events;
mod json_records;
mod position;
pub(crate) mod progress;
mod streaming;
mod transaction;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use snowmelt_iglu::Clock;
use snowmelt_protocol::badrow::Processor;

use crate::models::Models;
use crate::{SchemaProvider, Warehouse, WarehouseError};
use batch::Purpose;
use duplicates::EventIds;
use transaction::Core;

/// One record of a stream.
#[derive(Debug, Clone, Copy)]
pub struct InputRecord<'a> {
    /// Sequence number in decimal; `123:4` for part 4 of an aggregated record.
    pub sequence: &'a str,
    /// An enriched TSV line, or a self-describing JSON.
    pub data: &'a [u8],
}

/// Whose progress is stored: one row of `snowmelt.progress`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProgressKey {
    /// Name of the application (its lease table).
    pub application: String,
    /// Name of the stream.
    pub stream: String,
    /// Shard id.
    pub shard: String,
}

/// A record that cannot be loaded, as the line for the bad stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// Sequence number of the record it came from, as given: the origin by which a repeated put is recognised.
    pub sequence: String,
    /// The bad row, compact JSON without a line feed.
    pub line: String,
}

/// Takes the bad rows of a batch. Called before the batch commits, so that a crash in between repeats the bad rows
/// (recognisable by their sequence) instead of losing them.
#[async_trait]
pub trait BadSink: Send + Sync {
    /// Returns when all rows are durable. Never called without rows; called again with the same rows when the batch is
    /// repeated, within one `load` too (a broken connection).
    ///
    /// # Errors
    /// A text for the log; the batch is rolled back and [`LoadError::BadSink`] returned.
    async fn deliver(&self, rows: &[BadRow]) -> Result<(), String>;
}

/// Keeps bad rows in memory: for tests and for loads by hand.
#[derive(Debug, Default)]
pub struct CollectBad {
    rows: Mutex<Vec<BadRow>>,
}

impl CollectBad {
    /// What came so far; leaves nothing.
    pub fn take(&self) -> Vec<BadRow> {
        std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl BadSink for CollectBad {
    async fn deliver(&self, rows: &[BadRow]) -> Result<(), String> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(rows);
        Ok(())
    }
}

/// What a batch did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Records loaded.
    pub records: u64,
    /// Rows written, those of entities included.
    pub rows: u64,
    /// Records at or below the stored progress: dealt with by an earlier call.
    pub skipped: u64,
    /// Records that became bad rows, delivered to the sink.
    pub bad: u64,
    /// Events that were left out since their id was loaded within the window before.
    pub duplicates: u64,
}

/// Why a batch was not loaded. Nothing of it is in the database, unless the connection broke while committing; either
/// way the same call may be repeated with the same records: what was committed is skipped then.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database is away, overloaded or refuses.
    #[error("shard {shard}: the database failed: {message}")]
    Database {
        /// Shard of the batch.
        shard: String,
        /// SQLSTATE where the server gave one.
        code: Option<String>,
        /// The database's words.
        message: String,
    },
    /// A registry does not answer, and its patience is not over.
    #[error("shard {shard}: a schema registry does not answer: {message}")]
    Registry {
        /// Shard of the batch.
        shard: String,
        /// The message that will stand in the bad row when patience is over.
        message: String,
    },
    /// The bad stream does not take the bad rows.
    #[error("shard {shard}: bad rows were not taken: {message}")]
    BadSink {
        /// Shard of the batch.
        shard: String,
        /// The sink's words.
        message: String,
    },
    /// The whole call took too long.
    #[error("shard {shard}: not loaded within {after:?}")]
    Timeout {
        /// Shard of the batch.
        shard: String,
        /// The limit.
        after: Duration,
    },
    /// Others move the progress of this shard all the time: two owners.
    #[error("shard {shard}: somebody else is loading it")]
    Contended {
        /// Shard of the batch.
        shard: String,
    },
    /// A sequence number is none. A fault of the caller.
    #[error("shard {shard}: {sequence:?} is no sequence number")]
    Sequence {
        /// Shard of the batch.
        shard: String,
        /// What was given.
        sequence: String,
    },
}

impl LoadError {
    /// Whether to wait (with back-off) and repeat the call. What is wrong with a single record is a bad row, not an
    /// error, so that only a fault of the caller is final.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        !matches!(self, Self::Sequence { .. })
    }
}

/// Settings of a loader.
#[derive(Clone)]
pub struct LoaderOptions {
    /// Who the bad rows say refused the record.
    pub processor: Processor,
    /// How long a registry that does not answer is waited for before its events become bad rows.
    pub registry_patience: Duration,
    /// One call of `load` gives up after this time, whatever it waits for.
    pub load_timeout: Duration,
    /// A bad row that would be longer becomes a `size_violation`: what the bad stream takes at most.
    pub max_bad_row_bytes: usize,
    /// Of events with one id that are loaded within this time, the first stays. Without it all stay, as with the original:
    /// ids are not unique by nature.
    pub deduplicate: Option<Duration>,
    /// Time for bad rows, milliseconds since the epoch.
    pub clock: Clock,
}

impl LoaderOptions {
    /// Ten minutes of patience, two minutes a batch, bad rows of at most 1,000,000 bytes, no removal of duplicates.
    #[must_use]
    pub fn new(processor: Processor, clock: Clock) -> Self {
        Self {
            processor,
            registry_patience: Duration::from_secs(600),
            load_timeout: Duration::from_secs(120),
            max_bad_row_bytes: 1_000_000,
            deduplicate: None,
            clock,
        }
    }
}

/// Loads enriched events (TSV) into `events` and one table an entity type. One for all shards; cheap to clone.
#[derive(Clone)]
pub struct EventLoader {
    core: Arc<Core>,
}

impl EventLoader {
    /// A loader into the warehouse's schema. Its tables are made by the first load, or by [`EventLoader::prepare`].
    #[must_use]
    pub fn new(warehouse: Warehouse, schemas: Arc<dyn SchemaProvider>, options: LoaderOptions) -> Self {
        let models = Models::new(warehouse.clone(), schemas, true, options.registry_patience);
        let ids = options.deduplicate.map(|window| EventIds::new(warehouse.schema(), window));
        let purpose = Purpose::Events(RwLock::default());
        Self { core: Arc::new(Core::new(warehouse, models, purpose, ids, options)) }
    }

    /// Creates `events` if it is missing, so that it is there before the first event.
    ///
    /// # Errors
    /// [`WarehouseError`] when the database is away or refuses; loading tries again.
    pub async fn prepare(&self) -> Result<(), WarehouseError> {
        for _ in 0..transaction::MAX_LOST {
            match self.core.events().await {
                Err(error) if error.is_outage() => tracing::debug!(%error, "trying another connection"),
                done => return done.map(drop),
            }
        }
        self.core.events().await.map(drop)
    }

    /// Loads a batch of one shard, ascending by sequence, in one transaction with the progress `last_sequence` (that of
    /// the last record, or a later one when records after it were filtered out). `last_sequence` without a part means
    /// the whole aggregated record. Rows are written in the order of the records. Calls for one shard must not overlap;
    /// if they do (two owners), the database serialises them and each record is still loaded once.
    ///
    /// Dropping the future rolls the batch back.
    ///
    /// # Errors
    /// [`LoadError`]; the call may be repeated.
    pub async fn load(
        &self,
        records: &[InputRecord<'_>],
        progress: &ProgressKey,
        last_sequence: &str,
        bad: &dyn BadSink,
    ) -> Result<LoadReport, LoadError> {
        self.core.load(records, progress, last_sequence, bad).await
    }

    /// Up to where the shard is loaded; `None` when nothing is.
    ///
    /// # Errors
    /// [`LoadError::Database`].
    pub async fn stored_progress(&self, progress: &ProgressKey) -> Result<Option<String>, LoadError> {
        self.core.stored_progress(progress).await
    }
}

/// Loads self-describing JSON (bad rows) into one table a kind. One for all shards; cheap to clone.
#[derive(Clone)]
pub struct BadRowLoader {
    core: Arc<Core>,
}

impl BadRowLoader {
    /// A loader into the warehouse's schema. Makes no table before the first record of its kind.
    #[must_use]
    pub fn new(warehouse: Warehouse, schemas: Arc<dyn SchemaProvider>, options: LoaderOptions) -> Self {
        let models = Models::new(warehouse.clone(), schemas, false, options.registry_patience);
        Self { core: Arc::new(Core::new(warehouse, models, Purpose::Json, None, options)) }
    }

    /// As [`EventLoader::load`].
    ///
    /// # Errors
    /// [`LoadError`]; the call may be repeated.
    pub async fn load(
        &self,
        records: &[InputRecord<'_>],
        progress: &ProgressKey,
        last_sequence: &str,
        bad: &dyn BadSink,
    ) -> Result<LoadReport, LoadError> {
        self.core.load(records, progress, last_sequence, bad).await
    }

    /// Up to where the shard is loaded; `None` when nothing is.
    ///
    /// # Errors
    /// [`LoadError::Database`].
    pub async fn stored_progress(&self, progress: &ProgressKey) -> Result<Option<String>, LoadError> {
        self.core.stored_progress(progress).await
    }
}
