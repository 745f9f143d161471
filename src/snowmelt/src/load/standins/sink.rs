//! A stream as a collector's sink.

use std::sync::Arc;

use async_trait::async_trait;
use snowmelt_collector::{Outgoing, Sink, SinkError};
use snowmelt_streams::{PutEntry, PutOutcome, Streams};

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
    async fn put(&self, batch: Vec<Outgoing>) -> Result<(), SinkError> {
        let entries = batch.into_iter().map(|record| PutEntry::new(record.partition_key, record.data)).collect();
        let unavailable = |reason: String| SinkError::Unavailable { reason };
        let outcomes =
            self.streams.put(self.stream, entries, None).await.map_err(|error| unavailable(error.to_string()))?;
        let refused = outcomes.into_iter().find_map(|outcome| match outcome {
            PutOutcome::Rejected { reason, .. } => Some(reason),
            PutOutcome::Stored { .. } | PutOutcome::Duplicate => None,
        });
        refused.map_or(Ok(()), |reason| Err(unavailable(reason)))
    }

    fn healthy(&self) -> bool {
        true
    }
}
