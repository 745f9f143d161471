//! Leases against DynamoDB Local.
#![allow(clippy::unwrap_used, reason = "a test may panic; clippy knows only the marked functions as tests")]

mod fleet;
mod golden;
mod holder;
mod local;
mod proxy;
mod shards;
