//! What the proxy does to requests, seen through Amazon's SDK and through plain HTTP.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod dynamodb;
mod fan_out;
mod kinesis;
mod s3;

use std::path::{Path, PathBuf};

use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use snowmelt_standins::{FanOut, Service, StandinError, Standins};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// All tests share one set of stand-ins, one after the other: each sets plans.
static RUNNING: OnceCell<Option<Standins>> = OnceCell::const_new();
static TURN: Mutex<()> = Mutex::const_new(());

/// The stand-ins, without any plan, for one test at a time; none where they are not installed.
async fn standins() -> Option<(&'static Standins, MutexGuard<'static, ()>)> {
    let turn = TURN.lock().await;
    let running = RUNNING.get_or_init(start).await.as_ref()?;
    for service in [Service::Kinesis, Service::DynamoDb, Service::S3] {
        let faults = running.faults(service).unwrap();
        faults.clear();
        faults.set_fan_out(FanOut::default());
    }
    Some((running, turn))
}

async fn start() -> Option<Standins> {
    let installed = std::env::var_os("SNOWMELT_TOOLS").map(PathBuf::from);
    let is_needed = installed.is_some();
    let tools = installed.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools"));
    match Standins::start(&tools, &[Service::Kinesis, Service::DynamoDb, Service::S3]).await {
        Ok(standins) => Some(standins),
        Err(StandinError::Missing { path, .. }) if !is_needed => {
            println!("skipped: {} is missing; bash tests/run.sh installs it", path.display());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A client that asks once, so that each test sees each fault.
fn kinesis_client(endpoint: &str) -> aws_sdk_kinesis::Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(aws_sdk_kinesis::config::retry::RetryConfig::disabled())
        .endpoint_url(endpoint);
    aws_sdk_kinesis::Client::from_conf(config.build())
}

fn dynamodb_client(endpoint: &str) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(aws_sdk_kinesis::config::retry::RetryConfig::disabled())
        .endpoint_url(endpoint);
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// A name that no other test has.
fn unique(what: &str) -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    format!("{what}-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}
