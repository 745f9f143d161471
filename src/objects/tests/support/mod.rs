//! A stand-in of S3, which `tests/run.sh` installs.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use snowmelt_objects::s3::{S3Options, S3Store};
use snowmelt_standins::{Faults, Service, Standins};
use std::path::PathBuf;

/// A running stand-in; ends when dropped.
pub struct Emulator {
    standins: Standins,
    pub client: Client,
}

impl Emulator {
    /// Starts one on a port of its own; none with a printed line where the tools are not installed.
    pub async fn start() -> Option<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tools = std::env::var_os("SNOWMELT_TOOLS").map_or_else(|| root.join(".tools"), PathBuf::from);
        if !tools.join("python/bin/moto_server").try_exists().unwrap() {
            assert!(std::env::var_os("CI").is_none(), "CI has installed the tools");
            println!("skipped: there is no moto in {}; bash tests/run.sh installs it", tools.display());
            return None;
        }
        let standins = Standins::start(&tools, &[Service::S3]).await.unwrap();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(standins.endpoint(Service::S3).unwrap())
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .force_path_style(true)
            .build();
        Some(Self { standins, client: Client::from_conf(config) })
    }

    /// What goes wrong with requests.
    #[allow(dead_code, reason = "not every test binary wants faults")]
    pub fn faults(&self) -> &Faults {
        self.standins.faults(Service::S3).unwrap()
    }

    /// A bucket of its own.
    pub async fn bucket(&self, name: &str, options: &S3Options) -> S3Store {
        let store = S3Store::with_client(name, self.client.clone(), options);
        assert!(!store.exists().await.unwrap());
        store.create().await.unwrap();
        store.create().await.unwrap();
        assert!(store.exists().await.unwrap());
        store
    }
}
