//! Gathers records into batches by bytes, count and time.
//!
//! A reader's page is what the stream happened to hold; a writer wants what is cheap for its sink. The batcher holds back
//! until a batch is full or its oldest record has waited long enough, and merges the acknowledgements of what it holds.

use std::time::Duration;

use async_trait::async_trait;
use snowmelt_runtime::{Ack, Batch, Failure, Port, Stage, StageContext};

/// When a batch is sent on: whichever limit is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRules {
    /// Payload bytes, reached.
    pub max_bytes: usize,
    /// Records, reached.
    pub max_records: usize,
    /// Time since the first record of the batch came.
    pub max_age: Duration,
}

/// The batcher. `T` is the record: raw for loaders, a put entry for writers of streams.
pub struct Batcher<T: Send + 'static> {
    rules: BatchRules,
    out: Port<Batch<T>>,
    items: Vec<T>,
    bytes: usize,
    acks: Vec<Ack>,
    due_ms: Option<u64>,
}

impl<T: Send + 'static> Batcher<T> {
    /// An empty batcher.
    pub const fn new(rules: BatchRules, out: Port<Batch<T>>) -> Self {
        Self { rules, out, items: Vec::new(), bytes: 0, acks: Vec::new(), due_ms: None }
    }

    const fn is_full(&self) -> bool {
        self.bytes >= self.rules.max_bytes || self.items.len() >= self.rules.max_records
    }

    async fn flush(&mut self, cx: &StageContext) -> Result<(), Failure> {
        self.due_ms = None;
        if self.acks.is_empty() {
            return Ok(());
        }
        let items = std::mem::take(&mut self.items);
        let bytes = std::mem::take(&mut self.bytes);
        let ack = Ack::merge(self.acks.drain(..));
        self.out.send(Batch::new(items, bytes, ack), cx).await
    }
}

#[async_trait(?Send)]
impl<T: Send + 'static> Stage for Batcher<T> {
    type Input = Batch<T>;

    async fn handle(&mut self, mut input: Self::Input, cx: &StageContext) -> Result<(), Failure> {
        // What would burst the bound goes first, so that a batch is larger than the rules only if one page is.
        if !self.acks.is_empty() && self.bytes + input.bytes > self.rules.max_bytes {
            self.flush(cx).await?;
        }
        if self.acks.is_empty() {
            let age = u64::try_from(self.rules.max_age.as_millis()).unwrap_or(u64::MAX);
            self.due_ms = Some(cx.clock().monotonic_ms().saturating_add(age));
            self.items = std::mem::take(&mut input.items);
        } else {
            self.items.append(&mut input.items);
        }
        self.bytes += input.bytes;
        self.acks.push(input.ack);
        if self.is_full() { self.flush(cx).await } else { Ok(()) }
    }

    fn wake_at_ms(&self) -> Option<u64> {
        self.due_ms
    }

    async fn tick(&mut self, cx: &StageContext) -> Result<(), Failure> {
        if self.due_ms.is_some_and(|due| due <= cx.clock().monotonic_ms()) { self.flush(cx).await } else { Ok(()) }
    }

    async fn drain(mut self: Box<Self>, cx: &StageContext) -> Result<(), Failure> {
        self.flush(cx).await?;
        self.out.close()
    }
}
