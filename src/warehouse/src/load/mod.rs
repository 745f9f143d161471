//! Loading: one call is one batch of one shard is one transaction.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::{SchemaProvider, Warehouse, WarehouseError};

/// One record of a stream.
#[derive(Debug, Clone, Copy)]
pub struct InputRecord<'a> {
    /// Sequence number, in decimal.
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
    /// Sequence number of the record it came from (the origin by which a repeated put is recognised).
    pub sequence: String,
    /// The bad row, compact JSON without a line feed.
    pub line: String,
}

/// Takes the bad rows of a batch. Called before the batch commits, so that a crash in between repeats the bad rows
/// (recognisable by their sequence) instead of losing them.
#[async_trait]
pub trait BadSink: Send + Sync {
    /// Returns when all rows are durable.
    ///
    /// # Errors
    /// A text for the log; the batch is rolled back and [`LoadError::BadSink`] returned.
    async fn deliver(&self, rows: &[BadRow]) -> Result<(), String>;
}

/// Keeps bad rows in memory: for tests and for loads by hand.
#[derive(Debug, Default)]
pub struct CollectBad(pub Mutex<Vec<BadRow>>);

/// What a batch did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Records loaded.
    pub records: u64,
    /// Rows written, those of entities included.
    pub rows: u64,
    /// Records at or below the stored progress: loaded by an earlier call.
    pub skipped: u64,
    /// Records that became bad rows, delivered to the sink.
    pub bad: u64,
}

/// Why a batch was not loaded. Nothing of it is in the database (but see [`LoadError::Unknown`]); the same call may be
/// repeated with the same records: what was committed is skipped.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database is away, overloaded or refuses: wait and repeat.
    #[error("shard {shard}: the database failed: {message}")]
    Database {
        /// Shard of the batch.
        shard: String,
        /// SQLSTATE where the server gave one.
        code: Option<String>,
        /// The database's words.
        message: String,
    },
}

impl LoadError {
    /// Whether to wait and repeat. All are today: what is wrong with a single record is a bad row, not an error.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        true
    }
}

/// Settings of a loader.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// Processor of the bad rows.
    pub artifact: String,
    /// Processor version of the bad rows.
    pub version: String,
    /// How long a registry that does not answer is waited for before its events become bad rows.
    pub registry_patience: Duration,
    /// One call of `load` gives up after this time, whatever it waits for.
    pub load_timeout: Duration,
}

/// Loads enriched events (TSV) into `events` and one table an entity type. One for all shards; cheap to clone.
#[derive(Clone)]
pub struct EventLoader {}

impl EventLoader {
    /// Creates `events` and `snowmelt.progress` if missing.
    ///
    /// # Errors
    /// [`WarehouseError`] when the database is away or refuses.
    pub async fn new(
        warehouse: Warehouse,
        schemas: Arc<dyn SchemaProvider>,
        options: LoaderOptions,
    ) -> Result<Self, WarehouseError> {
        let _ = (warehouse, schemas, options);
        todo!()
    }

    /// Loads a batch of one shard, ascending by sequence, in one transaction with the progress `last_sequence`.
    /// Calls of one shard must not overlap (they are serialised by the database if they do).
    ///
    /// # Errors
    /// [`LoadError`]; nothing is loaded then and the call may be repeated.
    pub async fn load(
        &self,
        records: &[InputRecord<'_>],
        progress: &ProgressKey,
        last_sequence: &str,
        bad: &dyn BadSink,
    ) -> Result<LoadReport, LoadError> {
        let _ = (records, progress, last_sequence, bad);
        todo!()
    }
}

/// Loads self-describing JSON (bad rows) into one table a kind. One for all shards; cheap to clone.
#[derive(Clone)]
pub struct BadRowLoader {}

impl BadRowLoader {
    /// Creates `snowmelt.progress` if missing.
    ///
    /// # Errors
    /// [`WarehouseError`] when the database is away or refuses.
    pub async fn new(
        warehouse: Warehouse,
        schemas: Arc<dyn SchemaProvider>,
        options: LoaderOptions,
    ) -> Result<Self, WarehouseError> {
        let _ = (warehouse, schemas, options);
        todo!()
    }

    /// As [`EventLoader::load`].
    ///
    /// # Errors
    /// [`LoadError`]; nothing is loaded then and the call may be repeated.
    pub async fn load(
        &self,
        records: &[InputRecord<'_>],
        progress: &ProgressKey,
        last_sequence: &str,
        bad: &dyn BadSink,
    ) -> Result<LoadReport, LoadError> {
        let _ = (records, progress, last_sequence, bad);
        todo!()
    }
}
