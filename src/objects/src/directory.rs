//! Objects as files of one directory, on the local disk.

use crate::store::{Headers, ObjectInfo, ObjectStore, StoreError, check_key};
use async_trait::async_trait;
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// Folder for files being written, inside the root. No listing shows it and no key reaches into it.
const STAGING: &str = ".snowmelt-staging";
/// A staged file this old belongs to nobody alive: writing one takes seconds.
const STAGED_AT_MOST: Duration = Duration::from_secs(3600);
/// Longest file name that common file systems take, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Keeps each object as a file `<root>/<key>`.
///
/// `put` is atomic and durable: a temporary file is written and synced, renamed, and every folder up to the root is
/// synced. Headers are not kept: a file has none. Blocking work runs on tokio's blocking threads. Several stores and
/// several processes may share a root.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    root: Arc<Path>,
}

impl DirectoryStore {
    /// Opens a store in `root`, which is created where missing, and removes what crashed processes left half written.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root: PathBuf = std::path::absolute(root.into())?;
        let staging = root.join(STAGING);
        create_durably(&staging)?;
        let now = SystemTime::now();
        for entry in fs::read_dir(&staging)? {
            let path = entry?.path();
            match remove_when_old(&path, now) {
                // Another process was faster: it renamed or removed the file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        Ok(DirectoryStore { root: root.into() })
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        work: impl FnOnce(&Path, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let root = Arc::clone(&self.root);
        let owned = key.to_owned();
        match tokio::task::spawn_blocking(move || work(&root, &owned)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound && action == "get" => {
                Err(StoreError::NotFound { key: key.to_owned() })
            }
            Ok(Err(source)) => Err(StoreError::Io { action, key: key.to_owned(), source }),
            Err(error) => Err(StoreError::Abandoned { action, key: key.to_owned(), reason: error.to_string() }),
        }
    }
}

#[async_trait]
impl ObjectStore for DirectoryStore {
    async fn put(&self, key: &str, bytes: Bytes, _headers: Headers) -> Result<(), StoreError> {
        check_own_key(key)?;
        self.blocking("put", key, move |root, key| put(root, key, &bytes)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        let after = after.map(str::to_owned);
        self.blocking("list", prefix, move |root, prefix| {
            let mut listing = Listing { prefix, after: after.as_deref(), limit, found: Vec::new() };
            listing.folder(root, "")?;
            Ok(listing.found)
        })
        .await
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        check_own_key(key)?;
        self.blocking("get", key, |root, key| fs::read(root.join(key)).map(Bytes::from)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        check_own_key(key)?;
        self.blocking("delete", key, |root, key| {
            let path = root.join(key);
            match fs::remove_file(&path) {
                Ok(()) => sync_folder(path.parent().unwrap_or(root)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await
    }
}

fn check_own_key(key: &str) -> Result<(), StoreError> {
    check_key(key)?;
    let refuse = |reason| Err(StoreError::InvalidKey { key: key.to_owned(), reason });
    if key.split('/').next() == Some(STAGING) {
        return refuse("it lies in the store's own folder");
    }
    if key.split('/').any(|segment| segment.len() > MAX_NAME_BYTES) {
        return refuse("a segment is longer than 255 bytes, the most a file name can have");
    }
    Ok(())
}

fn put(root: &Path, key: &str, bytes: &[u8]) -> io::Result<()> {
    let target = root.join(key);
    let folder = target.parent().unwrap_or(root);
    fs::create_dir_all(folder)?;
    let staged = root.join(STAGING).join(Uuid::new_v4().to_string());
    let result = write_synced(&staged, bytes).and_then(|()| fs::rename(&staged, &target));
    if let Err(error) = result {
        // The reason of the failure matters more than whether its leftovers could be removed; `open` removes them too.
        if let Err(leftover) = fs::remove_file(&staged) {
            tracing::warn!(path = %staged.display(), error = %leftover, "a half written object stays behind");
        }
        return Err(error);
    }
    // All of them, not only those created above: another put may have created them and not have synced them yet.
    for folder in folder.ancestors().take_while(|folder| folder.starts_with(root)) {
        sync_folder(folder)?;
    }
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove_when_old(path: &Path, now: SystemTime) -> io::Result<()> {
    let written = fs::metadata(path)?.modified()?;
    // A time in the future counts as new.
    if now.duration_since(written).is_ok_and(|age| age > STAGED_AT_MOST) { fs::remove_file(path) } else { Ok(()) }
}

/// Creates a folder and those above it, and syncs the parent of each.
fn create_durably(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    create_durably(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(parent),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A listing under way: the tree is walked in key order and only where keys can match.
struct Listing<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
    found: Vec<ObjectInfo>,
}

impl Listing<'_> {
    /// Lists `folder`, whose keys start with `base` (empty, or ending in a slash).
    fn folder(&mut self, folder: &Path, base: &str) -> io::Result<()> {
        // A folder sorts as its name with a slash, as its keys do among the keys of files.
        let mut names: Vec<(String, bool)> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // Names that are not UTF-8 were not written through this store.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if base.is_empty() && name == STAGING {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                names.push((format!("{base}{name}/"), true));
            } else if kind.is_file() {
                names.push((format!("{base}{name}"), false));
            }
        }
        names.sort_unstable();
        for (key, is_folder) in names {
            if self.found.len() >= self.limit {
                return Ok(());
            }
            if is_folder {
                let may_match = key.starts_with(self.prefix) || self.prefix.starts_with(&key);
                let may_follow = self.after.is_none_or(|after| key.as_str() > after || after.starts_with(&key));
                if may_match && may_follow {
                    let path = folder.join(key[base.len()..].trim_end_matches('/'));
                    self.folder(&path, &key)?;
                }
            } else if key.starts_with(self.prefix) && self.after.is_none_or(|after| key.as_str() > after) {
                let bytes = match fs::metadata(folder.join(&key[base.len()..])) {
                    Ok(metadata) => metadata.len(),
                    // Deleted since the folder was read.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                self.found.push(ObjectInfo { key, bytes });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn store_with(keys: &[&str]) -> (tempfile::TempDir, DirectoryStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(folder.path().join("objects")).unwrap();
        for key in keys {
            store.put(key, Bytes::from(key.to_string()), Headers::default()).await.unwrap();
        }
        (folder, store)
    }

    fn keys(listing: &[ObjectInfo]) -> Vec<&str> {
        listing.iter().map(|info| info.key.as_str()).collect()
    }

    #[tokio::test]
    async fn an_object_is_read_back_replaced_and_deleted() {
        let (_folder, store) = store_with(&["a/b/c.gz"]).await;
        assert_eq!(store.get("a/b/c.gz").await.unwrap(), "a/b/c.gz");
        store.put("a/b/c.gz", Bytes::from_static(b"new"), Headers::default()).await.unwrap();
        assert_eq!(store.get("a/b/c.gz").await.unwrap(), "new");
        store.delete("a/b/c.gz").await.unwrap();
        store.delete("a/b/c.gz").await.unwrap();
        assert!(matches!(store.get("a/b/c.gz").await, Err(StoreError::NotFound { .. })));
        assert_eq!(fs::read_dir(store.root().join(STAGING)).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn listing_is_in_key_order_and_pages() {
        let (_folder, store) = store_with(&["a/z", "a-b", "a/b/c", "a0", "b"]).await;
        let all = store.list("", None, 100).await.unwrap();
        assert_eq!(keys(&all), ["a-b", "a/b/c", "a/z", "a0", "b"]);
        assert_eq!(all[1].bytes, 5);
        assert_eq!(keys(&store.list("a/", None, 100).await.unwrap()), ["a/b/c", "a/z"]);
        assert_eq!(keys(&store.list("a/b", None, 100).await.unwrap()), ["a/b/c"]);
        assert_eq!(keys(&store.list("a", Some("a/b/c"), 2).await.unwrap()), ["a/z", "a0"]);
        assert!(store.list("none/", None, 100).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn keys_cannot_leave_the_root_or_reach_staged_files() {
        let (_folder, store) = store_with(&[]).await;
        for key in ["../x", "/etc/x", "a\0", ".snowmelt-staging/1", &"n".repeat(256)] {
            let put = store.put(key, Bytes::new(), Headers::default()).await;
            assert!(matches!(put, Err(StoreError::InvalidKey { .. })), "{key:?}");
            assert!(store.get(key).await.is_err() && store.delete(key).await.is_err(), "{key:?}");
        }
    }

    #[tokio::test]
    async fn what_a_crash_left_half_written_is_removed_when_the_store_opens() {
        let (_folder, store) = store_with(&["kept"]).await;
        for (name, age) in [("crashed", 7200), ("of-another-process", 5)] {
            let mut staged = File::create(store.root().join(STAGING).join(name)).unwrap();
            staged.write_all(b"half").unwrap();
            staged.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        let again = DirectoryStore::open(store.root()).unwrap();
        let left: Vec<_> =
            fs::read_dir(again.root().join(STAGING)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["of-another-process"]);
        assert_eq!(keys(&again.list("", None, 10).await.unwrap()), ["kept"]);
    }

    #[tokio::test]
    async fn a_failed_put_says_which_object_and_may_be_tried_again() {
        let (_folder, store) = store_with(&["a"]).await;
        let error = store.put("a/b", Bytes::new(), Headers::default()).await.unwrap_err();
        assert!(error.is_retriable());
        assert_eq!(error.to_string(), "put of object \"a/b\" failed");
    }
}
