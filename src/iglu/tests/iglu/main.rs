//! Tests of the public interface, in one binary.

// A test fails by panicking, its helpers too.
#![allow(clippy::unwrap_used)]

mod agreement;
mod common;
mod resolver;
mod resolver_vectors;
mod server;
mod validation_vectors;
