//! Holding a subscription (spec 11.2, 11.3).

use std::borrow::Cow;
use std::time::Duration;

use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::types::{SubscribeToShardEvent, SubscribeToShardEventStream};
use snowmelt_streams::{ShardId, StreamError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Delivery;
use crate::failure::{Failure, Kind};
use crate::intake::Understood;
use crate::metrics::{NULL_ITERATORS, RESUBSCRIBED, call};
use crate::poll::{CLOCK_SKEW_MS, is_end, now_ms};
use crate::position::Position;
use crate::streams::KinesisStreams;

/// The service refuses a subscription so soon after an accepted one; later it takes the shard from the one that is there.
/// Nothing that tests could learn is lost by waiting less.
const TAKE_OVER: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });
/// One call a second for a consumer and shard.
const LEAST_BETWEEN: Duration = Duration::from_secs(1);
/// Between tries while another holds the shard; never more, or a fleet would leave shards alone for long.
const IN_USE: std::ops::RangeInclusive<u64> = 1000..=5000;
const MOST_BACKOFF: Duration = Duration::from_secs(20);
/// Between tries of what only an operator can put right.
const DENIED: Duration = Duration::from_secs(10);

/// Subscribes, again and again, and hands over what comes.
pub(super) struct Pump {
    streams: KinesisStreams,
    stream: String,
    shard: ShardId,
    consumer: String,
    /// Behind what was handed over.
    position: Position,
    first_asked_ms: Option<i64>,
    arrived_ms: i64,
    to: mpsc::Sender<Result<Delivery, StreamError>>,
    accepted: Option<Instant>,
    /// Subscriptions in a row that were refused, or died without an event.
    fruitless: u32,
}

/// Why following a subscription ended.
enum Over {
    /// The cursor is gone, or has been told that the shard has ended.
    Done,
    /// Its five minutes.
    Life,
    Blocked,
    Failed(Failure),
}

impl Pump {
    pub fn new(
        streams: &KinesisStreams,
        stream: &str,
        shard: &ShardId,
        consumer: String,
        position: Position,
        to: mpsc::Sender<Result<Delivery, StreamError>>,
    ) -> Self {
        Self {
            streams: streams.clone(),
            stream: stream.to_owned(),
            shard: shard.clone(),
            consumer,
            position,
            first_asked_ms: None,
            arrived_ms: 0,
            to,
            accepted: None,
            fruitless: 0,
        }
    }

    /// Until the shard ends, or the cursor is dropped.
    pub async fn run(mut self) {
        loop {
            // Nothing is subscribed to that nobody waits for.
            if self.to.reserve().await.is_err() {
                return;
            }
            let over = match self.subscribe().await {
                Ok(subscription) => self.follow(subscription).await,
                Err(failure) => Over::Failed(failure),
            };
            let (reason, wait) = match over {
                Over::Done => return,
                Over::Life => (Cow::Borrowed("life"), Duration::ZERO),
                Over::Blocked => (Cow::Borrowed("blocked"), Duration::ZERO),
                Over::Failed(failure) => {
                    let code = failure.code.clone();
                    match self.bear(failure).await {
                        Some(wait) => (code, wait),
                        None => return,
                    }
                }
            };
            let labels = [("stream", self.stream.clone()), ("reason", reason.into_owned())];
            ::metrics::counter!(RESUBSCRIBED, &labels).increment(1);
            sleep(wait).await;
            if let Some(accepted) = self.accepted {
                sleep_until(accepted + TAKE_OVER).await;
            }
        }
    }

    async fn subscribe(&mut self) -> Result<SubscribeToShardOutput, Failure> {
        let asked_ms = now_ms();
        match self.first_asked_ms {
            None => self.first_asked_ms = Some(asked_ms),
            // LATEST anew would pass over what has come since.
            Some(first) if self.position.is_latest() => self.position = Position::at_millis(first - CLOCK_SKEW_MS),
            Some(_) => {}
        }
        let position = self.position.starting().map_err(|error| Failure::bad_answer(error.to_string()))?;
        let request = self.streams.client().subscribe_to_shard();
        let request = request.consumer_arn(&self.consumer).shard_id(self.shard.as_str()).starting_position(position);
        // It is over only with the first event, which none of the SDK's time-outs covers.
        let silence = self.streams.options().silence;
        let subscribing = timeout(silence, async { call!("SubscribeToShard", request) });
        let subscription = subscribing.await.map_err(|_| Failure::timeout("the subscription gave no event"))??;
        self.accepted = Some(Instant::now());
        Ok(subscription)
    }

