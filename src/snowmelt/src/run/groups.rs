//! From a definition to the actors of a shard's group.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use snowmelt_batcher::{BatchRules, Batcher};
use snowmelt_checkpointer::{CheckpointOptions, Checkpointer};
use snowmelt_enricher::{Current, Enricher, Outlets, Probe};
use snowmelt_iglu::Resolver;
use snowmelt_leases::{Application, LeaseError, ListShards, Position, ShardInfo};
use snowmelt_postgres_writer::{Loader, PostgresWriter};
use snowmelt_runtime::failure::explain;
use snowmelt_runtime::fault::FaultHook;
use snowmelt_runtime::isolate::Care;
use snowmelt_runtime::{Batch, Failure, Group, GroupBuilder, GroupContext, Intents, Ledger, MailboxLimits, Port};
use snowmelt_shard_reader::{Careful, ReaderOptions, Resume, ShardReader};
use snowmelt_stream_writer::StreamWriter;
use snowmelt_streams::{Producer, PutEntry, ReadLimit, Record, ShardId, StartAt, Streams};
use snowmelt_supervisor::{GroupSource, ShardPlan};
use snowmelt_warehouse::ProgressKey;

use crate::definition::model::{
    BatchLimits, Definition, Enrich as EnrichWork, Limits, Load, Source, Start, Target, Work,
};
use crate::run::backends::Stores;
use crate::run::enriching::{Enriching, Refreshers};
use crate::run::objects::{ObjectSink, Place};
use crate::run::{settings, tables};
use crate::trouble::{Outcome, Trouble};

/// What no definition says: for tests, and the defaults for everybody else.
#[derive(Clone)]
pub struct Tuning {
    /// How long one call to a stream or a store may take.
    pub call_timeout: Duration,
    /// Faults on purpose.
    pub faults: Option<Arc<dyn FaultHook>>,
    /// Sees every record before it is enriched.
    pub probe: Option<Probe>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { call_timeout: Duration::from_secs(60), faults: None, probe: None }
    }
}

/// Builds the groups of one definition.
pub struct ShardGroups {
    application: Application,
    source: Source,
    limits: Limits,
    job: Job,
    stores: Stores,
    tuning: Tuning,
}

/// What the groups of a definition do.
enum Job {
    Enrich { work: Box<EnrichWork>, enrich: Current, resolver: Arc<Resolver>, _refreshers: Refreshers },
    Load { work: Load, sinks: Vec<SinkSetup> },
}

/// What a loader's sink is made of.
enum SinkSetup {
    Objects(Box<ObjectSink>),
    Tables { loader: Loader },
}

impl ShardGroups {
    /// Reads what the definition names: resolver, enrichments, patterns.
    pub async fn new(definition: Definition, stores: Stores, tuning: Tuning) -> Outcome<Self> {
        let source = definition
            .source()
            .cloned()
            .ok_or_else(|| Trouble::user(format!("{} reads no stream", definition.name)))?;
        let clock = &stores.clock;
        let job = match definition.work {
            Work::Enrich(work) => {
                let config = settings::enrich_config(&work)?;
                let (own, options) = (stores.registry.as_ref(), config.resolver.clone());
                let resolver = settings::resolver_with(&work.resolver, own, clock, options)?;
                let (enriching, enrich) = Enriching::open(config, work.enrichments.as_deref()).await?;
                let enrich = Current::new(enrich);
                let refreshers = Refreshers::start(&definition.name, enriching, enrich.clone(), Arc::clone(&resolver));
                Job::Enrich { work: Box::new(work), enrich, resolver, _refreshers: refreshers }
            }
            Work::Load(work) => {
                let mut sinks = Vec::with_capacity(work.sinks.len());
                for (number, sink) in work.sinks.iter().enumerate() {
                    sinks.push(match &sink.target {
                        Target::S3(_) => {
                            let opened = ObjectSink::open(number + 1, sink, &definition.file, &stores).await?;
                            SinkSetup::Objects(Box::new(opened))
                        }
                        Target::Postgres(tables) => {
                            SinkSetup::Tables { loader: tables::loader(sink.purpose, tables, &stores).await? }
                        }
                    });
                }
                Job::Load { work, sinks }
            }
            Work::Collect(_) | Work::Registry(_) => {
                return Err(Trouble::user(format!("{} reads no stream", definition.name)));
            }
        };
        let initial = match source.start {
            Start::TrimHorizon => Position::TrimHorizon,
            Start::Latest => Position::Latest,
            Start::AtTimestampMs(at) => Position::AtTimestampMs(at),
        };
        let listed = Listed { streams: Arc::clone(&stores.streams), stream: source.stream.clone() };
        let application = Application {
            name: definition.name,
            stream: source.stream.clone(),
            owner: stores.owner.clone(),
            initial,
            shards: Arc::new(listed),
        };
        Ok(Self { application, source, limits: definition.limits, job, stores, tuning })
    }

