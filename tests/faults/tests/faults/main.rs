//! The embedded pipeline under fire.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod random;
mod roles;
mod sinks;
