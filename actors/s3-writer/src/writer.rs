//! Puts the objects of one batch after the other.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use snowmelt_objects::{Object, ObjectStore};
use snowmelt_runtime::{Ack, Backoff, Batch, Failure, GroupId, Port, SinkIntents, Stage, StageContext};
use snowmelt_streams::{Origin, PutEntry};

use crate::packer::Packed;
use crate::report::Report;

/// Objects of one batch that are put at the same time.
const SIDE_BY_SIDE: usize = 8;
/// What a put may take beyond the group's limit for calls: a second for so many bytes.
const BYTES_A_SECOND: u64 = 1 << 20;

/// How long the group's lease has to hold yet when a write begins.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// How objects are put.
#[derive(Clone)]
pub struct Puts {
    /// Where.
    pub store: Arc<dyn ObjectStore>,
    /// How long a put that fails is tried again; without end when absent.
    pub retry_for: Option<Duration>,
    /// Who is told of what was written.
    pub report: Report,
}

/// The writer of one group's objects.
pub struct S3Writer {
    puts: Puts,
    intents: SinkIntents,
    bad: Port<Batch<PutEntry>>,
}

impl S3Writer {
    /// A writer that declares by `intents` what it is about to put; what can't be read goes to `bad`.
    pub const fn new(puts: Puts, intents: SinkIntents, bad: Port<Batch<PutEntry>>) -> Self {
        Self { puts, intents, bad }
    }

    async fn put_all(&self, objects: Vec<Object>, cx: &StageContext) -> Result<(), Failure> {
        // Each with its index, which has to follow it.
        let mut runs: Vec<Vec<Object>> = Vec::with_capacity(objects.len());
        for object in objects {
            match runs.last_mut() {
                Some(run) if object.is_index() => run.push(object),
                _ => runs.push(vec![object]),
            }
        }
        let puts = stream::iter(runs.into_iter().map(|run| async move {
            for object in run {
                self.put(object, cx).await?;
            }
            Ok::<(), Failure>(())
        }));
        cx.outside(puts.buffer_unordered(SIDE_BY_SIDE).try_collect::<()>()).await
    }

    /// Puts one object, again and again until the store has it or is away for too long.
    async fn put(&self, object: Object, cx: &StageContext) -> Result<(), Failure> {
        let mut backoff =
            Backoff::new(Duration::from_millis(200), Duration::from_secs(30)).at_least(Duration::from_millis(50));
        let began = cx.clock().monotonic_ms();
        let patience = Duration::from_secs(object.bytes.len() as u64 / BYTES_A_SECOND);
        loop {
            cx.check_lease(LEASE_MARGIN)?;
            let put = self.puts.store.put(&object.key, object.bytes.clone(), object.headers);
            let reason = match cx.in_time(patience, put).await {
                Ok(Ok(())) => {
                    self.count(&object, cx);
                    tracing::debug!(group = %cx.group(), key = object.key, bytes = object.bytes.len(), events = object.events, "object");
                    return Ok(());
                }
                Ok(Err(error)) if error.is_retriable() => snowmelt_runtime::failure::explain(&error),
                Err(error) => error.to_string(),
                Ok(Err(error)) => return Err(Failure::error(error)),
            };
            let waited = Duration::from_millis(cx.clock().monotonic_ms().saturating_sub(began));
            if self.puts.retry_for.is_some_and(|limit| waited >= limit) {
                let message =
                    format!("object {}: not put within {} s, at last: {reason}", object.key, waited.as_secs_f64());
                return Err(Failure::Outage { message });
            }
            // Without a limit a store is waited for without end: its shard stands still, in bounded memory, and nothing is
            // lost. To start the group again would help nobody.
            let wait = backoff.next_wait();
            let GroupId { pipeline, shard } = cx.group().clone();
            metrics::counter!("s3_put_failures_total", "pipeline" => pipeline, "shard" => shard).increment(1);
            tracing::warn!(group = %cx.group(), key = object.key, reason, attempt = backoff.attempts(), "put failed, trying again");
            cx.clock().sleep(wait).await;
        }
    }

    fn count(&self, object: &Object, cx: &StageContext) {
        let amounts = [
            ("s3_objects_total", 1),
            ("s3_object_bytes_total", object.bytes.len() as u64),
            ("s3_object_events_total", object.events as u64),
        ];
        for (name, amount) in amounts {
            let GroupId { pipeline, shard } = cx.group().clone();
            metrics::counter!(name, "pipeline" => pipeline, "shard" => shard).increment(amount);
        }
    }

    async fn send_bad(&self, rows: Vec<String>, origin: Origin, ack: Ack, cx: &StageContext) -> Result<(), Failure> {
        if rows.is_empty() {
            ack.delivered();
            return Ok(());
        }
        self.bad.send(bad_batch(rows, origin, ack), cx).await
    }
}

/// Bad rows as entries for a bad stream; they follow each other under one origin, so that they are stored once.
fn bad_batch(rows: Vec<String>, origin: Origin, ack: Ack) -> Batch<PutEntry> {
    let bytes = rows.iter().map(String::len).sum();
    let entries = rows
        .into_iter()
        .zip(0_u32..)
        .map(|(row, index)| {
            let key = format!("{}-{index}", origin.sequence);
            PutEntry { origin: Some(Origin { index, ..origin }), ..PutEntry::new(key, row) }
        })
        .collect();
    Batch::new(entries, bytes, ack)
}

#[async_trait(?Send)]
impl Stage for S3Writer {
    type Input = Packed;

    async fn handle(&mut self, input: Self::Input, cx: &StageContext) -> Result<(), Failure> {
        let Packed { rendered, cut, origin, arrived_ms, records, ack } = input;
        let (last, written) = (cut.last.clone(), Report::of(&rendered, arrived_ms));
        if !rendered.objects.is_empty() {
            cx.outside(self.intents.declare(cut)).await?;
        }
        let ack = self.intents.track(&last, records, ack);
        self.put_all(rendered.objects, cx).await?;
        self.puts.report.tell(written, cx.clock().now_ms());
        self.send_bad(rendered.bad_rows, origin, ack.split(), cx).await?;
        ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        self.bad.close()
    }
}
