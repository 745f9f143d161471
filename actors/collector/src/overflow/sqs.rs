//! Amazon SQS as the overflow's queue (5.4, 5.5).

use std::{
    error::Error,
    fmt::{self, Write},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{BuildError, ProvideErrorMetadata, SdkError},
    types::{MessageAttributeValue, SendMessageBatchRequestEntry},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::sync::OnceCell;

use super::{Queue, QueueError};
use crate::{Outgoing, config::SinkConfig};

/// The attribute with the partition key.
const KEY_ATTRIBUTE: &str = "kinesisKey";
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A queue of SQS, by its name or its URL.
pub struct SqsQueue {
    /// As configured.
    queue: String,
    client: Client,
    /// Its URL, once it is known.
    url: OnceCell<String>,
}

impl SqsQueue {
    /// A client for `queue`: the name of a queue of `sink`'s region, or a queue's URL, whose host is then called. Credentials come
    /// from the SDK's default chain; nothing is sent yet.
    pub async fn new(queue: &str, sink: &SinkConfig) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(CALL_TIMEOUT).build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            // `Overflow` repeats, as `backoffPolicy` says.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(region) = &sink.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = origin(queue) {
            loader = loader.endpoint_url(endpoint);
        }
        Self::with_client(queue, Client::new(&loader.load().await))
    }

    /// The same with a client that is there already.
    pub fn with_client(queue: &str, client: Client) -> Self {
        let url = match origin(queue) {
            Some(_) => OnceCell::new_with(Some(queue.to_owned())),
            None => OnceCell::new(),
        };
        Self { queue: queue.to_owned(), client, url }
    }

    fn error<E, R>(&self, error: &SdkError<E, R>) -> QueueError
    where
        E: Error + ProvideErrorMetadata + 'static,
        R: fmt::Debug,
    {
        let reason = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => with_causes(error),
        };
        QueueError { queue: self.queue.clone(), reason }
    }

    async fn ask_for_url(&self) -> Result<String, QueueError> {
        let name = self.queue.rsplit('/').next().unwrap_or(&self.queue);
        let found = self.client.get_queue_url().queue_name(name).send().await.map_err(|error| self.error(&error))?;
        let missing = || QueueError { queue: self.queue.clone(), reason: "the answer has no URL".to_owned() };
        found.queue_url.ok_or_else(missing)
    }

    async fn url(&self) -> Result<&str, QueueError> {
        self.url.get_or_try_init(|| self.ask_for_url()).await.map(String::as_str)
    }

    fn entry(&self, index: usize, record: &Outgoing) -> Result<SendMessageBatchRequestEntry, QueueError> {
        let incomplete = |error: BuildError| QueueError { queue: self.queue.clone(), reason: with_causes(&error) };
        let key = MessageAttributeValue::builder().data_type("String").string_value(&record.partition_key);
        SendMessageBatchRequestEntry::builder()
            // Unique within the call is enough, and tells the place.
            .id(index.to_string())
            .message_body(STANDARD.encode(&record.data))
            .message_attributes(KEY_ATTRIBUTE, key.build().map_err(incomplete)?)
            .build()
            .map_err(incomplete)
    }
}

/// An error and what caused it, in one line; the SDK's errors do not tell their causes.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("writing to a String cannot fail");
        cause = error.source();
    }
    text
}

/// The scheme and host of a queue's URL; none for a name.
fn origin(queue: &str) -> Option<&str> {
    let host = queue.find("://")? + 3;
    let end = queue[host..].find('/').map_or(queue.len(), |slash| host + slash);
    Some(&queue[..end])
}

#[async_trait]
impl Queue for SqsQueue {
    fn name(&self) -> &str {
        &self.queue
    }

    async fn send(&self, records: &[Outgoing]) -> Result<Vec<usize>, QueueError> {
        let entries: Result<Vec<_>, _> =
            records.iter().enumerate().map(|(index, record)| self.entry(index, record)).collect();
        let call = self.client.send_message_batch().queue_url(self.url().await?).set_entries(Some(entries?));
        let sent = call.send().await.map_err(|error| self.error(&error))?;
        for failed in sent.failed() {
            tracing::debug!(
                queue = self.queue,
                code = failed.code(),
                message = failed.message(),
                "a message was not taken"
            );
        }
        Ok(sent.failed().iter().filter_map(|failed| failed.id().parse().ok()).collect())
    }

    async fn find(&self) -> Result<(), QueueError> {
        self.ask_for_url().await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_tells_whom_to_call_and_a_name_does_not() {
        assert_eq!(origin("https://sqs.eu-west-1.amazonaws.com/1/q"), Some("https://sqs.eu-west-1.amazonaws.com"));
        assert_eq!(origin("http://127.0.0.1:5000"), Some("http://127.0.0.1:5000"));
        assert_eq!(origin("overflow-good"), None);
    }
}
