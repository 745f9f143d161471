//! One embedded pipeline with stores of its own, and its lives: a node that starts, works and drains.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use actix::Addr;
use actix_rt::Arbiter;
use anyhow::{Context, Result, bail};
use snowmelt::definition::model::Definition;
use snowmelt::definition::{Overrides, Problem, load};
use snowmelt::run::backends::{OpenBucket, Stores};
use snowmelt::run::groups::{ShardGroups, Tuning};
use snowmelt::run::settings;
use snowmelt_objects::ObjectStore;
use snowmelt_runtime::supervise::RestartPolicy;
use snowmelt_runtime::{Clock, Cores};
use snowmelt_streams::{PutEntry, PutOutcome};
use snowmelt_supervisor::node::{NodeState, Order};
use snowmelt_supervisor::shard::{Command, ShardOptions};
use snowmelt_supervisor::{GroupStatus, Node, NodeOptions, PipelineSpec, Tree};
use snowmelt_warehouse::{EventLoader, LoaderOptions, Warehouse};
use tokio::sync::watch;

use crate::backing::Backing;
use crate::event::Who;
use crate::plan::Faults;
use crate::postgres::Server;
use crate::stores::{Reads, StormyLeases, StormyObjects, StormyStreams, Weather};

/// Shards of the raw and of the enriched stream.
pub const SHARDS: u32 = 2;

/// All streams, with their shards.
pub const STREAMS: [(&str, u32); 3] = [("raw", SHARDS), ("enriched", SHARDS), ("bad-1", 1)];

/// Folders of the two sinks of objects: one object a batch; one a second of the collector's time, in larger batches.
pub const PREFIXES: [&str; 2] = ["enriched", "by-second"];

/// What a world is made with.
#[derive(Clone)]
pub struct Rules {
    /// Most records of one read.
    pub page: usize,
    /// Most records of a writer's batch.
    pub batch: usize,
    /// Bound of each mailbox in bytes.
    pub mailbox_bytes: usize,
    /// Supervision of shards.
    pub policy: RestartPolicy,
    /// Without progress for this long an actor hangs.
    pub heartbeat: Duration,
    /// How long one call to a store may take.
    pub call_timeout: Duration,
    /// Sees every record before it is enriched.
    pub probe: Option<snowmelt_probe::Probe>,
}

/// The type of a probe, named once.
pub mod snowmelt_probe {
    /// See `snowmelt::run::groups::Tuning`.
    pub type Probe = std::sync::Arc<dyn Fn(&snowmelt_streams::Record) + Send + Sync>;
}

impl Default for Rules {
    fn default() -> Self {
        let policy = RestartPolicy {
            max_restarts: 60,
            base: Duration::from_millis(4),
            cap: Duration::from_millis(20),
            ..RestartPolicy::default()
        };
        Self {
            page: 8,
            batch: 16,
            mailbox_bytes: 1 << 20,
            policy,
            heartbeat: Duration::from_millis(800),
            call_timeout: Duration::from_millis(1500),
            probe: None,
        }
    }
}

/// The stores of one pipeline and what is put between them and the actors.
pub struct World {
    /// What it was made with.
    pub rules: Rules,
    /// The real streams, leases and objects.
    pub backing: Backing,
    /// The real tables.
    pub warehouse: Warehouse,
    /// The same tables through connections that no group uses.
    pub tables: Warehouse,
    /// Its schema, and the end of its applications' names.
    pub schema: String,
    /// How often each application read each record: enrich, s3, pg.
    pub reads: [Reads; 3],
    /// Microseconds by which its time of day is wrong.
    pub skew: Arc<AtomicI64>,
    faults: Arc<Faults>,
    weather: Weather,
    cores: Cores,
    sent: AtomicU32,
    server: Arc<Server>,
    directory: tempfile::TempDir,
}

static WORLDS: AtomicU32 = AtomicU32::new(0);

