//! The loaders against a real PostgreSQL: a private cluster that this test binary starts.

mod cluster;
mod loading;
mod migration;
mod support;
mod vectors;
