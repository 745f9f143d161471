//! Sharded, durable record streams with Kinesis's semantics
