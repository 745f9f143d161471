//! What a world's streams, leases and objects are kept in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use snowmelt_leases::{EmbeddedLeases, LeaseStore};
use snowmelt_objects::{DirectoryStore, ObjectStore};
use snowmelt_streams::{Durability, EmbeddedStreams, Options, Streams};

/// The stores of one world.
#[derive(Clone)]
pub struct Backing {
    /// Streams.
    pub streams: Arc<dyn Streams>,
    /// Leases.
    pub leases: Arc<dyn LeaseStore>,
    /// Objects.
    pub objects: Arc<dyn ObjectStore>,
    /// What the names of its streams end in, where several worlds share a service.
    pub suffix: String,
    /// Whether a put that is repeated after a failure is stored again: Kinesis knows no producers.
    pub repeats: bool,
    /// How often a node looks for shards.
    pub discover_every: Duration,
}

impl Backing {
    /// The embedded ones, under a directory.
    ///
    /// # Errors
    /// When they can't be opened.
    pub fn embedded(directory: &Path) -> Result<Self> {
        let options = Options { durability: Durability::OsCache, ..Options::default() };
        Ok(Self {
            streams: Arc::new(EmbeddedStreams::open(directory.join("streams"), options)?),
            leases: Arc::new(EmbeddedLeases::open(directory.join("leases"))?),
            objects: Arc::new(DirectoryStore::open(directory.join("objects"))?),
            suffix: String::new(),
            repeats: false,
            discover_every: Duration::from_secs(10),
        })
    }

    /// A stream's name in this world.
    pub fn stream(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }
}
