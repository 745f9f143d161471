//! The supervisor of one shard: builds its group, watches it, builds it again.

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Recipient, WrapFuture,
};
use actix_rt::{Arbiter, ArbiterHandle};
use snowmelt_runtime::ack::Progress;
use snowmelt_runtime::group::GroupEnd;
use snowmelt_runtime::isolate::{Blame, Isolation};
use snowmelt_runtime::supervise::{RestartPolicy, Restarts, Verdict};
use snowmelt_runtime::{Clock, Failure, Group, GroupContext};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::pipeline::{GroupSource, ShardPlan};
use crate::status::{GroupState, Mishap, Tree};

/// What an operator, or the parent, may ask of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum Command {
    /// Drain, then build again; a group that waits or is down is built at once. No failure, whatever comes of the drain.
    Restart,
    /// Drain and stay down.
    Drain,
    /// Read nothing more, but keep the group and its lease; holds over restarts until [`Command::Resume`].
    Pause,
    /// Run again after [`Command::Drain`] or [`Command::Pause`].
    Resume,
}

/// What a shard tells its pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ShardEvent {
    /// Which shard.
    pub shard: String,
    /// What happened.
    pub what: ShardOutcome,
}

/// How a shard's life went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardOutcome {
    /// It drained on request.
    Stopped,
    /// It was read to its end.
    Ended,
    /// Another owner took its lease; it is for the pipeline to see whether it may be taken again.
    LeaseLost,
    /// It failed too often.
    GaveUp(Failure),
}

/// What the supervisor is to do when its group has drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    Run,
    Stop,
}

/// Settings of a shard's supervision.
#[derive(Debug, Clone, Copy)]
pub struct ShardOptions {
    /// When to build again, when to give up.
    pub policy: RestartPolicy,
    /// Without progress for this long while it works, an actor counts as hung.
    pub heartbeat: Duration,
    /// A drain that takes longer is given up; what is not finished is read again at the next start.
    pub drain: Duration,
}

/// The supervisor of one shard.
pub struct ShardSupervisor {
    plan: ShardPlan,
    source: Arc<dyn GroupSource>,
    context: GroupContext,
    parent: Recipient<ShardEvent>,
    tree: Tree,
    options: ShardOptions,
    restarts: Restarts,
    intent: Intent,
    generation: u64,
    /// When the group was started, by the clock that only grows.
    started_ms: u64,
    /// Which record may be to blame for the group's deaths.
    isolation: Isolation,
    /// The failure being handled is a step of looking for that record.
    isolating: bool,
    running: Option<Running>,
    /// Between a failure and the next start.
    backing_off: bool,
    /// Between the wish for a group and its start.
    building: bool,
}

/// The switches of the group that runs now.
struct Running {
    generation: u64,
    kill: CancellationToken,
    drain: CancellationToken,
    /// An operator asked for its end: how it ends is no failure.
    restarting: bool,
}

/// How long an event loop may take to answer before a group is built on another.
const ARBITER_PATIENCE: Duration = Duration::from_secs(1);

/// Whether an event loop turns.
async fn turns(arbiter: &ArbiterHandle, patience: Duration) -> bool {
    let (answer, answered) = oneshot::channel();
    // Whoever asked may have given up meanwhile.
    arbiter.spawn_fn(move || answer.send(()).unwrap_or(()))
        && matches!(tokio::time::timeout(patience, answered).await, Ok(Ok(())))
}

/// Where a group died, if its records may be to blame: an actor with a mailbox failed, or lost a batch.
struct Evidence {
    progress: Progress,
}

impl Evidence {
    fn of(group: &Group, end: &GroupEnd) -> Option<Self> {
        let GroupEnd::Failed { actor, failure } = end else { return None };
        if matches!(failure, Failure::Outage { .. }) {
            return None;
        }
        let handles = |actor: &str| group.actors().iter().any(|seen| seen.actor == actor && seen.mailbox.is_some());
        let suspicious = handles(actor) || matches!(failure, Failure::Unacknowledged { .. });
        let progress = group.progress().filter(|_| suspicious)?;
        Some(Self { progress })
    }
}

