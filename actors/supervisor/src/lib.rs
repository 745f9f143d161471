//! The supervision tree: node, pipelines, shard groups
