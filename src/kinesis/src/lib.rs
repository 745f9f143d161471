//! Kinesis as the pipeline's streams.
#![deny(missing_docs)]
