//! What a supervised restart costs without its back-off: from a reader's panic to the moment the next group runs and its reader
//! has taken its first step. `cargo bench -p snowmelt-supervisor --bench restart`.
#![allow(clippy::unwrap_used, reason = "a bench fails by it")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_rt::Arbiter;
use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use snowmelt_runtime::isolate::Care;
use snowmelt_runtime::supervise::RestartPolicy;
use snowmelt_runtime::{
    Batch, Clock, Cores, Failure, Group, GroupBuilder, GroupContext, MailboxLimits, Port, Stage, StageContext, Step,
    Worker,
};
use snowmelt_supervisor::shard::ShardOptions;
use snowmelt_supervisor::{GroupSource, Node, NodeOptions, PipelineSpec, ShardPlan, Tree};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 1_000;

/// When the last group panicked, and how long each restart took.
#[derive(Default)]
struct Times {
    panicked: Option<Instant>,
    restarts: Vec<Duration>,
}

/// Notes that it runs, then panics.
struct Mortal(Arc<Mutex<Times>>, Option<Port<Batch<u64>>>);

#[async_trait(?Send)]
impl Worker for Mortal {
    async fn step(&mut self, cx: &StageContext) -> Result<Step, Failure> {
        {
            let mut times = self.0.lock().unwrap();
            if let Some(panicked) = times.panicked.take() {
                times.restarts.push(panicked.elapsed());
            }
        }
        // A group lives for a moment before the next death.
        cx.rest(tokio::time::sleep(Duration::from_millis(1))).await;
        self.0.lock().unwrap().panicked = Some(Instant::now());
        panic!("as it must")
    }

    async fn finish(mut self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        self.1.take().unwrap().close()
    }
}

/// Six more actors, as a shard has.
struct Link(Option<Port<Batch<u64>>>);

#[async_trait(?Send)]
impl Stage for Link {
    type Input = Batch<u64>;

    async fn handle(&mut self, input: Self::Input, _cx: &StageContext) -> Result<(), Failure> {
        input.ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        self.0.map_or(Ok(()), Port::close)
    }
}

struct Chain(Arc<Mutex<Times>>);

impl GroupSource for Chain {
    fn discover(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<ShardPlan>, Failure>> {
        async { Ok(vec![ShardPlan { shard: "0".into() }]) }.boxed()
    }

    fn build(
        self: Arc<Self>,
        _plan: ShardPlan,
        context: GroupContext,
        _care: Option<Care>,
    ) -> LocalBoxFuture<'static, Result<Group, Failure>> {
        async move {
            let mut builder = GroupBuilder::new(context);
            let mut next = None;
            for number in 0..6 {
                let out = next.take();
                next =
                    Some(builder.stage(&format!("link {number}"), MailboxLimits::new(1 << 20, 4), move || Link(out)));
            }
            let times = Arc::clone(&self.0);
            builder.worker("mortal", move || Mortal(times, next));
            Ok(builder.finish())
        }
        .boxed_local()
    }

    fn is_ended(self: Arc<Self>, _plan: &ShardPlan) -> BoxFuture<'static, Result<bool, Failure>> {
        async { Ok(false) }.boxed()
    }
}

#[actix::main]
async fn main() {
    // Panics are the point here, not their words.
    std::panic::set_hook(Box::new(|_| {}));
    let times = Arc::new(Mutex::new(Times::default()));
    let arbiter = Arbiter::new();
    let policy = RestartPolicy {
        max_restarts: usize::MAX,
        base: Duration::ZERO,
        cap: Duration::ZERO,
        ..RestartPolicy::default()
    };
    let spec = PipelineSpec {
        name: "bench".into(),
        source: Arc::new(Chain(Arc::clone(&times))),
        arbiters: vec![arbiter.handle()],
        shards: ShardOptions { policy, heartbeat: Duration::from_secs(30), drain: Duration::from_secs(30) },
        policy,
        discover_every: Duration::from_secs(60),
    };
    let options = NodeOptions { clock: Clock::system(), cores: Cores::new(1).unwrap(), tree: Tree::new() };
    let (_node, _state) = Node::spawn(vec![spec], options);
    while times.lock().unwrap().restarts.len() < ROUNDS {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut restarts = times.lock().unwrap().restarts.clone();
    restarts.sort_unstable();
    let at = |share: f64| restarts[((restarts.len() - 1) as f64 * share) as usize];
    println!("a group of 7 actors after a panic, without back-off, {} restarts", restarts.len());
    println!("median {:?}, 90 % within {:?}, 99 % within {:?}", at(0.5), at(0.9), at(0.99));
    arbiter.stop();
}
