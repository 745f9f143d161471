//! What recipes are built from: clock, cores, event loop, input, stand-ins, real backends in a temporary directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_rt::Arbiter;
use snowmelt_enrich::Enrich;
use snowmelt_iglu::Resolver;
use snowmelt_runtime::{Batch, Clock, Cores, GroupBuilder, GroupContext, GroupId, MailboxLimits, Pause, Port};
use snowmelt_streams::{EmbeddedStreams, Options, Streams};
use snowmelt_warehouse::{ClusterOptions, PrivateCluster, Warehouse, WarehouseOptions};
use tempfile::TempDir;

use super::args::{LoadArgs, Until};
use super::input::{self, Corpus};
use super::pace::{Pace, Shared};
use super::schedule::Schedule;
use super::six;
use super::standins::{Faults, Gate, StandInStreams};
use crate::definition::model;
use crate::run::settings;
use crate::trouble::{Outcome, Trouble};

/// Different records that are made; a run deals them out again and again. About 30 MB of enriched events.
const CORPUS: u64 = 10_000;
/// Where enrichments are configured when nothing is said.
const ENRICHMENTS: &str = "pipelines/enrichments";
/// The bound of mailboxes, as definitions have it by default.
const MAILBOX: (usize, usize) = (8 << 20, 4);
/// The database schema for tables of load tests.
const SCHEMA: &str = "snowmelt_load";
/// How long a stream keeps what a load test puts: longer than any run.
pub const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// How long connections may take to come back at the end.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// The name under which the actor that takes bad rows is shown.
const BAD: &str = "bad rows";

/// The surroundings of one run.
pub struct Bench {
    /// What was asked for.
    pub args: LoadArgs,
    /// The machine's clock.
    pub clock: Clock,
    /// The pool for CPU work, a thread a core, as in production.
    pub cores: Cores,
    /// What the load generator and its watcher share.
    pub shared: Shared,
    /// Bytes of the input in memory.
    pub input_bytes: usize,
    /// What stands behind the actor, in words.
    pub backend: String,
    arbiter: Arbiter,
    directory: Option<TempDir>,
    warehouse: Option<Warehouse>,
    cluster: Option<PrivateCluster>,
}

impl Bench {
    /// Surroundings without input or backends yet. Needs a running actix system.
    pub fn new(args: &LoadArgs) -> Outcome<Self> {
        Ok(Self {
            args: args.clone(),
            clock: Clock::system(),
            cores: Cores::new(0).map_err(|error| Trouble::caused("threads can't be started", error))?,
            shared: Shared::new(),
            input_bytes: 0,
            backend: if args.real { "embedded" } else { "stand-in" }.to_owned(),
            arbiter: Arbiter::new(),
            directory: None,
            warehouse: None,
            cluster: None,
        })
    }

    /// The clock of the load generator.
    pub fn pace(&self, batch: u32, warm_up: u32) -> Pace {
        let schedule = Schedule::new(batch, self.args.rate, self.args.until(), Instant::now());
        Pace::new(schedule, warm_up, self.shared.clone())
    }

    /// A group with the name of the actor.
    pub fn group(&self, actor: &str) -> GroupBuilder {
        GroupBuilder::new(GroupContext {
            id: GroupId { pipeline: "load".to_owned(), shard: actor.to_owned() },
            clock: self.clock.clone(),
            cores: self.cores.clone(),
            arbiter: self.arbiter.handle(),
            pause: Pause::default(),
        })
    }

    /// The stand-ins' behaviour, as asked for.
    pub fn faults(&self) -> Faults {
        let args = &self.args;
        Faults::new(args.delay.unwrap_or_default(), args.throttle, args.fail.unwrap_or_default(), args.seed)
    }

