//! The registry as requests see it: the picture in memory, kept equal to the database.
//!
//! Every change in the database has a number (see [`crate::storage`]). A server reads what changed after its own writes
//! before it answers them, when the database notifies it of somebody else's, and every few seconds in case a
//! notification was lost. So a server shows its own writes at once, and those of others within moments.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Mutex, broadcast, watch};

use crate::core::catalog::{Budget, Catalog, Changed, Entry};
use crate::storage::{Storage, StorageError};

/// Between two tries to listen again, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The picture and the database behind it.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) storage: Storage,
    catalog: ArcSwap<Catalog>,
    budget: Arc<Budget>,
    refreshing: Mutex<()>,
    changes: Option<broadcast::Sender<Changed>>,
}

impl Registry {
    /// Reads the whole picture. Whoever listens to `changes` hears of each change once it shows here.
    pub(crate) async fn open(
        storage: Storage,
        cache_bytes: usize,
        changes: Option<broadcast::Sender<Changed>>,
    ) -> Result<Self, StorageError> {
        let catalog = ArcSwap::from_pointee(storage.catalog().await?);
        Ok(Self { storage, catalog, budget: Budget::new(cache_bytes), refreshing: Mutex::new(()), changes })
    }

    /// The picture of now.
    pub(crate) fn catalog(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.catalog.load()
    }

    /// Reads what changed since the picture was made.
    pub(crate) async fn refresh(&self) -> Result<(), StorageError> {
        let _alone = self.refreshing.lock().await;
        if let Some(catalog) = self.storage.catalog_since(&self.catalog.load()).await? {
            let changed = catalog.changed.clone();
            self.catalog.store(Arc::new(catalog));
            if let Some(changes) = &self.changes
                && changed != Changed::NoSchema
            {
                // That nobody listens is no failure.
                drop(changes.send(changed));
            }
        }
        Ok(())
    }

    /// The same after a write of our own, which has succeeded whatever happens here.
    pub(crate) async fn refresh_after_write(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "a change is stored, but shows only when the database can be read again");
        }
    }

    /// The members of a schema's body; `None` when it has gone in this moment.
    pub(crate) async fn body(&self, entry: &Entry) -> Result<Option<Bytes>, StorageError> {
        if let Some(body) = entry.body() {
            return Ok(Some(body));
        }
        let Some((members, row_version)) = self.storage.body(&entry.key).await? else { return Ok(None) };
        // A body that changed since the picture was made belongs to the next one.
        if row_version == entry.row_version {
            entry.keep(&members, &self.budget);
        }
        Ok(Some(Bytes::from(members)))
    }

    /// The bodies of many schemas, in their order; `None` for those that have gone.
    pub(crate) async fn bodies(&self, entries: &[Arc<Entry>]) -> Result<Vec<Option<Bytes>>, StorageError> {
        let mut bodies: Vec<Option<Bytes>> = entries.iter().map(|entry| entry.body()).collect();
        let missing: Vec<usize> = (0..entries.len()).filter(|&at| bodies[at].is_none()).collect();
        if missing.is_empty() {
            return Ok(bodies);
        }
        let keys: Vec<_> = missing.iter().map(|&at| &entries[at].key).collect();
        let place: ahash::HashMap<&str, usize> = missing.iter().map(|&at| (entries[at].key.uri(), at)).collect();
        for (key, members, row_version) in self.storage.bodies(&keys).await? {
            let Some(&at) = place.get(key.uri()) else { continue };
            if row_version == entries[at].row_version {
                entries[at].keep(&members, &self.budget);
            }
            bodies[at] = Some(Bytes::from(members));
        }
        Ok(bodies)
    }

    /// Follows the database until `stop` holds true.
    /// Failures are told to `trouble`, and their end.
    pub(crate) async fn follow(
        self: Arc<Self>,
        check_every: Duration,
        trouble: Option<watch::Sender<Option<String>>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let tell = |now: Option<String>| {
            if let Some(trouble) = &trouble {
                trouble.send_if_modified(|last| std::mem::replace(last, now.clone()) != now);
            }
        };
        let mut wait = Duration::from_millis(200);
        loop {
            let failure = tokio::select! {
                failure = self.follow_connection(check_every, &mut wait, || tell(None)) => failure,
                // The sender's end is a stop too.
                _stopped = stop.wait_for(|stop| *stop) => return,
            };
            tell(Some(failure.to_string()));
            tracing::warn!(error = %failure, "the registry does not see changes by others; trying again");
            tokio::select! {
                () = tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())) => {}
                _stopped = stop.wait_for(|stop| *stop) => return,
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Follows over one connection until something fails.
    async fn follow_connection(&self, check_every: Duration, wait: &mut Duration, well: impl Fn()) -> StorageError {
        let mut listener = match self.storage.listen().await {
            Ok(listener) => listener,
            Err(error) => return error,
        };
        loop {
            // First of all: what changed while nobody listened.
            if let Err(error) = self.refresh().await {
                return error;
            }
            *wait = Duration::from_millis(200);
            well();
            // A lost connection gives `None` and is renewed by the listener; time passing is the safety check.
            match tokio::time::timeout(check_every, listener.try_recv()).await {
                Ok(Err(source)) => return StorageError::Failed { what: "listening", source },
                // One look answers all that came together.
                Ok(Ok(_)) => while listener.next_buffered().is_some() {},
                Err(_) => {}
            }
        }
    }
}
