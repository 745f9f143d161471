//! The root of the tree: all pipelines of one process.

use std::collections::BTreeMap;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use snowmelt_runtime::{Clock, Cores, Failure};
use tokio::sync::watch;

use crate::pipeline::{Give, PipelineEvent, PipelineOutcome, PipelineSpec, PipelineSupervisor};
use crate::shard::Command;
use crate::status::Tree;

/// What a node runs with.
#[derive(Clone)]
pub struct NodeOptions {
    /// Time.
    pub clock: Clock,
    /// The pool for CPU work.
    pub cores: Cores,
    /// Where its state is shown.
    pub tree: Tree,
}

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// Its pipelines run.
    Running,
    /// All pipelines drained on request.
    Stopped,
    /// A pipeline gave up: the process is to end with an error.
    Failed {
        /// Which pipeline.
        pipeline: String,
        /// Why.
        failure: Failure,
    },
}

/// A command to a pipeline or one of its shards, or to everything.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Order {
    /// The pipeline; all of them when absent.
    pub pipeline: Option<String>,
    /// The shard; all of them when absent.
    pub shard: Option<String>,
    /// The command.
    pub command: Command,
}

/// The root supervisor.
pub struct Node {
    options: NodeOptions,
    specs: Vec<PipelineSpec>,
    pipelines: BTreeMap<String, (Addr<PipelineSupervisor>, bool)>,
    state: watch::Sender<NodeState>,
}

impl Node {
    /// Starts the node and its pipelines; the receiver tells how it stands.
    pub fn spawn(specs: Vec<PipelineSpec>, options: NodeOptions) -> (Addr<Self>, watch::Receiver<NodeState>) {
        let (state, receiver) = watch::channel(NodeState::Running);
        let node = Self { options, specs, pipelines: BTreeMap::new(), state };
        (node.start(), receiver)
    }
}

impl Actor for Node {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for spec in self.specs.drain(..) {
            let name = spec.name.clone();
            let parent = ctx.address().recipient();
            let (clock, cores, tree) =
                (self.options.clock.clone(), self.options.cores.clone(), self.options.tree.clone());
            let address = PipelineSupervisor::spawn(spec, clock, cores, parent, tree);
            self.pipelines.insert(name, (address, true));
        }
    }
}

impl Handler<PipelineEvent> for Node {
    type Result = ();

    fn handle(&mut self, event: PipelineEvent, _ctx: &mut Self::Context) {
        match event.what {
            PipelineOutcome::Stopped => {
                if let Some((_, running)) = self.pipelines.get_mut(&event.pipeline) {
                    *running = false;
                }
                if self.pipelines.values().all(|(_, running)| !running) {
                    self.state.send_replace(NodeState::Stopped);
                }
            }
            PipelineOutcome::GaveUp(failure) => {
                tracing::error!(pipeline = event.pipeline, %failure, "pipeline gave up");
                self.state.send_replace(NodeState::Failed { pipeline: event.pipeline, failure });
            }
        }
    }
}

impl Handler<Order> for Node {
    type Result = ();

    fn handle(&mut self, order: Order, _ctx: &mut Self::Context) {
        for (name, (address, running)) in &mut self.pipelines {
            if order.pipeline.as_deref().is_none_or(|wanted| wanted == name) {
                if matches!(order.command, Command::Resume | Command::Restart) {
                    *running = true;
                    // Whoever waits for the end of a drain must not take the one before for it.
                    self.state.send_if_modified(|state| {
                        let stopped = *state == NodeState::Stopped;
                        if stopped {
                            *state = NodeState::Running;
                        }
                        stopped
                    });
                }
                #[expect(clippy::disallowed_methods, reason = "an operator's command, one a pipeline")]
                address.do_send(Give { shard: order.shard.clone(), command: order.command });
            }
        }
        if self.pipelines.is_empty() {
            self.state.send_replace(NodeState::Stopped);
        }
    }
}
