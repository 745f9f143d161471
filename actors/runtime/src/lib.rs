//! The actor runtime: the only place that knows the actor crate's quirks.
//!
//! A pipeline's shard is read by a *group* of small actors. This crate gives them what `actix` does not
//! (measured in the design's notes on crates): mailboxes that are bounded in bytes for every sender
//! ([`port`]), acknowledgements that are resolved exactly once ([`ack`]), supervision of errors, panics
//! and hangs with a restart of the whole group ([`group`], [`supervise`]), injected time ([`clock`]),
//! CPU work off the event loops ([`cores`]) and counters that let a bottleneck name itself ([`observe`]).
//!
//! An actor is a [`Stage`] (has a mailbox) or a [`Worker`] (loops by itself: a reader, a checkpointer).

pub mod ack;
pub mod backoff;
pub mod batch;
pub mod clock;
pub mod cores;
pub mod failure;
pub mod fault;
pub mod group;
pub mod intent;
pub mod isolate;
pub mod observe;
pub mod port;
mod shell;
pub mod stage;
pub mod supervise;

pub use ack::{Ack, Ledger, Ticket};
pub use backoff::Backoff;
pub use batch::Batch;
pub use clock::Clock;
pub use cores::Cores;
pub use failure::Failure;
pub use group::{Group, GroupBuilder, GroupContext, GroupId};
pub use intent::{Cut, Intents, SinkIntents};
pub use port::{MailboxLimits, Port, Weighted};
pub use stage::{NoAnswer, Pause, Stage, StageContext, Step, Worker};
