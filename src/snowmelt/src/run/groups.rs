//! From a definition to the actors of a shard's group.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use snowmelt_batcher::{BatchRules, Batcher};
use snowmelt_checkpointer::{CheckpointOptions, Checkpointer};
use snowmelt_enrich::Enrich;
use snowmelt_enricher::{Enricher, Outlets};
use snowmelt_iglu::Resolver;
use snowmelt_leases::{Lease, LeaseStore, Position, ShardInfo};
use snowmelt_objects::{ObjectStore, S3LoaderConfig};
use snowmelt_postgres_writer::{Loader, PostgresWriter};
use snowmelt_runtime::Clock;
use snowmelt_runtime::{Batch, Failure, Group, GroupBuilder, GroupContext, Ledger, MailboxLimits, Port};
use snowmelt_s3_writer::S3Writer;
use snowmelt_shard_reader::{ReaderOptions, ShardReader};
use snowmelt_stream_writer::StreamWriter;
use snowmelt_streams::{Producer, PutEntry, ReadLimit, Record, ShardId, StartAt, Streams};
use snowmelt_supervisor::{GroupSource, ShardPlan};
use snowmelt_warehouse::{BadRowLoader, EventLoader, LoaderOptions, ProgressKey, Warehouse};

use crate::definition::model::{
    BatchLimits, Definition, Enrich as EnrichWork, Limits, Load, LoadSink, Purpose, Source, Target, Work,
};
use crate::run::backends::Backends;
use crate::run::settings;
use crate::trouble::{Outcome, Trouble};

/// Builds the groups of one definition.
pub struct ShardGroups {
    application: String,
    owner: String,
    source: Source,
    limits: Limits,
    job: Job,
    streams: Arc<dyn Streams>,
    leases: Arc<dyn LeaseStore>,
    warehouse: Option<Warehouse>,
    clock: Clock,
}

/// What the groups of a definition do.
enum Job {
    Enrich { work: EnrichWork, enrich: Arc<Enrich>, resolver: Arc<Resolver> },
    Load { work: Load, sinks: Vec<SinkSetup> },
}

/// What a loader's sink is made of.
enum SinkSetup {
    Objects { store: Arc<dyn ObjectStore>, config: Arc<S3LoaderConfig> },
    Tables { resolver: Arc<Resolver> },
}

impl ShardGroups {
    /// Reads what the definition names: resolver, enrichments, patterns.
    pub async fn new(definition: Definition, backends: &Backends) -> Outcome<Self> {
        let source = definition
            .source()
            .cloned()
            .ok_or_else(|| Trouble::user(format!("{} reads no stream", definition.name)))?;
        let clock = &backends.clock;
        let job = match definition.work {
            Work::Enrich(work) => {
                let enrich = settings::enrich(&work).await?;
                let resolver = settings::resolver(&work.resolver, clock)?;
                Job::Enrich { work, enrich: Arc::new(enrich), resolver }
            }
            Work::Load(work) => {
                let sinks = work
                    .sinks
                    .iter()
                    .map(|sink| match &sink.target {
                        Target::S3 { .. } => {
                            let config = Arc::new(settings::s3_loader(sink, &definition.file)?);
                            Ok(SinkSetup::Objects { store: backends.bucket(config.keys.bucket())?, config })
                        }
                        Target::Postgres { resolver } => {
                            Ok(SinkSetup::Tables { resolver: settings::resolver(resolver, clock)? })
                        }
                    })
                    .collect::<Outcome<_>>()?;
                Job::Load { work, sinks }
            }
            Work::Collect(_) => return Err(Trouble::user(format!("{} reads no stream", definition.name))),
        };
        Ok(Self {
            application: definition.name,
            owner: settings::owner(),
            source,
            limits: definition.limits,
            job,
            streams: Arc::clone(&backends.streams),
            leases: Arc::clone(&backends.leases),
            warehouse: backends.warehouse.clone(),
            clock: backends.clock.clone(),
        })
    }

    fn mailbox(&self) -> MailboxLimits {
        MailboxLimits::new(self.limits.mailbox_bytes, self.limits.mailbox_batches)
    }

    fn producer(&self, shard: &str) -> Producer {
        Producer(format!("{}/{}/{shard}", self.application, self.source.stream))
    }

    async fn infos(&self) -> Result<Vec<ShardInfo>, Failure> {
        let description = self.streams.describe(&self.source.stream).await.map_err(Failure::error)?;
        Ok(description
            .shards
            .into_iter()
            .map(|shard| ShardInfo {
                id: shard.id.to_string(),
                parents: shard.parents.iter().map(ToString::to_string).collect(),
                range: Some((shard.range.start, shard.range.end)),
                closed: shard.closed,
            })
            .collect())
    }

