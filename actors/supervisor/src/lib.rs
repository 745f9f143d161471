//! The supervision tree: a node, its pipelines, a group of actors a shard.
//!
//! ```text
//! Node ── Pipeline "enrich" ── Shard 0 ── group: reader ► enricher ► batcher ► writer, checkpointer
//!     │                    └── Shard 1 ── group …
//!     └── Pipeline "s3-raw" …
//! ```
//!
//! A failure of any actor tears down and rebuilds its shard's group, after a back-off and from the last checkpoint
//! ([`shard`]). Too many failures in a window climb to the pipeline ([`pipeline`]), from there to the node ([`node`]),
//! which then ends with an error so that the machine's init system can act. Other shards never notice.

pub mod node;
pub mod pipeline;
pub mod report;
pub mod shard;
pub mod status;
pub mod watcher;

pub use node::{Node, NodeOptions};
pub use pipeline::{GroupSource, PipelineSpec, ShardPlan};
pub use status::{GroupState, GroupStatus, Tree};
pub use watcher::Watcher;
