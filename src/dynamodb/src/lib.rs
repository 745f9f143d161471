//! Leases in DynamoDB, in the Kinesis Client Library's layout.
//!
//! [`DynamoLeases`] is the [`snowmelt_leases::LeaseStore`] of a fleet: workers share an application's shards through one table,
//! beside each other and beside workers of the Kinesis Client Library 1 to 3. What is decided is decided by
//! [`snowmelt_leases`]'s pure core; here are the rows, the writes with their conditions, and the local picture of who holds what.
//! Spec: kinesis-leases.
#![deny(missing_docs)]

mod acquire;
mod cleanup;
mod client;
mod codec;
mod end;
mod fault;
mod held;
mod io;
mod leader;
mod member;
mod metric;
mod ops;
mod options;
mod renewer;
mod round;
mod setup;
mod store;
mod sync;

pub use metric::Metric;
pub use options::LeaseOptions;
pub use snowmelt_leases::fleet::Beside as BesideLeader;
pub use store::DynamoLeases;
