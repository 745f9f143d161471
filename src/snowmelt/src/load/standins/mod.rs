//! What stands in for the outside: the public traits of the backends over nothing, with a delay, a limit and failures.

mod faults;
mod gate;
mod leases;
mod objects;
mod sink;
mod streams;

pub use faults::{Faults, Refusal};
pub use gate::Gate;
pub use leases::{StandInLeases, Watched};
pub use objects::StandInObjects;
pub use sink::StreamSink;
pub use streams::StandInStreams;
