//! One database schema of one PostgreSQL database, and the pool of connections to it.

use std::sync::Arc;
use std::time::Duration;

use snowmelt_iglu::ddl::quote_identifier;
use sqlx::postgres::{PgPool, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::ProgressKey;
use crate::atomic::{EVENTS, create_events};
use crate::catalog::{self, lock_name};
use crate::connection::{asks_for_tls, parse_url, send_promptly};
use crate::fault::Fault;
use crate::load::progress;

/// How to reach the database and how long to wait for it.
#[derive(Clone)]
pub struct WarehouseOptions {
    /// `postgres://user:password@host:port/database?sslmode=...`, with the modes of the original's `sslMode` in lower case;
    /// `sslrootcert` names the authorities that the verifying ones believe. Never logged.
    pub url: String,
    /// Database schema of all tables; created if it is missing.
    pub schema: String,
    /// Connections at most.
    pub connections: u32,
    /// Waiting for a free connection, at most.
    pub acquire_timeout: Duration,
    /// The server gives up on one statement (a COPY included) after this time.
    pub statement_timeout: Duration,
    /// The server gives up waiting for a lock after this time.
    pub lock_timeout: Duration,
}

impl WarehouseOptions {
    /// The usual limits: 10 connections, 10 s for a connection, 60 s a statement, 20 s a lock.
    #[must_use]
    pub fn new(url: impl Into<String>, schema: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            schema: schema.into(),
            connections: 10,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
            lock_timeout: Duration::from_secs(20),
        }
    }
}

impl std::fmt::Debug for WarehouseOptions {
    /// Without the URL, which holds the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WarehouseOptions")
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .finish_non_exhaustive()
    }
}

/// Why the warehouse cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// The URL is not one of PostgreSQL.
    #[error("the database url cannot be read: {0}")]
    Url(String),
    /// The server does not answer, or refuses us.
    #[error("no connection to the database: {0}")]
    Connect(String),
    /// A statement of the preparation failed.
    #[error("database schema {schema}: {what} failed: {message}")]
    Prepare {
        /// Database schema.
        schema: String,
        /// What was being done.
        what: &'static str,
        /// The database's answer.
        message: String,
        /// The connection broke: another one may do, or a later one.
        connection_lost: bool,
    },
}

impl WarehouseError {
    /// Whether the way to the database broke, so that trying again may do.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Prepare { connection_lost: true, .. })
    }

    pub(crate) fn prepare(schema: &str, what: &'static str, fault: Fault) -> Self {
        let Fault { message, connection_lost, .. } = fault;
        Self::Prepare { schema: schema.to_owned(), what, message, connection_lost }
    }
}

/// A pool of connections to one database schema. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Warehouse {
    pub(crate) pool: PgPool,
    pub(crate) schema: String,
    options: Arc<WarehouseOptions>,
}

impl Warehouse {
    /// Connects, and creates the database schema and `snowmelt.progress` if they are missing.
    ///
    /// # Errors
    /// [`WarehouseError`] when the server is away, refuses, or does not let us create what is missing.
    pub async fn connect(options: &WarehouseOptions) -> Result<Self, WarehouseError> {
        let pool = connect(options).await?;
        let warehouse = Self { pool, schema: options.schema.clone(), options: Arc::new(options.clone()) };
        warehouse.prepare("creating the schema", &warehouse.schema, None).await?;
        warehouse.prepare("creating snowmelt.progress", "snowmelt", Some(("progress", CREATE_PROGRESS))).await?;
        Ok(warehouse)
    }

    /// How it was connected: for other connections to the same database.
    #[must_use]
    pub fn options(&self) -> &WarehouseOptions {
        &self.options
    }

    /// The pool, for queries by hand.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The database schema of all tables.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// How far the shards are loaded: by application, stream and shard, with the sequence number.
    ///
    /// # Errors
    /// [`WarehouseError::Prepare`] when the database fails.
    pub async fn progress(&self) -> Result<Vec<(ProgressKey, String)>, WarehouseError> {
        progress::read_all(&self.pool).await.map_err(|error| progress_failed("reading the progress", error))
    }

