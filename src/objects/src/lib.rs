//! Object stores, and what the S3 loader puts into them: framing, keys, grouping, buffering rules (spec s3-loader).
//!
//! The loader's core is pure: [`render`] turns a batch of records into objects and bad rows, [`Buffer`] says when a
//! batch is due, [`S3LoaderConfig`] is what both generations of the original's configuration become. The only I/O is
//! behind [`ObjectStore`].

pub mod bad_rows;
pub mod buffering;
pub mod config;
pub mod directory;
mod event_time;
pub mod framing;
pub mod grouping;
pub mod keys;
pub mod metrics;
pub mod render;
pub mod s3;
pub mod schema;
pub mod store;
pub mod unpack;

pub use buffering::{Buffer, BufferRules, PackRatio};
pub use config::{ConfigError, Line, LoaderFile, Naming, PartitionBy, Purpose, S3LoaderConfig, StartPosition};
pub use directory::DirectoryStore;
pub use framing::Framing;
pub use keys::KeyPattern;
pub use render::{Batch, Object, Rendered, render, render_with};
pub use store::{Headers, ObjectInfo, ObjectStore, StoreError, check_key};
