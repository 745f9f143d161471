//! Leases against DynamoDB Local.

mod fleet;
mod golden;
mod holder;
mod local;
mod proxy;
mod shards;
