//! Runs a rig: starts the generator, watches the actors, ends when all is done.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use snowmelt_runtime::Ledger;
use snowmelt_runtime::observe::{Observed, Snapshot};
use tokio::sync::oneshot;

use super::args::Until;
use super::machine;
use super::measure::Measured;
use super::pace::Shared;
use super::rig::{Generator, Rig};
use crate::trouble::{Outcome, Trouble};

/// How often actors are looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(10);
/// How long what was sent may take after the schedule's end.
const DRAIN_PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing may be done while something is under way.
const STALL_PATIENCE: Duration = Duration::from_secs(60);
/// How long a failed generator waits for the failure behind it.
const FAILURE_PATIENCE: Duration = Duration::from_secs(2);
/// From this fill on a mailbox counts as full: one more batch does not fit.
const FULL: f64 = 0.999;

/// What one actor did during the run. Shares are of the run's time, 0 to 100.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActorUse {
    /// Its name.
    pub actor: String,
    /// Records it handled.
    pub records: u64,
    /// Its mailbox; `None` for one that loops by itself.
    pub mailbox: Option<MailboxUse>,
    /// Waiting for room in the mailbox after it.
    pub waiting_for_room_percent: f64,
    /// Waiting for an outside system, or its stand-in.
    pub waiting_outside_percent: f64,
}

/// How full a mailbox was, the batch being handled included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MailboxUse {
    /// Mean of all samples.
    pub mean_percent: f64,
    /// The highest.
    pub max_percent: f64,
    /// Share of the time in which nothing more fitted.
    pub full_percent: f64,
}

/// What was seen of a run.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The figures.
    pub measured: Measured,
    /// How long the load generator was sending.
    pub scheduled_seconds: f64,
    /// The actors, the last of the chain first.
    pub actors: Vec<ActorUse>,
    /// Share of the time that the load generator waited for room, 0 to 100; `None` when the actor fetches its load.
    pub generator_waited_percent: Option<f64>,
    /// The most memory held at once, in bytes.
    pub peak_memory: u64,
    /// What else was counted, and how many.
    pub outputs: Option<(&'static str, u64)>,
    /// Records refused for good.
    pub refused: u64,
    /// Batches that were still under way when the patience was over.
    pub left_over: usize,
}

/// Runs `rig` to its end; `until` is when its schedule ends; `progress` is told the seconds since the clock began and the records done.
///
/// # Errors
/// What failed.
pub async fn run(
    mut rig: Rig,
    shared: &Shared,
    until: Until,
    paced: bool,
    mut progress: impl FnMut(f64, u64),
) -> Outcome<Seen> {
    let failed = |reason: String| Trouble::Machine(format!("the run failed: {reason}"));
    let mut generator = start(rig.generator.take())?;
    let mut watch = Watch::new(shared, &rig);
    let mut ticker = tokio::time::interval(SAMPLE_EVERY);
    let mut stall = Stall { done: 0, since: Instant::now() };
    let mut sending = true;
    let mut failure: Option<(Instant, String)> = None;
    let outcome = loop {
        tokio::select! {
            ended = &mut rig.ended => break ended.map_err(failed),
            sent = &mut generator, if sending => {
                sending = false;
                if let Ok(Err(reason)) = sent {
                    failure = Some((Instant::now(), reason));
                }
            }
            () = shared.warm.notified() => watch.begin(&rig),
            () = changed(rig.ledger.as_ref()) => durable(rig.ledger.as_ref(), shared),
            _ = ticker.tick() => {
                watch.sample(&rig);
                progress(watch.seconds(), shared.meter.records());
                if let Some((at, reason)) = failure.take_if(|(at, _)| at.elapsed() > FAILURE_PATIENCE) {
                    tracing::debug!(after = ?at.elapsed(), "nothing but the generator failed");
                    break Err(failed(reason));
                }
                if is_over(shared, until) {
                    break Ok(());
                }
                if stall.lasts(shared) {
                    break Err(failed(format!("nothing was done for {} s", STALL_PATIENCE.as_secs())));
                }
            }
        }
    };
    shared.stop.cancel();
    durable(rig.ledger.as_ref(), shared);
    watch.sample(&rig);
    outcome?;
    if let Some((_, reason)) = failure {
        return Err(failed(reason));
    }
    watch.seen(&rig, paced)
}

/// Whether the schedule ended so long ago that what is left over is given up. A generator that is still waiting for room
/// then has not noticed the end.
fn is_over(shared: &Shared, until: Until) -> bool {
    let planned = match until {
        Until::Records(_) => None,
        Until::Elapsed(duration) => shared.meter.started().map(|started| started + duration),
    };
    shared.meter.ended().or(planned).is_some_and(|ended| ended.elapsed() > DRAIN_PATIENCE)
}

/// Since when nothing was done.
struct Stall {
    done: u64,
    since: Instant,
}

impl Stall {
    fn lasts(&mut self, shared: &Shared) -> bool {
        let done = shared.tracker.done();
        if done != self.done || shared.tracker.is_idle() {
            *self = Self { done, since: Instant::now() };
        }
        self.since.elapsed() > STALL_PATIENCE
    }
}

async fn changed(ledger: Option<&Ledger>) {
    match ledger {
        Some(ledger) => ledger.changed().await,
        None => std::future::pending().await,
    }
}

fn durable(ledger: Option<&Ledger>, shared: &Shared) {
    if let Some(ticket) = ledger.and_then(|ledger| ledger.progress().durable) {
        shared.tracker.durable_up_to(ticket.number);
    }
}