    fn mailbox(&self) -> MailboxLimits {
        MailboxLimits::new(self.limits.mailbox_bytes, self.limits.mailbox_batches)
    }

    fn producer(&self, shard: &str) -> Producer {
        Producer(format!("{}/{}/{shard}", self.application.name, self.source.stream))
    }

    async fn start(&self, plan: &ShardPlan, context: GroupContext, care: Option<Care>) -> Result<Group, Failure> {
        let now_ms = context.clock.now_ms();
        let lease = self
            .stores
            .leases
            .acquire(&self.application.name, &plan.shard, &self.application.owner, now_ms)
            .await
            .map_err(|error| match error {
                LeaseError::Held { .. } | LeaseError::Lost { .. } => Failure::LeaseLost { message: explain(&error) },
                error => Failure::error(error),
            })?;
        let shards = self.application.shards.shards().await.map_err(Failure::error)?;
        let children = shards.into_iter().filter(|info| info.parents.contains(&plan.shard)).collect();
        let intents = Intents::after(lease.pending.as_ref().map(|pending| pending.state.as_str()));
        let from = match (&lease.checkpoint, intents.earliest()) {
            // What was begun is not to be passed over, though nothing of it was stored.
            (Position::Latest, Some(first)) => StartAt::At(first.parse().map_err(Failure::error)?),
            (checkpoint, _) => start_at(checkpoint)?,
        };
        let cursor = self
            .stores
            .streams
            .open(&self.source.stream, &ShardId::new(&plan.shard), &from)
            .await
            .map_err(Failure::error)?;
        tracing::info!(group = %context.id, checkpoint = %lease.checkpoint, "reading");

        let ledger = Ledger::new();
        let mut builder = GroupBuilder::new(context);
        builder.set_ledger(ledger.clone());
        builder.set_call_timeout(self.tuning.call_timeout);
        builder.set_fence(self.stores.leases.fence(&lease));
        if let Some(faults) = &self.tuning.faults {
            builder.set_faults(Arc::clone(faults));
        }
        // With care every batch is checkpointed, so that the next group begins where this one died.
        let every = if care.is_some() { Duration::ZERO } else { self.limits.checkpoint_every };
        let careful = care.is_some();
        let options = CheckpointOptions { every, ..CheckpointOptions::default() };
        let (store, checkpoints) = (Arc::clone(&self.stores.leases), ledger.clone());
        let declared = intents.clone();
        builder.worker("checkpointer", move || {
            Checkpointer::new(store, lease, children, checkpoints, options).with_intents(declared)
        });
        let mut resumes = Vec::new();
        let outs = match &self.job {
            Job::Enrich { work, enrich, resolver, .. } => {
                vec![self.enrich(&mut builder, work, enrich, resolver, careful)]
            }
            Job::Load { work, sinks } => {
                let (outs, resumed) =
                    self.load(&mut builder, work, sinks, &intents, careful).await?.into_iter().unzip();
                resumes = resumed;
                outs
            }
        };
        let limit = ReadLimit { records: self.source.max_records, bytes: self.source.max_bytes };
        let options = ReaderOptions { limit, ..ReaderOptions::default() };
        let careful = care.map(|care| {
            let bad = self.bad_writer(&mut builder, " poison", self.job.bad());
            Careful::new(care, bad, settings::processor(self.job.artifact()))
        });
        builder.worker("shard-reader", move || {
            let reader = ShardReader::new(cursor, options, ledger, outs);
            let resumes = resumes.into_iter().enumerate();
            let reader = resumes.fold(reader, |reader, (out, resume)| reader.with_resume(out, resume));
            match careful {
                Some(careful) => reader.with_care(careful),
                None => reader,
            }
        });
        Ok(builder.finish())
    }

