//! The rim: sockets, bodies, time-outs, headers. What is answered is decided in [`crate::service`].

mod body;
mod cross_origin;
mod handler;
mod server;

pub use server::serve;
