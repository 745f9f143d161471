//! Reading a shard by polling (spec 10).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_sdk_kinesis::types::ChildShard;
use snowmelt_streams::{Page, ReadLimit, Record, ShardCursor, ShardId, StartAt, StreamError};
use tokio::time::{Instant, sleep_until};

use crate::failure::{Failure, Kind};
use crate::intake::Intake;
use crate::metrics::{ShardMetrics, call};
use crate::pace::Pace;
use crate::position::Position;
use crate::streams::KinesisStreams;

/// Most records of one call.
const MAX_RECORDS: usize = 10_000;
/// Empty answers in a row, each as far behind as records are kept, past which the position is taken to be older than that.
const EMPTY_BEFORE_TRIMMED: u32 = 20;
/// The least time that a stream keeps records.
const LEAST_RETENTION_MS: u64 = 24 * 3600 * 1000;
/// What two clocks may differ by.
const CLOCK_SKEW_MS: i64 = 5000;

/// A place in a shard that is asked for records again and again.
///
/// Between two awaits nothing changes but what a repeated call makes good: dropping a read loses nothing.
pub(crate) struct PollingCursor {
    streams: KinesisStreams,
    stream: String,
    shard: ShardId,
    /// What an iterator is made from when there is none.
    position: Position,
    iterator: Option<String>,
    intake: Intake,
    pace: Pace,
    metrics: ShardMetrics,
    /// As the service said last, and when that was.
    lag_ms: u64,
    heard: Instant,
    /// The last call was answered, and that the shard has no more.
    tip: bool,
    ended: bool,
    /// The service gave no further iterator and no children.
    end_in_doubt: bool,
    /// The iterator was renewed and gave no answer yet.
    renewed: bool,
    empty: u32,
    throttled_since: Option<Instant>,
    /// Nothing had come after LATEST at this time.
    quiet_at_ms: i64,
}

impl PollingCursor {
    /// Places a cursor: takes an iterator.
    pub async fn open(
        streams: &KinesisStreams,
        stream: &str,
        shard: &ShardId,
        from: &StartAt,
    ) -> Result<Self, StreamError> {
        let (position, after) = Position::of(from);
        let options = streams.options();
        let mut cursor = Self {
            streams: streams.clone(),
            stream: stream.to_owned(),
            shard: shard.clone(),
            position,
            iterator: None,
            intake: Intake::new(after),
            pace: Pace::new(options.idle.max(crate::KinesisOptions::MIN_IDLE), options.interval),
            metrics: ShardMetrics::new(stream, shard),
            lag_ms: 0,
            heard: Instant::now(),
            tip: false,
            ended: false,
            end_in_doubt: false,
            renewed: false,
            empty: 0,
            throttled_since: None,
            quiet_at_ms: now_ms(),
        };
        match cursor.iterator().await {
            Ok(iterator) => cursor.iterator = Some(iterator),
            // The first read tries again; only LATEST must be placed now.
            Err(failure) if matches!(failure.kind, Kind::Throttled | Kind::Passing) && !cursor.position.is_latest() => {
            }
            Err(failure) if failure.kind == Kind::NotFound => return Err(cursor.not_found(failure).await),
            Err(failure) => return Err(failure.of_stream(stream)),
        }
        Ok(cursor)
    }

    async fn iterator(&self) -> Result<String, Failure> {
        let request = self
            .streams
            .client()
            .get_shard_iterator()
            .stream_name(&self.stream)
            .shard_id(self.shard.as_str())
            .shard_iterator_type(self.position.kind.clone())
            .set_starting_sequence_number(self.position.sequence.clone())
            .set_timestamp(self.position.timestamp);
        let answer = call!("GetShardIterator", request)?;
        answer.shard_iterator.ok_or_else(|| Failure::bad_answer("GetShardIterator gave no iterator"))
    }

    /// One call. What it gave is taken whole, or on failure not at all.
    async fn ask(&mut self, limit: ReadLimit) -> Result<(), Failure> {
        if self.end_in_doubt {
            return self.decide_end().await;
        }
        if self.empty >= EMPTY_BEFORE_TRIMMED {
            self.look_for_trimmed().await?;
        }
        let iterator = match &self.iterator {
            Some(iterator) => iterator.clone(),
            None => {
                let iterator = self.iterator().await?;
                self.iterator.insert(iterator).clone()
            }
        };
        self.pace.begin(Instant::now());
        let asked_ms = now_ms();
        let records = i32::try_from(limit.records.clamp(1, MAX_RECORDS)).unwrap_or(i32::MAX);
        let request = self.streams.client().get_records().shard_iterator(iterator).limit(records);
        let answer = call!("GetRecords", request)?;
        let understood = self.intake.understand(answer.records)?;

        let lag_ms = u64::try_from(answer.millis_behind_latest.unwrap_or(0)).unwrap_or(0);
        self.empty = if understood.last.is_none() && lag_ms >= LEAST_RETENTION_MS { self.empty + 1 } else { 0 };
        if let Some(last) = &understood.last {
            self.position = Position::after(last.clone());
        }
        self.intake.take(understood, &self.metrics);
        self.lag_ms = lag_ms;
        self.heard = Instant::now();
        self.tip = lag_ms == 0;
        self.renewed = false;
        self.throttled_since = None;
        self.quiet_at_ms = asked_ms;
        self.metrics.lag(lag_ms);
        self.pace.answered(self.tip);
        self.iterator = answer.next_shard_iterator;
        if self.iterator.is_none() {
            self.tip = false;
            let children = answer.child_shards.unwrap_or_default();
            self.ended = is_end(&children);
            self.end_in_doubt = !self.ended;
        }
        Ok(())
    }

