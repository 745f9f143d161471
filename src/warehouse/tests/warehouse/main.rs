//! The loaders against a real PostgreSQL: a private cluster that this test binary starts.

#![expect(clippy::unwrap_used, reason = "a test may end by panicking, its helpers too")]

mod cluster;
mod ddl_vectors;
mod duplicates;
mod loading;
mod migration;
mod registry;
mod support;
mod tls;
mod vectors;
