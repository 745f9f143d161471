//! The thread that everything here runs on.
//!
//! An event loop that is blocked must not cost leases, and a caller who stops waiting must not leave a write half known: requests
//! run to their end on a thread of their own, whoever waits for them. Connections live here too, so none hangs on a loop
//! that does not turn.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The thread; it ends with the last clone.
#[derive(Debug, Clone)]
pub struct Io(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handle: Handle,
    /// Its end ends the thread.
    _alive: oneshot::Sender<()>,
}

/// A request's task died.
#[derive(Debug, thiserror::Error)]
#[error("the lease thread's task failed: {0}")]
pub struct Died(String);

impl Io {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel();
        thread::Builder::new().name("leases".to_owned()).spawn(move || {
            // Nothing is ever sent: what is waited for is the sender's end.
            if runtime.block_on(ended).is_err() {
                tracing::debug!("the lease thread ends");
            }
        })?;
        Ok(Self(Arc::new(Inner { handle, _alive: alive })))
    }

    /// Starts a task that nobody waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.handle.spawn(task));
    }

    /// Runs to its end, also when the caller waits no longer.
    pub async fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Result<T, Died> {
        self.0.handle.spawn(task).await.map_err(|error| Died(error.to_string()))
    }
}
