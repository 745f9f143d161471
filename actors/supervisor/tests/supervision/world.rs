//! A node over groups that do nothing but count, on a clock that the test moves, with faults as the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::Addr;
use actix_rt::Arbiter;
use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use snowmelt_runtime::fault::{Fault, FaultHook, Moment, Turn};
use snowmelt_runtime::isolate::Care;
use snowmelt_runtime::supervise::RestartPolicy;
use snowmelt_runtime::{
    Batch, Clock, Cores, Failure, Group, GroupBuilder, GroupContext, GroupId, Ledger, MailboxLimits, Port, Stage,
    StageContext, Step, Worker,
};
use snowmelt_supervisor::node::{NodeState, Order};
use snowmelt_supervisor::shard::{Command, ShardOptions};
use snowmelt_supervisor::{
    GroupSource, GroupState, GroupStatus, Node, NodeOptions, PipelineSpec, ShardPlan, Tree, Watcher,
};
use tokio::sync::watch;

pub const HEARTBEAT: Duration = Duration::from_secs(30);
pub const DRAIN: Duration = Duration::from_secs(20);
pub const DISCOVER: Duration = Duration::from_secs(600);

/// Counts on, a batch a millisecond.
struct Reader {
    next: u64,
    ledger: Ledger,
    out: Option<Port<Batch<u64>>>,
}

#[async_trait(?Send)]
impl Worker for Reader {
    async fn step(&mut self, cx: &StageContext) -> Result<Step, Failure> {
        if cx.is_draining() {
            return Ok(Step::Done);
        }
        cx.rest(tokio::time::sleep(Duration::from_millis(1))).await;
        if cx.is_paused() {
            return Ok(Step::Continue);
        }
        self.next += 1;
        let ack = self.ledger.open(self.next.to_string(), 1);
        cx.stats().handled(1, 8);
        cx.stats().read(0, cx.clock().monotonic_ms());
        self.out.as_ref().unwrap().send(Batch::new(vec![self.next], 8, ack), cx).await?;
        Ok(Step::Continue)
    }

    async fn finish(mut self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        self.ledger.seal(false);
        self.out.take().unwrap().close()
    }
}

/// Takes what comes; while `stalled`, waits for a store that never answers.
struct Sink {
    stalled: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
}

#[async_trait(?Send)]
impl Stage for Sink {
    type Input = Batch<u64>;