    /// Forgets the progress of a shard, so that its records are loaded (again) from wherever reading starts. For a
    /// stream that was made anew: its sequence numbers may lie below those of its predecessor, whose progress would
    /// let them all be skipped.
    ///
    /// # Errors
    /// [`WarehouseError::Prepare`] when the database fails.
    pub async fn forget_progress(&self, key: &ProgressKey) -> Result<(), WarehouseError> {
        let forgotten = progress::forget(&self.pool, key).await;
        forgotten.map_err(|error| progress_failed("forgetting the progress", error))
    }

    /// Closes all connections, waiting for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Creates `events` if it is missing.
    pub(crate) async fn prepare_events(&self) -> Result<(), WarehouseError> {
        self.prepare("creating events", &self.schema, Some((EVENTS, &create_events(&self.schema)))).await
    }

    /// Creates a schema, and a table in it by the given statement, if they are missing (only then the right to is
    /// needed), alone among all who do so.
    pub(crate) async fn prepare(
        &self,
        what: &'static str,
        schema: &str,
        table: Option<(&str, &str)>,
    ) -> Result<(), WarehouseError> {
        let failed = |error: sqlx::Error| WarehouseError::prepare(schema, what, error.into());
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let run = async |connection: &mut PgConnection| -> Result<(), sqlx::Error> {
            lock_name(connection, schema).await?;
            if !catalog::schema_exists(connection, schema).await? {
                let sql = format!("CREATE SCHEMA IF NOT EXISTS {}", quote_identifier(schema));
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
            }
            if let Some((name, statement)) = table
                && catalog::read_table(connection, schema, name).await?.is_none()
            {
                sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await?;
            }
            Ok(())
        };
        run(&mut transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}

/// A pool with a first connection in it.
async fn connect(options: &WarehouseOptions) -> Result<PgPool, WarehouseError> {
    let to = parse_url(&options.url).map_err(WarehouseError::Url)?;
    let over_tcp = (to.get_socket().is_none() && !to.get_host().starts_with('/')).then(|| to.get_port());
    let settings = session_settings(options);
    let pool = PgPoolOptions::new()
        .max_connections(options.connections.max(1))
        .acquire_timeout(options.acquire_timeout)
        .after_connect(move |connection, _| {
            let settings = settings.clone();
            Box::pin(async move {
                over_tcp.into_iter().for_each(send_promptly);
                sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await?;
                Ok(())
            })
        })
        .connect_lazy_with(to.clone());
    let failed = |fault: Fault| WarehouseError::Connect(fault.message);
    let Err(error) = pool.acquire().await else {
        return Ok(pool);
    };
    let fault = Fault::from(error);
    if !matches!(to.get_ssl_mode(), PgSslMode::Allow) || !asks_for_tls(&fault) {
        return Err(failed(fault));
    }
    pool.set_connect_options(to.ssl_mode(PgSslMode::Require));
    match pool.acquire().await {
        Ok(_) => Ok(pool),
        Err(error) => Err(failed(error.into())),
    }
}

fn progress_failed(what: &'static str, error: sqlx::Error) -> WarehouseError {
    WarehouseError::prepare("snowmelt", what, error.into())
}

/// What each session is set to: limits, UTC, and dates and texts read the usual way.
fn session_settings(options: &WarehouseOptions) -> String {
    format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = 300000; \
         SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET standard_conforming_strings = on; \
         SET client_min_messages = warning",
        options.statement_timeout.as_millis(),
        options.lock_timeout.as_millis(),
    )
}

/// How far each shard is loaded. `sub_sequence` counts the parts of an aggregated record; the highest value means all.
const CREATE_PROGRESS: &str = "CREATE TABLE IF NOT EXISTS snowmelt.progress (
    application TEXT NOT NULL,
    stream TEXT NOT NULL,
    shard TEXT NOT NULL,
    sequence NUMERIC(60, 0) NOT NULL,
    sub_sequence BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (application, stream, shard)
)";
