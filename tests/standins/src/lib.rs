//! Stand-ins of AWS for tests: emulators that others wrote, each behind a reverse proxy of ours that adds what none of them does.
//!
//! * Kinesis is kinesis-mock, DynamoDB is Amazon's DynamoDB Local, S3 and SQS are moto with one request at a time. `tests/run.sh`
//!   installs them, pinned, into `.tools` (`deploy/local/emulators.sh`).
//! * The proxy throttles, fails, loses, delays, cuts and edits answers by a plan ([`Faults`], or `POST /_faults`), counts what it did
//!   (`GET /_faults`), and serves SubscribeToShard itself, with shard ends, take-over and half-open streams ([`FanOut`]).
//!
//! ```no_run
//! # async fn example() -> Result<(), snowmelt_standins::StandinError> {
//! use snowmelt_standins::{Fault, Kind, Service, Standins};
//! let standins = Standins::start(".tools".as_ref(), &[Service::Kinesis, Service::DynamoDb]).await?;
//! println!("{}", standins.endpoint(Service::Kinesis)?);
//! standins.faults(Service::Kinesis)?.set(vec![Fault::new("GetRecords", Kind::Throttle).every(3)]);
//! # Ok(()) }
//! ```

mod answers;
mod emulator;
mod fanout;
mod frames;
mod plan;
mod proxy;
mod records;
mod standins;

pub use emulator::Service;
pub use plan::{FanOut, Fault, FaultReport, Faults, Kind, Report};
pub use standins::{StandinError, Standins};
