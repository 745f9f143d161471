//! Leases and checkpoints of a pipeline's shards
