//! Several workers of one application on one stream: ours, and those of the Kinesis Client Library.
//!
//! Ours is the S3 loader, which writes each record as a line of an object; KCL's (tests/kcl) prints a line for each record. What all of
//! them have seen together is held against what was put.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use snowmelt_standins::{Service, Standins};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::kinesis::{KinesisStream, LeaseRow, lease_rows};
use crate::namespaces::Host;
use crate::place::signal;
use crate::{Aws, Bucket, root, snowmelt, tools_dir};

/// The lease time of all workers: the shortest that we allow, so that takeovers are quick.
pub const LEASE: Duration = Duration::from_secs(3);
/// Time between two checkpoints of a shard, of all workers.
pub const CHECKPOINT: Duration = Duration::from_secs(1);
const STOP: Duration = Duration::from_secs(45);
/// Partition keys; each has numbered records of its own.
const KEYS: u64 = 40;
/// Records put at once, and the time between.
const PUT: u64 = 20;
const PUT_EVERY: Duration = Duration::from_millis(100);

/// Which Kinesis Client Library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kcl {
    /// 2.7.
    Two,
    /// 3.5, which shares by count with workers of 2.
    Three,
}

/// An application with its stream, and what it has run on.
pub struct Fleet {
    /// The stand-ins.
    pub standins: Standins,
    /// The stream.
    pub stream: KinesisStream,
    application: String,
    bucket: Bucket,
    dir: tempfile::TempDir,
}

/// A worker. Killed when dropped.
pub struct Worker {
    /// Its name in the lease table.
    pub name: String,
    child: Child,
    pid: u32,
    log: PathBuf,
}

/// Records on their way, until it is told to stop.
pub struct Producer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<u64>>,
}

/// What all workers have seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Records that nobody saw.
    pub missing: u64,
    /// Records that were seen once more, each time counted.
    pub repeated: u64,
    /// Records that came before an earlier one of their key, repetitions aside.
    pub disordered: u64,
}

impl Fleet {
    /// A new stream on new stand-ins that listen on `listen`; none where they are not installed.
    pub async fn start(listen: &str, shards: u32) -> Result<Option<Self>> {
        let Some(tools) = tools_dir() else { return Ok(None) };
        let services = [Service::Kinesis, Service::DynamoDb, Service::S3];
        let standins = Standins::start_on(listen.parse()?, &tools, &services).await?;
        let stream = KinesisStream::create(&standins, "events", shards).await?;
        KinesisStream::create(&standins, "bad", 1).await?;
        let bucket = Bucket::of(&standins, "archive")?;
        bucket.make().await?;
        let dir = tempfile::Builder::new().prefix("snowmelt-fleet-").tempdir()?;
        let fleet = Self { standins, stream, application: "fleet".to_owned(), bucket, dir };
        std::fs::write(fleet.definition(), fleet.definition_text()?)?;
        Ok(Some(fleet))
    }

    fn definition(&self) -> PathBuf {
        self.dir.path().join("fleet.toml")
    }

    fn definition_text(&self) -> Result<String> {
        let endpoint = |service| self.standins.endpoint(service);
        Ok(format!(
            "name = \"{}\"\n[backend]\nkind = \"aws\"\noperator = \"127.0.0.1:0\"\n\
             [aws]\nregion = \"us-east-1\"\nkinesis_endpoint = \"{}\"\ndynamodb_endpoint = \"{}\"\ns3_endpoint = \"{}\"\n\
             bucket = \"archive\"\npoll_every = \"250ms\"\nlease_duration = \"{}ms\"\nsteal_at_once = 4\n\
             [source]\nstream = \"events\"\n[bad]\nstream = \"bad\"\n\
             [[sink]]\nkind = \"s3\"\npurpose = \"enriched\"\nprefix = \"seen\"\nmax_age = \"300ms\"\n\
             [supervision]\ncheckpoint_every = \"{}ms\"\n",
            self.application,
            endpoint(Service::Kinesis)?,
            endpoint(Service::DynamoDb)?,
            endpoint(Service::S3)?,
            LEASE.as_millis(),
            CHECKPOINT.as_millis(),
        ))
    }

    /// Makes what the application needs, by `snowmelt setup`.
    pub async fn setup(&self) -> Result<()> {
        let file = self.definition().display().to_string();
        let done = crate::run_to_end_with(&["setup".to_owned(), file], Aws::environment()).await?;
        ensure!(done.code == Some(0), "{done:?}");
        Ok(())
    }

