//! A stream as a collector's sink.

use std::sync::Arc;

use async_trait::async_trait;
use snowmelt_collector::{Outgoing, Sink, SinkError, settle};
use snowmelt_streams::{Producer, PutEntry, Streams};

/// Puts what the collector gives into a stream, a stand-in or a real one.
pub struct StreamSink {
    streams: Arc<dyn Streams>,
    stream: &'static str,
}

impl StreamSink {
    /// A sink into `stream`.
    pub fn new(streams: Arc<dyn Streams>, stream: &'static str) -> Self {
        Self { streams, stream }
    }
}

#[async_trait]
impl Sink for StreamSink {
    async fn put(&self, batch: Vec<Outgoing>, producer: Option<&Producer>) -> Result<(), SinkError> {
        let entries = batch.into_iter().map(PutEntry::from).collect();
        let outcomes = self.streams.put(self.stream, entries, producer).await;
        settle(outcomes.map_err(|error| SinkError::Unavailable { reason: error.to_string() })?)
    }

    fn healthy(&self) -> bool {
        true
    }
}
