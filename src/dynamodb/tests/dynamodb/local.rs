//! DynamoDB Local: one process for the test binary, a table a test.

use std::collections::HashMap;
use std::env;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::types::AttributeValue;
use snowmelt_dynamodb::{DynamoLeases, LeaseOptions};
use snowmelt_leases::{Application, LeaseError, ListShards, Position, ShardInfo};

/// A server that ends when the test's process does.
struct Server {
    port: u16,
    _child: Child,
    /// Its end ends the server.
    _stdin: ChildStdin,
}

/// Where the jars are, or nothing when tests are to be skipped.
fn jars() -> Option<PathBuf> {
    let tools = env::var_os("SNOWMELT_TOOLS").map(PathBuf::from);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    let lib = tools.unwrap_or(root).join("dynamodb-local/lib");
    lib.is_dir().then_some(lib)
}

fn start() -> Option<Server> {
    let Some(lib) = jars() else {
        assert!(env::var_os("CI").is_none(), "DynamoDB Local is missing");
        eprintln!("skipped: DynamoDB Local is missing");
        return None;
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let lib = lib.display();
    let script = format!(
        "java -Xmx512m -XX:TieredStopAtLevel=1 -cp '{lib}/*' -Dsqlite4java.library.path='{lib}' \
         com.amazonaws.services.dynamodbv2.local.main.ServerRunner -inMemory -port {port} & \
         server=$!; read -r _; kill $server"
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    let since = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(since.elapsed() < Duration::from_secs(60), "DynamoDB Local does not start");
        #[expect(clippy::disallowed_methods, reason = "no event loop runs here")]
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(Server { port, _child: child, _stdin: stdin })
}

/// The server's port; nothing when tests are to be skipped.
pub fn port() -> Option<u16> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(start).as_ref().map(|server| server.port)
}

/// What a client needs beside an address.
fn config() -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(credentials))
        .build()
}

fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// One test's table.
pub struct Bench {
    pub port: u16,
    pub client: Client,
    pub table: String,
}

/// Rows as DynamoDB has them.
pub type Item = HashMap<String, AttributeValue>;

impl Bench {
    /// A table of its own; nothing when tests are to be skipped.
    pub fn new(name: &str) -> Option<Self> {
        let port = port()?;
        let config = aws_sdk_dynamodb::config::Builder::from(&config());
        let client = Client::from_conf(config.endpoint_url(address(port)).build());
        Some(Self { port, client, table: format!("{name}-{:08x}", fastrand::u32(..)) })
    }

    /// A store of a worker.
    pub async fn store(&self, options: LeaseOptions) -> DynamoLeases {
        self.store_at(self.port, options).await
    }

    /// A store that reaches the service through a port.
    pub async fn store_at(&self, port: u16, options: LeaseOptions) -> DynamoLeases {
        let options = LeaseOptions { table: Some(self.table.clone()), endpoint: Some(address(port)), ..options };
        DynamoLeases::with_config(options, &config()).await.unwrap()
    }

    /// Makes the table as the Kinesis Client Library does.
    pub async fn make(&self) {
        self.store(quick()).await.sync_nothing(&self.table).await;
    }

    /// Writes a row.
    pub async fn put(&self, item: Item) {
        self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await.unwrap();
    }

    /// Reads a row.
    pub async fn get(&self, key: &str) -> Option<Item> {
        let read = self.client.get_item().table_name(&self.table).consistent_read(true);
        read.key("leaseKey", AttributeValue::S(key.to_owned())).send().await.unwrap().item
    }

    /// The text of a row's attribute.
    pub async fn text(&self, key: &str, name: &str) -> Option<String> {
        match self.get(key).await?.remove(name)? {
            AttributeValue::S(text) | AttributeValue::N(text) => Some(text),
            other => panic!("{other:?}"),
        }
    }

    /// Changes a row behind everybody's back.
    pub async fn edit(&self, key: &str, expression: &str, values: &[(&str, AttributeValue)]) {
        let mut edit = self.client.update_item().table_name(&self.table);
        for (name, value) in values {
            edit = edit.expression_attribute_values(*name, value.clone());
        }
        let edit = edit.key("leaseKey", AttributeValue::S(key.to_owned()));
        edit.update_expression(expression).send().await.unwrap();
    }
}

/// Makes a store's table.
trait SyncNothing {
    async fn sync_nothing(&self, app: &str);
}

impl SyncNothing for DynamoLeases {
    async fn sync_nothing(&self, app: &str) {
        use snowmelt_leases::LeaseStore;
        assert!(self.sync(app, "stream", &[], &Position::TrimHorizon).await.unwrap().is_empty());
    }
}

/// Short times.
pub fn quick() -> LeaseOptions {
    LeaseOptions {
        failover: Duration::from_millis(1500),
        scan_every: Some(Duration::from_millis(200)),
        grace: Duration::from_millis(100),
        steal_at_once: 8,
        ..LeaseOptions::default()
    }
}

/// A stream whose shards a test sets.
#[derive(Clone, Default)]
pub struct Shards(Arc<Mutex<Vec<ShardInfo>>>);

impl Shards {
    /// Sets them.
    pub fn set(&self, shards: Vec<ShardInfo>) {
        *self.0.lock().unwrap() = shards;
    }
}

#[async_trait::async_trait]
impl ListShards for Shards {
    async fn shards(&self) -> Result<Vec<ShardInfo>, LeaseError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// Shards with equal parts of the hash range.
pub fn even(ids: &[&str]) -> Vec<ShardInfo> {
    let part = u128::MAX / ids.len() as u128;
    let range = |n: usize| {
        let first = if n == 0 { 0 } else { part * n as u128 + 1 };
        (first, if n + 1 == ids.len() { u128::MAX } else { part * (n as u128 + 1) })
    };
    ids.iter()
        .enumerate()
        .map(|(n, id)| ShardInfo { id: (*id).to_owned(), parents: Vec::new(), range: Some(range(n)), closed: false })
        .collect()
}

/// An application of a worker.
pub fn application(bench: &Bench, owner: &str, shards: &Shards) -> Application {
    Application {
        name: bench.table.clone(),
        stream: "stream".to_owned(),
        owner: owner.to_owned(),
        initial: Position::TrimHorizon,
        shards: Arc::new(shards.clone()),
    }
}
