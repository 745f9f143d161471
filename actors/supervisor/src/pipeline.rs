//! The supervisor of one pipeline: finds the shards that are to be read, gives each a supervisor, counts their failures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Recipient, WrapFuture};
use actix_rt::ArbiterHandle;
use futures_util::future::BoxFuture;
use futures_util::future::LocalBoxFuture;
use snowmelt_runtime::isolate::Care;
use snowmelt_runtime::supervise::{RestartPolicy, Restarts, Verdict};
use snowmelt_runtime::{Clock, Cores, Failure, Group, GroupContext, GroupId, Pause};

use crate::shard::{Command, ShardEvent, ShardOptions, ShardOutcome, ShardSupervisor};
use crate::status::{GroupState, Tree};

/// A shard that is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardPlan {
    /// Its id.
    pub shard: String,
}

/// How a pipeline's groups come about. Implemented by whoever knows what a definition says.
pub trait GroupSource: Send + Sync + 'static {
    /// The shards that can be read now: not ended, their parents done, ours to take.
    fn discover(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<ShardPlan>, Failure>>;

    /// Builds and starts the group of a shard, from its last checkpoint; with `care`, so that the record which kills it is
    /// found.
    fn build(
        self: Arc<Self>,
        plan: ShardPlan,
        context: GroupContext,
        care: Option<Care>,
    ) -> LocalBoxFuture<'static, Result<Group, Failure>>;

    /// Whether the shard was read to its end.
    fn is_ended(self: Arc<Self>, plan: &ShardPlan) -> BoxFuture<'static, Result<bool, Failure>>;
}

/// A pipeline to supervise.
#[derive(Clone)]
pub struct PipelineSpec {
    /// Its name: the application's.
    pub name: String,
    /// How its groups come about.
    pub source: Arc<dyn GroupSource>,
    /// Event loops for its groups, used in turn.
    pub arbiters: Vec<ArbiterHandle>,
    /// Supervision of its shards.
    pub shards: ShardOptions,
    /// How many shards may give up in which window before the pipeline does.
    pub policy: RestartPolicy,
    /// How often shards are looked for.
    pub discover_every: Duration,
}

/// What a pipeline tells its node.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct PipelineEvent {
    /// Which pipeline.
    pub pipeline: String,
    /// What happened.
    pub what: PipelineOutcome,
}

/// How a pipeline's life went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipelineOutcome {
    /// All its shards drained on request.
    Stopped,
    /// Its shards gave up too often.
    GaveUp(Failure),
}

/// Asks for a command to be given to one shard or to all.
#[derive(Debug, Clone, Message)]
#[rtype(result = "usize")]
pub struct Give {
    /// The shard; all of them when absent.
    pub shard: Option<String>,
    /// The command.
    pub command: Command,
}

/// The supervisor of one pipeline.
pub struct PipelineSupervisor {
    spec: PipelineSpec,
    clock: Clock,
    cores: Cores,
    parent: Recipient<PipelineEvent>,
    tree: Tree,
    restarts: Restarts,
    shards: BTreeMap<String, Child>,
    stopping: bool,
    /// Shards that are found from now on are not to be read.
    paused: bool,
    next_arbiter: usize,
}

struct Child {
    address: Addr<ShardSupervisor>,
    running: bool,
}

impl PipelineSupervisor {
    /// Starts the supervisor.
    pub fn spawn(
        spec: PipelineSpec,
        clock: Clock,
        cores: Cores,
        parent: Recipient<PipelineEvent>,
        tree: Tree,
    ) -> Addr<Self> {
        let restarts = Restarts::new(spec.policy);
        // The pipeline is seen from its first moment: what is not there yet is not ready.
        tree.update_pipeline(&spec.name, |_| {});
        Self {
            spec,
            clock,
            cores,
            parent,
            tree,
            restarts,
            shards: BTreeMap::new(),
            stopping: false,
            paused: false,
            next_arbiter: 0,
        }
        .start()
    }

    /// Looks for shards now and from then on every so often.
    fn keep_looking(&mut self, ctx: &mut Context<Self>) {
        self.look(ctx);
        let (clock, every) = (self.clock.clone(), self.spec.discover_every);
        let sleep = async move { clock.sleep(every).await };
        ctx.spawn(sleep.into_actor(self).map(|(), pipeline, ctx| pipeline.keep_looking(ctx)));
    }

