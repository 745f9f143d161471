//! The stores under a node: streams, leases, objects, the warehouse. Chosen here and nowhere else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_rt::Arbiter;
use snowmelt_kinesis::KinesisStreams;
use snowmelt_leases::{EmbeddedLeases, LeaseStore};
use snowmelt_objects::s3::S3Store;
use snowmelt_objects::{DirectoryStore, ObjectStore};
use snowmelt_runtime::Clock;
use snowmelt_streams::{Durability, EmbeddedStreams, Options, Streams};
use snowmelt_warehouse::{ClusterOptions, PrivateCluster, Warehouse, WarehouseOptions};

use crate::check::without_password;
use crate::definition::Plan;
use crate::definition::model::{Definition, LoadSink, ObjectPlace, Objects, Postgres, Target};
use crate::run::registries::OwnRegistry;
use crate::run::{aws, settings};
use crate::running::{Psql, RunFile};
use crate::trouble::{Outcome, Trouble};

/// How long Postgres may take to answer at the start.
const POSTGRES_PATIENCE: Duration = Duration::from_secs(60);

/// Opens a bucket by its name.
pub type OpenBucket = Arc<dyn Fn(&str) -> Outcome<Arc<dyn ObjectStore>> + Send + Sync>;

/// What groups work with. Tests put their own stores in.
#[derive(Clone)]
pub struct Stores {
    /// Streams.
    pub streams: Arc<dyn Streams>,
    /// Leases and checkpoints.
    pub leases: Arc<dyn LeaseStore>,
    /// Who holds leases.
    pub owner: String,
    /// Objects.
    pub bucket: OpenBucket,
    /// Tables, when a definition has some.
    pub warehouse: Option<Warehouse>,
    /// The schema registry of this node, when it runs one.
    pub registry: Option<OwnRegistry>,
    /// Time.
    pub clock: Clock,
}

impl Stores {
    /// Opens the bucket of a sink.
    pub async fn objects(&self, sink: &LoadSink, bucket: &str) -> Outcome<Arc<dyn ObjectStore>> {
        match &sink.target {
            Target::S3(Objects { place: ObjectPlace::S3(options), .. }) => {
                Ok(Arc::new(S3Store::open(bucket, options).await))
            }
            Target::S3(_) | Target::Postgres { .. } => (self.bucket)(bucket),
        }
    }
}

/// The open stores.
pub struct Backends {
    /// Streams.
    pub streams: Arc<dyn Streams>,
    /// Leases and checkpoints.
    pub leases: Arc<dyn LeaseStore>,
    /// Tables, when a definition has some.
    pub warehouse: Option<Warehouse>,
    /// The schema registry of this node, once it runs.
    pub registry: Option<OwnRegistry>,
    /// Event loops for shard groups.
    pub arbiters: Vec<Arbiter>,
    /// Time.
    pub clock: Clock,
    /// Who holds leases.
    pub owner: String,
    kinesis: Option<KinesisStreams>,
    cluster: Option<PrivateCluster>,
    objects_dir: PathBuf,
    postgres_url: Option<String>,
    /// Where `snowmelt sql` looks: URL and schema.
    tables: Option<(String, String)>,
}

