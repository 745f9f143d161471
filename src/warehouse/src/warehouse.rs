//! One database schema of one PostgreSQL database, and the pool of connections to it.

use std::time::Duration;

use sqlx::postgres::PgPool;

/// How to reach the database and how long to wait for it.
#[derive(Debug, Clone)]
pub struct WarehouseOptions {
    /// `postgres://user:password@host:port/database?sslmode=...`. Never logged.
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

/// Why the warehouse cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// The URL is not one of PostgreSQL.
    #[error("the database url cannot be read: {0}")]
    Url(String),
    /// The server does not answer, or refuses us.
    #[error("no connection to the database: {0}")]
    Connect(#[source] sqlx::Error),
    /// A statement of the preparation failed.
    #[error("schema {schema}: {what} failed")]
    Prepare {
        /// Database schema.
        schema: String,
        /// What was being done.
        what: &'static str,
        /// The database's answer.
        #[source]
        source: sqlx::Error,
    },
}

/// A pool of connections to one database schema. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Warehouse {
    pub(crate) pool: PgPool,
    pub(crate) schema: String,
}
