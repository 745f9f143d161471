//! Enriches batches of raw records on all cores, in order.
//!
//! A batch is cut into chunks that run side by side on the pool of cores; their outputs are put together in the order of the
//! records. Schemas that are not in memory are looked up between two rounds, all those of a batch at once, so that the
//! CPU work itself never waits. Each output names its origin, so that a batch read again after a crash is stored once.

mod chunk;
mod current;
mod metric;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use snowmelt_iglu::{Lookup, Resolver, SchemaKey};
use snowmelt_runtime::{Ack, Backoff, Batch, Failure, Port, Stage, StageContext};
use snowmelt_streams::{PutEntry, Record};

use crate::chunk::{Chunk, Missing, Work};
pub use crate::current::Current;
pub use crate::metric::Metric;
use crate::metric::Tally;

/// Rounds of look-ups past which a batch fails: every round brings schemas that were missing, so few are ever needed.
const MAX_ROUNDS: usize = 16;

/// Schemas that are asked for at the same time.
const LOOK_UPS: usize = 32;

/// Sees every record before it is enriched, on the core that does it.
pub type Probe = Arc<dyn Fn(&Record) + Send + Sync>;

/// Where the enricher's outputs go.
pub struct Outlets {
    /// Enriched events.
    pub good: Port<Batch<PutEntry>>,
    /// Bad rows.
    pub bad: Port<Batch<PutEntry>>,
    /// Failed events, if wanted.
    pub failed: Option<Port<Batch<PutEntry>>>,
    /// Events about what was pseudonymised; dropped without.
    pub pii: Option<Port<Batch<PutEntry>>>,
}

/// The enricher of one shard.
pub struct Enricher {
    enrich: Current,
    resolver: Arc<Resolver>,
    /// Name of the source, part of every record's seed.
    stream: Arc<str>,
    outlets: Outlets,
    probe: Option<Probe>,
}

impl Enricher {
    /// An enricher of the records of `stream`.
    pub fn new(enrich: Current, resolver: Arc<Resolver>, stream: &str, outlets: Outlets) -> Self {
        Self { enrich, resolver, stream: stream.into(), outlets, probe: None }
    }

    /// The same, with something that sees every record first: how a test makes one of them poison.
    #[must_use]
    pub fn with_probe(mut self, probe: Option<Probe>) -> Self {
        self.probe = probe;
        self
    }

    async fn enrich(&self, records: Vec<Record>, cx: &StageContext) -> Result<Vec<Chunk>, Failure> {
        let mut work = Work {
            enrich: self.enrich.load(),
            resolver: Arc::clone(&self.resolver),
            stream: Arc::clone(&self.stream),
            records: records.into(),
            now_micros: cx.clock().now_micros(),
            answers: Arc::default(),
            probe: self.probe.clone(),
        };
        // By schema: however long a registry is out, there is one answer for each.
        let mut answers: HashMap<SchemaKey, Lookup> = HashMap::new();
        let mut todo = chunk::cut(work.records.len(), cx.cores().count());
        let mut done: Vec<Option<Chunk>> = todo.iter().map(|_| None).collect();
        let mut slots: Vec<usize> = (0..todo.len()).collect();
        let mut rounds = 0;
        let mut backoff =
            Backoff::new(Duration::from_millis(500), Duration::from_secs(30)).at_least(Duration::from_millis(100));
        loop {
            let run = {
                let work = work.clone();
                move |range| work.run(range)
            };
            let outcomes = cx.cores().map(todo.clone(), run).await?;
            let (mut missing, mut again, mut again_slots) = (Missing::default(), Vec::new(), Vec::new());
            for ((outcome, range), slot) in outcomes.into_iter().zip(todo).zip(slots) {
                match outcome {
                    Ok(chunk) => done[slot] = Some(chunk),
                    Err(more) => {
                        missing.add(more);
                        again.push(range);
                        again_slots.push(slot);
                    }
                }
            }
            if again.is_empty() {
                return Ok(done.into_iter().flatten().collect());
            }
            if missing.unreachable.is_empty() {
                rounds += 1;
                if rounds > MAX_ROUNDS {
                    return Err(Failure::message(format!(
                        "schemas were still missing after {MAX_ROUNDS} rounds of look-ups"
                    )));
                }
            } else {
                self.wait_for_registries(&missing, &mut backoff, cx).await?;
            }
            missing.schemas.append(&mut missing.unreachable);
            answers.extend(self.look_up(missing.schemas, cx).await);
            work.answers = Arc::new(answers.clone());
            (todo, slots) = (again, again_slots);
        }
    }

