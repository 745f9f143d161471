//! Writes batches as objects.
//!
//! Rendering (grouping, framing, compression) is pure and runs on the pool of cores; objects are then put one after the other,
//! each until the store has it. A batch is acknowledged when all its objects are durable and its bad rows are on their way
//! with a part of the acknowledgement.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use snowmelt_objects::{self as objects, Object, ObjectStore, Rendered, S3LoaderConfig};
use snowmelt_runtime::{Ack, Backoff, Batch, Failure, Port, Stage, StageContext};
use snowmelt_streams::{Origin, PutEntry, Record};

/// The writer of one group's objects.
pub struct S3Writer {
    store: Arc<dyn ObjectStore>,
    config: Arc<S3LoaderConfig>,
    bad: Port<Batch<PutEntry>>,
    backoff: Backoff,
}

impl S3Writer {
    /// A writer to `store`; what can't be read goes to `bad`.
    pub fn new(store: Arc<dyn ObjectStore>, config: Arc<S3LoaderConfig>, bad: Port<Batch<PutEntry>>) -> Self {
        let backoff =
            Backoff::new(Duration::from_millis(200), Duration::from_secs(30)).at_least(Duration::from_millis(50));
        Self { store, config, bad, backoff }
    }

    async fn render(&self, records: Vec<Record>, cx: &StageContext) -> Result<Rendered, Failure> {
        let config = Arc::clone(&self.config);
        let shard = cx.group().shard.clone();
        let now_ms = cx.clock().now_ms();
        cx.cores().run(move || render(&records, &shard, &config, now_ms)).await
    }

    async fn put(&mut self, object: Object, cx: &StageContext) -> Result<(), Failure> {
        loop {
            let put = self.store.put(&object.key, object.bytes.clone(), object.headers);
            let reason = match cx.call(Duration::ZERO, put).await {
                Ok(Ok(())) => {
                    self.backoff.reset();
                    tracing::debug!(group = %cx.group(), key = object.key, bytes = object.bytes.len(), events = object.events, "object");
                    return Ok(());
                }
                Ok(Err(error)) if error.is_retriable() => error.to_string(),
                Err(error) => error.to_string(),
                Ok(Err(error)) => return Err(Failure::error(error)),
            };
            // A store is waited for without end: its shard stands still, in bounded memory, and nothing is lost. To start
            // the group again would help nobody, and would look as if the records were to blame.
            let wait = self.backoff.next_wait();
            tracing::warn!(group = %cx.group(), key = object.key, reason, attempt = self.backoff.attempts(), "put failed, trying again");
            cx.outside(cx.clock().sleep(wait)).await;
        }
    }

    async fn send_bad(
        &self,
        rows: Vec<String>,
        origin: Option<Origin>,
        ack: Ack,
        cx: &StageContext,
    ) -> Result<(), Failure> {
        if rows.is_empty() {
            ack.delivered();
            return Ok(());
        }
        let batch = bad_batch(rows, origin, ack);
        self.bad.send(batch, cx).await
    }
}

/// Bad rows as entries for a bad stream; they follow each other under one origin, so that they are stored once.
pub fn bad_batch(rows: Vec<String>, origin: Option<Origin>, ack: Ack) -> Batch<PutEntry> {
    let bytes = rows.iter().map(String::len).sum();
    let entries = rows
        .into_iter()
        .zip(0_u32..)
        .map(|(row, index)| {
            let key = origin.map_or_else(|| index.to_string(), |origin| format!("{}-{index}", origin.sequence));
            PutEntry { origin: origin.map(|origin| Origin { index, ..origin }), ..PutEntry::new(key, row) }
        })
        .collect();
    Batch::new(entries, bytes, ack)
}

fn render(records: &[Record], shard: &str, config: &S3LoaderConfig, now_ms: i64) -> Rendered {
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return Rendered::default() };
    let payloads: Vec<&[u8]> = records.iter().map(|record| record.data.as_ref()).collect();
    let batch = objects::Batch {
        shard,
        first_sequence: &first.sequence.to_string(),
        last_sequence: &last.sequence.to_string(),
        first_arrived_ms: first.arrived_ms,
        records: &payloads,
    };
    objects::render(&batch, config, now_ms)
}

#[async_trait(?Send)]
impl Stage for S3Writer {
    type Input = Batch<Record>;

    async fn handle(&mut self, input: Self::Input, cx: &StageContext) -> Result<(), Failure> {
        let origin = input.items.last().map(|last| Origin { sequence: last.sequence, index: 0 });
        let rendered = self.render(input.items, cx).await?;
        for object in rendered.objects {
            self.put(object, cx).await?;
        }
        let bad_ack = input.ack.split();
        self.send_bad(rendered.bad_rows, origin, bad_ack, cx).await?;
        input.ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        self.bad.close()
    }
}
