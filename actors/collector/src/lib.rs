//! The HTTP collector: it turns tracking requests into Thrift records and answers when they are durable.
//!
//! * [`decision`]: the pure core, `request -> answer and records`; no socket, no clock, no actix type (spec, sections 1 to 4).
//! * [`serve`]: the rim, an actix-web server over a listener, the very same in production and in tests.
//! * [`Sink`]: where records go; `put` resolves only when they are durable.
//! * [`Spool`]: a durable log on this machine between the requests and the real sink.
//! * [`Salvage`]: what a sink refuses for good becomes a bad row, or a line of a file.
//! * [`Overflow`]: a queue of SQS for what the stream does not take.
//! * [`Pack`]: many payloads in one compressed record.
//! * [`commit`]: one bounded buffer a sink, flushed in batches, each waiting request answered when its batch is durable.

pub mod commit;
pub mod config;
pub mod decision;
mod error;
pub mod overflow;
mod pack;
mod rim;
mod salvage;
mod sink;
pub mod spool;

pub use config::{CollectorConfig, Durability};
pub use error::CollectorError;
pub use overflow::{Overflow, SqsQueue};
pub use pack::Pack;
pub use rim::{Clock, redirect_to_https, serve};
pub use salvage::{BadRowRules, Salvage};
pub use sink::{Outgoing, Refused, Sink, SinkError, settle};
pub use spool::{Spool, SpoolError, SpoolOptions, SpoolStatus};