    /// reader ► enricher ► (batcher ► writer) for good, bad, failed and pii.
    fn enrich(
        &self,
        builder: &mut GroupBuilder,
        work: &EnrichWork,
        enrich: &Current,
        resolver: &Arc<Resolver>,
        careful: bool,
    ) -> Port<Batch<Record>> {
        let rules = rules(work.batch, careful);
        let good = self.stream_chain(builder, "good", &work.good, rules);
        let bad = self.stream_chain(builder, "bad", &work.bad, rules);
        let failed = work.failed.as_ref().map(|stream| self.stream_chain(builder, "failed", stream, rules));
        let pii = work.pii.as_ref().map(|stream| self.stream_chain(builder, "pii", stream, rules));
        let outlets = Outlets { good, bad, failed, pii };
        let (enrich, resolver, stream) = (enrich.clone(), Arc::clone(resolver), self.source.stream.clone());
        let probe = self.tuning.probe.clone();
        builder.stage("enricher", self.mailbox(), move || {
            Enricher::new(enrich, resolver, &stream, outlets).with_probe(probe)
        })
    }

    /// batcher ► writer of one stream.
    fn stream_chain(
        &self,
        builder: &mut GroupBuilder,
        what: &str,
        stream: &str,
        rules: BatchRules,
    ) -> Port<Batch<PutEntry>> {
        let writer = self.stream_writer(builder, &format!("stream-writer {what}"), stream);
        builder.stage(&format!("batcher {what}"), self.mailbox(), move || Batcher::new(rules, writer))
    }

    fn stream_writer(&self, builder: &mut GroupBuilder, name: &str, stream: &str) -> Port<Batch<PutEntry>> {
        let producer = self.producer(&builder.context().id.shard);
        let (streams, stream) = (Arc::clone(&self.stores.streams), stream.to_owned());
        builder.stage(name, self.mailbox(), move || StreamWriter::new(streams, stream, producer))
    }

    /// reader ► (batcher ► writer) for each sink, and one writer of bad rows for each, so that their orders don't mix.
    async fn load(
        &self,
        builder: &mut GroupBuilder,
        work: &Load,
        sinks: &[SinkSetup],
        intents: &Intents,
        careful: bool,
    ) -> Result<Vec<(Port<Batch<Record>>, Resume)>, Failure> {
        let mut outs = Vec::new();
        for (number, (sink, setup)) in work.sinks.iter().zip(sinks).enumerate() {
            let suffix = if work.sinks.len() > 1 { format!(" {}", number + 1) } else { String::new() };
            let bad = self.bad_writer(builder, &suffix, &work.bad);
            // A batch of the batcher has to pass whole.
            let limits = MailboxLimits::new(self.limits.mailbox_bytes.max(2 * sink.batch.max_bytes), 2);
            let writer = match setup {
                SinkSetup::Objects(objects) => {
                    let place = Place {
                        streams: &self.stores.streams,
                        stream: &self.source.stream,
                        intents,
                        mailbox: self.mailbox(),
                        suffix: &suffix,
                        careful,
                    };
                    outs.push(objects.build(builder, &place, bad).await?);
                    continue;
                }
                SinkSetup::Tables { loader } => {
                    let loader = loader.clone();
                    let shard = builder.context().id.shard.clone();
                    let progress = ProgressKey {
                        application: self.application.name.clone(),
                        stream: self.source.stream.clone(),
                        shard,
                    };
                    builder.stage(&format!("postgres-writer{suffix}"), limits, move || {
                        PostgresWriter::new(loader, progress, bad)
                    })
                }
            };
            let rules = rules(sink.batch, careful);
            let batcher =
                builder.stage(&format!("batcher{suffix}"), self.mailbox(), move || Batcher::new(rules, writer));
            outs.push((batcher, Resume::default()));
        }
        Ok(outs)
    }

