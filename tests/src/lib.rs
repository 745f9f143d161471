//! What the whole-product tests stand on: starting and stopping the real program in a directory of its own, sending to it, and
//! reading where its events land. The tests themselves are in `tests/product`.

pub mod aws;
mod bucket;
mod clients;
mod disk;
pub mod fleet;
pub mod kinesis;
mod landed;
mod loader;
pub mod namespaces;
mod objects;
mod place;
mod program;
mod sending;
mod streams;
mod tools;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub use aws::Aws;
pub use bucket::Bucket;
pub use clients::{Clients, Counts, Sent};
pub use disk::FailingDisk;
pub use landed::{BadRow, Landed, Ledger, Warehouse};
pub use loader::{Loader, Registry, Server, contexts, enriched, fill};
pub use objects::{files, gzip_lines, lzo_records};
pub use place::{Pipeline, Place, RunInfo, Stopped};
pub use program::{Finished, run_to_end, run_to_end_with, snowmelt};
pub use sending::{client, send, send_all};
pub use streams::{Read, read_stream};
pub use tools::{feed, has_browser, tools_dir};

/// The root of the workspace.
pub fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// A file of the shared test data, or none where the data is not on this machine; then prints that the test is skipped.
pub fn shared(path: &str) -> Option<PathBuf> {
    let dir = std::env::var_os("SNOWMELT_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let file = dir.join(path);
    if file.try_exists().unwrap_or(false) {
        return Some(file);
    }
    println!("skipped: ../shared is missing");
    None
}

/// Tries again, ten times a second, until `attempt` gives a value or the time is over; then fails with its last reason.
pub async fn eventually<T>(within: Duration, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(reason) if began.elapsed() >= within => {
                return Err(reason).with_context(|| format!("not within {within:?}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
