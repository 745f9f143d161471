//! Everything behind the `snowmelt` command. A library so that tests can build the same groups and nodes in their own process.

pub mod check;
pub mod cli;
pub mod convert;
pub mod definition;
pub mod enrich;
pub mod iglu;
pub mod inventory;
pub mod load;
pub mod log;
pub mod run;
pub mod running;
pub mod send;
pub mod setup;
pub mod sql;
pub mod status;
pub mod tail;
pub mod top;
pub mod trouble;
