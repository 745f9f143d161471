//! An object store that keeps nothing.

use async_trait::async_trait;
use bytes::Bytes;
use snowmelt_objects::{Headers, ObjectInfo, ObjectStore, StoreError, check_key};

use super::Faults;

/// Takes objects and forgets them; a limit counts calls.
pub struct StandInObjects(Faults);

impl StandInObjects {
    /// A store that behaves as `faults` says.
    pub const fn new(faults: Faults) -> Self {
        Self(faults)
    }

    async fn call(&self, action: &'static str, key: &str) -> Result<(), StoreError> {
        let failed = |refusal| StoreError::Io { action, key: key.to_owned(), source: std::io::Error::other(refusal) };
        self.0.call(1).await.map_err(failed)
    }
}

#[async_trait]
impl ObjectStore for StandInObjects {
    async fn put(&self, key: &str, _bytes: Bytes, _headers: Headers) -> Result<(), StoreError> {
        check_key(key)?;
        self.call("put", key).await
    }

    async fn list(&self, prefix: &str, _after: Option<&str>, _limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        self.call("list", prefix).await?;
        Ok(Vec::new())
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.call("get", key).await?;
        Err(StoreError::NotFound { key: key.to_owned() })
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.call("delete", key).await
    }
}
