//! Postgres: a private cluster, tables made from schemas, loading by COPY.
//!
//! - [`PrivateCluster`]: a PostgreSQL server of our own in a directory, supervised.
//! - [`Warehouse`]: a pool of connections to one database schema, ours or the user's.
//! - [`EventLoader`] and [`BadRowLoader`]: one call loads one batch of one shard in ONE transaction, which also
//!   stores the shard's progress, so that every record is loaded exactly once.

mod atomic;
mod cast;
mod catalog;
pub mod cluster;
mod connection;
mod copy;
mod fault;
mod java;
mod load;
mod models;
mod schemas;
mod warehouse;

pub use atomic::create_events;
pub use cluster::{ClusterError, ClusterOptions, PrivateCluster, PsqlCommand};
pub use load::{
    BadRow, BadRowLoader, BadSink, CollectBad, EventLoader, InputRecord, LoadError, LoadReport, LoaderOptions,
    ProgressKey,
};
pub use schemas::{ListedSchema, SchemaFailure, SchemaProvider};
pub use warehouse::{Warehouse, WarehouseError, WarehouseOptions};
