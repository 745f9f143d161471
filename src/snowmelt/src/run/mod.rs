//! `snowmelt run`: definitions as a running node.

pub mod assets;
pub mod aws;
pub mod backends;
mod banner;
mod collectors;
pub mod enriching;
pub mod groups;
mod objects;
pub mod operator;
pub mod registries;
mod servers;
pub mod settings;
mod signals;
mod sinks;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use snowmelt_runtime::supervise::RestartPolicy;
use snowmelt_runtime::{Clock, Cores};
use snowmelt_supervisor::node::{NodeState, Order};
use snowmelt_supervisor::shard::{Command, ShardOptions};
use snowmelt_supervisor::{Node, NodeOptions, PipelineSpec, Tree};
use tokio::sync::watch;

use crate::cli::DefinitionArgs;
use crate::definition::model::{Definition, Work};
use crate::definition::{Originals, Overrides, Plan, load};
use crate::run::backends::Backends;
use crate::run::collectors::Collectors;
use crate::run::groups::{ShardGroups, Tuning};
use crate::run::registries::Registries;
use crate::running::RunFile;
use crate::trouble::{Outcome, Trouble};

/// How often a stream is asked for new shards.
const DISCOVER_EVERY: Duration = Duration::from_secs(10);
/// How often a worker of a fleet looks which shards it has; the lease table itself is read less often.
const SHARE_EVERY: Duration = Duration::from_secs(1);

/// Runs the command.
pub fn run(args: &DefinitionArgs) -> Outcome {
    let mut overrides = Overrides::new(std::env::vars(), &args.sets)?;
    if let Some(data_dir) = &args.data_dir {
        overrides.push("backend.data_dir", data_dir.display().to_string(), "--data-dir");
    }
    let originals = Originals::read(&args.originals)?;
    let plan = load(&args.files, &originals, &overrides)?;
    for note in originals.notes() {
        tracing::warn!("{note}");
    }
    actix_rt::System::new().block_on(node(plan))
}

/// What a node has started, in the order in which it has to be stopped.
struct Started {
    collectors: Collectors,
    registries: Registries,
    node: Addr<Node>,
    state: watch::Receiver<NodeState>,
    operator: operator::Operator,
    backends: Backends,
}

async fn node(plan: Plan) -> Outcome {
    let mut signals = signals::Signals::new()?;
    let plan = Arc::new(plan);
    let started = tokio::select! {
        started = start(Arc::clone(&plan)) => started?,
        () = signals.next() => {
            // Nothing was read yet: as good an end as any that is asked for.
            eprintln!("stopped while starting");
            return Ok(());
        }
    };
    let outcome = serve(started, &plan, &mut signals).await;
    RunFile::remove(&plan.backend.data_dir);
    outcome
}

async fn start(plan: Arc<Plan>) -> Outcome<Started> {
    let clock = Clock::system();
    let cores = Cores::new(0).map_err(|error| Trouble::caused("threads can't be started", error))?;
    let metrics = operator::install_metrics()?;
    // Ports first: a port in use is the commonest trouble, and is told before anything is touched.
    let access = operator::access::Access::new(plan.backend.operator_token_file.as_deref())?;
    let operator_listener = operator::bind(plan.backend.operator, &access)?;
    let listeners = collectors::bind(&plan)?;
    let registry_listeners = registries::bind(&plan)?;
    let mut backends = Backends::open(&plan, clock.clone()).await?;
    // Before whatever resolves schemas.
    let registries = registries::start(&plan, registry_listeners, &backends).await?;
    backends.registry = registries.own();
    // Before anything runs: a spool may be another process's.
    let prepared = collectors::prepare(&plan, &backends, &clock).await?;
    let tree = Tree::new();
    let specs = specs(&plan, &backends).await?;
    let options = NodeOptions { clock: clock.clone(), cores, tree: tree.clone() };
    let (node, state) = Node::spawn(specs, options);
    let collectors = collectors::start(prepared, listeners, &clock)?;
    let view = operator::View {
        node: node.clone(),
        tree,
        streams: Arc::clone(&backends.streams),
        collectors: collectors.health(),
        registries: registries.health(),
        metrics,
        clock,
    };
    let operator = operator::start(operator_listener, access, view)?;
    let mut run_file = backends.run_file(collectors.url(), operator.url());
    run_file.operator_token_file = match &plan.backend.operator_token_file {
        Some(file) => Some(file.canonicalize().map_err(|error| Trouble::machine(&file.display().to_string(), error))?),
        None => None,
    };
    run_file.registry_url = registries.url();
    run_file.registry_key_file = registries.key_file();
    run_file.write(&plan.backend.data_dir)?;
    banner::print(&plan, &run_file, &backends.owner);
    Ok(Started { collectors, registries, node, state, operator, backends })
}

