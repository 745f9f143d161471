//! A private cluster for all tests of this binary, servers on registries of their own, and requests to them.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use snowmelt_iglu_server::core::api_key::ApiKey;
use snowmelt_iglu_server::{ServerConfig, Storage, StorageOptions, serve};
use snowmelt_warehouse::{ClusterOptions, PrivateCluster};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// The super key of all servers.
pub const SUPER: &str = "5fb4713d-73ad-4163-93a9-2b82f0177c5b";

/// The cluster, alive as long as some test holds it.
pub struct Shared {
    runtime: Option<Runtime>,
    cluster: Option<PrivateCluster>,
    _directory: tempfile::TempDir,
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.cluster.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("snowmelt-pg-").tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = ClusterOptions { durable: false, ..ClusterOptions::default() };
        let cluster = runtime.block_on(PrivateCluster::start(directory.path(), &options)).unwrap();
        Self { runtime: Some(runtime), cluster: Some(cluster), _directory: directory }
    }

    pub fn options(&self, schema: &str) -> StorageOptions {
        let url = self.cluster.as_ref().unwrap().url();
        StorageOptions { schema: schema.to_owned(), connections: 4, ..StorageOptions::new(url) }
    }
}

/// The cluster of this test binary.
pub fn shared() -> Arc<Shared> {
    static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
    let mut slot = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shared) = slot.upgrade() {
        return shared;
    }
    // Tests run inside a runtime, where another one must not be waited for.
    let shared = Arc::new(std::thread::spawn(Shared::start).join().unwrap());
    *slot = Arc::downgrade(&shared);
    shared
}

/// A running server. Dropping it stops it.
pub struct Server {
    pub base: String,
    pub storage: Storage,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _shared: Arc<Shared>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server ended badly");
        }
    }
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What tests usually want: the super key, and an end without waiting.
pub fn config() -> ServerConfig {
    ServerConfig {
        super_key: ApiKey::parse(SUPER),
        pre_termination_period: Duration::ZERO,
        workers: 1,
        ..ServerConfig::default()
    }
}

impl Server {
    /// A server on the registry in a database schema, which is made if it is not there.
    pub async fn start(schema: &str, config: ServerConfig) -> Self {
        let shared = shared();
        let storage = Storage::open(&shared.options(schema)).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let options = shared.options(schema);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let storage = Storage::open(&options).await.unwrap();
                serve(config, storage, listener, async move { drop(stopped.await) }).await.unwrap();
            });
        });
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        let server = Self { base, storage, client, stop: Some(stop), thread: Some(thread), _shared: shared };
        // The socket accepts from the start; the answer comes when the server is there.
        assert_eq!(server.get("/api/meta/health", None).await.status, 200);
        server
    }

    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: Option<String>) -> Answer {
        let method = method.parse().unwrap();
        let mut request = self.client.request(method, format!("{}{target}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    pub async fn call(&self, method: &str, target: &str, key: Option<&str>, body: Option<Value>) -> Answer {
        let headers: Vec<(&str, &str)> = key.map(|key| ("apikey", key)).into_iter().collect();
        self.send(method, target, &headers, body.map(|body| body.to_string())).await
    }

    pub async fn get(&self, target: &str, key: Option<&str>) -> Answer {
        self.call("GET", target, key, None).await
    }

    /// Publishes with the super key.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", &format!("/api/schemas/{path}"), Some(SUPER), Some(body)).await
    }
}

/// A schema without issues.
pub fn tidy() -> Value {
    json!({
        "type": "object",
        "description": "d",
        "properties": {"a": {"type": ["string", "null"], "maxLength": 10, "description": "a"}},
        "additionalProperties": false
    })
}

/// The folder of shared data, when it is there.
pub fn shared_folder() -> Option<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let beside =
        || here.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).map(|root| root.join("../shared"));
    let folder = std::env::var_os("SNOWMELT_SHARED").map(PathBuf::from).or_else(beside)?;
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: ../shared is missing");
    None
}