    /// No further iterator, and no children: only a shard that is closed or gone is at its end.
    async fn decide_end(&mut self) -> Result<(), Failure> {
        let shard = self.streams.shard(&self.stream, &self.shard).await?;
        self.end_in_doubt = false;
        self.ended = shard.is_none_or(|shard| shard.closed);
        if !self.ended {
            tracing::warn!(stream = self.stream, shard = %self.shard, "the service ended a shard that is open; reading on");
            self.metrics.false_ends.increment(1);
            // As after a failure, or it would be asked without a pause.
            self.pace.failed(Instant::now(), fastrand::f64());
        }
        Ok(())
    }

    /// The service has been as far behind as it keeps records, without any: goes on with the oldest.
    async fn look_for_trimmed(&mut self) -> Result<(), Failure> {
        let retention = self.streams.summary(&self.stream).await?.retention;
        self.empty = 0;
        let (lag_ms, trim_horizon) = (u128::from(self.lag_ms), Position::trim_horizon());
        if lag_ms < retention.as_millis() || self.position == trim_horizon {
            return Ok(());
        }
        tracing::warn!(
            stream = self.stream, shard = %self.shard, position = ?self.position, retention_hours = retention.as_secs() / 3600,
            "the position is older than the retention: records between it and the oldest that is kept are lost; reading on there"
        );
        self.metrics.trimmed.increment(1);
        self.position = trim_horizon;
        self.iterator = None;
        Ok(())
    }

    /// Makes good what it can; `Err` is for the reader to see.
    async fn bear(&mut self, failure: Failure) -> Result<(), StreamError> {
        let now = Instant::now();
        self.tip = false;
        self.metrics.lag(self.aged_lag_ms());
        match failure.kind {
            Kind::Expired => {
                self.metrics.expired.increment(1);
                self.renew();
                // One that expires as soon as it was made is a failure like others.
                if !std::mem::replace(&mut self.renewed, true) {
                    return Ok(());
                }
            }
            Kind::Invalid if self.iterator.is_some() && !self.renewed => {
                self.renew();
                self.renewed = true;
                return Ok(());
            }
            Kind::Throttled => {
                self.metrics.throttles.increment(1);
                self.pace.failed(now, fastrand::f64());
                let since = *self.throttled_since.get_or_insert(now);
                if now.duration_since(since) < self.streams.options().throttled_for {
                    return Ok(());
                }
                return Err(failure.of_stream(&self.stream));
            }
            Kind::NotFound => {
                self.pace.failed(now, fastrand::f64());
                return match self.not_found(failure).await {
                    StreamError::ShardNotFound { .. } => {
                        tracing::warn!(stream = self.stream, shard = %self.shard, "the shard is past the retention; it ends here");
                        self.ended = true;
                        Ok(())
                    }
                    error => Err(error),
                };
            }
            Kind::Denied => {
                self.pace.denied(now, fastrand::f64());
                tracing::error!(stream = self.stream, shard = %self.shard, reason = failure.reason, "reading is denied; an operator has to allow it");
                // Not for ever: nobody is to lose a lease over it.
                return Err(StreamError::Unavailable { stream: self.stream.clone(), reason: failure.reason });
            }
            Kind::Invalid | Kind::InUse | Kind::Passing => {}
        }
        self.pace.failed(now, fastrand::f64());
        Err(failure.of_stream(&self.stream))
    }

    /// Has the next call take a fresh iterator where reading stands.
    fn renew(&mut self) {
        self.iterator = None;
        if self.position.is_latest() {
            // Nothing was read yet, but LATEST anew would pass over what has come since.
            self.position = Position::at_millis(self.quiet_at_ms - CLOCK_SKEW_MS);
        }
    }

    /// Which of stream and shard does not exist, if either.
    async fn not_found(&self, failure: Failure) -> StreamError {
        let (stream, shard) = (self.stream.clone(), self.shard.clone());
        match self.streams.shard(&self.stream, &self.shard).await {
            Ok(None) => StreamError::ShardNotFound { stream, shard },
            Ok(Some(_)) => StreamError::Unavailable { stream, reason: failure.reason },
            Err(listing) => listing.of_stream(&self.stream),
        }
    }

    fn aged_lag_ms(&self) -> u64 {
        self.lag_ms.max(u64::try_from(self.heard.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn page(&self, records: Vec<Record>) -> Page {
        let drained = self.intake.is_empty();
        let end_of_shard = self.ended && drained;
        let millis_behind_latest = if end_of_shard || (self.tip && drained) {
            0
        } else if records.is_empty() {
            self.aged_lag_ms().max(1)
        } else {
            // A null iterator and a page cut from an answer both leave the tip open.
            self.lag_ms.max(u64::from(!drained))
        };
        Page { records, end_of_shard, millis_behind_latest }
    }
}

/// Whether children say that a shard has ended: each names its parents.
pub(crate) fn is_end(children: &[ChildShard]) -> bool {
    !children.is_empty() && children.iter().all(|child| !child.parent_shards.is_empty())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl ShardCursor for PollingCursor {
    async fn next(&mut self, limit: ReadLimit, wait: Duration) -> Result<Page, StreamError> {
        let deadline = Instant::now() + wait;
        loop {
            let records = self.intake.page(limit);
            if !records.is_empty() || self.ended {
                return Ok(self.page(records));
            }
            if let Some(due) = self.pace.due() {
                // Only the tip lets a page be empty that nobody asked the service for.
                if self.tip && due > deadline {
                    sleep_until(deadline).await;
                    return Ok(self.page(Vec::new()));
                }
                sleep_until(due).await;
            }
            if let Err(failure) = self.ask(limit).await {
                self.bear(failure).await?;
            }
            if self.intake.is_empty() && !self.ended && Instant::now() >= deadline {
                return Ok(self.page(Vec::new()));
            }
        }
    }
}
