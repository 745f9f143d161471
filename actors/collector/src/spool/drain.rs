//! One drainer a shard: reads, puts to the sink until it has the batch, notes how far it came, gives the room back.

use std::{io, sync::Arc, time::Duration};

use snowmelt_streams::{Origin, Producer, ReadLimit, Record, SequenceNumber, ShardId, StartAt, StreamError, Streams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{Phase, STREAM, Shared, position::Position};
use crate::{Outgoing, Sink, SinkError};

/// How long the position may be behind when batches are small.
const SAVE_EVERY: Duration = Duration::from_millis(100);
/// How long a drainer that has nothing to do waits at a time.
const IDLE: Duration = Duration::from_secs(1);

/// Drains one shard.
pub(super) struct Drainer {
    shared: Arc<Shared>,
    /// Which of the spool's shards it is.
    lane: usize,
    shard: ShardId,
    /// Whom the sink knows its records from.
    producer: Producer,
    position: Position,
    phase: watch::Receiver<Phase>,
    /// Where to go on reading.
    next: StartAt,
    /// What the sink has beyond the stored position. Never more than a batch: so much is put again after a kill.
    unsaved: Unsaved,
    saved: Instant,
    /// The sink failed last, which was logged.
    failing: bool,
}

#[derive(Default)]
struct Unsaved {
    last: Option<SequenceNumber>,
    records: usize,
    bytes: usize,
}

impl Drainer {
    pub(super) fn new(
        shared: Arc<Shared>,
        lane: usize,
        shard: ShardId,
        producer: Producer,
        position: Position,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let next = position.last.map_or(StartAt::TrimHorizon, StartAt::After);
        let (unsaved, saved, failing) = (Unsaved::default(), Instant::now(), false);
        Self { shared, lane, shard, producer, position, phase, next, unsaved, saved, failing }
    }

    /// Drains until the spool is finishing and all is drained, or it is halted.
    pub(super) async fn run(mut self) {
        while let Err(error) = self.drain().await {
            let name = self.shared.options.name;
            metrics::counter!("collector_spool_read_failures_total", "sink" => name).increment(1);
            match error {
                StreamError::ShutDown => break,
                StreamError::Corrupt(damage) => {
                    tracing::error!(sink = name, %damage, "records of the spool are damaged and passed over");
                    self.next = StartAt::At(damage.resume);
                }
                StreamError::Invalid { reason, .. } => {
                    tracing::error!(
                        sink = name,
                        reason,
                        "a position of the spool is of another log: records will be put again"
                    );
                    self.next = StartAt::TrimHorizon;
                }
                error => {
                    tracing::error!(sink = name, shard = %self.shard, %error, "the spool cannot be read; trying again")
                }
            }
            if !self.pause(self.shared.options.backoff.max_backoff).await {
                break;
            }
        }
        self.save().await;
    }

    async fn drain(&mut self) -> Result<(), StreamError> {
        let batch = self.shared.options.batch;
        let mut cursor = self.shared.streams.open(STREAM, &self.shard, &self.next).await?;
        loop {
            let phase = *self.phase.borrow_and_update();
            if phase == Phase::Halted {
                return Ok(());
            }
            let full = self.unsaved.records >= batch.records || self.unsaved.bytes >= batch.bytes;
            if full || self.saved.elapsed() >= SAVE_EVERY {
                self.save().await;
            }
            let limit =
                ReadLimit { records: batch.records - self.unsaved.records, bytes: batch.bytes - self.unsaved.bytes };
            let wait = match phase {
                Phase::Running if self.unsaved.records == 0 => IDLE,
                Phase::Running => SAVE_EVERY,
                Phase::Finishing | Phase::Halted => Duration::ZERO,
            };
            let page = tokio::select! {
                page = cursor.next(limit, wait) => page?,
                // A spool that is gone without a word was dropped.
                changed = self.phase.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(()),
                },
            };
            let (Some(first), Some(last)) = (page.records.first(), page.records.last()) else {
                self.shared.meter.oldest(self.lane, None);
                self.save().await;
                if self.shared.meter.refusing() {
                    // On a full disk room may have been given back in vain; no record comes that would try it again.
                    self.trim().await;
                }
                if phase == Phase::Finishing {
                    return Ok(());
                }
                continue;
            };
            self.shared.meter.oldest(self.lane, Some(first.arrived_ms));
            let (last, records) = (last.sequence, page.records.len());
            let bytes: usize = page.records.iter().map(|record| record.partition_key.len() + record.data.len()).sum();
            if !self.hand_on(page.records.into_iter().map(outgoing).collect()).await {
                return Ok(());
            }
            self.shared.meter.drain(records);
            if page.millis_behind_latest == 0 {
                self.shared.meter.oldest(self.lane, None);
            }
            self.next = StartAt::After(last);
            let unsaved = &mut self.unsaved;
            *unsaved = Unsaved {
                last: Some(last),
                records: unsaved.records + records,
                // One record larger than what was left may have come alone.
                bytes: (unsaved.bytes + bytes).min(batch.bytes),
            };
        }
    }

    /// Puts a batch until the sink has it; false when the spool was halted before.
    async fn hand_on(&mut self, batch: Vec<Outgoing>) -> bool {
        let limit = self.shared.options.put_timeout;
        let longest = self.shared.options.backoff.max_backoff.max(1);
        let mut pause = self.shared.options.backoff.min_backoff.clamp(1, longest);
        loop {
            let put = tokio::select! {
                put = timeout(limit, self.shared.sink.put(batch.clone(), Some(&self.producer))) => {
                    put.unwrap_or(Err(SinkError::TimedOut { millis: limit.as_millis() as u64 }))
                }
                () = halted(&mut self.phase) => return false,
            };
            let Err(error) = put else {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(sink = self.shared.options.name, shard = %self.shard, "the spool is drained again");
                }
                return true;
            };
            self.shared.meter.failures.increment(1);
            if !std::mem::replace(&mut self.failing, true) {
                tracing::warn!(sink = self.shared.options.name, shard = %self.shard, %error, "records stay in the spool; trying again");
            }
            if !self.pause(pause).await {
                return false;
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// Waits about that long; false when the spool was halted meanwhile.
    async fn pause(&mut self, millis: u64) -> bool {
        tokio::select! {
            () = sleep(Duration::from_millis(fastrand::u64(millis / 2..=millis))) => true,
            () = halted(&mut self.phase) => false,
        }
    }

    /// Gives back the room of what the sink has.
    async fn trim(&self) {
        let StartAt::After(last) = &self.next else { return };
        if let Err(error) = self.shared.streams.trim(STREAM, &self.shard, last).await {
            tracing::warn!(sink = self.shared.options.name, shard = %self.shard, %error, "room in the spool is not given back");
        }
    }

    /// Gives room back and notes how far the sink has the records. Draining does not depend on it: it makes room on a full disk.
    async fn save(&mut self) {
        self.saved = Instant::now();
        let Unsaved { last: Some(last), .. } = std::mem::take(&mut self.unsaved) else { return };
        let name = self.shared.options.name;
        // First, since the position may need the room.
        self.trim().await;
        let mut position = self.position.clone();
        let stored = tokio::task::spawn_blocking(move || position.store(last).map(|()| position)).await;
        match stored.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(position) => self.position = position,
            Err(error) => {
                metrics::counter!("collector_spool_position_failures_total", "sink" => name).increment(1);
                tracing::warn!(sink = name, shard = %self.shard, %error, "a position of the spool is not stored; after a crash more is put again");
            }
        }
    }
}

fn outgoing(record: Record) -> Outgoing {
    // Where it stands in the spool: put again, it is known to be the same.
    let origin = Some(Origin { sequence: record.sequence, index: 0 });
    Outgoing { partition_key: record.partition_key, data: record.data, origin }
}

/// Resolves when the spool is halted, or was dropped.
async fn halted(phase: &mut watch::Receiver<Phase>) {
    phase.wait_for(|phase| *phase == Phase::Halted).await.ok();
}
