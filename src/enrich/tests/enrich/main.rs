//! Enrichment as a whole: the vectors of enrich-core, and that no input can break it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod batches;
mod behaviour;
mod configuration;
mod matching;
mod robustness;
mod support;
mod vectors;
