//! Where a collector's records go: to a stream, by way of a spool or not.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use snowmelt_collector::config::SinkConfig;
use snowmelt_collector::{
    BadRowRules, Clock, CollectorConfig, Durability, Outgoing, Overflow, Pack, Salvage, Sink, SinkError, Spool,
    SpoolOptions, SqsQueue, settle,
};
use snowmelt_runtime::failure::explain;
use snowmelt_streams::{Producer, PutEntry, Streams};

use crate::run::operator::report::{CollectorReport, SpoolReport};
use crate::trouble::{Outcome, Trouble};

/// How long a stream may take for one put before it counts as failed.
const PUT_PATIENCE: Duration = Duration::from_secs(10);

/// The way of one collector's good or bad records.
#[derive(Clone)]
pub struct Way {
    collector: String,
    /// What the collector gives its records to.
    pub entrance: Arc<dyn Sink>,
    /// The log in between. Without `durability = "spool"` it is there only when one was left, to be drained.
    spool: Option<Arc<Spool>>,
    stream: Arc<StreamSink>,
    /// Requests are answered when the spool has their records.
    through_spool: bool,
}

/// What ways are made from.
pub struct Sides<'a> {
    /// The collector's name.
    pub collector: &'a str,
    /// Its configuration.
    pub config: &'a CollectorConfig,
    /// The streams.
    pub streams: &'a Arc<dyn Streams>,
    /// Where spools are when the configuration does not say.
    pub spools: PathBuf,
    /// Time.
    pub clock: Clock,
}

impl Sides<'_> {
    /// Opens the ways to the good and the bad stream.
    pub async fn open(&self, good: &str, bad: &str) -> Outcome<[Way; 2]> {
        let streams = &self.config.streams;
        let bad = self.way("bad", bad, &streams.bad, None).await?;
        let good = self.way("good", good, &streams.good, Some(Arc::clone(&bad.entrance))).await?;
        Ok([good, bad])
    }

    /// One way; what the stream refuses for good goes to `bad`.
    async fn way(
        &self,
        name: &'static str,
        stream: &str,
        sink: &SinkConfig,
        bad: Option<Arc<dyn Sink>>,
    ) -> Outcome<Way> {
        let collector = self.collector.to_owned();
        let stream = Arc::new(StreamSink::new(Arc::clone(self.streams), stream.to_owned()));
        let behind = self.before_stream(name, sink, Arc::clone(&stream) as Arc<dyn Sink>).await;
        let home = self.config.spool.directory.as_ref().unwrap_or(&self.spools);
        let directory = home.join(format!("{collector}-{name}"));
        let through_spool = self.config.durability == Durability::Spool;
        let spool = if through_spool || has_log(&directory)? {
            let options = SpoolOptions::new(name, self.config, sink, Arc::clone(&self.clock));
            let options = SpoolOptions { bad: bad.clone(), ..options };
            let opened = Spool::open(directory.clone(), options, Arc::clone(&behind)).await;
            let spool = opened.map_err(|error| Trouble::caused(&format!("collector {collector}"), error))?;
            Some(Arc::new(spool))
        } else {
            None
        };
        let entrance: Arc<dyn Sink> = match &spool {
            Some(spool) if through_spool => Arc::clone(spool) as Arc<dyn Sink>,
            _ => {
                let rules = BadRowRules::new(self.config.streams.bad.max_bytes, Arc::clone(&self.clock));
                Arc::new(Salvage::new(name, behind, bad, directory.join("refused.jsonl"), rules))
            }
        };
        Ok(Way { collector, entrance, spool, stream, through_spool })
    }

    /// What the configuration puts before a stream: containers of many records, and a queue for what the stream does not take.
    async fn before_stream(&self, name: &'static str, sink: &SinkConfig, stream: Arc<dyn Sink>) -> Arc<dyn Sink> {
        let good = name == "good";
        let stream = if good && self.config.compression.enabled {
            Arc::new(Pack::new(self.config, stream)) as Arc<dyn Sink>
        } else {
            stream
        };
        let queue = if good { self.config.good_queue() } else { self.config.bad_queue() };
        match queue {
            Some(queue) => {
                let queue = Arc::new(SqsQueue::new(queue, sink).await);
                Arc::new(Overflow::new(name, self.config, sink, stream, queue))
            }
            None => stream,
        }
    }
}

/// Whether records of a time with `durability = "spool"` may be there.
fn has_log(directory: &Path) -> Outcome<bool> {
    let log = directory.join("streams");
    log.try_exists().map_err(|error| Trouble::machine(&log.display().to_string(), error))
}

impl Way {
    /// Whether records are taken, what the spool holds, and what is wrong.
    pub fn report(&self) -> CollectorReport {
        let stream_trouble = self.stream.trouble();
        let reason = match &self.spool {
            Some(spool) if self.through_spool => spool.trouble(),
            _ => stream_trouble.clone(),
        };
        let spool = self.spool.as_ref().map(|spool| {
            let status = spool.status();
            SpoolReport {
                answers: self.through_spool,
                bytes: status.bytes,
                max_bytes: status.max_bytes,
                oldest_age_ms: status.oldest_age_ms,
                drained_records: status.drained_records,
                stream_trouble,
            }
        });
        CollectorReport {
            collector: self.collector.clone(),
            stream: self.stream.stream.clone(),
            ready: self.entrance.healthy(),
            reason,
            spool,
        }
    }

    /// Drains for up to `deadline` what a spool still holds; what stays, stays for the next start.
    pub async fn close(&self, deadline: Duration) {
        if let Some(spool) = &self.spool {
            spool.close(deadline).await;
        }
    }
}

/// A stream as a collector's sink.
struct StreamSink {
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

    async fn store(&self, batch: Vec<Outgoing>, producer: Option<&Producer>) -> Result<(), SinkError> {
        let entries = batch.into_iter().map(PutEntry::from).collect();
        let outcomes = tokio::time::timeout(PUT_PATIENCE, self.streams.put(&self.stream, entries, producer))
            .await
            .map_err(|_| SinkError::TimedOut { millis: PUT_PATIENCE.as_millis() as u64 })?
            .map_err(|error| SinkError::Unavailable { reason: error.to_string() })?;
        settle(outcomes)
    }
}

#[async_trait]
impl Sink for StreamSink {
    async fn put(&self, batch: Vec<Outgoing>, producer: Option<&Producer>) -> Result<(), SinkError> {
        let stored = self.store(batch, producer).await;
        // A record that is refused for good says nothing about the others.
        let trouble = match &stored {
            Ok(()) | Err(SinkError::Refused(_)) => None,
            Err(error) => Some(explain(error)),
        };
        if self.healthy.swap(trouble.is_none(), Ordering::Relaxed) != trouble.is_none() {
            match &trouble {
                None => tracing::info!(stream = self.stream, "the stream takes records again"),
                Some(reason) => tracing::warn!(stream = self.stream, reason, "the stream takes no records"),
            }
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        }
        stored
    }

    fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }
}
