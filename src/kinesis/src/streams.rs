//! The streams of one account and region.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_kinesis::Client;
use snowmelt_streams::{
    Producer, PutEntry, PutOutcome, ShardCursor, ShardId, StartAt, StreamDescription, StreamError, Streams,
};
use tokio::time::Instant;

use crate::poll::PollingCursor;
use crate::{KinesisOptions, Reading, client};

/// The Kinesis streams of one account and region. Clones share connections.
#[derive(Debug, Clone)]
pub struct KinesisStreams {
    client: Client,
    options: Arc<KinesisOptions>,
    application: Option<Arc<str>>,
    shared: Arc<Shared>,
}

/// What is remembered of streams.
#[derive(Debug, Default)]
struct Shared {
    record_limits: Mutex<HashMap<String, RecordLimit>>,
}

/// A stream's largest record and when it was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordLimit {
    pub bytes: usize,
    pub asked: Instant,
}

impl KinesisStreams {
    /// Streams as the environment and `options` say. Nothing is sent yet: what is wrong shows at the first call.
    pub async fn open(options: KinesisOptions) -> Self {
        let shared = client::environment(&options).await;
        Self::with_config(&shared, options)
    }

    /// The same with a configuration of the SDK that is there already, for its credentials and its region.
    pub fn with_config(config: &SdkConfig, options: KinesisOptions) -> Self {
        let client = client::client(config, &options);
        Self { client, options: Arc::new(options), application: None, shared: Arc::default() }
    }

    /// The same streams as `application` reads them: with [`Reading::FanOut`] that is the name of the consumer.
    #[must_use]
    pub fn reading_as(&self, application: &str) -> Self {
        Self { application: Some(Arc::from(application)), ..self.clone() }
    }

    /// How the service is reached and used.
    pub fn options(&self) -> &KinesisOptions {
        &self.options
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn application(&self) -> Option<&str> {
        self.application.as_deref()
    }

    pub(crate) fn record_limit(&self, stream: &str) -> Option<RecordLimit> {
        self.shared.record_limits.lock().unwrap_or_else(PoisonError::into_inner).get(stream).copied()
    }

    pub(crate) fn remember_record_limit(&self, stream: &str, limit: RecordLimit) {
        self.shared.record_limits.lock().unwrap_or_else(PoisonError::into_inner).insert(stream.to_owned(), limit);
    }
}

#[async_trait]
impl Streams for KinesisStreams {
    async fn create(&self, stream: &str, shards: u32, retention: Duration) -> Result<(), StreamError> {
        self.create_stream(stream, shards, retention).await
    }

    async fn describe(&self, stream: &str) -> Result<StreamDescription, StreamError> {
        self.describe_stream(stream).await
    }

    async fn list(&self) -> Result<Vec<String>, StreamError> {
        self.list_streams().await
    }

    async fn put(
        &self,
        stream: &str,
        entries: Vec<PutEntry>,
        _producer: Option<&Producer>,
    ) -> Result<Vec<PutOutcome>, StreamError> {
        self.put_entries(stream, entries).await
    }

    async fn open(&self, stream: &str, shard: &ShardId, from: &StartAt) -> Result<Box<dyn ShardCursor>, StreamError> {
        match self.options.reading {
            Reading::Poll | Reading::FanOut { .. } => {
                Ok(Box::new(PollingCursor::open(self, stream, shard, from).await?))
            }
        }
    }

    async fn split(&self, stream: &str, shard: &ShardId, at: u128) -> Result<(), StreamError> {
        self.split_shard(stream, shard, at).await
    }

    async fn merge(&self, stream: &str, a: &ShardId, b: &ShardId) -> Result<(), StreamError> {
        self.merge_shards(stream, a, b).await
    }
}
