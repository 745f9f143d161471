//! Servers of one kind that run in a node, by name: told to stop together, waited for together.

use std::error::Error;
use std::future::Future;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::trouble::{Outcome, Trouble};

/// The servers of one kind.
pub struct Servers<E> {
    kind: &'static str,
    stop: watch::Sender<bool>,
    running: JoinSet<(String, Result<(), E>)>,
}

impl<E: Error + 'static> Servers<E> {
    /// None yet; `kind` is what one is called in messages.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, stop: watch::Sender::new(false), running: JoinSet::new() }
    }

    /// Resolves when they have to stop.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopped = self.stop.subscribe();
        async move {
            // A sender that is gone means the same as one that says stop.
            if stopped.wait_for(|stop| *stop).await.is_err() {
                tracing::debug!("the node is gone");
            }
        }
    }

    /// Runs one on this event loop.
    pub fn run(&mut self, name: String, serve: impl Future<Output = Result<(), E>> + 'static) {
        self.running.spawn_local(async move { (name, serve.await) });
    }

    /// Resolves when one ends by itself.
    pub async fn failed(&mut self) -> String {
        match self.running.join_next().await {
            Some(Ok((name, Ok(())))) => format!("{} {name} ended", self.kind),
            Some(Ok((name, Err(error)))) => format!("{} {name}: {error}", self.kind),
            Some(Err(error)) => format!("a {} failed: {error}", self.kind),
            None => std::future::pending().await,
        }
    }

    /// Tells all to stop, and waits until each has finished what is under way.
    pub async fn stop(&mut self) -> Outcome {
        self.stop.send_replace(true);
        let mut outcome = Ok(());
        while let Some(ended) = self.running.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((name, Err(error))) => outcome = Err(Trouble::caused(&format!("{} {name}", self.kind), error)),
                Err(error) => outcome = Err(Trouble::machine(&format!("a {} failed", self.kind), error)),
            }
        }
        outcome
    }
}
