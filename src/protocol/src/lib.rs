//! The wire formats of the pipeline: collector payload (Thrift), compressed record container, enriched event (TSV),
//! bad rows (JSON), and the JSON and time printing they share.
//!
//! Pure: no clock, no I/O, no other crate of ours. Everything that reads untrusted bytes is bounded by the bytes it is
//! given: no length on the wire makes it allocate more than that.

pub mod badrow;
pub mod container;
pub mod document;
pub mod event;
pub mod json;
pub mod payload;
pub mod scan;
pub mod time;
