//! The enricher in a group of its own, over a resolver that asks a real HTTP server on this machine.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod hostile;
mod pii;
mod registries;
// The server of the resolver's own tests.
#[path = "../../../../src/iglu/tests/iglu/server.rs"]
mod server;
mod support;