    async fn sync(&self) -> Result<Vec<Lease>, Failure> {
        let initial = if self.source.latest { Position::Latest } else { Position::TrimHorizon };
        let infos = self.infos().await?;
        self.leases.sync(&self.application, &self.source.stream, &infos, &initial).await.map_err(Failure::error)
    }

    async fn start(&self, plan: &ShardPlan, context: GroupContext) -> Result<Group, Failure> {
        let now_ms = context.clock.now_ms();
        let lease =
            self.leases.acquire(&self.application, &plan.shard, &self.owner, now_ms).await.map_err(Failure::error)?;
        let children = self.infos().await?.into_iter().filter(|info| info.parents.contains(&plan.shard)).collect();
        let from = start_at(&lease.checkpoint)?;
        let cursor =
            self.streams.open(&self.source.stream, &ShardId::new(&plan.shard), &from).await.map_err(Failure::error)?;
        tracing::info!(group = %context.id, checkpoint = %lease.checkpoint, "reading");

        let ledger = Ledger::new();
        let mut builder = GroupBuilder::new(context);
        let options = CheckpointOptions { every: self.limits.checkpoint_every, ..CheckpointOptions::default() };
        let (store, checkpoints) = (Arc::clone(&self.leases), ledger.clone());
        builder.worker("checkpointer", move || Checkpointer::new(store, lease, children, checkpoints, options));
        let outs = match &self.job {
            Job::Enrich { work, enrich, resolver } => vec![self.enrich(&mut builder, work, enrich, resolver)],
            Job::Load { work, sinks } => self.load(&mut builder, work, sinks).await?,
        };
        let limit = ReadLimit { records: self.source.max_records, bytes: self.source.max_bytes };
        let options = ReaderOptions { limit, ..ReaderOptions::default() };
        builder.worker("shard-reader", move || ShardReader::new(cursor, options, ledger, outs));
        Ok(builder.finish())
    }

    /// reader ► enricher ► (batcher ► writer) for good, bad and failed.
    fn enrich(
        &self,
        builder: &mut GroupBuilder,
        work: &EnrichWork,
        enrich: &Arc<Enrich>,
        resolver: &Arc<Resolver>,
    ) -> Port<Batch<Record>> {
        let good = self.stream_chain(builder, "good", &work.good, work.batch);
        let bad = self.stream_chain(builder, "bad", &work.bad, work.batch);
        let failed = work.failed.as_ref().map(|stream| self.stream_chain(builder, "failed", stream, work.batch));
        let outlets = Outlets { good, bad, failed };
        let (enrich, resolver, stream) = (Arc::clone(enrich), Arc::clone(resolver), self.source.stream.clone());
        builder.stage("enricher", self.mailbox(), move || Enricher::new(enrich, resolver, &stream, outlets))
    }

    /// batcher ► writer of one stream.
    fn stream_chain(
        &self,
        builder: &mut GroupBuilder,
        what: &str,
        stream: &str,
        batch: BatchLimits,
    ) -> Port<Batch<PutEntry>> {
        let writer = self.stream_writer(builder, &format!("stream-writer {what}"), stream);
        let rules = rules(batch);
        builder.stage(&format!("batcher {what}"), self.mailbox(), move || Batcher::new(rules, writer))
    }

    fn stream_writer(&self, builder: &mut GroupBuilder, name: &str, stream: &str) -> Port<Batch<PutEntry>> {
        let producer = self.producer(&builder.context().id.shard);
        let (streams, stream) = (Arc::clone(&self.streams), stream.to_owned());
        builder.stage(name, self.mailbox(), move || StreamWriter::new(streams, stream, producer))
    }

