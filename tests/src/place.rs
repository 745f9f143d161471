//! A place where the pipeline runs: a data directory of its own, and the running program in it.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Aws, Warehouse, eventually, root, snowmelt};

/// How long the program may take until its collector answers, the creation of its database included.
const START: Duration = Duration::from_secs(60);
/// How long it may take to drain and stop.
const STOP: Duration = Duration::from_secs(45);

/// One pipeline at a time: each test measures what a machine does that has nothing else to do.
static TURN: Semaphore = Semaphore::const_new(1);

/// A data directory of its own. When it goes, so do its files and whatever processes were left in it.
pub struct Place {
    dir: tempfile::TempDir,
    /// What the pipeline runs on, when it does not on embedded backends.
    aws: Option<Aws>,
    _turn: SemaphorePermit<'static>,
}

/// What `snowmelt run` writes to `run.json` in its data directory.
#[derive(Clone, Debug, Deserialize)]
pub struct RunInfo {
    /// Where trackers send to.
    pub collector_url: String,
    /// Where the operator looks.
    pub operator_url: String,
    /// The warehouse, where there is one.
    pub postgres_url: Option<String>,
    /// The schema registry, where there is one.
    pub registry_url: Option<String>,
    /// The file of its super key.
    pub registry_key_file: Option<PathBuf>,
    /// The directory of the objects.
    pub objects_dir: PathBuf,
    /// The program's process.
    pub pid: u32,
}

/// A running pipeline. Killed when dropped.
pub struct Pipeline {
    child: Child,
    log: PathBuf,
    /// Where everything is.
    pub info: RunInfo,
}

/// How a pipeline ended.
#[derive(Debug)]
pub struct Stopped {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// How long it took from the signal on.
    pub took: Duration,
}

impl Place {
    /// Waits for its turn and makes the directory.
    pub async fn new() -> Result<Self> {
        let aws = match crate::aws::is_asked_for()? {
            true => Some(Aws::start().await?.context("SNOWMELT_BACKEND=aws needs what tests/run.sh installs")?),
            false => None,
        };
        Self::on(aws).await
    }

    /// The same on stand-ins of AWS; none where they are not installed.
    pub async fn on_aws() -> Result<Option<Self>> {
        match Aws::start().await? {
            Some(aws) => Ok(Some(Self::on(Some(aws)).await?)),
            None => Ok(None),
        }
    }

    async fn on(aws: Option<Aws>) -> Result<Self> {
        let turn = TURN.acquire().await.context("the turns never end")?;
        let dir = tempfile::Builder::new().prefix("snowmelt-").tempdir().context("temporary directory")?;
        // A private cluster of root's belongs to another user, who has to get there.
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        Ok(Self { dir, aws, _turn: turn })
    }

    /// The stand-ins under it, when it is on some.
    pub const fn aws(&self) -> Option<&Aws> {
        self.aws.as_ref()
    }

    /// The directory in which the data directory lies.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts the quick start on free ports and waits until its collector answers. May be called again after a stop.
    pub async fn start(&self, more: &[&str]) -> Result<Pipeline> {
        let registry = ["--set", "iglu.listen=127.0.0.1:0"];
        let Some(aws) = &self.aws else {
            return self
                .start_definition("pipelines/quickstart.toml", &[&registry[..], more].concat(), Vec::new())
                .await;
        };
        aws.setup(crate::aws::DEFINITION, &[]).await?;
        let own = aws.arguments()?;
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        self.start_definition(crate::aws::DEFINITION, &[&registry[..], &own, more].concat(), Aws::environment()).await
    }

    /// How many objects are in a folder of the archive.
    pub async fn objects(&self, pipeline: &Pipeline, folder: &str) -> Result<usize> {
        match &self.aws {
            None => Ok(crate::files(&pipeline.info.objects_dir.join("archive").join(folder))?.len()),
            Some(aws) => Ok(aws.bucket()?.keys(&format!("archive/{folder}/")).await?.len()),
        }
    }

    /// The lines of all gzip objects in a folder of the archive of a pipeline that [`Place::start`] has started.
    pub async fn archived(&self, pipeline: &Pipeline, folder: &str) -> Result<Vec<String>> {
        let Some(aws) = &self.aws else {
            return crate::gzip_lines(&pipeline.info.objects_dir.join("archive").join(folder));
        };
        let lines = aws.bucket()?.gzip_lines(&format!("archive/{folder}/")).await?;
        lines.into_iter().map(|line| String::from_utf8(line).context("a line")).collect()
    }

