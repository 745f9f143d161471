//! The collector over real sockets: the shared vectors, recorded requests, hostile clients, failing sinks, TLS.

mod durability;
mod hostile;
mod recorded;
mod support;
mod tls;
mod vectors;