    /// A worker of ours, on `host` where one is given.
    pub fn ours(&self, name: &str, host: Option<&Host>) -> Result<Worker> {
        let mut arguments: Vec<OsString> = vec!["run".into(), self.definition().into(), "--data-dir".into()];
        arguments.push(self.dir.path().join(format!("data-{name}")).into());
        arguments.extend(["--set".into(), format!("aws.worker={name}").into()]);
        self.spawn(name, host, snowmelt()?.as_os_str(), &arguments)
    }

    /// A worker of the Kinesis Client Library.
    pub fn kcl(&self, name: &str, kcl: Kcl) -> Result<Worker> {
        let generation = match kcl {
            Kcl::Two => "kcl2",
            Kcl::Three => "kcl3",
        };
        let installed = tools_dir().context("no tools")?.join(generation);
        let classes = format!("{}/classes:{}/lib/*", installed.display(), installed.display());
        // A worker that is started often has no use for the best code.
        let mut arguments =
            vec!["-Xmx128m".to_owned(), "-XX:+UseSerialGC".to_owned(), "-XX:TieredStopAtLevel=1".to_owned()];
        arguments
            .extend(["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", &classes, "Worker"].map(str::to_owned));
        arguments.push(format!("app={}", self.application));
        arguments.push("stream=events".to_owned());
        arguments.push(format!("worker={name}"));
        arguments.push(format!("kinesis={}", self.standins.endpoint(Service::Kinesis)?));
        arguments.push(format!("dynamodb={}", self.standins.endpoint(Service::DynamoDb)?));
        arguments.push(format!("failover_ms={}", LEASE.as_millis()));
        arguments.push(format!("checkpoint_ms={}", CHECKPOINT.as_millis()));
        arguments.push("steal=4".to_owned());
        self.spawn(name, None, "java".as_ref(), &arguments)
    }