    /// An actor that takes what is bad, at once: it is not what is measured.
    pub fn bad_rows<T: Send + 'static>(&self, builder: &mut GroupBuilder) -> Port<Batch<T>> {
        builder.stage(BAD, mailbox(0), || Gate::new(Arc::new(Faults::none())))
    }

    /// How many different records are worth making.
    fn corpus_size(&self) -> usize {
        let most = match self.args.until() {
            Until::Records(records) => records.min(CORPUS),
            Until::Elapsed(_) => CORPUS,
        };
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// Collector payloads, or what `--input` says.
    pub fn payloads(&mut self) -> Outcome<Arc<Corpus>> {
        let corpus = match &self.args.input {
            Some(path) => input::file(path)?,
            None => input::payloads(self.args.seed, self.corpus_size())?,
        };
        Ok(self.keep(corpus))
    }

    /// Payloads of page views with three entities and enrichment with six enrichments, or what `--input` and
    /// `--enrichments` say.
    pub async fn page_views(&mut self) -> Outcome<(Arc<Corpus>, Enrich)> {
        let (views, networks) = input::page_views(self.args.seed, self.corpus_size())?;
        let enrich = match &self.args.enrichments {
            Some(_) => self.enrich().await?,
            None => six::enrich(self.args.seed, &networks)?,
        };
        let corpus = match &self.args.input {
            Some(path) => input::file(path)?,
            None => views,
        };
        Ok((self.keep(corpus), enrich))
    }

    /// Enriched events, or what `--input` says.
    pub async fn enriched(&mut self) -> Outcome<Arc<Corpus>> {
        let corpus = match &self.args.input {
            Some(path) => input::file(path)?,
            None => {
                let (enrich, resolver) = (self.enrich().await?, self.resolver()?);
                input::enriched(self.args.seed, self.corpus_size(), &enrich, &resolver).await?
            }
        };
        Ok(self.keep(corpus))
    }

    fn keep(&mut self, corpus: Corpus) -> Arc<Corpus> {
        self.input_bytes = corpus.bytes();
        Arc::new(corpus)
    }

    /// The schema registries of `--resolver`.
    pub fn resolver(&self) -> Outcome<Arc<Resolver>> {
        settings::resolver(&self.args.resolver, &self.clock)
    }

    /// Enrichment as a definition without further keys has it.
    pub async fn enrich(&self) -> Outcome<Enrich> {
        let (_, enrich) = settings::enriching(&model::Enrich {
            source: model::Source {
                stream: "raw".to_owned(),
                start: model::Start::TrimHorizon,
                max_records: 1000,
                max_bytes: 2 << 20,
            },
            resolver: self.args.resolver.clone(),
            enrichments: Some(self.args.enrichments.clone().unwrap_or_else(|| ENRICHMENTS.into())),
            config: None,
            max_record_size: None,
            max_json_depth: None,
            accept_invalid: None,
            good: "enriched".to_owned(),
            failed: None,
            pii: None,
            bad: "bad".to_owned(),
            batch: model::BatchLimits { max_bytes: 8 << 20, max_records: 500, max_age: Duration::from_millis(20) },
        })
        .await?;
        Ok(enrich)
    }

    /// The temporary directory of the run; it is removed at the end.
    pub fn directory(&mut self) -> Outcome<PathBuf> {
        if self.directory.is_none() {
            let mut builder = tempfile::Builder::new();
            builder.prefix("snowmelt-load-");
            let made = match &self.args.dir {
                Some(parent) => builder.tempdir_in(parent),
                None => builder.tempdir(),
            };
            self.directory =
                Some(made.map_err(|error| Trouble::machine("a temporary directory can't be made", error))?);
        }
        Ok(self.directory.as_ref().map_or_else(PathBuf::new, |directory| directory.path().to_owned()))
    }

    /// Streams of one shard, with these names: embedded with `--real`, else stand-ins whose readers get `corpus`.
    pub async fn streams(&mut self, names: &[&str], corpus: Arc<Corpus>) -> Outcome<Arc<dyn Streams>> {
        if !self.args.real {
            return Ok(Arc::new(StandInStreams::new(Arc::new(self.faults()), corpus)));
        }
        let directory = self.directory()?.join("streams");
        let streams = EmbeddedStreams::open(directory, Options::default())
            .map_err(|error| Trouble::caused("embedded streams", error))?;
        for name in names {
            streams.create(name, 1, RETENTION).await.map_err(|error| Trouble::caused("embedded streams", error))?;
        }
        Ok(Arc::new(streams))
    }

    /// A PostgreSQL server: the one of `--postgres`, or a private one for this run.
    pub async fn warehouse(&mut self) -> Outcome<Warehouse> {
        let url = match self.args.postgres.clone() {
            Some(url) => {
                self.backend = "PostgreSQL of --postgres".to_owned();
                url
            }
            None => {
                self.backend = "private PostgreSQL".to_owned();
                let directory = self.directory()?;
                self.private_cluster(&directory).await?
            }
        };
        let warehouse = Warehouse::connect(&WarehouseOptions::new(url, SCHEMA))
            .await
            .map_err(|error| Trouble::caused("PostgreSQL", error))?;
        self.warehouse = Some(warehouse.clone());
        Ok(warehouse)
    }

    async fn private_cluster(&mut self, directory: &Path) -> Outcome<String> {
        let cluster = PrivateCluster::start(directory, &ClusterOptions::default())
            .await
            .map_err(|error| Trouble::caused("the private PostgreSQL server does not start", error))?;
        let url = cluster.url();
        self.cluster = Some(cluster);
        Ok(url)
    }

    /// Ends what was started.
    pub async fn close(self) -> Outcome {
        self.arbiter.stop();
        if let Some(warehouse) = self.warehouse {
            // After a failed run an actor may still hold a connection; the server's end closes it.
            if tokio::time::timeout(CLOSE_PATIENCE, warehouse.close()).await.is_err() {
                tracing::debug!("connections were still in use");
            }
        }
        if let Some(cluster) = self.cluster {
            cluster
                .stop()
                .await
                .map_err(|error| Trouble::caused("the private PostgreSQL server did not stop", error))?;
        }
        Ok(())
    }
}

/// The bound of a mailbox that takes batches of `bytes`.
pub fn mailbox(bytes: usize) -> MailboxLimits {
    MailboxLimits::new(MAILBOX.0.max(2 * bytes), MAILBOX.1)
}