/// Waits for a group's end; a hang, or a drain without end, is one too.
async fn watch(group: &mut Group, options: ShardOptions, clock: &Clock) -> GroupEnd {
    let heartbeat_ms = u64::try_from(options.heartbeat.as_millis()).unwrap_or(u64::MAX);
    let asked = group.drain_switch();
    let overdue = async {
        asked.cancelled().await;
        clock.sleep(options.drain).await;
    };
    tokio::pin!(overdue);
    loop {
        tokio::select! {
            end = group.ended() => return end,
            () = &mut overdue => {
                let failure = Failure::message(format!("not drained within {} ms", options.drain.as_millis()));
                return GroupEnd::Failed { actor: "drain".to_owned(), failure };
            }
            () = clock.sleep(options.heartbeat / 4) => {
                if let Some((actor, failure)) = group.hung(heartbeat_ms) {
                    return GroupEnd::Failed { actor, failure };
                }
            }
        }
    }
}

impl ShardSupervisor {
    /// Starts the supervisor on the caller's event loop: not its group's, so that a blocked one can be seen.
    pub fn spawn(
        plan: ShardPlan,
        source: Arc<dyn GroupSource>,
        context: GroupContext,
        parent: Recipient<ShardEvent>,
        tree: Tree,
        options: ShardOptions,
    ) -> Addr<Self> {
        Self {
            plan,
            source,
            parent,
            tree,
            options,
            restarts: Restarts::new(options.policy),
            intent: Intent::Run,
            generation: 0,
            started_ms: context.clock.monotonic_ms(),
            isolation: Isolation::default(),
            isolating: false,
            context,
            running: None,
            backing_off: false,
            building: false,
        }
        .start()
    }

    fn build(&mut self, ctx: &mut Context<Self>) {
        self.generation += 1;
        self.backing_off = false;
        self.building = true;
        self.started_ms = self.context.clock.monotonic_ms();
        self.tree.update(&self.context.id, |status| {
            status.state = GroupState::Starting;
            status.generation += 1;
            status.heartbeat = self.options.heartbeat;
        });
        let (source, plan, mut context) = (Arc::clone(&self.source), self.plan.clone(), self.context.clone());
        let (care, heartbeat) = (self.isolation.care().cloned(), self.options.heartbeat);
        let building = async move {
            if !turns(&context.arbiter, heartbeat.min(ARBITER_PATIENCE)).await {
                tracing::error!(group = %context.id, "its event loop is blocked, going on with a new one");
                context.arbiter = Arbiter::new().handle();
            }
            let arbiter = context.arbiter.clone();
            (source.build(plan, context, care).await, arbiter)
        };
        ctx.spawn(building.into_actor(self).map(|(built, arbiter), supervisor, ctx| {
            supervisor.context.arbiter = arbiter;
            supervisor.building = false;
            match built {
                Ok(group) => supervisor.run(group, ctx),
                // Taken by another worker between two lives of the group: no failure of this one.
                Err(failure @ Failure::LeaseLost { .. }) => {
                    supervisor.ended(GroupEnd::Failed { actor: "build".to_owned(), failure }, None, ctx);
                }
                Err(failure) => supervisor.failed("build".to_owned(), failure, ctx),
            }
        }));
    }

