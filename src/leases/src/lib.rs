//! Leases and checkpoints of a pipeline's shards.
//!
//! One table an application: a row for each shard says who processes it and how far it came. [`LeaseStore`] is what
//! the pipeline sees; rows and rules are those of the Kinesis Client Library (spec: kinesis-leases 2, 3, 7 to 9).
//! [`EmbeddedLeases`] keeps them in files of this machine; [`fleet`] has what workers decide who share a table.
#![deny(missing_docs)]

mod embedded;
mod error;
mod fence;
pub mod fleet;
mod lease;
mod position;
mod store;
mod table;

pub use embedded::EmbeddedLeases;
pub use error::LeaseError;
pub use fence::Fence;
pub use lease::{Lease, Pending, ShardInfo};
pub use position::{ParsePositionError, Position};
pub use store::{Application, LeaseStore, ListShards};
