//! Definitions as values, after everything was checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that one `run` or `check` works on.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Chosen once for all.
    pub backend: Backend,
    /// Streams to create when missing, with their shards, in the order of first mention.
    pub streams: Vec<(String, u32)>,
    /// The applications.
    pub definitions: Vec<Definition>,
}

/// What streams, leases, objects and tables are kept in.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Streams, leases and objects of AWS; the embedded ones when absent.
    pub aws: Option<Aws>,
    /// Where the embedded backends keep everything.
    pub data_dir: PathBuf,
    /// Whether a put is on the disk before it is answered.
    pub fsync: bool,
    /// How long streams keep records.
    pub retention: Duration,
    /// Which Postgres.
    pub postgres: Postgres,
    /// The database schema of all tables.
    pub schema: String,
    /// Where the operator API listens.
    pub operator: SocketAddr,
    /// The file of the operator API's token; without one it listens on loopback only.
    pub operator_token_file: Option<PathBuf>,
}

/// How AWS is reached, and how workers share shards.
#[derive(Debug, Clone)]
pub struct Aws {
    /// The region; as the SDK finds it when absent.
    pub region: Option<String>,
    /// Another service than AWS's own, each.
    pub kinesis_endpoint: Option<String>,
    /// For leases.
    pub dynamodb_endpoint: Option<String>,
    /// For objects.
    pub s3_endpoint: Option<String>,
    /// The bucket of sinks that name none.
    pub bucket: Option<String>,
    /// This worker's name; made of the host's and a random part when absent.
    pub worker: Option<String>,
    /// A worker that did not renew a lease for this long has lost it.
    pub lease: Duration,
    /// Most leases that this worker holds of one application.
    pub max_leases: Option<usize>,
    /// Most leases that this worker takes from another at once.
    pub steal_at_once: Option<usize>,
    /// What is done beside a live fleet of KCL 3.
    pub live_fleet: LiveFleet,
    /// How shards are read.
    pub reading: Reading,
    /// Records of one partition key are put in their order, whatever the service refuses.
    pub keep_order: bool,
}

/// What is done beside a fleet of KCL 3 that runs, whose leader gives leases to workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveFleet {
    /// Wait until it has gone.
    Wait,
    /// Take unowned, expired and surplus leases beside it.
    Share,
}

/// How shards are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// By asking, at the shard's tip this often.
    Poll {
        /// Time between two reads.
        every: Duration,
    },
    /// By enhanced fan-out.
    FanOut {
        /// By asking where a consumer can't be registered.
        fall_back: bool,
    },
}

/// Which Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Postgres {
    /// A server of our own; the port, or a free one.
    Private(Option<u16>),
    /// The one at this URL.
    Url(String),
}

/// One application.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// The file it stands in.
    pub file: PathBuf,
    /// What it does.
    pub work: Work,
    /// How it is supervised and bounded.
    pub limits: Limits,
}

/// What an application does.
#[derive(Debug, Clone)]
pub enum Work {
    /// Takes events over HTTP.
    Collect(Collect),
    /// Reads raw records, writes enriched ones.
    Enrich(Enrich),
    /// Reads records, writes them to stores.
    Load(Load),
    /// Keeps schemas and gives them over HTTP.
    Registry(Registry),
}

/// A schema registry.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its database, when it is not the node's.
    pub database: Option<String>,
    /// The database schema of its tables.
    pub schema: String,
    /// Connections to the database at most.
    pub connections: u32,
    /// File with the key that has all rights.
    pub super_key_file: Option<PathBuf>,
    /// Environment variable that holds that key.
    pub super_key_env: Option<String>,
    /// Everything else; that key too where the original's file holds it.
    pub server: snowmelt_iglu_server::ServerConfig,
    /// What the writer of the original's file should know: keys that do nothing here.
    pub notes: Vec<String>,
}

/// A collector.
#[derive(Debug, Clone)]
pub struct Collect {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Stream of payloads.
    pub good: String,
    /// Stream of size violations.
    pub bad: String,
    /// Its own configuration file.
    pub config: Option<PathBuf>,
    /// Keys over it.
    pub settings: serde_json::Value,
}

/// Where records come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The stream.
    pub stream: String,
    /// Where a shard without a checkpoint begins.
    pub start: Start,
    /// Most records of one read.
    pub max_records: usize,
    /// Most bytes of one read.
    pub max_bytes: usize,
}

/// When a batch is written.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Bytes.
    pub max_bytes: usize,
    /// Records.
    pub max_records: usize,
    /// Age.
    pub max_age: Duration,
}

/// An enrich application.
#[derive(Debug, Clone)]
pub struct Enrich {
    /// What is read.
    pub source: Source,
    /// resolver.json.
    pub resolver: PathBuf,
    /// Folder of enrichments.
    pub enrichments: Option<PathBuf>,
    /// The original's config.hocon.
    pub config: Option<PathBuf>,
    /// Over `config`: bytes past which an event is a size violation.
    pub max_record_size: Option<usize>,
    /// Over `config`: deepest JSON.
    pub max_json_depth: Option<usize>,
    /// Over `config`: overlong fields are no mistake.
    pub accept_invalid: Option<bool>,
    /// Stream of good events.
    pub good: String,
    /// Stream of failed events.
    pub failed: Option<String>,
    /// Stream of events about what was pseudonymised.
    pub pii: Option<String>,
    /// Stream of bad rows.
    pub bad: String,
    /// Batches of the streams' writers.
    pub batch: BatchLimits,
}