    /// A registry does not answer: nothing is known about the events that need it, so they wait, in bounded memory.
    async fn wait_for_registries(
        &self,
        missing: &Missing,
        backoff: &mut Backoff,
        cx: &StageContext,
    ) -> Result<(), Failure> {
        let wait = backoff.next_wait();
        let schema = missing.unreachable.first().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(group = %cx.group(), schema, attempt = backoff.attempts(), "a schema registry does not answer, waiting");
        if cx.back_off(wait).await {
            return Ok(());
        }
        Err(Failure::message(format!("a schema registry does not answer, asked for {schema}")))
    }

    /// Asks the registries; the resolver remembers what it may. Where one does not answer, those that are left are not
    /// asked for yet: each could take a time-out, and the batch has to wait anyway.
    async fn look_up(&self, mut keys: Vec<SchemaKey>, cx: &StageContext) -> Vec<(SchemaKey, Lookup)> {
        keys.sort_by_cached_key(ToString::to_string);
        keys.dedup();
        let resolve = |key: SchemaKey| async move {
            let answer = self.resolver.resolve(&key).await;
            if answer.is_err() {
                tracing::debug!(group = %cx.group(), schema = %key, "schema not found");
            }
            (key, answer)
        };
        let mut answers = Vec::with_capacity(keys.len());
        // A batch may name thousands of schemas; registries are asked for a few at a time.
        for some in keys.chunks(LOOK_UPS) {
            let found = cx.outside(join_all(some.iter().cloned().map(resolve))).await;
            let down = |answer: &Lookup| answer.as_ref().is_err_and(|error| error.is_system_failure());
            let stop = found.iter().any(|(_, answer)| down(answer));
            answers.extend(found);
            if stop {
                break;
            }
        }
        answers
    }
}

#[async_trait(?Send)]
impl Stage for Enricher {
    type Input = Batch<Record>;

    async fn handle(&mut self, input: Self::Input, cx: &StageContext) -> Result<(), Failure> {
        let chunks = self.enrich(input.items, cx).await?;
        let (mut good, mut bad, mut failed, mut pii) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut tally = Tally::default();
        for chunk in chunks {
            tally.counts.add(chunk.counts);
            good.extend(chunk.good);
            bad.extend(chunk.bad);
            failed.extend(chunk.failed);
            pii.extend(chunk.pii);
        }
        (tally.good, tally.bad) = (good.len() as u64, bad.len() as u64);
        send(&self.outlets.good, good, &input.ack, cx).await?;
        send(&self.outlets.bad, bad, &input.ack, cx).await?;
        for (port, entries, count) in
            [(&self.outlets.failed, failed, &mut tally.failed), (&self.outlets.pii, pii, &mut tally.pii)]
        {
            if let Some(port) = port {
                *count = entries.len() as u64;
                send(port, entries, &input.ack, cx).await?;
            }
        }
        tally.emit(cx.group());
        input.ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        self.outlets.good.close()?;
        self.outlets.bad.close()?;
        self.outlets.failed.map_or(Ok(()), Port::close)?;
        self.outlets.pii.map_or(Ok(()), Port::close)
    }
}

async fn send(
    port: &Port<Batch<PutEntry>>,
    entries: Vec<PutEntry>,
    ack: &Ack,
    cx: &StageContext,
) -> Result<(), Failure> {
    if entries.is_empty() {
        return Ok(());
    }
    let bytes = entries.iter().map(|entry| entry.data.len() + entry.partition_key.len()).sum();
    port.send(Batch::new(entries, bytes, ack.split()), cx).await
}
