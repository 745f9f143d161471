//! Writes batches as objects