    /// Looks for shards once.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let found = Arc::clone(&self.spec.source).discover();
        ctx.spawn(found.into_actor(self).map(|found, pipeline, ctx| match found {
            Ok(plans) => {
                plans.into_iter().for_each(|plan| pipeline.adopt(plan, ctx));
                pipeline.tree.update_pipeline(&pipeline.spec.name, |status| {
                    status.listed = true;
                    status.unlisted = None;
                });
            }
            Err(failure) => {
                tracing::warn!(pipeline = pipeline.spec.name, %failure, "shards could not be listed, trying again");
                let now_ms = pipeline.clock.now_ms();
                pipeline.tree.update_pipeline(&pipeline.spec.name, |status| status.unlisted = Some((now_ms, failure)));
            }
        }));
    }

    fn adopt(&mut self, plan: ShardPlan, ctx: &mut Context<Self>) {
        if self.stopping || self.shards.contains_key(&plan.shard) {
            return;
        }
        let arbiter = self.spec.arbiters[self.next_arbiter % self.spec.arbiters.len()].clone();
        self.next_arbiter += 1;
        let shard = plan.shard.clone();
        let context = GroupContext {
            id: GroupId { pipeline: self.spec.name.clone(), shard: shard.clone() },
            clock: self.clock.clone(),
            cores: self.cores.clone(),
            arbiter,
            pause: Pause::default(),
        };
        context.pause.set(self.paused);
        let parent = ctx.address().recipient();
        let source = Arc::clone(&self.spec.source);
        let address = ShardSupervisor::spawn(plan, source, context, parent, self.tree.clone(), self.spec.shards);
        self.shards.insert(shard, Child { address, running: true });
    }

    fn check_stopped(&self) {
        if self.stopping && self.shards.values().all(|child| !child.running) {
            self.tell(PipelineOutcome::Stopped);
        }
    }

    fn tell(&self, what: PipelineOutcome) {
        let event = PipelineEvent { pipeline: self.spec.name.clone(), what };
        #[expect(clippy::disallowed_methods, reason = "a few messages in the life of a pipeline")]
        self.parent.do_send(event);
    }
}

impl Actor for PipelineSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.keep_looking(ctx);
    }
}

impl Handler<ShardEvent> for PipelineSupervisor {
    type Result = ();

    fn handle(&mut self, event: ShardEvent, ctx: &mut Self::Context) {
        match event.what {
            ShardOutcome::Stopped => {
                if let Some(child) = self.shards.get_mut(&event.shard) {
                    child.running = false;
                }
                self.check_stopped();
            }
            ShardOutcome::Ended => {
                tracing::info!(pipeline = self.spec.name, shard = event.shard, "shard read to its end");
                self.shards.remove(&event.shard);
                self.check_stopped();
                // Its children can be read now.
                self.look(ctx);
            }
            ShardOutcome::LeaseLost => {
                // Looking for shards finds it again when it may be taken.
                self.shards.remove(&event.shard);
                self.check_stopped();
            }
            ShardOutcome::GaveUp(failure) => {
                self.shards.remove(&event.shard);
                self.tree.update_pipeline(&self.spec.name, |status| status.restarts += 1);
                let now_ms = self.clock.now_ms();
                // The window is counted by the clock that only grows: setting the other must not forgive or pile up.
                let failed_ms = self.clock.monotonic_ms().cast_signed();
                match self.restarts.failed(failed_ms, failed_ms, fastrand::f64()) {
                    Verdict::Restart(wait) => {
                        let id = GroupId { pipeline: self.spec.name.clone(), shard: event.shard.clone() };
                        let until_ms = now_ms.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
                        self.tree.update(&id, |status| status.state = GroupState::BackingOff { until_ms });
                        let clock = self.clock.clone();
                        let sleep = async move { clock.sleep(wait).await };
                        let plan = ShardPlan { shard: event.shard };
                        ctx.spawn(sleep.into_actor(self).map(|(), pipeline, ctx| pipeline.adopt(plan, ctx)));
                    }
                    Verdict::Escalate => {
                        self.tree.update_pipeline(&self.spec.name, |status| status.gave_up = true);
                        self.tell(PipelineOutcome::GaveUp(failure));
                    }
                }
            }
        }
    }
}

impl Handler<Give> for PipelineSupervisor {
    type Result = usize;

    fn handle(&mut self, give: Give, _ctx: &mut Self::Context) -> usize {
        let all = give.shard.is_none();
        match give.command {
            Command::Drain if all => self.stopping = true,
            Command::Restart if all => self.stopping = false,
            Command::Pause if all => self.paused = true,
            Command::Resume if all => (self.stopping, self.paused) = (false, false),
            _ => {}
        }
        let mut told = 0;
        for (shard, child) in &mut self.shards {
            if all || give.shard.as_deref() == Some(shard) {
                told += 1;
                child.running |= matches!(give.command, Command::Resume | Command::Restart);
                #[expect(clippy::disallowed_methods, reason = "an operator's command, one a shard")]
                child.address.do_send(give.command);
            }
        }
        self.check_stopped();
        told
    }
}