    async fn handle(&mut self, input: Self::Input, cx: &StageContext) -> Result<(), Failure> {
        if self.stalled.load(Ordering::Relaxed) {
            cx.outside(async {
                while self.stalled.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
        }
        self.seen.fetch_add(1, Ordering::Relaxed);
        input.ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        Ok(())
    }
}

/// What a test changes while the node runs.
#[derive(Default)]
pub struct Script {
    shards: Mutex<BTreeSet<String>>,
    faults: Mutex<BTreeMap<(String, String), Fault>>,
    unbuildable: Mutex<BTreeSet<String>>,
    lost: Mutex<BTreeSet<String>>,
    taken: Mutex<BTreeSet<String>>,
    stalled: Mutex<BTreeMap<String, Arc<AtomicBool>>>,
    seen: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

impl Script {
    /// Adds a shard.
    pub fn add(&self, shard: &str) {
        self.shards.lock().unwrap().insert(shard.to_owned());
    }

    /// Lets an actor of a shard fail once, at its next message or step.
    pub fn fail(&self, shard: &str, actor: &str, fault: Fault) {
        self.faults.lock().unwrap().insert((shard.to_owned(), actor.to_owned()), fault);
    }

    /// The shard's groups can't be built from now on.
    pub fn spoil(&self, shard: &str) {
        self.unbuildable.lock().unwrap().insert(shard.to_owned());
    }

    /// Another worker has the shard's lease when its next group is to be built.
    pub fn take_lease(&self, shard: &str) {
        self.taken.lock().unwrap().insert(shard.to_owned());
    }

    /// The next group of the shard that is built finds that its lease is gone.
    pub fn lose_lease(&self, shard: &str) {
        self.lost.lock().unwrap().insert(shard.to_owned());
    }

    pub fn stall(&self, shard: &str, stalled: bool) {
        self.stalled.lock().unwrap().entry(shard.to_owned()).or_default().store(stalled, Ordering::Relaxed);
    }

    /// Records that the shard's sink took, over all groups.
    pub fn seen(&self, shard: &str) -> u64 {
        self.seen.lock().unwrap().entry(shard.to_owned()).or_default().load(Ordering::Relaxed)
    }
}

impl FaultHook for Script {
    fn fault(&self, group: &GroupId, actor: &str, turn: Turn, moment: Moment) -> Option<Fault> {
        let now = moment == Moment::Before && matches!(turn, Turn::Message | Turn::Step);
        now.then(|| self.faults.lock().unwrap().remove(&(group.shard.clone(), actor.to_owned())))?
    }
}

/// Fails as a checkpointer does whose lease is gone.
struct Loser;

#[async_trait(?Send)]
impl Worker for Loser {
    async fn step(&mut self, _cx: &StageContext) -> Result<Step, Failure> {
        Err(Failure::LeaseLost { message: "owned by another".into() })
    }

    async fn finish(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        Ok(())
    }
}

struct Counting(Arc<Script>);

impl GroupSource for Counting {
    fn discover(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<ShardPlan>, Failure>> {
        let shards = self.0.shards.lock().unwrap().iter().map(|shard| ShardPlan { shard: shard.clone() }).collect();
        async move { Ok(shards) }.boxed()
    }

    fn build(
        self: Arc<Self>,
        plan: ShardPlan,
        context: GroupContext,
        _care: Option<Care>,
    ) -> LocalBoxFuture<'static, Result<Group, Failure>> {
        let script = Arc::clone(&self.0);
        async move {
            if script.unbuildable.lock().unwrap().contains(&plan.shard) {
                return Err(Failure::message("no such table"));
            }
            if script.taken.lock().unwrap().remove(&plan.shard) {
                return Err(Failure::LeaseLost { message: "held by another".into() });
            }
            let stalled = Arc::clone(script.stalled.lock().unwrap().entry(plan.shard.clone()).or_default());
            let seen = Arc::clone(script.seen.lock().unwrap().entry(plan.shard.clone()).or_default());
            let ledger = Ledger::new();
            let mut builder = GroupBuilder::new(context);
            builder.set_ledger(ledger.clone());
            builder.set_faults(script.clone());
            let port = builder.stage("sink", MailboxLimits::new(1 << 10, 4), move || Sink { stalled, seen });
            builder.worker("shard-reader", move || Reader { next: 0, ledger, out: Some(port) });
            if script.lost.lock().unwrap().remove(&plan.shard) {
                builder.worker("checkpointer", || Loser);
            }
            // A group is not there at once when its reader is.
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(builder.finish())
        }
        .boxed_local()
    }

    fn is_ended(self: Arc<Self>, _plan: &ShardPlan) -> BoxFuture<'static, Result<bool, Failure>> {
        async { Ok(false) }.boxed()
    }
}

pub struct World {
    pub clock: Clock,
    pub tree: Tree,
    pub script: Arc<Script>,
    pub node: Addr<Node>,
    pub state: watch::Receiver<NodeState>,
    pub watcher: Watcher,
    loops: Vec<Arbiter>,
}

impl World {
    /// A node with pipeline "p" over the shards, an event loop each; a first look at its groups.
    pub async fn of(shards: &[&str], shard_policy: RestartPolicy, policy: RestartPolicy) -> Self {
        Self::on(Clock::manual(1_000_000), shards, shard_policy, policy).await
    }

    pub async fn on(clock: Clock, shards: &[&str], shard_policy: RestartPolicy, policy: RestartPolicy) -> Self {
        let (tree, script) = (Tree::new(), Arc::new(Script::default()));
        shards.iter().for_each(|shard| script.add(shard));
        let loops: Vec<Arbiter> = shards.iter().map(|_| Arbiter::new()).collect();
        let spec = PipelineSpec {
            name: "p".into(),
            source: Arc::new(Counting(Arc::clone(&script))),
            arbiters: loops.iter().map(Arbiter::handle).collect(),
            shards: ShardOptions { policy: shard_policy, heartbeat: HEARTBEAT, drain: DRAIN },
            policy,
            discover_every: DISCOVER,
        };
        let options = NodeOptions { clock: clock.clone(), cores: Cores::new(1).unwrap(), tree: tree.clone() };
        let (node, state) = Node::spawn(vec![spec], options);
        let world = Self { clock, tree, script, node, state, watcher: Watcher::new(), loops };
        for shard in shards {
            world.until(|| world.is(shard, &GroupState::Running)).await;
        }
        world
    }

    /// A shard's line in the tree.
    pub fn group(&self, shard: &str) -> GroupStatus {
        self.tree.groups().into_iter().find(|group| group.id.shard == shard).unwrap()
    }

    /// Whether the shard has a group in this state.
    pub fn is(&self, shard: &str, state: &GroupState) -> bool {
        self.tree.groups().iter().any(|group| group.id.shard == shard && group.state == *state)
    }

    /// Waits in real time; the node's clock stands still.
    pub async fn until(&self, mut done: impl FnMut() -> bool) {
        self.until_moving(Duration::ZERO, &mut done).await;
    }

    /// Waits while the node's clock moves by `step` every few milliseconds.
    pub async fn until_moving(&self, step: Duration, mut done: impl FnMut() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(20), "not within 20 s: {:#?}", self.tree.groups());
            tokio::time::sleep(Duration::from_millis(2)).await;
            self.clock.advance(step);
        }
    }

    /// Lets real time pass in which nothing must happen.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(60)).await;
    }

    pub async fn order(&self, shard: Option<&str>, command: Command) {
        let order = Order { pipeline: None, shard: shard.map(str::to_owned), command };
        self.node.send(order).await.unwrap();
    }

    /// Waits until the shard's sink has taken more than it has now.
    pub async fn goes_on(&self, shard: &str) {
        let before = self.script.seen(shard);
        self.until(|| self.script.seen(shard) > before + 3).await;
    }

    /// Takes a sample and reports on the only pipeline.
    pub fn look(&mut self) -> snowmelt_supervisor::report::PipelineReport {
        let now_ms = self.clock.monotonic_ms();
        self.watcher.sample(&self.tree, now_ms);
        self.watcher.report(&self.tree, now_ms, self.clock.now_ms()).remove(0)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for event_loop in &self.loops {
            event_loop.stop();
        }
    }
}
