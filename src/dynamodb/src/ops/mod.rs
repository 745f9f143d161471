//! Requests to one lease table, one attempt each. Spec: kinesis-leases 3.

pub mod rows;
pub mod table;
pub mod update;

use aws_sdk_dynamodb::Client;

/// One application's table.
#[derive(Debug, Clone)]
pub struct Table {
    /// The client that asks.
    pub client: Client,
    /// The table.
    pub name: String,
    /// What `AT_TIMESTAMP` means in this application.
    pub timestamp_ms: i64,
}