impl World {
    /// An empty world.
    ///
    /// # Errors
    /// When its stores can't be made.
    pub async fn new(rules: Rules, faults: Faults, weather: Weather) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("snowmelt-faults-").tempdir()?;
        let backing = Backing::embedded(directory.path())?;
        Self::over(backing, directory, rules, faults, weather).await
    }

    /// An empty world over given stores.
    ///
    /// # Errors
    /// When its streams or tables can't be made.
    pub async fn over(
        backing: Backing,
        directory: tempfile::TempDir,
        rules: Rules,
        faults: Faults,
        weather: Weather,
    ) -> Result<Self> {
        let server = Server::shared()?;
        let schema = format!("w{}", WORLDS.fetch_add(1, Ordering::Relaxed));
        for (name, shards) in STREAMS {
            backing.streams.create(&backing.stream(name), shards, Duration::from_secs(86_400)).await?;
        }
        let warehouse = server.warehouse(&schema).await?;
        let resolver = settings::resolver(&root().join("pipelines/iglu/resolver.json"), &Clock::system())
            .map_err(|trouble| anyhow::anyhow!("{trouble}"))?;
        let options = LoaderOptions::new(settings::processor("faults"), settings::iglu_clock(&Clock::system()));
        // Makes the table, so that it can be counted and locked from the beginning.
        EventLoader::new(warehouse.clone(), resolver, options).prepare().await?;
        Ok(Self {
            backing,
            tables: server.watcher(&schema).await?,
            warehouse,
            rules,
            schema,
            reads: Default::default(),
            skew: Arc::default(),
            faults: Arc::new(faults),
            weather,
            cores: Cores::new(2)?,
            sent: AtomicU32::new(0),
            server,
            directory,
        })
    }

    /// Puts the next `count` events into the raw stream.
    ///
    /// # Errors
    /// When the stream refuses one.
    pub async fn send(&self, count: u32, padding: usize) -> Result<()> {
        let first = self.sent.fetch_add(count, Ordering::Relaxed);
        let all: Vec<PutEntry> = (first..first + count).map(|n| Who::nth(n).entry(padding)).collect();
        for some in all.chunks(500) {
            let outcomes = self.backing.streams.put(&self.backing.stream("raw"), some.to_vec(), None).await?;
            if !outcomes.iter().all(|outcome| matches!(outcome, PutOutcome::Stored { .. })) {
                bail!("the raw stream refuses records");
            }
        }
        Ok(())
    }

    /// How many events were sent.
    pub fn sent(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many faults of actors have happened.
    pub fn struck(&self) -> u32 {
        self.faults.happened()
    }

    /// The server behind the tables.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The three applications, of which the one for objects has two sinks, as their definitions say.
    ///
    /// # Errors
    /// When a definition is not accepted.
    pub fn definitions(&self) -> Result<Vec<Definition>> {
        let (schema, page, batch) = (&self.schema, self.rules.page, self.rules.batch);
        let resolver = root().join("pipelines/iglu/resolver.json");
        let resolver = format!("resolver = {:?}", resolver.display().to_string());
        let limits = format!("max_bytes = \"1 MiB\"\nmax_records = {batch}\nmax_age = \"10ms\"");
        let source = |stream: &str| {
            let (stream, bad) = (self.backing.stream(stream), self.backing.stream("bad-1"));
            format!(
                "[source]\nstream = {stream:?}\nmax_records = {page}\nmax_bytes = \"1 MiB\"\n[bad]\nstream = {bad:?}\n"
            )
        };
        let (raw, enriched) = (source("raw"), source("enriched"));
        let texts = [
            (
                "enrich",
                format!(
                    "{raw}[enrich]\n{resolver}\n[[sink]]\nkind = \"stream\"\nstream = {:?}\n{limits}",
                    self.backing.stream("enriched")
                ),
            ),
            (
                "s3",
                format!(
                    "{enriched}[[sink]]\nkind = \"s3\"\npurpose = \"enriched\"\nprefix = \"bucket/{}\"\n{limits}\n\
                     [[sink]]\nkind = \"s3\"\npurpose = \"enriched\"\nprefix = \"bucket/{}\"\npartition = \"{{ss}}\"\n\
                     partition_by = \"collector_time\"\nnaming = \"original\"\nmax_bytes = \"1 MiB\"\nmax_records = {}\n\
                     max_age = \"25ms\"",
                    PREFIXES[0],
                    PREFIXES[1],
                    3 * batch
                ),
            ),
            ("pg", format!("{enriched}[[sink]]\nkind = \"postgres\"\npurpose = \"enriched\"\n{resolver}\n{limits}")),
        ];
        let mut files = Vec::new();
        for (name, text) in texts {
            let file = self.directory.path().join(format!("{name}.toml"));
            std::fs::write(&file, format!("name = \"{name}-{schema}\"\n{text}\n"))?;
            files.push(file);
        }
        let wrong = |problems: Vec<Problem>| anyhow::anyhow!("{problems:?}");
        let overrides = Overrides::new(std::iter::empty::<(String, String)>(), &[]).map_err(wrong)?;
        let mut definitions =
            load(&files, &snowmelt::definition::Originals::default(), &overrides).map_err(wrong)?.definitions;
        // Shorter than any operator would want them.
        for definition in &mut definitions {
            let limits = &mut definition.limits;
            limits.mailbox_bytes = self.rules.mailbox_bytes;
            limits.heartbeat = self.rules.heartbeat;
            limits.drain = Duration::from_secs(5);
            limits.checkpoint_every = Duration::from_millis(20);
        }
        Ok(definitions)
    }

    /// Starts a node over the stores. A world may have several lives, one after the other.
    ///
    /// # Errors
    /// When a definition can't be built.
    pub async fn live(&self) -> Result<Life> {
        let clock = Clock::skewed(Arc::clone(&self.skew));
        let (mut specs, mut loops) = (Vec::new(), Vec::new());
        for (definition, reads) in self.definitions()?.into_iter().zip(&self.reads) {
            let objects: Arc<dyn ObjectStore> =
                Arc::new(StormyObjects { inner: Arc::clone(&self.backing.objects), weather: self.weather.clone() });
            let bucket: OpenBucket = Arc::new(move |_| Ok(Arc::clone(&objects)));
            let stores = Stores {
                owner: "faults".to_owned(),
                streams: Arc::new(StormyStreams {
                    inner: Arc::clone(&self.backing.streams),
                    weather: self.weather.clone(),
                    reads: reads.clone(),
                }),
                leases: Arc::new(StormyLeases {
                    inner: Arc::clone(&self.backing.leases),
                    weather: self.weather.clone(),
                }),
                bucket,
                warehouse: Some(self.warehouse.clone()),
                registry: None,
                clock: clock.clone(),
            };
            let tuning = Tuning {
                call_timeout: self.rules.call_timeout,
                faults: Some(Arc::clone(&self.faults) as _),
                probe: self.rules.probe.clone(),
            };
            let limits = definition.limits;
            // An event loop a group: one that is blocked stops nobody else.
            let own: Vec<Arbiter> = (0..SHARDS).map(|_| Arbiter::new()).collect();
            let name = definition.name.clone();
            let source =
                ShardGroups::new(definition, stores, tuning).await.map_err(|trouble| anyhow::anyhow!("{trouble}"))?;
            specs.push(PipelineSpec {
                name,
                source: Arc::new(source),
                arbiters: own.iter().map(Arbiter::handle).collect(),
                shards: ShardOptions { policy: self.rules.policy, heartbeat: limits.heartbeat, drain: limits.drain },
                policy: RestartPolicy { max_restarts: 3, ..self.rules.policy },
                discover_every: self.backing.discover_every,
            });
            loops.extend(own);
        }
        let tree = Tree::new();
        let options = NodeOptions { clock, cores: self.cores.clone(), tree: tree.clone() };
        let (node, state) = Node::spawn(specs, options);
        Ok(Life { node, state, tree, loops })
    }
}

