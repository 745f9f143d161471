//! The rim: sockets, bodies, time-outs; everything that is decided is decided in [`crate::decision`].

mod body;
mod handler;
mod head;
mod redirect;
mod server;
mod statsd;
mod tap;
mod tls;

pub use redirect::redirect_to_https;
pub use server::{Clock, serve};
