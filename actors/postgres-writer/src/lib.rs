//! Loads batches into Postgres together with the shard's progress
