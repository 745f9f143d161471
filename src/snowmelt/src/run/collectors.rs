//! The collectors of a node: HTTP on one side, streams on the other.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use snowmelt_collector::{CollectorError, Outgoing, Sink, SinkError};
use snowmelt_runtime::Clock;
use snowmelt_streams::{PutEntry, PutOutcome, Streams};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::definition::Plan;
use crate::definition::model::{Collect, Work};
use crate::run::backends::Backends;
use crate::run::operator::report::CollectorReport;
use crate::run::settings;
use crate::trouble::{Outcome, Trouble};

/// How long a stream may take for one put before the tracker is told to keep its events.
const PUT_PATIENCE: Duration = Duration::from_secs(10);

/// The running collectors.
pub struct Collectors {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    servers: JoinSet<(String, Result<(), CollectorError>)>,
    sinks: Vec<(String, Arc<StreamSink>)>,
}

/// Whether the collectors' streams take what is sent.
#[derive(Clone, Default)]
pub struct CollectorHealth(Vec<(String, Arc<StreamSink>)>);

impl CollectorHealth {
    /// Whether each stream took the last put, and why not.
    pub fn report(&self) -> Vec<CollectorReport> {
        let report = |(collector, sink): &(String, Arc<StreamSink>)| CollectorReport {
            collector: collector.clone(),
            stream: sink.stream.clone(),
            ready: sink.healthy(),
            reason: sink.trouble(),
        };
        self.0.iter().map(report).collect()
    }
}

/// Listens for every collector of the plan, before anything else is started.
pub fn bind(plan: &Plan) -> Outcome<Vec<TcpListener>> {
    collects(plan)
        .map(|(name, collect)| {
            TcpListener::bind(collect.listen).map_err(|error| {
                let hint = "choose another with --set collector.listen=HOST:PORT";
                Trouble::machine(&format!("collector {name} can't listen on {}; {hint}", collect.listen), error)
            })
        })
        .collect()
}

fn collects(plan: &Plan) -> impl Iterator<Item = (&str, &Collect)> {
    plan.definitions.iter().filter_map(|definition| match &definition.work {
        Work::Collect(collect) => Some((definition.name.as_str(), collect)),
        _ => None,
    })
}

/// Starts every collector on its listener.
pub fn start(plan: &Plan, listeners: Vec<TcpListener>, backends: &Backends, clock: &Clock) -> Outcome<Collectors> {
    let (stop, _) = watch::channel(false);
    let mut collectors = Collectors { addresses: Vec::new(), stop, servers: JoinSet::new(), sinks: Vec::new() };
    for ((name, collect), listener) in collects(plan).zip(listeners) {
        let config = settings::collector(collect)?;
        let address = listener.local_addr().map_err(|error| Trouble::machine("collector", error))?;
        let sink = |stream: &str| Arc::new(StreamSink::new(Arc::clone(&backends.streams), stream.to_owned()));
        let (good, bad) = (sink(&collect.good), sink(&collect.bad));
        collectors.addresses.push(address);
        collectors.sinks.extend([(name.to_owned(), Arc::clone(&good)), (name.to_owned(), Arc::clone(&bad))]);
        let mut stopped = collectors.stop.subscribe();
        let shutdown = async move {
            // A sender that is gone means the same as one that says stop.
            if stopped.wait_for(|stop| *stop).await.is_err() {
                tracing::debug!("the node is gone");
            }
        };
        let clock = clock.clone();
        let now: snowmelt_collector::Clock = Arc::new(move || clock.now_ms());
        let name = name.to_owned();
        collectors.servers.spawn_local(async move {
            let served = snowmelt_collector::serve(config, listener, good, bad, now, shutdown).await;
            (name, served)
        });
    }
    Ok(collectors)
}

impl Collectors {
    /// Where the first one listens.
    pub fn url(&self) -> Option<String> {
        self.addresses.first().map(|address| format!("http://{address}"))
    }

    /// Whether their streams take what is sent.
    pub fn health(&self) -> CollectorHealth {
        CollectorHealth(self.sinks.clone())
    }

    /// Resolves when one ends by itself.
    pub async fn failed(&mut self) -> String {
        match self.servers.join_next().await {
            Some(Ok((name, Ok(())))) => format!("collector {name} ended"),
            Some(Ok((name, Err(error)))) => format!("collector {name}: {error}"),
            Some(Err(error)) => format!("a collector failed: {error}"),
            None => std::future::pending().await,
        }
    }

    /// Stops taking requests, finishes those under way.
    pub async fn stop(&mut self) -> Outcome {
        self.stop.send_replace(true);
        let mut outcome = Ok(());
        while let Some(ended) = self.servers.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((name, Err(error))) => outcome = Err(Trouble::caused(&format!("collector {name}"), error)),
                Err(error) => outcome = Err(Trouble::machine("a collector failed", error)),
            }
        }
        outcome
    }
}

/// A stream as a collector's sink.
pub struct StreamSink {
    streams: Arc<dyn Streams>,
    stream: String,
    healthy: AtomicBool,
    /// Why the last put was not taken.
    trouble: Mutex<Option<String>>,
}

impl StreamSink {
    fn new(streams: Arc<dyn Streams>, stream: String) -> Self {
        Self { streams, stream, healthy: AtomicBool::new(true), trouble: Mutex::new(None) }
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn store(&self, batch: Vec<Outgoing>) -> Result<(), SinkError> {
        let entries = batch.into_iter().map(|record| PutEntry::new(record.partition_key, record.data)).collect();
        let unavailable = |reason: String| SinkError::Unavailable { reason };
        let outcomes = tokio::time::timeout(PUT_PATIENCE, self.streams.put(&self.stream, entries, None))
            .await
            .map_err(|_| SinkError::TimedOut { millis: PUT_PATIENCE.as_millis() as u64 })?
            .map_err(|error| unavailable(error.to_string()))?;
        let refused = outcomes.into_iter().find_map(|outcome| match outcome {
            PutOutcome::Rejected { reason, .. } => Some(reason),
            PutOutcome::Stored { .. } | PutOutcome::Duplicate => None,
        });
        refused.map_or(Ok(()), |reason| Err(unavailable(reason)))
    }
}

#[async_trait]
impl Sink for StreamSink {
    async fn put(&self, batch: Vec<Outgoing>) -> Result<(), SinkError> {
        let stored = self.store(batch).await;
        if self.healthy.swap(stored.is_ok(), Ordering::Relaxed) != stored.is_ok() {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
                stored.as_ref().err().map(ToString::to_string);
            match &stored {
                Ok(()) => tracing::info!(stream = self.stream, "the stream takes records again"),
                Err(error) => {
                    tracing::warn!(stream = self.stream, %error, "the stream takes no records; trackers are told to keep their events")
                }
            }
        }
        stored
    }

    fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }
}
