//! Writes batches as objects, each record into exactly one.
//!
//! [`Packer`] turns a batch into objects and bad rows: grouping, framing and compression are pure
//! ([`snowmelt_objects::render`]) and run on the pool of cores. [`S3Writer`] declares the batch, puts its objects, and
//! acknowledges when they are durable and its bad rows accepted. While one batch is put the next is packed.
//!
//! An object's name follows from the first and the last record of its batch and from the time at which it was packed. All
//! three are stored by the shard's checkpointer before the first put (see [`snowmelt_runtime::intent`]), so that the group
//! that goes on after a crash writes the same objects again, and no others with the same records.

mod packer;
mod report;
mod writer;

pub use crate::packer::{Packed, Packer};
pub use crate::report::{Report, Written};
pub use crate::writer::{Puts, S3Writer};
