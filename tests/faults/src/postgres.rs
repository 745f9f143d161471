//! One private PostgreSQL server for all schedules of a test process.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Result;
use snowmelt_warehouse::{ClusterOptions, PrivateCluster, Warehouse, WarehouseOptions};
use tokio::runtime::Runtime;

/// The server; it ends with the last schedule that holds it.
pub struct Server {
    runtime: Option<Runtime>,
    cluster: Option<PrivateCluster>,
    url: String,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("snowmelt-faults-pg-").tempdir()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let options = ClusterOptions { durable: false, ..ClusterOptions::default() };
        let cluster = runtime.block_on(PrivateCluster::start(directory.path(), &options))?;
        let url = cluster.url();
        Ok(Self { runtime: Some(runtime), cluster: Some(cluster), url, _directory: directory })
    }

    /// The server of this process.
    ///
    /// # Errors
    /// When it does not start.
    pub fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut slot = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = slot.upgrade() {
            return Ok(shared);
        }
        // Callers may be inside a runtime, where another one must not be waited for.
        let started = std::thread::spawn(Self::start).join();
        let shared = Arc::new(started.unwrap_or_else(|_| Err(anyhow::anyhow!("the server's start panicked")))?);
        *slot = Arc::downgrade(&shared);
        Ok(shared)
    }

    /// A warehouse of its own schema; its connections bear the schema's name.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn warehouse(&self, schema: &str) -> Result<Warehouse> {
        self.connect(schema, schema).await
    }

    /// Other connections to the same schema.
    ///
    /// # Errors
    /// When they can't be made.
    pub async fn watcher(&self, schema: &str) -> Result<Warehouse> {
        self.connect(schema, "watcher").await
    }

    async fn connect(&self, schema: &str, name: &str) -> Result<Warehouse> {
        let url = format!("{}&application_name={name}", self.url);
        let options = WarehouseOptions { connections: 4, ..WarehouseOptions::new(url, schema) };
        Ok(Warehouse::connect(&options).await?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.cluster.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
