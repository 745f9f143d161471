//! An emulator of S3: moto, in the Python environment that `tests/run.sh` makes.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use snowmelt_objects::s3::{S3Options, S3Store};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running emulator; ends when dropped.
pub struct Emulator {
    process: Child,
    pub client: Client,
}

impl Emulator {
    /// Starts one on a port of its own; none with a printed line where the tools are not installed.
    pub fn start() -> Option<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tools = std::env::var_os("SNOWMELT_TOOLS").map_or_else(|| root.join(".tools"), PathBuf::from);
        if !tools.join("python/bin/moto_server").try_exists().unwrap() {
            assert!(std::env::var_os("CI").is_none(), "CI has installed the tools");
            println!("skipped: there is no moto in {}; bash tests/run.sh installs it", tools.display());
            return None;
        }
        let mut process = Command::new(tools.join("python/bin/python"))
            .arg(root.join("tests/tools/aws_server.py"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://127.0.0.1:{}", port.trim()))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .force_path_style(true)
            .build();
        Some(Self { process, client: Client::from_conf(config) })
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

impl Drop for Emulator {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
