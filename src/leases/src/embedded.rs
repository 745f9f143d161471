//! Leases in files of this machine: a file an application, replaced as a whole and synced at every change.
//!
//! A directory belongs to one process, so the owner of another name that a file shows is gone: after opening, every lease
//! can be taken. Renewals live in memory only; they matter while the process does.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::table::{self, Row, Table};
use crate::{Lease, LeaseError, LeaseStore, Pending, Position, ShardInfo};

/// Without a renewal for this long, another owner may take a lease; milliseconds.
const EXPIRY_MS: i64 = 10_000;

/// The embedded store. Clones share it.
#[derive(Debug, Clone)]
pub struct EmbeddedLeases {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    tables: Mutex<BTreeMap<String, Table>>,
    /// Frees the directory when it is dropped.
    _lock: File,
}

impl EmbeddedLeases {
    /// Opens the leases in `directory`, which is made if it is missing. Blocks while files are read.
    ///
    /// # Errors
    /// [`LeaseError::Locked`] when another process has the directory, [`LeaseError::Corrupt`] for a damaged file,
    /// [`LeaseError::Unavailable`] when the directory can't be used.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, LeaseError> {
        let directory = directory.as_ref();
        let failed = |error: io::Error| LeaseError::Unavailable {
            app: String::new(),
            reason: format!("{}: {error}", directory.display()),
        };
        fs::create_dir_all(directory).map_err(failed)?;
        let lock = lock(directory)?;
        let mut tables = BTreeMap::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(app) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(table::SUFFIX)) else {
                continue;
            };
            tables.insert(app.to_owned(), table::read(&path)?);
        }
        let shared = Shared { directory: directory.to_owned(), tables: Mutex::new(tables), _lock: lock };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Changes one application's table: in a copy, which replaces the table when it is on the disk. Off the event loop.
    async fn change<T: Send + 'static>(
        &self,
        app: &str,
        change: impl FnOnce(&mut Table) -> Result<(T, Save), LeaseError> + Send + 'static,
    ) -> Result<T, LeaseError> {
        table::check_name(app)?;
        let (shared, app) = (Arc::clone(&self.shared), app.to_owned());
        let name = app.clone();
        let changed = tokio::task::spawn_blocking(move || shared.change(&app, change)).await;
        changed.unwrap_or_else(|error| Err(LeaseError::Unavailable { app: name, reason: error.to_string() }))
    }
}

