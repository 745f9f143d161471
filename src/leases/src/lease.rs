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

/// What the holder of a lease is about to do beyond its checkpoint, noted so that its next holder can do the same: the
/// first phase of a two-phase checkpoint (`pendingCheckpoint` and its companions). Spec: kinesis-leases 2.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// How far the shard will be done.
    pub position: Position,
    /// What the holder has to know then; opaque to the table (`pendingCheckpointState`).
    pub state: String,
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
    /// What a holder was about to do beyond it.
    pub pending: Option<Pending>,
    /// How often the lease changed hands since the last checkpoint.
    pub owner_switches: u64,
    /// The shards it was split or merged from.
    pub parents: Vec<String>,
    /// The shards it was split or merged into; known once its end was reached.
    pub children: Vec<String>,
    /// First and last hash key.
    pub range: Option<(u128, u128)>,
    /// Which period of ownership this is, where a process may have several of one lease; never stored.
    pub epoch: u64,
}

impl Lease {
    /// Whether the shard was processed to its end.
    pub fn is_ended(&self) -> bool {
        self.checkpoint == Position::ShardEnd
    }
}
