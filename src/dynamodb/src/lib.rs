//! Leases in DynamoDB, in the Kinesis Client Library's layout.
#![deny(missing_docs)]
