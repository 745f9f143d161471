//! The collector over real sockets: the shared vectors, recorded requests, hostile clients, failing sinks, TLS.

#![expect(clippy::unwrap_used, reason = "these are tests, also outside the functions that are marked so")]

mod answers;
mod durability;
mod hostile;
mod overflow;
mod properties;
mod recorded;
mod spool;
mod sqs;
mod statsd;
mod support;
mod tls;
mod vectors;
