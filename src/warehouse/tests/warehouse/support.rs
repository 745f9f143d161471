//! A private cluster for all tests of this binary, databases in it, schemas from memory, events.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use serde_json::Value;
use snowmelt_iglu::SchemaKey;
use snowmelt_protocol::badrow::{IgluError, LoaderIgluMessage, LookupHistory, Processor, RegistryError};
use snowmelt_warehouse::{
    BadRow, BadRowLoader, ClusterOptions, CollectBad, EventLoader, InputRecord, ListedSchema, LoadError, LoadReport,
    LoaderOptions, PrivateCluster, ProgressKey, SchemaFailure, SchemaProvider, Warehouse, WarehouseOptions,
};
use sqlx::AssertSqlSafe;
use tokio::runtime::Runtime;

/// 2024-03-05T10:21:00Z, the time of the vectors.
pub const NOW_MS: i64 = 1_709_634_060_000;

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

    pub fn url(&self) -> String {
        self.cluster.as_ref().unwrap().url()
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

/// A database of its own.
pub struct Database {
    /// Keeps the cluster alive.
    _shared: Arc<Shared>,
    url: String,
}

impl Database {
    pub async fn create(name: &str) -> Self {
        let shared = shared();
        let admin = Warehouse::connect(&WarehouseOptions::new(shared.url(), "public")).await.unwrap();
        let sql = format!("CREATE DATABASE {name}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(admin.pool()).await.unwrap();
        admin.close().await;
        let url = shared.url().replace("/snowmelt?", &format!("/{name}?"));
        Self { _shared: shared, url }
    }

    pub fn options(&self, schema: &str) -> WarehouseOptions {
        WarehouseOptions { connections: 4, ..WarehouseOptions::new(&self.url, schema) }
    }

    pub async fn warehouse(&self, schema: &str) -> Warehouse {
        Warehouse::connect(&self.options(schema)).await.unwrap()
    }
}

/// Schemas from memory; whatever is not there is found nowhere.
#[derive(Default)]
pub struct Schemas {
    lists: Mutex<HashMap<String, Vec<ListedSchema>>>,
    pub unanswering: std::sync::atomic::AtomicBool,
}

impl Schemas {
    fn id(key: &SchemaKey) -> String {
        format!("{}/{}/{}", key.vendor(), key.name(), key.version().model)
    }

    pub fn add(&self, uri: &str, document: Value) {
        let key: SchemaKey = uri.parse().unwrap();
        let mut lists = self.lists.lock().unwrap();
        lists.entry(Self::id(&key)).or_default().push(ListedSchema { key, document: Arc::new(document) });
    }

    pub fn of(list: &[(&str, Value)]) -> Arc<Self> {
        let schemas = Self::default();
        for (uri, document) in list {
            schemas.add(uri, document.clone());
        }
        Arc::new(schemas)
    }
}

#[async_trait]
impl SchemaProvider for Schemas {
    async fn versions(&self, key: &SchemaKey) -> Result<Vec<ListedSchema>, SchemaFailure> {
        let transient = self.unanswering.load(std::sync::atomic::Ordering::SeqCst);
        let found = self.lists.lock().unwrap().get(&Self::id(key)).cloned().filter(|_| !transient);
        found.ok_or_else(|| SchemaFailure {
            transient,
            message: LoaderIgluMessage::SchemaListNotFound {
                criterion: format!("iglu:{}/{}/jsonschema/{}-*-*", key.vendor(), key.name(), key.version().model),
                error: IgluError::Resolution(vec![LookupHistory {
                    repository: "Iglu Central".to_owned(),
                    errors: vec![RegistryError::NotFound],
                    attempts: 1,
                    last_attempt_millis: NOW_MS - 300_000,
                }]),
            },
        })
    }
}

pub fn loader_options() -> LoaderOptions {
    LoaderOptions::new(Processor::new("snowplow-postgres-loader", "0.3.3"), Arc::new(|| NOW_MS))
}

pub async fn event_loader(warehouse: &Warehouse, schemas: &Arc<Schemas>) -> EventLoader {
    let loader = EventLoader::new(warehouse.clone(), schemas.clone(), loader_options());
    loader.prepare().await.unwrap();
    loader
}

pub fn bad_row_loader(warehouse: &Warehouse, schemas: &Arc<Schemas>) -> BadRowLoader {
    BadRowLoader::new(warehouse.clone(), schemas.clone(), loader_options())
}

pub fn progress_key(shard: &str) -> ProgressKey {
    ProgressKey { application: "loader".to_owned(), stream: "enriched".to_owned(), shard: shard.to_owned() }
}

/// Lines with sequence numbers from `first` on.
pub struct Lines {
    sequences: Vec<String>,
    lines: Vec<String>,
}

impl Lines {
    pub fn new(first: u64, lines: impl IntoIterator<Item = String>) -> Self {
        let lines: Vec<String> = lines.into_iter().collect();
        Self { sequences: (first..).take(lines.len()).map(|number| number.to_string()).collect(), lines }
    }

    pub fn records(&self) -> Vec<InputRecord<'_>> {
        let records = self.sequences.iter().zip(&self.lines);
        records.map(|(sequence, line)| InputRecord { sequence, data: line.as_bytes() }).collect()
    }

    pub fn last(&self) -> &str {
        self.sequences.last().map_or("0", String::as_str)
    }
}

/// Loads lines and gives the report and the bad rows.
pub async fn load_events(
    loader: &EventLoader,
    lines: &Lines,
    shard: &str,
) -> Result<(LoadReport, Vec<BadRow>), LoadError> {
    let bad = CollectBad::default();
    let report = loader.load(&lines.records(), &progress_key(shard), lines.last(), &bad).await?;
    Ok((report, bad.take()))
}

/// An event with the columns that must be there, and others by name.
pub fn event(columns: &[(&str, &str)]) -> String {
    use snowmelt_protocol::event::{Column, EnrichedEvent};
    let mut event = EnrichedEvent::new();
    event.set(Column::CollectorTstamp, "2024-03-05 10:15:30.123");
    event.set(Column::EventId, "3f1c2b7e-6a4d-4c7e-9b1f-0d2e8a5c6b71");
    event.set(Column::VCollector, "c");
    event.set(Column::VEtl, "e");
    for (name, value) in columns {
        event.set(Column::from_name(name).unwrap(), value);
    }
    let mut line = String::new();
    event.write_tsv(&mut line);
    line
}

/// The contexts column with these entities.
pub fn contexts(entities: &[(&str, Value)]) -> String {
    let data: Vec<Value> =
        entities.iter().map(|(uri, data)| serde_json::json!({"schema": uri, "data": data})).collect();
    serde_json::json!({"schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0", "data": data})
        .to_string()
}

/// All rows of a table as JSON, NULLs left out, in the order they were written.
pub async fn rows(warehouse: &Warehouse, table: &str) -> Vec<Value> {
    let sql = format!("SELECT to_jsonb(t)::text FROM \"{}\".\"{table}\" t ORDER BY ctid", warehouse.schema());
    let texts: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(warehouse.pool()).await.unwrap();
    let row = |text: &String| {
        let mut row: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap();
        row.retain(|_, value| !value.is_null());
        Value::Object(row)
    };
    texts.iter().map(row).collect()
}

/// Names of the columns of a table, in order.
pub async fn columns(warehouse: &Warehouse, table: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT column_name::text FROM information_schema.columns \
         WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position",
    )
    .bind(warehouse.schema())
    .bind(table)
    .fetch_all(warehouse.pool())
    .await
    .unwrap()
}

/// Names of all tables, sorted.
pub async fn tables(warehouse: &Warehouse) -> Vec<String> {
    sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = $1 ORDER BY 1")
        .bind(warehouse.schema())
        .fetch_all(warehouse.pool())
        .await
        .unwrap()
}

pub async fn count(warehouse: &Warehouse, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM \"{}\".\"{table}\"", warehouse.schema());
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(warehouse.pool()).await.unwrap()
}

pub async fn comment(warehouse: &Warehouse, table: &str) -> Option<String> {
    let sql = format!("SELECT obj_description('\"{}\".\"{table}\"'::regclass, 'pg_class')", warehouse.schema());
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(warehouse.pool()).await.unwrap()
}

pub async fn execute(warehouse: &Warehouse, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(warehouse.pool()).await.unwrap();
}

/// The folder with vectors and data, where it is.
pub fn shared_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("SNOWMELT_SHARED").map(PathBuf::from).or_else(|| {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        Some(root.ancestors().nth(3)?.join("shared"))
    })?;
    if folder.join("vectors").is_dir() {
        return Some(folder);
    }
    println!("skipped: ../shared is missing");
    None
}