    /// Starts a definition with a collector in the same way, with more in its environment.
    pub async fn start_definition(
        &self,
        definition: &str,
        more: &[&str],
        environment: Vec<(&'static str, OsString)>,
    ) -> Result<Pipeline> {
        let log = self.dir.path().join("log");
        let out = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(snowmelt()?)
            .args(["run", definition, "--data-dir"])
            .arg(self.data())
            .args(["--set", "collector.listen=127.0.0.1:0", "--set", "backend.operator=127.0.0.1:0"])
            .args(more)
            .envs(environment)
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .context("starting snowmelt")?;
        let pid = child.id().context("it has only just started")?;
        let mut pipeline = Pipeline { child, log, info: RunInfo::none() };
        match pipeline.wait_until_ready(pid, &self.data().join("run.json")).await {
            Ok(()) => Ok(pipeline),
            Err(reason) => Err(reason.context(pipeline.log_tail())),
        }
    }

    /// Kills the private server that a killed program has left running.
    pub fn kill_postgres(&self) -> Result<()> {
        let servers = self.postgres()?;
        ensure!(!servers.is_empty(), "no server was left running");
        servers.into_iter().for_each(|pid| signal(pid, libc::SIGKILL));
        Ok(())
    }

    /// The private server, by the pid file in its data.
    fn postgres(&self) -> Result<Vec<u32>> {
        let mut pids = Vec::new();
        for file in crate::files(&self.data())? {
            if file.ends_with("postmaster.pid") {
                let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
                let first = text.lines().next().unwrap_or_default();
                pids.push(first.trim().parse().with_context(|| format!("{}: {text}", file.display()))?);
            }
        }
        Ok(pids)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // At once: its data is about to go. Nobody is left to tell that it was running already stopped.
        for pid in self.postgres().unwrap_or_default() {
            signal(pid, libc::SIGQUIT);
        }
    }
}

impl RunInfo {
    fn none() -> Self {
        Self {
            collector_url: String::new(),
            operator_url: String::new(),
            postgres_url: None,
            registry_url: None,
            registry_key_file: None,
            objects_dir: PathBuf::new(),
            pid: 0,
        }
    }
}

impl Pipeline {
    async fn wait_until_ready(&mut self, pid: u32, run_json: &Path) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < START {
            if let Some(status) = self.child.try_wait()? {
                bail!("snowmelt run ended: {status}");
            }
            if let Some(info) = read_info(run_json, pid)? {
                let health = format!("{}/health", info.collector_url);
                if reqwest::get(&health).await.is_ok_and(|answer| answer.status().is_success()) {
                    self.info = info;
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("snowmelt run was not ready within {START:?}")
    }

    /// Connects to its warehouse.
    pub async fn warehouse(&self) -> Result<Warehouse> {
        let url = self.info.postgres_url.as_deref().context("this pipeline has no tables")?;
        eventually(Duration::from_secs(20), async || Warehouse::connect(url).await).await
    }

    /// Asks it to stop, as Ctrl-C does, and waits for its end.
    pub async fn interrupt(mut self) -> Result<Stopped> {
        let asked = Instant::now();
        signal(self.info.pid, libc::SIGINT);
        let ended = tokio::time::timeout(STOP, self.child.wait()).await;
        let status = ended.with_context(|| format!("still running {STOP:?} after SIGINT\n{}", self.log_tail()))??;
        Ok(Stopped { code: status.code(), took: asked.elapsed() })
    }

    /// Waits for it to end by itself.
    pub async fn ended(mut self, within: Duration) -> Result<Option<i32>> {
        let ended = tokio::time::timeout(within, self.child.wait()).await;
        Ok(ended.with_context(|| format!("still running after {within:?}\n{}", self.log_tail()))??.code())
    }

    /// Ends it at once, as a power cut does; what it started besides lives on.
    pub async fn kill(mut self) -> Result<()> {
        signal(self.info.pid, libc::SIGKILL);
        let status = self.child.wait().await?;
        ensure!(status.code().is_none(), "it ended by itself before it was killed: {status}");
        Ok(())
    }

    /// Where all that it printed stands.
    pub fn log_file(&self) -> PathBuf {
        self.log.clone()
    }

    /// The last lines that it printed.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("its last lines:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }
}

/// What stands in `run.json`, once this very process has written it.
fn read_info(run_json: &Path, pid: u32) -> Result<Option<RunInfo>> {
    match std::fs::read(run_json) {
        Ok(text) => {
            let info: RunInfo = serde_json::from_slice(&text).context("run.json")?;
            Ok((info.pid == pid).then_some(info))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).context("run.json"),
    }
}

#[allow(unsafe_code)] // the standard library cannot send a signal
pub(crate) fn signal(pid: u32, signal: libc::c_int) {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return };
    // SAFETY: `kill` takes two numbers and touches no memory. A process that has ended meanwhile is no error here.
    unsafe { libc::kill(pid, signal) };
}