    fn run(&mut self, mut group: Group, ctx: &mut Context<Self>) {
        let generation = self.generation;
        let running = Running { generation, kill: group.kill_switch(), drain: group.drain_switch(), restarting: false };
        let stopping = self.intent != Intent::Run;
        if stopping {
            running.drain.cancel();
        }
        self.running = Some(running);
        let (actors, ledger) = (group.actors().to_vec(), group.ledger().cloned());
        self.tree.update(&self.context.id, |status| {
            status.state = match (stopping, self.context.pause.is_set()) {
                (true, _) => GroupState::Draining,
                (false, true) => GroupState::Paused,
                (false, false) => GroupState::Running,
            };
            status.replace_actors(actors, ledger);
        });
        tracing::info!(group = %self.context.id, generation, "group started");
        let (options, clock) = (self.options, self.context.clock.clone());
        let watched = async move {
            let end = watch(&mut group, options, &clock).await;
            let blame = Evidence::of(&group, &end);
            (end, blame)
        };
        ctx.spawn(
            watched.into_actor(self).map(|(end, evidence), supervisor, ctx| supervisor.ended(end, evidence, ctx)),
        );
    }

    fn ended(&mut self, end: GroupEnd, evidence: Option<Evidence>, ctx: &mut Context<Self>) {
        let running = self.running.take();
        match &end {
            GroupEnd::Drained => self.isolation.drained(),
            // What happens while a group is made to end says little about its records.
            GroupEnd::Failed { .. } if running.as_ref().is_some_and(|running| running.drain.is_cancelled()) => {}
            GroupEnd::Failed { failure, .. } => {
                if let Some(evidence) = evidence
                    && self.isolation.died(&evidence.progress, failure) == Blame::Isolating
                {
                    self.isolating = true;
                }
            }
        }
        match end {
            GroupEnd::Failed { actor, failure: Failure::LeaseLost { message } } => {
                tracing::warn!(group = %self.context.id, actor, message, "lease lost, the group ends here");
                self.note(actor, Failure::LeaseLost { message });
                // What was to be stopped is stopped.
                let stopped = self.intent == Intent::Stop;
                let outcome = if stopped { ShardOutcome::Stopped } else { ShardOutcome::LeaseLost };
                self.tell(GroupState::LeaseLost, outcome);
                if !stopped {
                    ctx.stop();
                }
            }
            GroupEnd::Failed { actor, failure }
                if self.intent == Intent::Run && running.is_some_and(|running| running.restarting) =>
            {
                tracing::warn!(group = %self.context.id, actor, %failure, "not drained in good order, starting again from its last checkpoint");
                self.note(actor, failure);
                self.build(ctx);
            }
            GroupEnd::Failed { actor, failure } => self.failed(actor, failure, ctx),
            GroupEnd::Drained if self.intent == Intent::Stop => self.stopped(),
            GroupEnd::Drained => {
                // Nobody asked for the end: the shard itself is at its end, or a restart was asked for.
                let ended = Arc::clone(&self.source).is_ended(&self.plan);
                ctx.spawn(ended.into_actor(self).map(|ended, supervisor, ctx| match ended {
                    Ok(true) => {
                        supervisor.tell(GroupState::Ended, ShardOutcome::Ended);
                        ctx.stop();
                    }
                    Ok(false) => supervisor.build(ctx),
                    Err(failure) => supervisor.failed("shard".to_owned(), failure, ctx),
                }));
            }
        }
    }

    fn stopped(&mut self) {
        tracing::info!(group = %self.context.id, "group drained");
        self.tell(GroupState::Stopped, ShardOutcome::Stopped);
    }

    /// Writes the last failure down.
    fn note(&self, actor: String, failure: Failure) {
        let at_ms = self.context.clock.now_ms();
        self.tree.update(&self.context.id, |status| status.last_failure = Some(Mishap { at_ms, actor, failure }));
    }

