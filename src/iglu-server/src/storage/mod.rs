//! The registry in Postgres (iglu-server spec, section 14): the original's tables, so that both can work on one
//! database, and some of our own beside them, which tell every server what changed.

mod catalog;
mod drafts;
mod keys;
mod migrate;
mod publish;
mod setup;

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions};

pub use drafts::Draft;
pub use migrate::{MigrateError, Migrated};
pub use publish::{Publication, Published};

/// Channel of the database on which every change is told.
const CHANNEL: &str = "snowmelt_iglu";
/// One statement, at most.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
/// Waiting for a lock, at most.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// First key of our advisory locks; the second tells them apart.
const LOCKS: i32 = 0x1907;

/// How to reach the database.
#[derive(Clone)]
pub struct StorageOptions {
    /// `postgres://user:password@host:port/database?sslmode=...`. Never logged.
    pub url: String,
    /// Database schema of the tables; created if it is missing. The original has `public`.
    pub schema: String,
    /// Connections at most; one of them listens.
    pub connections: u32,
    /// Waiting for a free connection, at most.
    pub acquire_timeout: Duration,
}

impl StorageOptions {
    /// The usual limits: schema `public`, 6 connections, 5 s for a connection.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), schema: "public".into(), connections: 6, acquire_timeout: Duration::from_secs(5) }
    }
}

impl std::fmt::Debug for StorageOptions {
    /// Without the URL, which holds the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StorageOptions")
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .finish_non_exhaustive()
    }
}

/// The database failed or refused.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The URL is not one of PostgreSQL.
    #[error("the database url of the registry cannot be read: {0}")]
    Url(String),
    /// A statement failed.
    #[error("the registry's database failed while {what}: {source}")]
    Failed {
        /// What was being done.
        what: &'static str,
        /// The database's answer.
        source: sqlx::Error,
    },
}

/// Names what was being done when a statement failed.
fn while_(what: &'static str) -> impl Fn(sqlx::Error) -> StorageError {
    move |source| StorageError::Failed { what, source }
}

/// The registry's database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Storage {
    pool: PgPool,
    schema: String,
}

impl Storage {
    /// Connects and brings the tables to what is needed, which may be done again and again and by several servers at
    /// once.
    ///
    /// # Errors
    /// [`StorageError`] when the database is away, refuses us, or does not let us create what is missing.
    pub async fn open(options: &StorageOptions) -> Result<Self, StorageError> {
        let connect = PgConnectOptions::from_str(&options.url)
            .map_err(|error| StorageError::Url(error.to_string()))?
            .application_name("snowmelt-iglu")
            .disable_statement_logging();
        let settings = format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = 60000; \
             SET timezone = 'UTC'; SET client_min_messages = warning; SET standard_conforming_strings = on; \
             SET search_path = {}, pg_temp",
            STATEMENT_TIMEOUT.as_millis(),
            LOCK_TIMEOUT.as_millis(),
            snowmelt_iglu::ddl::quote_identifier(&options.schema),
        );
        let pool = PgPoolOptions::new()
            .max_connections(options.connections.max(2))
            .acquire_timeout(options.acquire_timeout)
            .after_connect(move |connection, _| {
                let settings = settings.clone();
                Box::pin(async move {
                    sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await?;
                    Ok(())
                })
            })
            .connect_with(connect)
            .await
            .map_err(while_("connecting"))?;
        let storage = Self { pool, schema: options.schema.clone() };
        storage.set_up().await?;
        Ok(storage)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StorageError`] when it does not.
    pub async fn ping(&self) -> Result<(), StorageError> {
        sqlx::query("SELECT 1").execute(&self.pool).await.map(drop).map_err(while_("pinging"))
    }

    /// A connection on which every change is told.
    ///
    /// # Errors
    /// [`StorageError`] when there is none.
    pub async fn listen(&self) -> Result<PgListener, StorageError> {
        let mut listener = PgListener::connect_with(&self.pool).await.map_err(while_("connecting to listen"))?;
        listener.listen(CHANNEL).await.map_err(while_("listening"))?;
        Ok(listener)
    }

    /// The pool, for queries by hand.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Closes all connections, waiting for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
