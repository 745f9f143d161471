//! How the service is reached and used.

use std::time::Duration;

/// How the service is reached, read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisOptions {
    /// The streams' region; as the SDK finds it when absent.
    pub region: Option<String>,
    /// Another service than AWS's own, as `http://127.0.0.1:4568`.
    pub endpoint: Option<String>,
    /// How shards are read.
    pub reading: Reading,
    /// What a put promises about order.
    pub order: Order,
    /// Time between the starts of two calls for a shard at its tip; at least [`KinesisOptions::MIN_IDLE`].
    pub idle: Duration,
    /// The same for a shard that is behind. The service allows 5 calls a second and shard, shared by all applications.
    pub interval: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long one attempt of a call may take.
    pub attempt_timeout: Duration,
    /// How long a stream may take to become active after it was made, split or merged.
    pub active_timeout: Duration,
    /// How long a shard may be throttled before readers are told.
    pub throttled_for: Duration,
    /// Requests of one put that are under way together, if their keys are distinct.
    pub requests: usize,
    /// How long a put tries again what is refused while others of it are stored, before it gives retriable rejections.
    pub retry_parts_for: Duration,
    /// How long a fan-out subscription may be silent while it is waited for (the service sends an event about every 5 s).
    pub silence: Duration,
    /// How long an event of a subscription may go unread before the subscription is given back until there is room: its connection
    /// would end in time-outs.
    pub unread: Duration,
}

impl KinesisOptions {
    /// The least [`KinesisOptions::idle`].
    pub const MIN_IDLE: Duration = Duration::from_millis(200);
}

impl Default for KinesisOptions {
    /// As Snowplow's applications do it, where they say.
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            reading: Reading::Poll,
            order: Order::PerKey,
            idle: Duration::from_millis(1500),
            interval: Duration::from_millis(200),
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(15),
            active_timeout: Duration::from_secs(300),
            throttled_for: Duration::from_secs(180),
            requests: 4,
            retry_parts_for: Duration::from_secs(5),
            silence: Duration::from_secs(35),
            unread: Duration::from_secs(30),
        }
    }
}

/// How shards are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// GetRecords: 2 MiB/s of a shard, shared by all applications.
    Poll,
    /// SubscribeToShard as a registered consumer: 2 MiB/s of a shard for each application, and less delay; it is paid for. The
    /// consumer is named by [`KinesisStreams::reading_as`](crate::KinesisStreams::reading_as), and is never deregistered.
    FanOut {
        /// Poll when no consumer may be registered (access denied, too many of them) instead of failing.
        fall_back: bool,
    },
}

/// What a put promises about order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Records of one partition key, or of one explicit hash key, are stored in order: a request holds each key once, since the
    /// service may refuse one record of a request and take a later one. Many records of one key take many requests.
    PerKey,
    /// Whole requests: faster where one key is frequent; after a partial failure a later record of a key may precede an earlier one.
    None,
}
