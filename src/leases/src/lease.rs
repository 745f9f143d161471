//! A row of the lease table.

use crate::Position;

/// What the lease table has to know of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// Its id.
    pub id: String,
    /// The shards it was split or merged from.
    pub parents: Vec<String>,
    /// First and last hash key.
    pub range: Option<(u128, u128)>,
    /// Whether it was split or merged.
    pub closed: bool,
}

/// A lease as it was last read or written. Spec: kinesis-leases 2.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The application whose table holds it.
    pub app: String,
    /// The shard.
    pub shard: String,
    /// Who processes the shard; `None` when nobody does.
    pub owner: Option<String>,
    /// Goes up with every write; a writer who does not know the last one has lost the lease.
    pub counter: u64,
    /// How far the shard is done.
    pub checkpoint: Position,
    /// How often the lease changed hands since the last checkpoint.
    pub owner_switches: u64,
    /// The shards it was split or merged from.
    pub parents: Vec<String>,
    /// The shards it was split or merged into; known once its end was reached.
    pub children: Vec<String>,
    /// First and last hash key.
    pub range: Option<(u128, u128)>,
}

impl Lease {
    /// Whether the shard was processed to its end.
    pub fn is_ended(&self) -> bool {
        self.checkpoint == Position::ShardEnd
    }
}
