//! The table of leases.

use std::sync::Arc;

use crate::{Fence, Lease, LeaseError, Pending, Position, ShardInfo};

/// Who can say which shards a stream has now.
#[async_trait::async_trait]
pub trait ListShards: Send + Sync + 'static {
    /// Open shards, and closed ones whose records are still kept.
    async fn shards(&self) -> Result<Vec<ShardInfo>, LeaseError>;
}

/// An application as one of its workers sees it.
pub struct Application {
    /// Its name, and its table's.
    pub name: String,
    /// The stream that it reads.
    pub stream: String,
    /// The worker: unique among all that run.
    pub owner: String,
    /// Where a shard without a history begins.
    pub initial: Position,
    /// The stream's shards.
    pub shards: Arc<dyn ListShards>,
}

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

    /// The leases that this worker is to process now: not done, the shards before them done, its share of the fleet's. Asked
    /// again and again, which is what keeps the worker's share up. Alone at a table, the share is everything.
    async fn claim(&self, app: &Application) -> Result<Vec<Lease>, LeaseError> {
        let shards = app.shards.shards().await?;
        let leases = self.sync(&app.name, &app.stream, &shards, &app.initial).await?;
        let ended = |shard: &str| leases.iter().find(|lease| lease.shard == shard).is_none_or(Lease::is_ended);
        let free = |lease: &&Lease| !lease.is_ended() && lease.parents.iter().all(|parent| ended(parent));
        Ok(leases.iter().filter(free).cloned().collect())
    }

    /// Until when a lease that was acquired may be counted on.
    fn fence(&self, _lease: &Lease) -> Fence {
        Fence::open()
    }

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

    /// The worker stops: takes no more leases and gives up those that it holds and nobody processes.
    async fn leave(&self, _app: &str) -> Result<(), LeaseError> {
        Ok(())
    }
}
