//! Kinesis as the pipeline's streams, by the AWS SDK (spec kinesis-leases 7.1, 8.2, 9.2, 10 to 14).
//!
//! [`KinesisStreams`] is a [`Streams`](snowmelt_streams::Streams). What differs from the embedded log:
//!
//! * **Order.** Records of one partition key keep their order, also through partial failures ([`Order::PerKey`]); nothing is
//!   promised between keys of the same shard.
//! * **No idempotence.** The producer of a put is not looked at, and no outcome is `Duplicate`. A call that timed out may
//!   have stored its records: `Err` of a put, and a retriable rejection, mean "nothing known to be stored". Putting again is at
//!   least once.
//! * **Reading** is by polling within the service's limits ([`Reading::Poll`]) or by enhanced fan-out ([`Reading::FanOut`]). A page
//!   is empty without having asked the service only at the tip.
//! * **Aggregated records** of the Kinesis Producer Library come as their user records, whose sequence numbers have a part. What
//!   only looks aggregated stays a plain record, as in the Client Library. An aggregate whose indices point outside its tables
//!   is delivered whole, as one plain record: the enricher makes a bad row of it; `kinesis_bad_aggregates_total` counts it.
//! * **Sequence numbers** of up to 192 bits, which holds the service's 186.
//!
//! The SDK's own retries are off: each attempt is seen in the metrics ([`describe_metrics`]). Credentials come from the SDK's usual
//! chain.
#![deny(missing_docs)]

mod admin;
mod aggregate;
mod client;
mod failure;
mod intake;
mod metrics;
mod options;
mod pace;
mod plan;
mod poll;
mod position;
mod put;
mod streams;

pub use metrics::describe as describe_metrics;
pub use options::{KinesisOptions, Order, Reading};
pub use streams::KinesisStreams;

#[cfg(test)]
mod tests;
