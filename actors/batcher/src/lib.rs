//! Gathers records into batches by bytes, count and time.
//!
//! A reader's page is what the stream happened to hold; a writer wants what is cheap for its sink. The batcher holds back
//! until a batch is full or its oldest record has waited long enough, and merges the acknowledgements of what it holds.

use std::time::Duration;

use async_trait::async_trait;
use snowmelt_runtime::{Ack, Batch, Failure, Port, Stage, StageContext};

/// Decides when a batch is sent on. Times are milliseconds that only grow.
pub trait Policy<T>: Send + 'static {
    /// Whether what is held goes first, so that `bytes` more do not burst a bound.
    fn goes_first(&self, bytes: usize) -> bool;

    /// Counts what came, and says whether the batch is now due.
    fn add(&mut self, items: &[T], bytes: usize, now_ms: u64) -> bool;

    /// When the batch is due though nothing more comes; none while it is empty.
    fn due_at_ms(&self) -> Option<u64>;

    /// The batch was sent on.
    fn sent(&mut self, now_ms: u64);
}

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

/// [`BatchRules`] at work. A batch is larger than the rules only if a single delivery is.
struct Limits {
    rules: BatchRules,
    bytes: usize,
    records: usize,
    due_ms: Option<u64>,
}

impl<T> Policy<T> for Limits {
    fn goes_first(&self, bytes: usize) -> bool {
        self.due_ms.is_some() && self.bytes + bytes > self.rules.max_bytes
    }

    fn add(&mut self, items: &[T], bytes: usize, now_ms: u64) -> bool {
        let age = u64::try_from(self.rules.max_age.as_millis()).unwrap_or(u64::MAX);
        self.due_ms.get_or_insert(now_ms.saturating_add(age));
        self.bytes += bytes;
        self.records += items.len();
        self.bytes >= self.rules.max_bytes || self.records >= self.rules.max_records
    }

    fn due_at_ms(&self) -> Option<u64> {
        self.due_ms
    }

    fn sent(&mut self, _now_ms: u64) {
        (self.bytes, self.records, self.due_ms) = (0, 0, None);
    }
}

/// The batcher. `T` is the record: raw for loaders, a put entry for writers of streams.
pub struct Batcher<T: Send + 'static> {
    policy: Box<dyn Policy<T>>,
    out: Port<Batch<T>>,
    items: Vec<T>,
    bytes: usize,
    acks: Vec<Ack>,
}

impl<T: Send + 'static> Batcher<T> {
    /// An empty batcher.
    pub fn new(rules: BatchRules, out: Port<Batch<T>>) -> Self {
        Self::by(Box::new(Limits { rules, bytes: 0, records: 0, due_ms: None }), out)
    }

    /// An empty batcher that does as `policy` says.
    pub fn by(policy: Box<dyn Policy<T>>, out: Port<Batch<T>>) -> Self {
        Self { policy, out, items: Vec::new(), bytes: 0, acks: Vec::new() }
    }

    async fn flush(&mut self, cx: &StageContext) -> Result<(), Failure> {
        self.policy.sent(cx.clock().monotonic_ms());
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
        if !self.acks.is_empty() && self.policy.goes_first(input.bytes) {
            self.flush(cx).await?;
        }
        let due = self.policy.add(&input.items, input.bytes, cx.clock().monotonic_ms());
        if self.acks.is_empty() {
            self.items = std::mem::take(&mut input.items);
        } else {
            self.items.append(&mut input.items);
        }
        self.bytes += input.bytes;
        self.acks.push(input.ack);
        if due { self.flush(cx).await } else { Ok(()) }
    }

    fn wake_at_ms(&self) -> Option<u64> {
        self.policy.due_at_ms()
    }

    async fn tick(&mut self, cx: &StageContext) -> Result<(), Failure> {
        if self.policy.due_at_ms().is_some_and(|due| due <= cx.clock().monotonic_ms()) {
            self.flush(cx).await
        } else {
            Ok(())
        }
    }

    async fn drain(mut self: Box<Self>, cx: &StageContext) -> Result<(), Failure> {
        self.flush(cx).await?;
        self.out.close()
    }
}
