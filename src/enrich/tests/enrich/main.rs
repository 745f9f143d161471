//! Enrichment as a whole: the vectors of enrich-core, and that no input can break it.

mod matching;
mod robustness;
mod support;
mod vectors;