    fn bad_writer(&self, builder: &mut GroupBuilder, suffix: &str, stream: &str) -> Port<Batch<PutEntry>> {
        // Sinks have positions of their own: each is a producer of its own.
        let mut producer = self.producer(&builder.context().id.shard);
        producer.0.push_str(suffix);
        let (streams, stream) = (Arc::clone(&self.stores.streams), stream.to_owned());
        builder.stage(&format!("stream-writer bad{suffix}"), self.mailbox(), move || {
            StreamWriter::new(streams, stream, producer)
        })
    }
}

/// A stream's shards, as the lease table wants to know them.
struct Listed {
    streams: Arc<dyn Streams>,
    stream: String,
}

#[async_trait]
impl ListShards for Listed {
    async fn shards(&self) -> Result<Vec<ShardInfo>, LeaseError> {
        let described = self.streams.describe(&self.stream).await;
        let description = described.map_err(|error| LeaseError::Unlisted { reason: explain(&error) })?;
        let shards = description.shards.into_iter();
        Ok(shards
            .map(|shard| ShardInfo {
                id: shard.id.to_string(),
                parents: shard.parents.iter().map(ToString::to_string).collect(),
                range: Some((shard.range.start, shard.range.end)),
                closed: shard.closed,
            })
            .collect())
    }
}

/// With care nothing is gathered: the next batch is read when this one is durable.
fn rules(batch: BatchLimits, careful: bool) -> BatchRules {
    let max_records = if careful { 1 } else { batch.max_records };
    BatchRules { max_bytes: batch.max_bytes, max_records, max_age: batch.max_age }
}

impl Job {
    /// The stream of what can't be processed.
    fn bad(&self) -> &str {
        match self {
            Self::Enrich { work, .. } => &work.bad,
            Self::Load { work, .. } => &work.bad,
        }
    }

    /// Who makes bad rows.
    const fn artifact(&self) -> &'static str {
        match self {
            Self::Enrich { .. } => "snowmelt-enrich",
            Self::Load { .. } => "snowmelt-loader",
        }
    }
}

/// Where a cursor begins for a checkpoint: after what is done.
fn start_at(checkpoint: &Position) -> Result<StartAt, Failure> {
    Ok(match checkpoint {
        Position::TrimHorizon => StartAt::TrimHorizon,
        Position::Latest => StartAt::Latest,
        Position::AtTimestampMs(at) => StartAt::AtTimestampMs(*at),
        Position::At { .. } => StartAt::After(checkpoint.to_string().parse().map_err(Failure::error)?),
        Position::ShardEnd => return Err(Failure::message("the shard was read to its end")),
    })
}

impl GroupSource for ShardGroups {
    fn discover(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<ShardPlan>, Failure>> {
        async move {
            let leases = self.stores.leases.claim(&self.application).await.map_err(Failure::error)?;
            Ok(leases.into_iter().map(|lease| ShardPlan { shard: lease.shard }).collect())
        }
        .boxed()
    }

    fn build(
        self: Arc<Self>,
        plan: ShardPlan,
        context: GroupContext,
        care: Option<Care>,
    ) -> LocalBoxFuture<'static, Result<Group, Failure>> {
        const PATIENCE: Duration = Duration::from_secs(60);
        async move {
            match tokio::time::timeout(PATIENCE, self.start(&plan, context, care)).await {
                Ok(built) => built,
                Err(_) => Err(Failure::message(format!("not built within {} s", PATIENCE.as_secs()))),
            }
        }
        .boxed_local()
    }

    fn is_ended(self: Arc<Self>, plan: &ShardPlan) -> BoxFuture<'static, Result<bool, Failure>> {
        let shard = plan.shard.clone();
        async move {
            let leases = self.stores.leases.list(&self.application.name).await.map_err(Failure::error)?;
            Ok(leases.iter().any(|lease| lease.shard == shard && lease.is_ended()))
        }
        .boxed()
    }
}