    /// Hands over events as there is room for them.
    async fn follow(&mut self, mut subscription: SubscribeToShardOutput) -> Over {
        let to = self.to.clone();
        let (silence, unread) = (self.streams.options().silence, self.streams.options().unread);
        let mut heard = false;
        loop {
            let permit = match timeout(unread, to.reserve()).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) => return Over::Done,
                Err(_) => return Over::Blocked,
            };
            // Only the time spent waiting for the network counts.
            let event = match timeout(silence, subscription.event_stream.recv()).await {
                Err(_) => return Over::Failed(Failure::timeout("the subscription is silent")),
                Ok(Err(error)) => return Over::Failed(Failure::of_event(&error)),
                Ok(Ok(None)) if !heard => {
                    return Over::Failed(Failure::bad_answer("the subscription ended without an event"));
                }
                Ok(Ok(None)) => return Over::Life,
                Ok(Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)))) => event,
                Ok(Ok(Some(_))) => continue,
            };
            match self.understand(event).await {
                Ok(delivery) => {
                    (heard, self.fruitless) = (true, 0);
                    let end = delivery.end;
                    permit.send(Ok(delivery));
                    if end {
                        return Over::Done;
                    }
                }
                Err(failure) => return Over::Failed(failure),
            }
        }
    }

    async fn understand(&mut self, event: SubscribeToShardEvent) -> Result<Delivery, Failure> {
        let understood = Understood::of(event.records, self.arrived_ms)?;
        let children = event.child_shards.unwrap_or_default();
        // The SDK gives an empty text where the service gives no number.
        let mut end = is_end(&children);
        if event.continuation_sequence_number.is_empty() && !end {
            let shard = self.streams.shard(&self.stream, &self.shard).await?;
            end = shard.is_none_or(|shard| shard.closed);
            if !end {
                tracing::warn!(stream = self.stream, shard = %self.shard, "the service ended a shard that is open; reading on");
                let labels = [("stream", self.stream.clone()), ("shard", self.shard.to_string())];
                ::metrics::counter!(NULL_ITERATORS, &labels).increment(1);
            }
        }
        self.arrived_ms = understood.arrived_ms;
        if !event.continuation_sequence_number.is_empty() {
            self.position = Position::after(event.continuation_sequence_number);
        } else if let Some(last) = &understood.last {
            self.position = Position::after(last.clone());
        }
        Ok(Delivery { understood, lag_ms: u64::try_from(event.millis_behind_latest).unwrap_or(0), end })
    }

    /// How long to wait before subscribing anew; none when there is no more use. What is not in the run of things is told.
    async fn bear(&mut self, failure: Failure) -> Option<Duration> {
        let fruitless = self.fruitless;
        self.fruitless = fruitless.saturating_add(1);
        let growing = LEAST_BETWEEN.saturating_mul(1 << fruitless.min(8)).min(MOST_BACKOFF);
        let wait = growing.mul_f64(0.5 + fastrand::f64() / 2.0).max(LEAST_BETWEEN);
        let (told, wait) = match failure.kind {
            // Another worker has taken the shard, or has it yet. That may be a lease lost; the lease will tell.
            Kind::InUse | Kind::Throttled => {
                tracing::debug!(stream = self.stream, shard = %self.shard, reason = failure.reason, "not subscribed; trying again");
                self.fruitless = fruitless;
                return Some(Duration::from_millis(fastrand::u64(IN_USE)));
            }
            Kind::NotFound => match self.streams.shard(&self.stream, &self.shard).await {
                Ok(None) => {
                    tracing::warn!(stream = self.stream, shard = %self.shard, "the shard is past the retention; it ends here");
                    let understood = Understood::of(Vec::new(), self.arrived_ms).ok()?;
                    let end = Delivery { understood, lag_ms: 0, end: true };
                    self.to.send(Ok(end)).await.ok()?;
                    return None;
                }
                Ok(Some(_)) => {
                    // So it is the consumer: somebody has deregistered it.
                    let application = self.streams.application()?.to_owned();
                    match self.streams.consumer(&self.stream, &application, Some(&self.consumer)).await {
                        Ok(consumer) => {
                            self.consumer = consumer;
                            return Some(wait);
                        }
                        Err(failure) => (failure.of_stream(&self.stream), wait),
                    }
                }
                Err(failure) => (failure.of_stream(&self.stream), wait),
            },
            Kind::Denied => {
                tracing::error!(stream = self.stream, shard = %self.shard, reason = failure.reason, "reading is denied; an operator has to allow it");
                let denied = StreamError::Unavailable { stream: self.stream.clone(), reason: failure.reason };
                (denied, DENIED.mul_f64(1.0 + fastrand::f64()))
            }
            Kind::Invalid | Kind::Expired | Kind::Passing => (failure.of_stream(&self.stream), wait),
        };
        tracing::debug!(stream = self.stream, shard = %self.shard, error = %told, "the subscription ended; trying again");
        self.to.send(Err(told)).await.ok()?;
        Some(wait)
    }
}