/// Takes the directory for this process; the operating system frees it when the process ends, however that happens.
fn lock(directory: &Path) -> Result<File, LeaseError> {
    let path = directory.join("leases.lock");
    let failed = |error: io::Error| LeaseError::Unavailable {
        app: String::new(),
        reason: format!("{}: {error}", path.display()),
    };
    // What the holder wrote must not be cut off by who only asks.
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The number only makes the message better; that there is a holder is known from the lock.
            let holder = match Read::take(&mut file, 64).read_to_string(&mut holder) {
                Ok(_) if !holder.trim().is_empty() => format!("process {}", holder.trim()),
                _ => "another process".to_owned(),
            };
            return Err(LeaseError::Locked { directory: directory.display().to_string(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

/// Whether a change has to reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Save {
    Yes,
    No,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Table>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(
        &self,
        app: &str,
        change: impl FnOnce(&mut Table) -> Result<(T, Save), LeaseError>,
    ) -> Result<T, LeaseError> {
        let mut tables = self.lock();
        let mut table = tables.get(app).cloned().unwrap_or_default();
        let (value, save) = change(&mut table)?;
        if save == Save::Yes {
            self.store(app, &table)
                .map_err(|error| LeaseError::Unavailable { app: app.to_owned(), reason: error.to_string() })?;
        }
        tables.insert(app.to_owned(), table);
        Ok(value)
    }

    /// Replaces the file: readers see the old or the new one, never a part.
    fn store(&self, app: &str, table: &Table) -> io::Result<()> {
        let path = self.directory.join(format!("{app}{}", table::SUFFIX));
        let temporary = self.directory.join(format!("{app}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(&table::write(table)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(&self.directory)?.sync_all()
    }
}

/// The row of a lease that the caller still holds.
fn held<'t>(table: &'t mut Table, lease: &Lease) -> Result<&'t mut Row, LeaseError> {
    let owner = lease.owner.clone().unwrap_or_default();
    let (app, shard) = (lease.app.clone(), lease.shard.clone());
    let Some(row) = table.get_mut(&shard) else { return Err(LeaseError::NotFound { app, shard }) };
    if lease.owner.is_none() || row.owner != lease.owner || row.counter != lease.counter {
        return Err(LeaseError::Lost { app, shard, owner, now: row.owner.clone() });
    }
    Ok(row)
}

/// Writes a changed row's counter back to the caller's lease.
fn touch(row: &mut Row) -> u64 {
    row.counter += 1;
    row.counter
}

#[async_trait]
impl LeaseStore for EmbeddedLeases {
    async fn sync(
        &self,
        app: &str,
        _stream: &str,
        shards: &[ShardInfo],
        initial: &Position,
    ) -> Result<Vec<Lease>, LeaseError> {
        let (name, shards, initial) = (app.to_owned(), shards.to_vec(), initial.clone());
        self.change(app, move |table| {
            let changed = table::sync(&name, table, &shards, &initial);
            let save = if changed { Save::Yes } else { Save::No };
            Ok((table::leases(&name, table), save))
        })
        .await
    }

    async fn list(&self, app: &str) -> Result<Vec<Lease>, LeaseError> {
        // Off the event loop as well: the table is locked while a change goes to the disk.
        let name = app.to_owned();
        self.change(app, move |table| Ok((table::leases(&name, table), Save::No))).await
    }

    async fn acquire(&self, app: &str, shard: &str, owner: &str, now_ms: i64) -> Result<Lease, LeaseError> {
        let (name, shard, owner) = (app.to_owned(), shard.to_owned(), owner.to_owned());
        self.change(app, move |table| {
            let Some(row) = table.get_mut(&shard) else { return Err(LeaseError::NotFound { app: name, shard }) };
            if let Some(holder) = row.owner.as_ref().filter(|holder| **holder != owner)
                && now_ms.saturating_sub(row.renewed_ms) < EXPIRY_MS
            {
                return Err(LeaseError::Held { app: name, owner: holder.clone(), shard });
            }
            if row.owner.as_deref().is_some_and(|holder| holder != owner) {
                row.owner_switches += 1;
            }
            row.owner = Some(owner);
            row.renewed_ms = now_ms;
            touch(row);
            Ok((row.lease(&name, &shard), Save::Yes))
        })
        .await
    }

    async fn renew(&self, lease: &mut Lease, now_ms: i64) -> Result<(), LeaseError> {
        let mine = lease.clone();
        lease.counter = self
            .change(&mine.app.clone(), move |table| {
                let row = held(table, &mine)?;
                row.renewed_ms = now_ms;
                Ok((touch(row), Save::No))
            })
            .await?;
        Ok(())
    }

    async fn checkpoint(
        &self,
        lease: &mut Lease,
        position: &Position,
        pending: Option<&Pending>,
    ) -> Result<(), LeaseError> {
        let (mine, offered, noted) = (lease.clone(), position.clone(), pending.cloned());
        let (counter, switches) = self
            .change(&mine.app.clone(), move |table| {
                let row = held(table, &mine)?;
                if offered < row.checkpoint {
                    let (app, shard, stored) = (mine.app, mine.shard, row.checkpoint.clone());
                    return Err(LeaseError::Backwards { app, shard, stored, offered });
                }
                if offered == row.checkpoint && noted == row.pending {
                    return Ok(((row.counter, row.owner_switches), Save::No));
                }
                row.checkpoint = offered;
                row.pending = noted;
                row.owner_switches = 0;
                Ok(((touch(row), 0), Save::Yes))
            })
            .await?;
        lease.counter = counter;
        lease.owner_switches = switches;
        lease.checkpoint = position.clone();
        lease.pending = pending.cloned();
        Ok(())
    }

    async fn end_shard(&self, lease: &mut Lease, children: &[ShardInfo]) -> Result<(), LeaseError> {
        let (mine, children) = (lease.clone(), children.to_vec());
        let counter = self
            .change(&mine.app.clone(), move |table| {
                held(table, &mine)?;
                for child in &children {
                    table.entry(child.id.clone()).or_insert_with(|| Row::new(child, Position::TrimHorizon));
                }
                let row = held(table, &mine)?;
                if row.checkpoint == Position::ShardEnd {
                    return Ok((row.counter, Save::No));
                }
                row.checkpoint = Position::ShardEnd;
                row.pending = None;
                row.children = children.into_iter().map(|child| child.id).collect();
                Ok((touch(row), Save::Yes))
            })
            .await?;
        lease.counter = counter;
        lease.checkpoint = Position::ShardEnd;
        lease.pending = None;
        Ok(())
    }

    async fn release(&self, lease: Lease) -> Result<(), LeaseError> {
        self.change(&lease.app.clone(), move |table| {
            let row = held(table, &lease)?;
            row.owner = None;
            touch(row);
            Ok(((), Save::Yes))
        })
        .await
    }
}