/// A loader.
#[derive(Debug, Clone)]
pub struct Load {
    /// What is read.
    pub source: Source,
    /// Where it goes.
    pub sinks: Vec<LoadSink>,
    /// Stream of what can't be loaded.
    pub bad: String,
}

/// When a batch of objects is written.
#[derive(Debug, Clone, Copy)]
pub enum Gather {
    /// Whichever limit is reached first.
    Limits(BatchLimits),
    /// By the rules of the original's configuration.
    AsOriginal,
}

/// What is kept as objects, and where.
#[derive(Debug, Clone)]
pub struct Objects {
    /// The loader's configuration in the original's form.
    pub loader: serde_json::Value,
    /// How long a put that fails is tried again, milliseconds; without end when absent, or what `loader` says of it.
    pub retry_for_ms: Option<u64>,
    /// Where.
    pub place: ObjectPlace,
}

impl Objects {
    /// Bucket and directory.
    pub fn path(&self) -> &str {
        let output = &self.loader["output"];
        let path = output["good"]["path"].as_str().or(output["s3"]["path"].as_str()).unwrap_or_default();
        path.trim_start_matches("s3://")
    }
}

/// Where objects are kept.
#[derive(Debug, Clone)]
pub enum ObjectPlace {
    /// In a folder of the bucket's name under the data directory.
    Directory,
    /// In a bucket of S3.
    S3(snowmelt_objects::s3::S3Options),
}

/// What a source holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Collector payloads.
    Raw,
    /// Enriched events.
    Enriched,
    /// Bad rows.
    Bad,
}

impl Purpose {
    /// Of the texts that a definition may have.
    pub(super) fn parse(text: &str) -> Self {
        match text {
            "raw" => Self::Raw,
            "enriched" => Self::Enriched,
            _ => Self::Bad,
        }
    }
}

/// Where a shard without a checkpoint begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With its oldest record.
    TrimHorizon,
    /// With what comes from now on.
    Latest,
    /// With the first record that arrived at this time or later, milliseconds since the epoch.
    AtTimestampMs(i64),
}

/// One sink of a loader.
#[derive(Debug, Clone)]
pub struct LoadSink {
    /// What the source holds.
    pub purpose: Purpose,
    /// Bounds of a batch.
    pub batch: BatchLimits,
    /// When a batch of objects is written.
    pub gather: Gather,
    /// Where.
    pub target: Target,
}

impl LoadSink {
    /// Its tables, when it has some.
    pub const fn tables(&self) -> Option<&Tables> {
        match &self.target {
            Target::Postgres(tables) => Some(tables),
            Target::S3 { .. } => None,
        }
    }
}

/// Where a loader writes.
#[derive(Debug, Clone)]
pub enum Target {
    /// Objects.
    S3(Objects),
    /// Tables.
    Postgres(Tables),
}

/// Where and how tables are loaded.
#[derive(Debug, Clone)]
pub struct Tables {
    /// resolver.json, for the columns.
    pub resolver: PathBuf,
    /// The database, when it is not the node's.
    pub database: Option<String>,
    /// The database schema, when it is not the node's; always there with a database of its own.
    pub schema: Option<String>,
    /// Connections at most, when they are not the node's.
    pub connections: Option<u32>,
    /// Of events with one id that are loaded within this time the first stays.
    pub deduplicate: Option<Duration>,
}

/// How an application is supervised and bounded.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bound of each mailbox in bytes.
    pub mailbox_bytes: usize,
    /// Bound of each mailbox in batches.
    pub mailbox_batches: usize,
    /// Failures of a shard in the window that are borne.
    pub max_restarts: usize,
    /// Shards that gave up in the window that are borne; one more ends the node.
    pub max_given_up: usize,
    /// The window.
    pub window: Duration,
    /// Without progress for this long an actor hangs.
    pub heartbeat: Duration,
    /// How long a drain may take.
    pub drain: Duration,
    /// Least time between checkpoints.
    pub checkpoint_every: Duration,
}

impl Definition {
    /// The stream it reads, if it reads one.
    pub fn source(&self) -> Option<&Source> {
        match &self.work {
            Work::Collect(_) | Work::Registry(_) => None,
            Work::Enrich(enrich) => Some(&enrich.source),
            Work::Load(load) => Some(&load.source),
        }
    }

    /// The streams it writes.
    pub fn writes(&self) -> Vec<&str> {
        match &self.work {
            Work::Collect(collect) => vec![&collect.good, &collect.bad],
            Work::Enrich(enrich) => {
                let mut streams = vec![enrich.good.as_str(), enrich.bad.as_str()];
                streams.extend([enrich.failed.as_deref(), enrich.pii.as_deref()].into_iter().flatten());
                streams
            }
            Work::Load(load) => vec![&load.bad],
            Work::Registry(_) => Vec::new(),
        }
    }

    /// Its tables.
    pub fn tables(&self) -> impl Iterator<Item = &Tables> {
        let sinks = match &self.work {
            Work::Load(load) => load.sinks.as_slice(),
            Work::Collect(_) | Work::Enrich(_) | Work::Registry(_) => &[],
        };
        sinks.iter().filter_map(LoadSink::tables)
    }

    /// Whether it needs the node's Postgres.
    pub fn needs_postgres(&self) -> bool {
        match &self.work {
            Work::Load(_) => self.tables().any(|tables| tables.database.is_none()),
            Work::Registry(registry) => registry.database.is_none(),
            Work::Collect(_) | Work::Enrich(_) => false,
        }
    }
}