/// Starts the generator on a thread of its own; without one, the receiver only learns that nobody sends.
fn start(generator: Option<Generator>) -> Outcome<oneshot::Receiver<Result<(), String>>> {
    let (done, receiver) = oneshot::channel();
    let Some(generator) = generator else { return Ok(receiver) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::machine("the load generator", error))?;
    std::thread::Builder::new()
        .name("load generator".to_owned())
        .spawn(move || {
            let sent = tokio::task::LocalSet::new().block_on(&runtime, generator());
            // Nobody listens any more when the run has failed meanwhile.
            done.send(sent).unwrap_or_default();
        })
        .map_err(|error| Trouble::machine("the load generator", error))?;
    Ok(receiver)
}

/// The counters of all actors when the clock began, and the samples of their mailboxes since.
struct Watch<'s> {
    shared: &'s Shared,
    began: Option<Began>,
    cpu: u64,
    fills: Vec<Fills>,
}

struct Began {
    at: Instant,
    actors: Vec<Snapshot>,
    waited: u64,
    outputs: u64,
    refused: u64,
}

#[derive(Default, Clone)]
struct Fills {
    samples: u64,
    sum: f64,
    max: f64,
    full: u64,
}

impl<'s> Watch<'s> {
    fn new(shared: &'s Shared, rig: &Rig) -> Self {
        Self { shared, began: None, cpu: 0, fills: vec![Fills::default(); rig.actors.len()] }
    }

    fn seconds(&self) -> f64 {
        self.began.as_ref().map_or(0.0, |began| began.at.elapsed().as_secs_f64())
    }

    /// The clock begins: what was counted before is taken off.
    fn begin(&mut self, rig: &Rig) {
        machine::forget_peak();
        self.sample(rig);
        let at = Instant::now();
        self.began = Some(Began {
            at,
            actors: rig.actors.iter().map(|observed| observed.stats.snapshot()).collect(),
            waited: self.shared.waited.load(Ordering::Relaxed),
            outputs: outputs(rig),
            refused: refused(rig),
        });
        self.shared.meter.start(at);
    }

    fn sample(&mut self, rig: &Rig) {
        let cpu = machine::process_cpu_micros().saturating_sub(self.shared.cpu.micros());
        let used = cpu.saturating_sub(self.cpu);
        self.cpu = cpu.max(self.cpu);
        if self.began.is_none() {
            return;
        }
        self.shared.meter.used(used);
        // Emptying mailboxes at the end would blur where the run was saturated.
        if self.shared.meter.ended().is_some() {
            return;
        }
        for (observed, fills) in rig.actors.iter().zip(&mut self.fills) {
            let fill = fill(observed);
            fills.samples += 1;
            fills.sum += fill;
            fills.max = fills.max.max(fill);
            fills.full += u64::from(fill >= FULL);
        }
    }

    fn seen(self, rig: &Rig, paced: bool) -> Outcome<Seen> {
        let nothing = || Trouble::Machine("the run failed: it ended while warming up".to_owned());
        let measured = self.shared.meter.measured(paced).ok_or_else(nothing)?;
        let began = self.began.ok_or_else(nothing)?;
        let ended = self.shared.meter.ended().unwrap_or_else(Instant::now);
        let scheduled_seconds = ended.saturating_duration_since(began.at).as_secs_f64();
        let micros = measured.seconds * 1e6;
        let share = |now: u64, before: u64| (now.saturating_sub(before) as f64 / micros * 100.0).min(100.0);
        let actors = rig.actors.iter().zip(&self.fills).enumerate().map(|(index, (observed, fills))| {
            let now = observed.stats.snapshot();
            let before = &began.actors[index];
            let room = share(now.waiting_for_room_micros, before.waiting_for_room_micros);
            let outside = share(now.waiting_outside_micros, before.waiting_outside_micros);
            ActorUse {
                actor: observed.actor.clone(),
                records: now.records - before.records,
                mailbox: observed.mailbox.as_ref().map(|_| fills.used()),
                waiting_for_room_percent: room,
                waiting_outside_percent: outside,
            }
        });
        Ok(Seen {
            actors: actors.collect(),
            generator_waited_percent: rig
                .is_fed
                .then(|| share(self.shared.waited.load(Ordering::Relaxed), began.waited)),
            peak_memory: machine::peak_memory(),
            outputs: rig.outputs.as_ref().map(|counted| (counted.what, outputs(rig) - began.outputs)),
            refused: refused(rig) - began.refused,
            left_over: self.shared.tracker.waiting(),
            scheduled_seconds,
            measured,
        })
    }
}

impl Fills {
    fn used(&self) -> MailboxUse {
        let samples = self.samples.max(1) as f64;
        MailboxUse {
            mean_percent: self.sum / samples * 100.0,
            max_percent: self.max * 100.0,
            full_percent: self.full as f64 / samples * 100.0,
        }
    }
}

fn outputs(rig: &Rig) -> u64 {
    rig.outputs.as_ref().map_or(0, |outputs| (outputs.count)())
}

fn refused(rig: &Rig) -> u64 {
    rig.refused.as_ref().map_or(0, |refused| refused.load(Ordering::Relaxed))
}

fn fill(observed: &Observed) -> f64 {
    let Some(mailbox) = &observed.mailbox else { return 0.0 };
    let limits = mailbox.limits();
    let bytes = mailbox.bytes_held() as f64 / limits.bytes as f64;
    bytes.max(mailbox.batches_held() as f64 / limits.batches as f64)
}