/// A running node.
pub struct Life {
    node: Addr<Node>,
    state: watch::Receiver<NodeState>,
    tree: Tree,
    loops: Vec<Arbiter>,
}

impl Life {
    /// All groups.
    pub fn groups(&self) -> Vec<GroupStatus> {
        self.tree.groups()
    }

    /// Waits until `done` says yes.
    ///
    /// # Errors
    /// When the node gives up, or the time is over.
    pub async fn until(&self, within: Duration, mut done: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        loop {
            if done().await? {
                return Ok(());
            }
            if let NodeState::Failed { pipeline, failure } = &*self.state.borrow() {
                bail!("pipeline {pipeline} gave up: {failure}");
            }
            if began.elapsed() > within {
                let groups: Vec<String> = self
                    .groups()
                    .iter()
                    .map(|group| {
                        let actors: Vec<String> = group
                            .actors
                            .iter()
                            .map(|seen| {
                                let counters = seen.stats.snapshot();
                                format!("{} {:?} {}", seen.actor, counters.activity, counters.records)
                            })
                            .collect();
                        format!(
                            "{}: {:?} restarts {} last {:?} [{}]",
                            group.id,
                            group.state,
                            group.restarts,
                            group.last_failure,
                            actors.join(", ")
                        )
                    })
                    .collect();
                bail!("not done within {within:?}\n  {}", groups.join("\n  "));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Drains the node.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn drain(mut self) -> Result<Vec<GroupStatus>> {
        self.node.send(Order { pipeline: None, shard: None, command: Command::Drain }).await?;
        let stopped = self.state.wait_for(|state| *state != NodeState::Running);
        let state =
            tokio::time::timeout(Duration::from_secs(10), stopped).await.context("not drained within 10 s")??.clone();
        if let NodeState::Failed { pipeline, failure } = state {
            bail!("pipeline {pipeline} gave up while draining: {failure}");
        }
        let groups = self.groups();
        // A blocked event loop ends when its fault does.
        for event_loop in self.loops {
            event_loop.stop();
        }
        Ok(groups)
    }
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root.pop();
    root
}
