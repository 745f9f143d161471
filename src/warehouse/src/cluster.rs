//! A PostgreSQL server of our own: created once in a directory, started, supervised and stopped with us.

use std::path::PathBuf;
use std::time::Duration;

/// How to run the private server.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Loopback port; the one of last time or a free one when absent.
    pub port: Option<u16>,
    /// User to run the server as when we are root (PostgreSQL refuses root).
    pub run_as: String,
    /// Readiness, at most.
    pub start_timeout: Duration,
    /// Off only for tests: a crash of the machine may then corrupt the data.
    pub durable: bool,
}

/// Why there is no private server.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {}

/// How to run `psql` against the server without the password on the command line.
#[derive(Debug, Clone)]
pub struct PsqlCommand {
    /// Path of `psql`.
    pub program: PathBuf,
    /// Host, port, user, database.
    pub arguments: Vec<String>,
    /// `PGPASSFILE`.
    pub environment: Vec<(String, String)>,
}

/// A running private server. Dropping it stops the server.
#[derive(Debug)]
pub struct PrivateCluster {}
