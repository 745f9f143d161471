//! The rim: sockets, bodies, time-outs; everything that is decided is decided in [`crate::decision`].

mod body;
mod handler;
mod head;
mod server;
mod tap;
mod tls;

pub use server::{Clock, serve};
