//! Reading a shard by enhanced fan-out (spec 11).
//!
//! A task of its own holds the subscription ([`subscription::Pump`]) and hands over one event at a time, when there is room; the cursor
//! gives them out. Dropping the cursor ends the task, and with it the subscription.

mod consumer;
mod subscription;

use std::time::Duration;

use async_trait::async_trait;
use snowmelt_streams::{Page, ReadLimit, ShardCursor, ShardId, StartAt, StreamError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::failure::{Failure, Kind};
use crate::intake::{Intake, Understood};
use crate::metrics::ShardMetrics;
use crate::poll::PollingCursor;
use crate::position::Position;
use crate::streams::KinesisStreams;
use subscription::Pump;

/// The service sends an event about every 5 s: what it said before says nothing about now.
const FRESH: Duration = Duration::from_secs(12);
/// The least that a read waits when it is not known that nothing is there: no reader is to spin.
const LEAST_WAIT: Duration = Duration::from_millis(200);

/// What one event gave.
struct Delivery {
    understood: Understood,
    lag_ms: u64,
    end: bool,
}

/// A place in a shard that records are sent to.
pub(crate) struct FanOutCursor {
    stream: String,
    events: mpsc::Receiver<Result<Delivery, StreamError>>,
    pump: JoinHandle<()>,
    intake: Intake,
    metrics: ShardMetrics,
    lag_ms: u64,
    heard: Instant,
    tip: bool,
    ended: bool,
}

/// Opens a cursor that is sent the records; one that polls where no consumer may be registered and `fall_back` is said.
pub(crate) async fn open(
    streams: &KinesisStreams,
    stream: &str,
    shard: &ShardId,
    from: &StartAt,
    fall_back: bool,
) -> Result<Box<dyn ShardCursor>, StreamError> {
    let Some(application) = streams.application() else {
        let reason = "enhanced fan-out needs the name of the application that reads".to_owned();
        return Err(StreamError::Invalid { stream: stream.to_owned(), reason });
    };
    let consumer = match streams.consumer(stream, application, None).await {
        Ok(consumer) => consumer,
        Err(failure) if fall_back && is_refusal(&failure) => {
            tracing::warn!(stream, %shard, application, reason = failure.reason, "no fan-out consumer can be registered; polling");
            return Ok(Box::new(PollingCursor::open(streams, stream, shard, from).await?));
        }
        Err(failure) => return Err(failure.of_stream(stream)),
    };
    match streams.shard(stream, shard).await {
        Ok(Some(_)) => {}
        Ok(None) => return Err(StreamError::ShardNotFound { stream: stream.to_owned(), shard: shard.clone() }),
        Err(failure) => return Err(failure.of_stream(stream)),
    }
    let (position, after) = Position::of(from);
    // One event waits while the next is received: the service sends them as they are asked for.
    let (to, events) = mpsc::channel(1);
    let pump = Pump::new(streams, stream, shard, consumer, position, to);
    Ok(Box::new(FanOutCursor {
        stream: stream.to_owned(),
        events,
        pump: tokio::spawn(pump.run()),
        intake: Intake::new(after),
        metrics: ShardMetrics::new(stream, shard),
        lag_ms: 0,
        heard: Instant::now(),
        tip: false,
        ended: false,
    }))
}

/// Forbidden, or too many consumers.
fn is_refusal(failure: &Failure) -> bool {
    matches!(failure.kind, Kind::Denied | Kind::Throttled | Kind::Invalid)
}

impl FanOutCursor {
    fn is_at_tip(&self) -> bool {
        self.tip && self.heard.elapsed() < FRESH
    }

    fn page(&self, records: Vec<snowmelt_streams::Record>) -> Page {
        let drained = self.intake.is_empty();
        let end_of_shard = self.ended && drained;
        let aged = u64::try_from(self.heard.elapsed().as_millis()).unwrap_or(u64::MAX);
        let millis_behind_latest = if end_of_shard || (self.is_at_tip() && drained) {
            0
        } else if records.is_empty() {
            self.lag_ms.max(aged).max(1)
        } else {
            self.lag_ms.max(1)
        };
        Page { records, end_of_shard, millis_behind_latest }
    }
}

impl Drop for FanOutCursor {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

#[async_trait]
impl ShardCursor for FanOutCursor {
    async fn next(&mut self, limit: ReadLimit, wait: Duration) -> Result<Page, StreamError> {
        let wait = if self.is_at_tip() { wait } else { wait.max(LEAST_WAIT) };
        let deadline = Instant::now() + wait;
        loop {
            let records = self.intake.page(limit);
            if !records.is_empty() || self.ended {
                return Ok(self.page(records));
            }
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(Ok(delivery))) => {
                    self.intake.take(delivery.understood, &self.metrics);
                    self.lag_ms = delivery.lag_ms;
                    self.metrics.lag(delivery.lag_ms);
                    self.heard = Instant::now();
                    self.tip = delivery.lag_ms == 0;
                    self.ended = delivery.end;
                }
                Ok(Some(Err(error))) => {
                    self.tip = false;
                    return Err(error);
                }
                Ok(None) => {
                    let reason = "the task that held the subscription is gone".to_owned();
                    return Err(StreamError::Unavailable { stream: self.stream.clone(), reason });
                }
                Err(_) => {
                    let page = self.page(Vec::new());
                    self.metrics.lag(page.millis_behind_latest);
                    return Ok(page);
                }
            }
        }
    }
}
