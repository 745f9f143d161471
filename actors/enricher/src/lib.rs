//! Enriches batches of raw records on all cores, in order
