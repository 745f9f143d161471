//! Moves a shard's checkpoint to the highest position below which everything is durable
