//! The Iglu server: schemas kept in Postgres, read and published over HTTP (iglu-server spec).
//!
//! * [`Storage`]: the database. It works on one that the original made, also together with servers of the original.
//! * [`serve`]: the server over a listener, until it is told to stop.
//! * The web page at its root, of files that are parts of the program (`src/page`): a reader and publisher over the same
//!   interface.
//! * [`core`]: what is decided, pure: rights, routes, order of versions, representations.
//!
//! Reads come from memory: all identities and rights are held as one picture ([`core::catalog`]), bodies as far as they
//! have room. A trigger numbers every change in the database, whoever makes it; servers follow those numbers, so that
//! several on one database agree within moments.

mod assets;
pub mod config;
pub mod core;
mod description;
mod error;
mod hooks;
mod registry;
mod rim;
mod service;
pub mod storage;

pub use config::{ServerConfig, WebHook};
pub use core::catalog::Changed;
pub use error::ServerError;
pub use rim::serve;
pub use storage::{Storage, StorageError, StorageOptions};
