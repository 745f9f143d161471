//! The embedded pipeline under fire.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod aws;
mod judge;
mod others;
mod random;
mod roles;
mod sinks;
