//! The table of leases.

use crate::{Lease, LeaseError, Pending, Position, ShardInfo};

/// A table of leases an application: the embedded one or a service. Times are milliseconds since the epoch.
///
/// Writes of one lease must not overlap: the [`Lease`] is taken by `&mut` so that each write knows the counter of the
/// one before.
#[async_trait::async_trait]
pub trait LeaseStore: Send + Sync + 'static {
    /// Makes the leases that are missing for the listed shards of `stream` and forgets those no longer needed; gives
    /// all leases. A first sync begins at `initial`; later ones never begin a shard whose parent is not done.
    async fn sync(
        &self,
        app: &str,
        stream: &str,
        shards: &[ShardInfo],
        initial: &Position,
    ) -> Result<Vec<Lease>, LeaseError>;

    /// All leases of an application, ordered by shard; none when it has no table.
    async fn list(&self, app: &str) -> Result<Vec<Lease>, LeaseError>;

    /// Takes a lease that is free, expired or `owner`'s own; [`LeaseError::Held`] otherwise. Every earlier holder,
    /// also an earlier one of the same name, can write no more.
    async fn acquire(&self, app: &str, shard: &str, owner: &str, now_ms: i64) -> Result<Lease, LeaseError>;

    /// Says that the owner is alive.
    async fn renew(&self, lease: &mut Lease, now_ms: i64) -> Result<(), LeaseError>;

    /// Stores how far the shard is done, and in the same write what is about to be done beyond, in place of what was noted
    /// before. Only forward; the same again is no error and no write.
    async fn checkpoint(
        &self,
        lease: &mut Lease,
        position: &Position,
        pending: Option<&Pending>,
    ) -> Result<(), LeaseError>;

    /// Makes the leases of the shards that follow (at their trim horizon), then stores that this shard is done to its
    /// end. Repeating it is harmless.
    async fn end_shard(&self, lease: &mut Lease, children: &[ShardInfo]) -> Result<(), LeaseError>;

    /// Gives the lease up; it can be acquired at once.
    async fn release(&self, lease: Lease) -> Result<(), LeaseError>;
}
