//! Loaders alone: streams that a test has filled, `snowmelt run` on them, and a PostgreSQL server that it restarts and kills.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use snowmelt_protocol::event::{Column, EnrichedEvent};
use snowmelt_streams::{Durability, EmbeddedStreams, Options, PutEntry, PutOutcome, Streams};
use snowmelt_warehouse::{ClusterOptions, PrivateCluster};
use tokio::process::{Child, Command};

use crate::place::signal;
use crate::{Place, root, snowmelt};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(45);
const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// Records in one put.
const PUT: usize = 500;

/// A PostgreSQL server on a port of its own, which a test may restart and kill.
pub struct Server {
    directory: tempfile::TempDir,
    cluster: Option<PrivateCluster>,
    port: u16,
}

impl Server {
    /// Starts a new one.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("snowmelt-server-").tempdir()?;
        let cluster = PrivateCluster::start(directory.path(), &ClusterOptions::default()).await?;
        let port = cluster.port();
        Ok(Self { directory, cluster: Some(cluster), port })
    }

    /// Its URL over TCP, as that of a server on another machine.
    pub fn url(&self) -> Result<String> {
        let url = self.cluster.as_ref().context("the server is down")?.url();
        Ok(url.split("&host=").next().unwrap_or(&url).to_owned())
    }

    /// Stops it, as an operator does, and starts it again after `down`.
    pub async fn restart(&mut self, down: Duration) -> Result<()> {
        self.cluster.take().context("the server is down")?.stop().await?;
        self.start_again(down).await
    }

    /// Kills it, as a lack of memory does, and starts it again after `down`.
    pub async fn kill(&mut self, down: Duration) -> Result<()> {
        let cluster = self.cluster.take().context("the server is down")?;
        signal(cluster.pid(), libc::SIGKILL);
        cluster.ended().await;
        drop(cluster);
        self.start_again(down).await
    }

    async fn start_again(&mut self, down: Duration) -> Result<()> {
        tokio::time::sleep(down).await;
        let options = ClusterOptions { port: Some(self.port), ..ClusterOptions::default() };
        self.cluster = Some(PrivateCluster::start(self.directory.path(), &options).await?);
        Ok(())
    }
}

/// What `snowmelt run` writes to `run.json` in its data directory.
#[derive(Clone, Debug, Deserialize)]
struct RunFile {
    operator_url: String,
    pid: u32,
}

/// A running `snowmelt run` of definitions without a collector. Killed when dropped.
pub struct Loader {
    child: Child,
    log: PathBuf,
    run: RunFile,
}

