//! Reads one shard in order and feeds its group