impl Backends {
    /// Opens everything that the plan needs, and creates its streams.
    pub async fn open(plan: &Plan, clock: Clock) -> Outcome<Self> {
        let data_dir = &plan.backend.data_dir;
        std::fs::create_dir_all(data_dir).map_err(|error| Trouble::machine(&data_dir.display().to_string(), error))?;
        let data_dir =
            data_dir.canonicalize().map_err(|error| Trouble::machine(&data_dir.display().to_string(), error))?;
        let host = settings::host();
        let mut kinesis = None;
        let (streams, leases, owner): (Arc<dyn Streams>, Arc<dyn LeaseStore>, String) = match &plan.backend.aws {
            Some(aws) => {
                let streams = kinesis.insert(aws::streams(aws).await).clone();
                (Arc::new(streams), Arc::new(aws::leases(aws).await?), aws::worker(aws, &host))
            }
            None => {
                let streams = open_streams(plan, &data_dir).await?;
                let leases = EmbeddedLeases::open(data_dir.join("leases"));
                let leases = leases.map_err(|error| Trouble::caused("leases", error))?;
                // A process that is started again takes its own leases back at once.
                (Arc::new(streams), Arc::new(leases), host)
            }
        };
        if plan.backend.aws.is_some() {
            aws::look(plan, &streams).await?;
        }
        let objects_dir = data_dir.join("objects");
        let needs_postgres = plan.definitions.iter().any(Definition::needs_postgres);
        let (cluster, postgres_url) = if needs_postgres { open_postgres(plan, &data_dir).await? } else { (None, None) };
        let warehouse = match &postgres_url {
            Some(url) => Some(connect(&WarehouseOptions::new(url, &plan.backend.schema)).await?),
            None => None,
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            streams,
            leases,
            owner,
            kinesis,
            warehouse,
            registry: None,
            arbiters: (0..cores).map(|_| Arbiter::new()).collect(),
            clock,
            cluster,
            objects_dir,
            tables: tables(plan, postgres_url.as_deref()),
            postgres_url,
        })
    }

    /// The stores as the groups of an application see them.
    pub fn stores(&self, application: &str) -> Stores {
        // A consumer of its own for each application: none reads from the share of another.
        let of_application =
            self.kinesis.as_ref().map(|kinesis| Arc::new(kinesis.reading_as(application)) as Arc<dyn Streams>);
        Stores {
            streams: of_application.unwrap_or_else(|| Arc::clone(&self.streams)),
            leases: Arc::clone(&self.leases),
            owner: self.owner.clone(),
            bucket: directories(self.objects_dir.clone()),
            warehouse: self.warehouse.clone(),
            registry: self.registry.clone(),
            clock: self.clock.clone(),
        }
    }

    /// What other commands have to know.
    pub fn run_file(&self, collector_url: Option<String>, operator_url: String) -> RunFile {
        RunFile {
            pid: std::process::id(),
            collector_url,
            operator_url: Some(operator_url),
            operator_token_file: None,
            registry_url: None,
            registry_key_file: None,
            postgres_url: self.tables.as_ref().map(|(url, _)| url.clone()),
            schema: self.tables.as_ref().map_or("atomic", |(_, schema)| schema).to_owned(),
            objects_dir: self.objects_dir.clone(),
            psql: self.psql(),
        }
    }

    /// The node's Postgres. Holds the password: not for logs.
    pub fn postgres_url(&self) -> Option<&str> {
        self.postgres_url.as_deref()
    }

    fn psql(&self) -> Option<Psql> {
        if let Some(cluster) = &self.cluster {
            let psql = cluster.psql();
            return Some(Psql { program: psql.program, arguments: psql.arguments, environment: psql.environment });
        }
        let (url, _) = self.tables.clone()?;
        Some(Psql { program: PathBuf::from("psql"), arguments: vec![url], environment: Vec::new() })
    }

    /// Resolves when a store that can't be done without is gone.
    pub async fn failed(&self) -> String {
        match &self.cluster {
            Some(cluster) => format!("the private PostgreSQL server ended: {}", cluster.ended().await),
            None => std::future::pending().await,
        }
    }

    /// Closes the database. Streams and leases need no closing: what they have answered is stored.
    pub async fn close(self) -> Outcome {
        if let Some(warehouse) = self.warehouse {
            warehouse.close().await;
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

/// The node's database, or the first one that a sink has of its own.
fn tables(plan: &Plan, node: Option<&str>) -> Option<(String, String)> {
    let of_sinks = plan.definitions.iter().flat_map(Definition::tables);
    let own = || of_sinks.filter_map(|tables| Some((tables.database.clone()?, tables.schema.clone()?))).next();
    node.map(|url| (url.to_owned(), plan.backend.schema.clone())).or_else(own)
}

/// The objects of a bucket in a folder of its name.
pub fn directories(root: PathBuf) -> OpenBucket {
    Arc::new(move |name| {
        let store = DirectoryStore::open(root.join(name)).map_err(|error| Trouble::caused("objects", error))?;
        Ok(Arc::new(store) as Arc<dyn ObjectStore>)
    })
}

async fn open_streams(plan: &Plan, data_dir: &Path) -> Outcome<EmbeddedStreams> {
    let durability = if plan.backend.fsync { Durability::Fsync } else { Durability::OsCache };
    let options = Options { durability, ..Options::default() };
    let directory = data_dir.join("streams");
    // Recovery reads files: not on the event loop.
    let opened = tokio::task::spawn_blocking(move || EmbeddedStreams::open(directory, options)).await;
    let streams = opened
        .map_err(|error| Trouble::machine("streams", error))?
        .map_err(|error| Trouble::caused("streams", error))?;
    for (name, shards) in &plan.streams {
        streams
            .create(name, *shards, plan.backend.retention)
            .await
            .map_err(|error| Trouble::caused(&format!("stream {name}"), error))?;
    }
    Ok(streams)
}

async fn open_postgres(plan: &Plan, data_dir: &Path) -> Outcome<(Option<PrivateCluster>, Option<String>)> {
    match &plan.backend.postgres {
        Postgres::Url(url) => Ok((None, Some(url.clone()))),
        Postgres::Private(port) => {
            let options = ClusterOptions { port: *port, ..ClusterOptions::default() };
            let cluster = PrivateCluster::start(&data_dir.join("postgres"), &options)
                .await
                .map_err(|error| Trouble::caused("the private PostgreSQL server does not start", error))?;
            let url = cluster.url();
            Ok((Some(cluster), Some(url)))
        }
    }
}

/// Connects to a database that has to be there.
pub async fn connect(options: &WarehouseOptions) -> Outcome<Warehouse> {
    let hint = format!("PostgreSQL at {}", without_password(&options.url));
    let connecting = Warehouse::connect(options);
    match tokio::time::timeout(POSTGRES_PATIENCE, connecting).await {
        Ok(Ok(warehouse)) => Ok(warehouse),
        Ok(Err(error)) => Err(Trouble::caused(&hint, error)),
        Err(_) => Err(Trouble::Machine(format!("{hint}: no answer within {} s", POSTGRES_PATIENCE.as_secs()))),
    }
}