    fn failed(&mut self, actor: String, failure: Failure, ctx: &mut Context<Self>) {
        let now_ms = self.context.clock.now_ms();
        let verdict = if std::mem::take(&mut self.isolating) {
            if let Some(care) = self.isolation.care() {
                let (limit, condemned) = (care.limit, care.condemned.len());
                tracing::warn!(group = %self.context.id, limit, condemned, "looking for the record that kills the group");
            }
            Verdict::Restart(self.restarts.isolating(fastrand::f64()))
        } else {
            let (now, started) = (self.context.clock.monotonic_ms(), self.started_ms);
            self.restarts.failed(now.cast_signed(), started.cast_signed(), fastrand::f64())
        };
        let restarts = self.restarts.total();
        let id = self.context.id.clone();
        self.tree.update(&id, |status| status.restarts += 1);
        self.note(actor.clone(), failure.clone());
        if self.intent == Intent::Stop {
            tracing::warn!(group = %id, actor, %failure, "group failed while draining; its rest is read again at the next start");
            self.stopped();
            return;
        }
        match verdict {
            Verdict::Restart(wait) => {
                let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                tracing::warn!(group = %id, actor, %failure, wait_ms, restarts, "group failed, starting again from its last checkpoint");
                self.tree.update(&id, |status| {
                    status.state = GroupState::BackingOff { until_ms: now_ms.saturating_add(wait_ms) }
                });
                self.backing_off = true;
                let clock = self.context.clock.clone();
                let generation = self.generation;
                let sleep = async move {
                    // A timer takes a millisecond even for nothing.
                    if !wait.is_zero() {
                        clock.sleep(wait).await;
                    }
                };
                ctx.spawn(sleep.into_actor(self).map(move |(), supervisor, ctx| {
                    if supervisor.backing_off && supervisor.generation == generation {
                        supervisor.build(ctx);
                    }
                }));
            }
            Verdict::Escalate => {
                tracing::error!(group = %id, actor, %failure, restarts, "group failed too often");
                self.tell(GroupState::GaveUp, ShardOutcome::GaveUp(failure));
                ctx.stop();
            }
        }
    }

    fn tell(&self, state: GroupState, what: ShardOutcome) {
        self.tree.update(&self.context.id, |status| status.state = state);
        let event = ShardEvent { shard: self.plan.shard.clone(), what };
        #[expect(clippy::disallowed_methods, reason = "one message in the life of a shard")]
        self.parent.do_send(event);
    }
}

impl Actor for ShardSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.build(ctx);
    }

    fn stopped(&mut self, _ctx: &mut Self::Context) {
        if let Some(running) = self.running.take() {
            running.kill.cancel();
        }
    }
}

impl Handler<Command> for ShardSupervisor {
    type Result = ();

    fn handle(&mut self, command: Command, ctx: &mut Self::Context) {
        match command {
            Command::Restart | Command::Drain => {
                let restart = command == Command::Restart;
                self.intent = if restart { Intent::Run } else { Intent::Stop };
                if let Some(running) = &mut self.running {
                    tracing::info!(group = %self.context.id, generation = running.generation, ?command, "draining");
                    running.restarting = restart;
                    running.drain.cancel();
                    self.tree.update(&self.context.id, |status| status.state = GroupState::Draining);
                } else if self.building {
                    // The group that is being built sees the intent.
                } else if restart {
                    self.build(ctx);
                } else if self.backing_off {
                    self.backing_off = false;
                    self.stopped();
                }
            }
            Command::Pause | Command::Resume => {
                let paused = command == Command::Pause;
                self.context.pause.set(paused);
                let was = if paused { self.intent } else { std::mem::replace(&mut self.intent, Intent::Run) };
                if let Some(running) = &mut self.running {
                    tracing::info!(group = %self.context.id, generation = running.generation, ?command, "as asked");
                    if running.drain.is_cancelled() {
                        // It drains, and runs again after that if it is to.
                        running.restarting |= !paused;
                    } else {
                        let state = if paused { GroupState::Paused } else { GroupState::Running };
                        self.tree.update(&self.context.id, |status| status.state = state);
                    }
                } else if !paused && was == Intent::Stop && !self.building {
                    self.build(ctx);
                }
            }
        }
    }
}