    /// reader ► (batcher ► writer) for each sink, and one writer of bad rows for each, so that their orders don't mix.
    async fn load(
        &self,
        builder: &mut GroupBuilder,
        work: &Load,
        sinks: &[SinkSetup],
    ) -> Result<Vec<Port<Batch<Record>>>, Failure> {
        let mut outs = Vec::new();
        for (number, (sink, setup)) in work.sinks.iter().zip(sinks).enumerate() {
            let suffix = if work.sinks.len() > 1 { format!(" {}", number + 1) } else { String::new() };
            let bad = self.bad_writer(builder, &suffix, &work.bad);
            // A batch of the batcher has to pass whole.
            let limits = MailboxLimits::new(self.limits.mailbox_bytes.max(2 * sink.batch.max_bytes), 2);
            let writer = match setup {
                SinkSetup::Objects { store, config } => {
                    let (store, config) = (Arc::clone(store), Arc::clone(config));
                    builder.stage(&format!("s3-writer{suffix}"), limits, move || S3Writer::new(store, config, bad))
                }
                SinkSetup::Tables { resolver } => {
                    let loader = self.loader(sink, resolver).await?;
                    let shard = builder.context().id.shard.clone();
                    let progress = ProgressKey {
                        application: self.application.clone(),
                        stream: self.source.stream.clone(),
                        shard,
                    };
                    builder.stage(&format!("postgres-writer{suffix}"), limits, move || {
                        PostgresWriter::new(loader, progress, bad)
                    })
                }
            };
            let rules = rules(sink.batch);
            outs.push(builder.stage(&format!("batcher{suffix}"), self.mailbox(), move || Batcher::new(rules, writer)));
        }
        Ok(outs)
    }

    fn bad_writer(&self, builder: &mut GroupBuilder, suffix: &str, stream: &str) -> Port<Batch<PutEntry>> {
        // Sinks have positions of their own: each is a producer of its own.
        let mut producer = self.producer(&builder.context().id.shard);
        producer.0.push_str(suffix);
        let (streams, stream) = (Arc::clone(&self.streams), stream.to_owned());
        builder.stage(&format!("stream-writer bad{suffix}"), self.mailbox(), move || {
            StreamWriter::new(streams, stream, producer)
        })
    }

    async fn loader(&self, sink: &LoadSink, resolver: &Arc<Resolver>) -> Result<Loader, Failure> {
        let warehouse = self.warehouse.clone().ok_or_else(|| Failure::message("no warehouse is open"))?;
        let options =
            LoaderOptions::new(settings::processor("snowmelt-postgres-loader"), settings::iglu_clock(&self.clock));
        let schemas = Arc::clone(resolver);
        Ok(match sink.purpose {
            Purpose::Bad => Loader::BadRows(BadRowLoader::new(warehouse, schemas, options)),
            Purpose::Enriched | Purpose::Raw => {
                Loader::Events(EventLoader::new(warehouse, schemas, options).await.map_err(Failure::error)?)
            }
        })
    }
}

fn rules(batch: BatchLimits) -> BatchRules {
    BatchRules { max_bytes: batch.max_bytes, max_records: batch.max_records, max_age: batch.max_age }
}

/// Where a cursor begins for a checkpoint: after what is done.
fn start_at(checkpoint: &Position) -> Result<StartAt, Failure> {
    Ok(match checkpoint {
        Position::TrimHorizon => StartAt::TrimHorizon,
        Position::Latest => StartAt::Latest,
        Position::AtTimestampMs(at) => StartAt::AtTimestampMs(*at),
        Position::At { sequence, .. } => StartAt::After(sequence.parse().map_err(Failure::error)?),
        Position::ShardEnd => return Err(Failure::message("the shard was read to its end")),
    })
}

impl GroupSource for ShardGroups {
    fn discover(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<ShardPlan>, Failure>> {
        async move {
            let leases = self.sync().await?;
            let ended = |shard: &str| leases.iter().find(|lease| lease.shard == shard).is_none_or(Lease::is_ended);
            Ok(leases
                .iter()
                .filter(|lease| !lease.is_ended() && lease.parents.iter().all(|parent| ended(parent)))
                .map(|lease| ShardPlan { shard: lease.shard.clone() })
                .collect())
        }
        .boxed()
    }

    fn build(
        self: Arc<Self>,
        plan: ShardPlan,
        context: GroupContext,
    ) -> LocalBoxFuture<'static, Result<Group, Failure>> {
        const PATIENCE: Duration = Duration::from_secs(60);
        async move {
            match tokio::time::timeout(PATIENCE, self.start(&plan, context)).await {
                Ok(built) => built,
                Err(_) => Err(Failure::message(format!("not built within {} s", PATIENCE.as_secs()))),
            }
        }
        .boxed_local()
    }

    fn is_ended(self: Arc<Self>, plan: &ShardPlan) -> BoxFuture<'static, Result<bool, Failure>> {
        let shard = plan.shard.clone();
        async move {
            let leases = self.leases.list(&self.application).await.map_err(Failure::error)?;
            Ok(leases.iter().any(|lease| lease.shard == shard && lease.is_ended()))
        }
        .boxed()
    }
}
