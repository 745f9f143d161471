//! One core's work: chunks of lines into chunks of output.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use snowmelt_collector::CollectorConfig;
use snowmelt_collector::decision::Core;
use snowmelt_enrich::{Context, Enrich, OutRecord, Outputs, RecordSeed, Scratch};
use snowmelt_iglu::{Lookup, Overlay, Resolver, SchemaKey};
use snowmelt_runtime::{Backoff, Clock};

use super::Tally;
use super::lines::{Chunk, MAX_LINE_BYTES};
use super::record::{self, Collected};
use crate::trouble::{Outcome, Trouble};

/// Rounds of look-ups past which a line is given up: each brings schemas that were missing, so few are ever needed.
const MAX_ROUNDS: usize = 16;
/// How often a registry that does not answer is asked again.
const RETRIES: u32 = 5;
/// Schemas asked for at once.
const LOOK_UPS: usize = 32;

/// What all cores share.
pub struct Setup {
    enrich: Enrich,
    resolver: Arc<Resolver>,
    core: Core,
    clock: Clock,
    /// Microseconds since the epoch, when the clock stands still.
    at: Option<i64>,
    failed_output: bool,
}

impl Setup {
    /// Puts the parts together; the collector has its default configuration.
    pub fn new(
        enrich: Enrich,
        resolver: Arc<Resolver>,
        clock: Clock,
        at: Option<i64>,
        failed_output: bool,
    ) -> Outcome<Self> {
        let core = Core::new(&CollectorConfig::default()).map_err(|error| Trouble::caused("collector", error))?;
        Ok(Self { enrich, resolver, core, clock, at, failed_output })
    }
}

/// What came of a chunk.
#[derive(Debug, Default)]
pub struct Done {
    /// For each line an object and a line break.
    pub lines: Vec<u8>,
    /// For each line with a mistake a message and a line break.
    pub errors: String,
    /// How many.
    pub tally: Tally,
}

/// One core.
pub struct Worker {
    setup: Arc<Setup>,
    runtime: tokio::runtime::Handle,
    scratch: Scratch,
    outputs: Outputs,
    /// How often a registry that does not answer is asked again: once it was given up, later lines don't wait for it.
    patience: u32,
}

impl Worker {
    /// Look-ups of schemas run on `runtime`.
    pub fn new(setup: Arc<Setup>, runtime: tokio::runtime::Handle) -> Self {
        Self { setup, runtime, scratch: Scratch::new(), outputs: Outputs::default(), patience: RETRIES }
    }

    /// Enriches the lines of a chunk. A line that can't be enriched gives empty lists and a message.
    pub fn run(&mut self, chunk: &Chunk) -> Done {
        let mut done = Done::default();
        for (number, line) in chunk.lines() {
            let outcome = self.line(number, line, &mut done);
            if let Err(message) = outcome {
                // Writing to a String does not fail.
                writeln!(done.errors, "line {number}: {message}").unwrap_or_default();
                done.lines.extend_from_slice(br#"{"good":[],"bad":[],"pii":[]}"#);
            }
            done.lines.push(b'\n');
        }
        done
    }

    fn line(&mut self, number: u64, line: Option<&[u8]>, done: &mut Done) -> Result<(), String> {
        let setup = Arc::clone(&self.setup);
        let now_micros = setup.at.unwrap_or_else(|| setup.clock.now_micros());
        // The same line gives the same output: identifiers derive from its number.
        let mut random = fastrand::Rng::with_seed(number);
        let mut new_id = || uuid::Builder::from_random_bytes(random.u128(..).to_be_bytes()).into_uuid();
        let collected = match line {
            Some(line) => record::read(line, &setup.core, now_micros.div_euclid(1_000), &mut new_id),
            None => Err(format!("longer than {} MiB", MAX_LINE_BYTES >> 20)),
        };
        let Collected { good, bad } = collected.inspect_err(|_| done.tally.unreadable += 1)?;
        self.outputs = Outputs::default();
        for (nth, record) in good.iter().enumerate() {
            let place = format!("{number}/{nth}");
            let seed = RecordSeed::new("enrich", place.as_bytes());
            self.record(record, now_micros, seed).inspect_err(|_| done.tally.unanswered += 1)?;
        }
        let out = &mut done.lines;
        out.extend_from_slice(b"{\"good\":");
        texts(&self.outputs.good, out);
        out.extend_from_slice(b",\"bad\":[");
        let rows = bad.iter().chain(self.outputs.bad.iter().map(|row| &row.data));
        for (nth, row) in rows.enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            out.extend_from_slice(row);
        }
        out.extend_from_slice(b"],\"pii\":");
        texts(&self.outputs.pii, out);
        if setup.failed_output {
            out.extend_from_slice(b",\"failed\":");
            texts(&self.outputs.failed, out);
        }
        out.push(b'}');
        Ok(())
    }

    fn record(&mut self, record: &[u8], now_micros: i64, seed: RecordSeed) -> Result<(), String> {
        let setup = &self.setup;
        let mut backoff =
            Backoff::new(Duration::from_millis(500), Duration::from_secs(10)).at_least(Duration::from_millis(100));
        let mut overlay = Overlay::new(setup.resolver.as_ref());
        let cx = Context { now_micros, schemas: setup.resolver.as_ref(), seed };
        let mut outcome = setup.enrich.record(record, &cx, &mut self.scratch, &mut self.outputs);
        let mut rounds = 0;
        while let Err(needs) = outcome {
            rounds += 1;
            if !needs.unreachable.is_empty() {
                if backoff.attempts() >= self.patience {
                    self.patience = 0;
                    return Err(needs.to_string());
                }
                let wait = backoff.next_wait();
                // A timer is made within the runtime.
                self.runtime.block_on(async { tokio::time::sleep(wait).await });
            } else if rounds > MAX_ROUNDS {
                return Err(format!("schemas were still missing after {MAX_ROUNDS} rounds of look-ups"));
            }
            let unreachable = needs.unreachable.into_iter().map(|(key, _)| key);
            let keys: Vec<SchemaKey> = needs.schemas.into_iter().chain(unreachable).collect();
            for (key, answer) in look_up(&self.runtime, &setup.resolver, &keys) {
                overlay.insert(key, answer);
            }
            let cx = Context { now_micros, schemas: &overlay, seed };
            outcome = setup.enrich.record(record, &cx, &mut self.scratch, &mut self.outputs);
        }
        if rounds > 0 {
            self.patience = RETRIES;
        }
        Ok(())
    }
}

fn look_up(runtime: &tokio::runtime::Handle, resolver: &Resolver, keys: &[SchemaKey]) -> Vec<(SchemaKey, Lookup)> {
    let resolve = async |key: &SchemaKey| (key.clone(), resolver.resolve(key).await);
    let mut answers = Vec::with_capacity(keys.len());
    for some in keys.chunks(LOOK_UPS) {
        let found = runtime.block_on(join_all(some.iter().map(&resolve)));
        let down = |answer: &Lookup| answer.as_ref().is_err_and(|error| error.is_system_failure());
        let stop = found.iter().any(|(_, answer)| down(answer));
        answers.extend(found);
        // Where a registry does not answer, each of the others could take a time-out too.
        if stop {
            break;
        }
    }
    answers
}

/// A list of lines as texts of JSON.
fn texts(records: &[OutRecord], out: &mut Vec<u8>) {
    out.push(b'[');
    for (nth, record) in records.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        let text = String::from_utf8_lossy(&record.data);
        serde_json::to_writer(&mut *out, text.as_ref()).expect("a text can always be written to memory");
    }
    out.push(b']');
}