    /// Standard output and errors go to files of their own; a worker that is started again adds to them.
    fn spawn(
        &self,
        name: &str,
        host: Option<&Host>,
        program: &std::ffi::OsStr,
        arguments: &[impl AsRef<std::ffi::OsStr>],
    ) -> Result<Worker> {
        let log = self.dir.path().join(format!("{name}.err"));
        let append = |path: &Path| File::options().create(true).append(true).open(path);
        let mut command = match host {
            Some(host) => {
                let mut inside = Command::new("ip");
                inside.args(["netns", "exec", host.name()]).arg(program);
                inside
            }
            None => Command::new(program),
        };
        let child = command
            .args(arguments)
            .envs(Aws::environment())
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(append(&self.dir.path().join(format!("{name}.out")))?)
            .stderr(append(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let pid = child.id().context("it has only just started")?;
        Ok(Worker { name: name.to_owned(), child, pid, log })
    }

    /// Starts putting numbered records.
    pub fn produce(&self) -> Producer {
        let (stream, stop) = (self.stream.clone(), Arc::new(AtomicBool::new(false)));
        let told = stop.clone();
        let task = tokio::spawn(async move {
            let mut put = 0;
            let mut every = tokio::time::interval(PUT_EVERY);
            while !told.load(Ordering::Relaxed) {
                every.tick().await;
                let records: Vec<(String, String)> = (put..put + PUT).map(record).collect();
                stream.put(&records).await?;
                put += PUT;
            }
            Ok(put)
        });
        Producer { stop, task }
    }

    /// The lease table.
    pub async fn leases(&self) -> Result<BTreeMap<String, LeaseRow>> {
        lease_rows(&self.standins, &self.application).await
    }

    /// Who holds how many shards that are not at their end.
    pub async fn shares(&self) -> Result<BTreeMap<String, usize>> {
        let mut shares = BTreeMap::new();
        for row in self.leases().await?.into_values().filter(|row| row.checkpoint != "SHARD_END") {
            *shares.entry(row.owner.unwrap_or_else(|| "nobody".to_owned())).or_default() += 1;
        }
        Ok(shares)
    }

    /// What all workers together have seen of the first `put` records.
    pub async fn seen(&self, put: u64) -> Result<Seen> {
        // Runs in which one worker read one shard or more, each in the order of reading.
        let mut runs: Vec<Vec<String>> = Vec::new();
        for key in self.bucket.keys("seen/").await? {
            let lines = self.bucket.gzip_lines(&key).await?;
            runs.push(lines.into_iter().map(|line| Ok(String::from_utf8(line)?)).collect::<Result<_>>()?);
        }
        for file in crate::files(self.dir.path())?.iter().filter(|file| file.extension().is_some_and(|e| e == "out")) {
            runs.push(printed(file)?);
        }
        judge(&runs, put)
    }

    /// What the workers complained about last.
    pub fn complaints(&self) -> String {
        let mut text = String::new();
        for file in crate::files(self.dir.path()).unwrap_or_default() {
            if file.extension().is_some_and(|extension| extension == "err") {
                let log = std::fs::read_to_string(&file).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                text += &format!("\n{}:\n{}", file.display(), lines[lines.len().saturating_sub(25)..].join("\n"));
            }
        }
        text
    }
}

/// The `number`-th record: its key, and a text that names it.
fn record(number: u64) -> (String, String) {
    let key = format!("k{:02}", number % KEYS);
    let text = format!("{key} {}", number / KEYS);
    (key, text)
}

/// The records that a worker of KCL has printed; a line that a kill has cut is none.
fn printed(file: &Path) -> Result<Vec<String>> {
    let mut records = Vec::new();
    for line in std::fs::read_to_string(file)?.lines().filter(|line| line.starts_with("{\"event\":\"record\"")) {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let data = line["data"].as_str().context("a record has data")?;
        records.push(String::from_utf8(STANDARD.decode(data)?)?);
    }
    Ok(records)
}

fn judge(runs: &[Vec<String>], put: u64) -> Result<Seen> {
    let expected: HashSet<String> = (0..put).map(|number| record(number).1).collect();
    let mut times: HashMap<&str, u64> = HashMap::new();
    let mut disordered = 0;
    for run in runs {
        let mut last: HashMap<&str, u64> = HashMap::new();
        let mut own: HashSet<&str> = HashSet::new();
        for text in run {
            let (key, number) = text.split_once(' ').with_context(|| format!("no record of ours: {text}"))?;
            let number = number.parse()?;
            *times.entry(text).or_default() += 1;
            if own.insert(text) {
                let before = last.insert(key, number);
                disordered += u64::from(before.is_some_and(|before| before > number));
            }
        }
    }
    if let Some(stranger) = times.keys().find(|text| !expected.contains(**text)) {
        // The producer has put more than it was asked about.
        bail!("{stranger} was never put");
    }
    let distinct = times.len() as u64;
    Ok(Seen { missing: put - distinct, repeated: times.values().sum::<u64>() - distinct, disordered })
}

impl Producer {
    /// Stops it and gives how many records were put.
    pub async fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

impl Worker {
    /// Ends it at once, as a power cut does.
    pub async fn kill(mut self) -> Result<()> {
        signal(self.pid, libc::SIGKILL);
        let status = self.child.wait().await?;
        ensure!(
            status.code().is_none(),
            "{} ended by itself before it was killed: {status}\n{}",
            self.name,
            self.tail()
        );
        Ok(())
    }

    /// Freezes it, as a machine that is moved.
    pub fn pause(&self) {
        signal(self.pid, libc::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        signal(self.pid, libc::SIGCONT);
    }

    /// Asks it to stop and waits for its end.
    pub async fn stop(mut self) -> Result<Option<i32>> {
        signal(self.pid, libc::SIGTERM);
        let ended = tokio::time::timeout(STOP, self.child.wait()).await;
        Ok(ended.with_context(|| format!("{} still runs {STOP:?} after SIGTERM\n{}", self.name, self.tail()))??.code())
    }

    /// Fails when it has ended.
    pub fn runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended: {status}\n{}", self.name, self.tail()),
        }
    }

    fn tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_repeated_and_out_of_order_is_counted() {
        let put = 3 * KEYS;
        let all: Vec<String> = (0..put).map(|number| record(number).1).collect();
        assert_eq!(judge(std::slice::from_ref(&all), put).unwrap(), Seen::default());
        // One worker reads the end again that another has read; a restart repeats its own end in order.
        let again = [all.clone(), all[100..].to_vec()];
        assert_eq!(judge(&again, put).unwrap().repeated, 20);
        let replayed = [[&all[..], &all[100..]].concat()];
        assert_eq!(judge(&replayed, put).unwrap(), Seen { repeated: 20, ..Seen::default() });
        let mut swapped = all.clone();
        swapped.swap(0, 40);
        assert_eq!(judge(&[swapped], put).unwrap().disordered, 1);
        assert_eq!(judge(&[all[1..].to_vec()], put).unwrap().missing, 1);
        assert!(judge(&[all], put - 1).is_err());
    }
}