impl Loader {
    /// Starts definitions on the streams in `data`, with these keys set, and waits until they run.
    pub async fn start(data: &Path, arguments: &[&str], environment: Vec<(&'static str, OsString)>) -> Result<Self> {
        let log = data.with_extension("log");
        let out = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(snowmelt()?)
            .arg("run")
            .args(arguments)
            .arg("--data-dir")
            .arg(data)
            .args(["--set", "backend.operator=127.0.0.1:0"])
            .envs(environment)
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .context("starting snowmelt")?;
        let pid = child.id().context("it has only just started")?;
        let mut loader = Self { child, log, run: RunFile { operator_url: String::new(), pid } };
        match loader.wait_until_running(&data.join("run.json")).await {
            Ok(()) => Ok(loader),
            Err(reason) => Err(reason.context(loader.log_tail())),
        }
    }

    async fn wait_until_running(&mut self, file: &Path) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < START {
            if let Some(status) = self.child.try_wait()? {
                bail!("snowmelt run ended: {status}");
            }
            let read = std::fs::read(file).ok().and_then(|text| serde_json::from_slice::<RunFile>(&text).ok());
            if let Some(run) = read.filter(|run| run.pid == self.run.pid) {
                self.run = run;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("snowmelt run was not ready within {START:?}")
    }

    /// Where the operator looks.
    pub fn operator_url(&self) -> &str {
        &self.run.operator_url
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.run.pid
    }

    /// Ends it at once, as a power cut does.
    pub async fn kill(mut self) -> Result<()> {
        signal(self.run.pid, libc::SIGKILL);
        let status = self.child.wait().await?;
        ensure!(status.code().is_none(), "it ended by itself: {status}\n{}", self.log_tail());
        Ok(())
    }

    /// Asks it to stop, and waits for its good end.
    pub async fn stop(mut self) -> Result<()> {
        signal(self.run.pid, libc::SIGTERM);
        let ended = tokio::time::timeout(STOP, self.child.wait()).await;
        let status = ended.with_context(|| format!("still running {STOP:?} after SIGTERM\n{}", self.log_tail()))??;
        ensure!(status.code() == Some(0), "{status}\n{}", self.log_tail());
        Ok(())
    }

    /// The last lines that it printed.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("its last lines:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }
}

/// Puts records, each with its partition key, into a stream in a data directory that no program uses at the moment.
pub async fn fill(data: &Path, stream: &str, shards: u32, records: Vec<(String, String)>) -> Result<()> {
    std::fs::create_dir_all(data)?;
    let options = Options { durability: Durability::OsCache, ..Options::default() };
    let streams = EmbeddedStreams::open(data.join("streams"), options)?;
    streams.create(stream, shards, RETENTION).await?;
    for chunk in records.chunks(PUT) {
        let entries = chunk.iter().map(|(key, line)| PutEntry::new(key.clone(), line.clone())).collect();
        let outcomes = streams.put(stream, entries, None).await?;
        ensure!(outcomes.iter().all(|outcome| matches!(outcome, PutOutcome::Stored { .. })), "not all were stored");
    }
    Ok(())
}

/// A line of the enriched stream: an event with what must be there, and other columns by name.
pub fn enriched(event_id: &str, columns: &[(&str, &str)]) -> Result<String> {
    let mut event = EnrichedEvent::new();
    event.set(Column::CollectorTstamp, "2026-03-05 10:15:30.123");
    event.set(Column::EventId, event_id);
    event.set(Column::VCollector, "test");
    event.set(Column::VEtl, "test");
    for (name, value) in columns {
        event.set(Column::from_name(name).with_context(|| format!("no column {name}"))?, value);
    }
    let mut line = String::new();
    event.write_tsv(&mut line);
    Ok(line)
}

/// The `contexts` column with these entities: schema and data of each.
pub fn contexts(entities: &[(&str, serde_json::Value)]) -> String {
    let entity = |(schema, data): &(&str, serde_json::Value)| serde_json::json!({"schema": schema, "data": data});
    let data: Vec<serde_json::Value> = entities.iter().map(entity).collect();
    serde_json::json!({"schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0", "data": data})
        .to_string()
}

/// A folder as a registry, and the `resolver.json` that names it and the quick start's.
pub struct Registry {
    folder: PathBuf,
}

impl Registry {
    /// An empty one in a place.
    pub fn new(place: &Place) -> Result<Self> {
        let folder = place.path().join("registry");
        std::fs::create_dir_all(&folder)?;
        let repository = |name: &str, vendor: &str, path: &str| {
            serde_json::json!({
                "name": name, "priority": 0, "vendorPrefixes": [vendor], "connection": { "embedded": { "path": path } }
            })
        };
        // Paths in a resolver.json begin in its folder.
        std::os::unix::fs::symlink(root().join("pipelines/iglu").canonicalize()?, folder.join("quick-start"))?;
        let resolver = serde_json::json!({
            "schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3",
            "data": { "cacheSize": 500, "cacheTtl": 1, "repositories": [
                repository("own", "com.acme", "."),
                repository("quick start", "com.snowplowanalytics", "quick-start"),
            ] },
        });
        std::fs::write(folder.join("resolver.json"), resolver.to_string())?;
        Ok(Self { folder })
    }

    /// The resolver's file.
    pub fn resolver(&self) -> PathBuf {
        self.folder.join("resolver.json")
    }

    /// Publishes a schema of com.acme.
    pub fn publish(&self, name: &str, version: &str, mut schema: serde_json::Value) -> Result<()> {
        schema["self"] = serde_json::json!({
            "vendor": "com.acme", "name": name, "format": "jsonschema", "version": version
        });
        let file = self.folder.join(format!("schemas/com.acme/{name}/jsonschema/{version}"));
        std::fs::create_dir_all(file.parent().context("it has a folder")?)?;
        std::fs::write(file, schema.to_string()).context("publishing")
    }
}
