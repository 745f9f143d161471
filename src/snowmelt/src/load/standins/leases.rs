//! A lease table in memory, and one that tells the load test of checkpoints.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use snowmelt_leases::{Lease, LeaseError, LeaseStore, Pending, Position, ShardInfo};

use super::Faults;
use crate::load::pace::Tracker;

/// Leases in memory; a limit counts calls.
pub struct StandInLeases {
    faults: Faults,
    leases: Mutex<BTreeMap<String, Lease>>,
}

impl StandInLeases {
    /// An empty table that behaves as `faults` says.
    pub const fn new(faults: Faults) -> Self {
        Self { faults, leases: Mutex::new(BTreeMap::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call that changes the caller's lease and stores it.
    async fn write(&self, lease: &mut Lease, change: impl FnOnce(&mut Lease) + Send) -> Result<(), LeaseError> {
        let unavailable =
            |reason: super::Refusal| LeaseError::Unavailable { app: lease.app.clone(), reason: reason.to_string() };
        self.faults.call(1).await.map_err(unavailable)?;
        change(lease);
        lease.counter += 1;
        self.lock().insert(lease.shard.clone(), lease.clone());
        Ok(())
    }
}

#[async_trait]
impl LeaseStore for StandInLeases {
    async fn sync(
        &self,
        app: &str,
        _stream: &str,
        shards: &[ShardInfo],
        initial: &Position,
    ) -> Result<Vec<Lease>, LeaseError> {
        let mut leases = self.lock();
        for shard in shards {
            leases.entry(shard.id.clone()).or_insert_with(|| Lease {
                app: app.to_owned(),
                shard: shard.id.clone(),
                owner: None,
                counter: 0,
                checkpoint: initial.clone(),
                pending: None,
                owner_switches: 0,
                parents: shard.parents.clone(),
                children: Vec::new(),
                range: shard.range,
                epoch: 0,
            });
        }
        Ok(leases.values().cloned().collect())
    }

    async fn list(&self, _app: &str) -> Result<Vec<Lease>, LeaseError> {
        Ok(self.lock().values().cloned().collect())
    }

    async fn acquire(&self, app: &str, shard: &str, owner: &str, _now_ms: i64) -> Result<Lease, LeaseError> {
        let mut leases = self.lock();
        let missing = || LeaseError::NotFound { app: app.to_owned(), shard: shard.to_owned() };
        let lease = leases.get_mut(shard).ok_or_else(missing)?;
        lease.owner = Some(owner.to_owned());
        Ok(lease.clone())
    }

    async fn renew(&self, lease: &mut Lease, _now_ms: i64) -> Result<(), LeaseError> {
        self.write(lease, |_| {}).await
    }

    async fn checkpoint(
        &self,
        lease: &mut Lease,
        position: &Position,
        pending: Option<&Pending>,
    ) -> Result<(), LeaseError> {
        self.write(lease, |lease| {
            lease.checkpoint = position.clone();
            lease.pending = pending.cloned();
        })
        .await
    }

    async fn end_shard(&self, lease: &mut Lease, children: &[ShardInfo]) -> Result<(), LeaseError> {
        let children = children.iter().map(|child| child.id.clone()).collect();
        self.write(lease, |lease| {
            lease.checkpoint = Position::ShardEnd;
            lease.children = children;
        })
        .await
    }

    async fn release(&self, mut lease: Lease) -> Result<(), LeaseError> {
        self.write(&mut lease, |lease| lease.owner = None).await
    }
}

/// A lease table whose checkpoints are told: positions are the numbers of the load test's batches.
pub struct Watched {
    inner: Arc<dyn LeaseStore>,
    tracker: Tracker,
    checkpoints: Arc<AtomicU64>,
}

impl Watched {
    /// Watches `inner`; counts its checkpoints in `checkpoints`.
    pub fn new(inner: Arc<dyn LeaseStore>, tracker: Tracker, checkpoints: Arc<AtomicU64>) -> Self {
        Self { inner, tracker, checkpoints }
    }
}

#[async_trait]
impl LeaseStore for Watched {
    async fn sync(
        &self,
        app: &str,
        stream: &str,
        shards: &[ShardInfo],
        initial: &Position,
    ) -> Result<Vec<Lease>, LeaseError> {
        self.inner.sync(app, stream, shards, initial).await
    }

    async fn list(&self, app: &str) -> Result<Vec<Lease>, LeaseError> {
        self.inner.list(app).await
    }

    async fn acquire(&self, app: &str, shard: &str, owner: &str, now_ms: i64) -> Result<Lease, LeaseError> {
        self.inner.acquire(app, shard, owner, now_ms).await
    }

    async fn renew(&self, lease: &mut Lease, now_ms: i64) -> Result<(), LeaseError> {
        self.inner.renew(lease, now_ms).await
    }

    async fn checkpoint(
        &self,
        lease: &mut Lease,
        position: &Position,
        pending: Option<&Pending>,
    ) -> Result<(), LeaseError> {
        self.inner.checkpoint(lease, position, pending).await?;
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
        if let Position::At { sequence, .. } = position
            && let Ok(number) = sequence.parse()
        {
            self.tracker.durable_up_to(number);
        }
        Ok(())
    }

    async fn end_shard(&self, lease: &mut Lease, children: &[ShardInfo]) -> Result<(), LeaseError> {
        self.inner.end_shard(lease, children).await
    }

    async fn release(&self, lease: Lease) -> Result<(), LeaseError> {
        self.inner.release(lease).await
    }
}
