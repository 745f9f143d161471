//! The server over HTTP on a real PostgreSQL: a private cluster that this test binary starts.

#![expect(clippy::unwrap_used, reason = "a test may end by panicking, its helpers too")]

mod access;
mod hostile;
mod page;
mod several;
mod storage;
mod support;
mod vectors;