/// One spec a definition that reads a stream.
async fn specs(plan: &Plan, backends: &Backends) -> Outcome<Vec<PipelineSpec>> {
    let arbiters: Vec<actix_rt::ArbiterHandle> = backends.arbiters.iter().map(actix_rt::Arbiter::handle).collect();
    let mut specs = Vec::new();
    for (index, definition) in plan.definitions.iter().enumerate() {
        if matches!(definition.work, Work::Collect(_) | Work::Registry(_)) {
            continue;
        }
        // Each pipeline begins with another event loop, so that single-shard pipelines spread over all of them.
        let mut arbiters = arbiters.clone();
        let first = index % arbiters.len().max(1);
        arbiters.rotate_left(first);
        specs.push(PipelineSpec {
            name: definition.name.clone(),
            source: Arc::new(
                ShardGroups::new(definition.clone(), backends.stores(&definition.name), Tuning::default()).await?,
            ),
            arbiters,
            shards: shard_options(definition),
            policy: pipeline_policy(definition),
            discover_every: if plan.backend.aws.is_some() { SHARE_EVERY } else { DISCOVER_EVERY },
        });
    }
    Ok(specs)
}

fn shard_options(definition: &Definition) -> ShardOptions {
    let limits = definition.limits;
    let policy = RestartPolicy { max_restarts: limits.max_restarts, window: limits.window, ..RestartPolicy::default() };
    ShardOptions { policy, heartbeat: limits.heartbeat, drain: limits.drain }
}

fn pipeline_policy(definition: &Definition) -> RestartPolicy {
    let limits = definition.limits;
    let base = Duration::from_secs(30);
    RestartPolicy { max_restarts: limits.max_given_up, window: limits.window, base, ..RestartPolicy::default() }
}

/// Runs until a signal or a failure, then stops everything in the order of the events' way.
async fn serve(mut started: Started, plan: &Plan, signals: &mut signals::Signals) -> Outcome {
    let failure = tokio::select! {
        () = signals.next() => None,
        failure = started.collectors.failed() => Some(failure),
        failure = started.registries.failed() => Some(failure),
        failure = node_failed(&mut started.state) => Some(failure),
        failure = started.backends.failed() => Some(failure),
    };
    match &failure {
        None => eprintln!("stopping: finishing what was read; press Ctrl-C again to exit at once"),
        Some(reason) => tracing::error!(reason, "stopping"),
    }
    let drain =
        plan.definitions.iter().map(|definition| definition.limits.drain).max().unwrap_or(Duration::from_secs(30));
    let within = started.collectors.stop_within() + drain + Duration::from_secs(10);
    let stopped = tokio::select! {
        stopped = tokio::time::timeout(within, stop(started, plan)) => stopped,
        () = signals.next() => return Err(Trouble::Machine("stopped at once; what was not finished is read again at the next start".to_owned())),
    };
    match (failure, stopped) {
        (Some(reason), _) => Err(Trouble::Machine(reason)),
        (None, Ok(outcome)) => outcome,
        (None, Err(_)) => Err(Trouble::Machine(format!(
            "not everything was finished within {} s; the rest is read again at the next start",
            within.as_secs()
        ))),
    }
}

/// Collectors first, then pipelines, then the stores under them.
async fn stop(mut started: Started, plan: &Plan) -> Outcome {
    started.operator.refuse_commands();
    let collected = started.collectors.stop().await;
    let ordered = started.node.send(Order { pipeline: None, shard: None, command: Command::Drain }).await;
    if ordered.is_ok() {
        while *started.state.borrow_and_update() == NodeState::Running {
            if started.state.changed().await.is_err() {
                break;
            }
        }
    }
    for definition in plan.definitions.iter().filter(|definition| definition.source().is_some()) {
        // Others take over at once what was given up; what was not, when it expires.
        if let Err(error) = started.backends.leases.leave(&definition.name).await {
            tracing::warn!(application = definition.name, %error, "leases were not given up");
        }
    }
    started.operator.stop().await;
    let registered = started.registries.stop().await;
    started.backends.close().await?;
    collected.and(registered)
}

async fn node_failed(state: &mut watch::Receiver<NodeState>) -> String {
    loop {
        if let NodeState::Failed { pipeline, failure } = &*state.borrow_and_update() {
            return format!("pipeline {pipeline} gave up: {failure}");
        }
        if state.changed().await.is_err() {
            return "the root supervisor is gone".to_owned();
        }
    }
}
