//! What a world's streams, leases and objects are kept in.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use snowmelt_dynamodb::{DynamoLeases, LeaseOptions};
use snowmelt_kinesis::{KinesisOptions, KinesisStreams};
use snowmelt_leases::{EmbeddedLeases, LeaseStore};
use snowmelt_objects::s3::{S3Options, S3Store};
use snowmelt_objects::{DirectoryStore, ObjectStore};
use snowmelt_standins::{Service, Standins};
use snowmelt_streams::{Durability, EmbeddedStreams, Options, Streams};

/// The stores of one world.
#[derive(Clone)]
pub struct Backing {
    /// Streams.
    pub streams: Arc<dyn Streams>,
    /// Leases.
    pub leases: Arc<dyn LeaseStore>,
    /// Objects.
    pub objects: Arc<dyn ObjectStore>,
    /// What the names of its streams end in, where several worlds share a service.
    pub suffix: String,
    /// Whether a put that is repeated after a failure is stored again: Kinesis knows no producers.
    pub repeats: bool,
    /// How often a node looks for shards.
    pub discover_every: Duration,
}

impl Backing {
    /// The embedded ones, under a directory.
    ///
    /// # Errors
    /// When they can't be opened.
    pub fn embedded(directory: &Path) -> Result<Self> {
        let options = Options { durability: Durability::OsCache, ..Options::default() };
        Ok(Self {
            streams: Arc::new(EmbeddedStreams::open(directory.join("streams"), options)?),
            leases: Arc::new(EmbeddedLeases::open(directory.join("leases"))?),
            objects: Arc::new(DirectoryStore::open(directory.join("objects"))?),
            suffix: String::new(),
            repeats: false,
            discover_every: Duration::from_secs(10),
        })
    }

    /// Those of AWS, on stand-ins that all worlds of the process share; none where they are not installed.
    ///
    /// # Errors
    /// When the stand-ins do not start.
    pub async fn aws() -> Result<Option<Self>> {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let Some(standins) = standins()? else { return Ok(None) };
        let world = WORLDS.fetch_add(1, Ordering::Relaxed);
        let credentials = Credentials::new("test", "test", None, None, "stand-ins");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let kinesis = KinesisOptions {
            endpoint: Some(standins.endpoint(Service::Kinesis)?.to_owned()),
            idle: KinesisOptions::MIN_IDLE,
            ..KinesisOptions::default()
        };
        let leases = LeaseOptions {
            endpoint: Some(standins.endpoint(Service::DynamoDb)?.to_owned()),
            // Nobody else wants these leases: what expires is what a fault has taken.
            failover: Duration::from_secs(3),
            scan_every: Some(Duration::from_millis(500)),
            ..LeaseOptions::default()
        };
        let s3 = aws_sdk_s3::config::Builder::from(&config)
            .endpoint_url(standins.endpoint(Service::S3)?)
            .force_path_style(true)
            .build();
        let bucket = format!("bucket-{world}");
        let objects = S3Store::with_client(&bucket, aws_sdk_s3::Client::from_conf(s3), &S3Options::default());
        objects.create().await?;
        Ok(Some(Self {
            streams: Arc::new(KinesisStreams::with_config(&config, kinesis)),
            leases: Arc::new(DynamoLeases::with_config(leases, &config).await?),
            objects: Arc::new(objects),
            suffix: format!("-{world}"),
            repeats: true,
            discover_every: Duration::from_millis(200),
        }))
    }

    /// A stream's name in this world.
    pub fn stream(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }
}

/// The stand-ins of this process, started once; they end with it.
fn standins() -> Result<Option<&'static Standins>> {
    static STANDINS: OnceLock<Result<Option<Standins>, String>> = OnceLock::new();
    let started = STANDINS.get_or_init(|| {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tools = std::env::var_os("SNOWMELT_TOOLS").map_or_else(|| root.join(".tools"), PathBuf::from);
        if !tools.join("dynamodb-local").is_dir() && std::env::var_os("CI").is_none() {
            println!("skipped: there are no stand-ins of AWS in {}; bash tests/run.sh installs them", tools.display());
            return Ok(None);
        }
        let services = [Service::Kinesis, Service::DynamoDb, Service::S3];
        // Whoever asks first runs on an event loop that ends before the others'.
        let starting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let started = runtime.map_err(|error| error.to_string())?.block_on(Standins::start(&tools, &services));
            started.map_err(|error| error.to_string())
        });
        starting.join().map_err(|_| "starting them panicked".to_owned())?.map(Some)
    });
    match started {
        Ok(standins) => Ok(standins.as_ref()),
        Err(reason) => Err(anyhow::anyhow!("{reason}")).context("stand-ins of AWS"),
    }
}
