//! Tests of the public interface, in one binary.

mod agreement;
mod common;
mod resolver;
mod resolver_vectors;
mod server;
mod validation_vectors;
