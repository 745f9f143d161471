//! A PostgreSQL server of our own: created once in a directory, started, supervised and stopped with us.

mod binaries;
mod files;

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::fault::Fault;
use binaries::Binaries;
use files::{Layout, User};

/// Database and superuser of the private server.
const NAME: &str = "snowmelt";
/// Creating the files of a new server, at most.
const INIT_TIMEOUT: Duration = Duration::from_secs(120);
/// A fast shutdown, at most.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks whether the server answers.
const READY_POLL: Duration = Duration::from_millis(50);
/// Ports may be taken between our look and the server's.
const PORT_ATTEMPTS: usize = 3;

/// How to run the private server.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Loopback port; the one of last time or a free one when absent.
    pub port: Option<u16>,
    /// User to run the server as when we are root (PostgreSQL refuses root).
    pub run_as: String,
    /// Readiness, at most.
    pub start_timeout: Duration,
    /// Off only for tests: a crash of the machine may then corrupt the data.
    pub durable: bool,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self { port: None, run_as: "postgres".to_owned(), start_timeout: Duration::from_secs(60), durable: true }
    }
}

/// Why there is no private server.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// PostgreSQL is not installed.
    #[error("{0} is neither in PATH nor in /usr/lib/postgresql/*/bin; install it: apt-get install postgresql-15")]
    NotInstalled(&'static str),
    /// Another process of ours runs a server there.
    #[error("{0} is in use by another snowmelt")]
    InUse(PathBuf),
    /// We are root and there is no user to run the server as.
    #[error("postgres cannot run as root and there is no user {0:?}; create it or name another")]
    NoUser(String),
    /// The server's user may not pass through a folder above its own.
    #[error("user {user} may not enter {folder}; choose a data directory elsewhere or run: chmod o+x {folder}")]
    NotTraversable {
        /// The server's user.
        user: String,
        /// The folder.
        folder: PathBuf,
    },
    /// A file or folder could not be made or read.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program of PostgreSQL failed.
    #[error("{program} failed: {message}")]
    Program {
        /// Which one.
        program: &'static str,
        /// What it printed last.
        message: String,
    },
    /// The server ended or did not answer in time.
    #[error("postgres did not start within {after:?}: {message}\n{log}")]
    NotReady {
        /// How long was waited.
        after: Duration,
        /// The last failure.
        message: String,
        /// The last lines of its log.
        log: String,
    },
    /// Processes of a killed server still work in the data.
    #[error("{data}: processes of a killed server still work there after {after:?}; stop them")]
    LeftOver {
        /// The data of the server.
        data: PathBuf,
        /// How long was waited.
        after: Duration,
    },
    /// No port of the loopback interface is free.
    #[error("no free port on 127.0.0.1: {0}")]
    NoPort(std::io::Error),
}

/// How to run `psql` against the server without the password on the command line.
#[derive(Debug, Clone)]
pub struct PsqlCommand {
    /// Path of `psql`.
    pub program: PathBuf,
    /// Host, port, user, database.
    pub arguments: Vec<String>,
    /// `PGPASSFILE`.
    pub environment: Vec<(String, String)>,
}

/// A running private server. Dropping it tells the server to stop, without waiting for it.
pub struct PrivateCluster {
    layout: Layout,
    user: Option<User>,
    binaries: Binaries,
    password: String,
    port: u16,
    pid: u32,
    ended: watch::Receiver<Option<String>>,
    _stop: StopOnDrop,
    /// Held as long as the server is ours.
    _lock: std::fs::File,
}

impl std::fmt::Debug for PrivateCluster {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateCluster")
            .field("layout", &self.layout)
            .field("port", &self.port)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

impl PrivateCluster {
    /// Starts the server in `directory`, which is created and filled when it is new. A server left over there by a
    /// killed process is stopped first. Call it on the runtime that lives longest: supervision ends with it.
    ///
    /// # Errors
    /// [`ClusterError`], with the end of the server's log when it did not become ready.
    pub async fn start(directory: &Path, options: &ClusterOptions) -> Result<Self, ClusterError> {
        let binaries = Binaries::find()?;
        let user = User::to_run_as(&options.run_as)?;
        let (layout, lock) = Layout::prepare(directory, user.as_ref())?;
        let password = layout.password(user.as_ref())?;
        if !layout.is_initialised()? {
            initialise(&binaries, &layout, user.as_ref()).await?;
        }
        layout.write_configuration(user.as_ref(), options.durable)?;
        if layout.left_over_server()? {
            tracing::warn!(directory = %directory.display(), "stopping the server of a killed process");
            stop_by_pg_ctl(&binaries, &layout, user.as_ref()).await?;
        }
        forget_killed_server(&layout).await?;
        let mut attempt = 1;
        let (port, child, mut stop) = loop {
            let port = choose_port(options.port, &layout)?;
            let mut child = spawn(&binaries, &layout, user.as_ref(), port)?;
            let pg_ctl = binaries.pg_ctl.clone();
            let mut stop = StopOnDrop { pg_ctl, user: user.clone(), pid: child.id(), ended: None };
            match wait_until_ready(&mut child, &layout, &url(port, &password, "postgres"), options.start_timeout).await
            {
                Ok(()) => break (port, child, stop),
                Err(error) => {
                    let taken = options.port.is_none()
                        && matches!(&error, ClusterError::NotReady { log, .. } if log.contains("Address already in use"));
                    end(&mut child).await;
                    stop.pid = None;
                    if !taken || attempt == PORT_ATTEMPTS {
                        return Err(error);
                    }
                    attempt += 1;
                }
            }
        };
        layout.remember(port, NAME, &password)?;
        let pid = child.id().unwrap_or_default();
        let ended = supervise(child, layout.clone());
        stop.ended = Some(ended.clone());
        let cluster = Self { layout, user, binaries, password, port, pid, ended, _stop: stop, _lock: lock };
        cluster.create_database().await?;
        Ok(cluster)
    }

    /// `postgres://` URL for clients on this machine, over the server's socket. Holds the password: not for logs.
    #[must_use]
    pub fn url(&self) -> String {
        let folder =
            self.layout.socket.display().to_string().replace('%', "%25").replace(' ', "%20").replace('/', "%2F");
        format!("{}&host={folder}", url(self.port, &self.password, NAME))
    }

    /// Port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where the server writes its log.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.layout.log
    }

    /// How to open `psql` on the server.
    #[must_use]
    pub fn psql(&self) -> PsqlCommand {
        psql_of(&self.layout, &self.binaries, self.port)
    }

    /// How to open `psql` on the server that another process runs in `directory`; `None` when none ever ran there.
    ///
    /// # Errors
    /// [`ClusterError`] when PostgreSQL is not installed or the directory cannot be read.
    pub fn psql_at(directory: &Path) -> Result<Option<PsqlCommand>, ClusterError> {
        let binaries = Binaries::find()?;
        let layout = Layout::at(directory);
        Ok(layout.remembered_port()?.map(|port| psql_of(&layout, &binaries, port)))
    }

    /// Resolves with the reason when the server has ended, by itself or because of [`PrivateCluster::stop`].
    pub async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "its supervision was given up".to_owned(),
        }
    }

    /// The same as a watch, for supervisors: holds the reason once the server has ended.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<String>> {
        self.ended.clone()
    }

    /// Stops the server: connections are cut, what is committed is kept. Returns when it has ended.
    ///
    /// # Errors
    /// [`ClusterError::Program`] when it does not end within 30 s.
    pub async fn stop(self) -> Result<(), ClusterError> {
        if self.ended.borrow().is_none() {
            stop_by_pg_ctl(&self.binaries, &self.layout, self.user.as_ref()).await?;
        }
        Ok(())
    }

    async fn create_database(&self) -> Result<(), ClusterError> {
        let failed = |error: sqlx::Error| ClusterError::Program {
            program: "create database",
            message: Fault::from(error).message,
        };
        let mut connection = connect(&url(self.port, &self.password, "postgres")).await.map_err(failed)?;
        let found: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(NAME)
            .fetch_one(&mut connection)
            .await
            .map_err(failed)?;
        if !found {
            sqlx::raw_sql("CREATE DATABASE snowmelt").execute(&mut connection).await.map_err(failed)?;
        }
        connection.close().await.map_err(failed)
    }
}

/// Tells a server to stop when nobody wants it any more, also when its start is given up half-way.
#[derive(Debug)]
struct StopOnDrop {
    pg_ctl: PathBuf,
    user: Option<User>,
    /// `None` once the server has ended: its number may belong to somebody else by then.
    pid: Option<u32>,
    ended: Option<watch::Receiver<Option<String>>>,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let running = self.ended.as_ref().is_none_or(|ended| ended.borrow().is_none());
        let Some(pid) = self.pid.filter(|_| running) else {
            return;
        };
        // SIGINT is a fast shutdown. Sent by a child, since sending signals ourselves needs unsafe code.
        let mut command = std::process::Command::new(&self.pg_ctl);
        command.args(["kill", "INT", &pid.to_string()]).current_dir("/");
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        let sent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if let Err(error) = sent {
            tracing::warn!(pid, %error, "the private server could not be told to stop");
        }
    }
}

fn url(port: u16, password: &str, database: &str) -> String {
    format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
}

fn psql_of(layout: &Layout, binaries: &Binaries, port: u16) -> PsqlCommand {
    let port = port.to_string();
    let arguments = ["-h", "127.0.0.1", "-p", &port, "-U", NAME, "-d", NAME].map(str::to_owned);
    PsqlCommand {
        program: binaries.psql.clone(),
        arguments: arguments.to_vec(),
        environment: vec![("PGPASSFILE".to_owned(), layout.passfile.display().to_string())],
    }
}

async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    PgConnectOptions::from_str(url)?.disable_statement_logging().connect().await
}

/// A program of PostgreSQL as the server's user.
fn program(path: &Path, user: Option<&User>) -> Command {
    let mut command = Command::new(path);
    command.current_dir("/").stdin(Stdio::null()).env("LC_ALL", "C");
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

async fn run(name: &'static str, command: &mut Command, limit: Duration) -> Result<(), ClusterError> {
    let failed = |message: String| ClusterError::Program { program: name, message };
    let output = tokio::time::timeout(limit, command.kill_on_drop(true).output())
        .await
        .map_err(|_| failed(format!("not done within {limit:?}")))?
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.trim().is_empty() {
        said = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    Err(failed(said.trim().to_owned()))
}

async fn initialise(binaries: &Binaries, layout: &Layout, user: Option<&User>) -> Result<(), ClusterError> {
    let mut command = program(&binaries.initdb, user);
    command.arg("-D").arg(&layout.data).args(["-U", NAME, "-E", "UTF8", "--locale=C", "-A", "scram-sha-256"]);
    command.arg(format!("--pwfile={}", layout.password.display())).arg("--no-instructions");
    run("initdb", &mut command, INIT_TIMEOUT).await
}

async fn stop_by_pg_ctl(binaries: &Binaries, layout: &Layout, user: Option<&User>) -> Result<(), ClusterError> {
    let seconds = STOP_TIMEOUT.as_secs().to_string();
    let mut command = program(&binaries.pg_ctl, user);
    command.arg("stop").arg("-D").arg(&layout.data).args(["-m", "fast", "-w", "-t", &seconds]);
    run("pg_ctl stop", &mut command, STOP_TIMEOUT + Duration::from_secs(5)).await
}

/// Waits until nothing of an earlier server writes to the data any more, then removes its notes.
async fn forget_killed_server(layout: &Layout) -> Result<(), ClusterError> {
    let started = Instant::now();
    while layout.is_worked_in()? {
        if started.elapsed() > STOP_TIMEOUT {
            return Err(ClusterError::LeftOver { data: layout.data.clone(), after: started.elapsed() });
        }
        tokio::time::sleep(READY_POLL).await;
    }
    layout.forget_server()
}

/// The port asked for; else that of last time if it is free; else any.
fn choose_port(asked: Option<u16>, layout: &Layout) -> Result<u16, ClusterError> {
    if let Some(port) = asked {
        return Ok(port);
    }
    let free = |port: u16| {
        let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        Ok(listener.local_addr()?.port())
    };
    match layout.remembered_port()?.map(free) {
        Some(Ok(port)) => Ok(port),
        _ => free(0).map_err(ClusterError::NoPort),
    }
}

fn spawn(binaries: &Binaries, layout: &Layout, user: Option<&User>, port: u16) -> Result<Child, ClusterError> {
    let (out, err) = layout.open_log(user)?;
    let mut command = program(&binaries.postgres, user);
    command
        .arg("-D")
        .arg(&layout.data)
        .arg("-c")
        .arg(format!("port={port}"))
        .arg("-c")
        .arg(format!("unix_socket_directories={}", layout.socket.display()))
        .stdout(out)
        .stderr(err)
        // An interrupt typed at the terminal is ours to handle: the server stops after us.
        .process_group(0)
        .kill_on_drop(false);
    command.spawn().map_err(|source| ClusterError::File { path: binaries.postgres.clone(), source })
}

async fn wait_until_ready(child: &mut Child, layout: &Layout, url: &str, limit: Duration) -> Result<(), ClusterError> {
    let started = Instant::now();
    let mut message = "no answer".to_owned();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            message = format!("it ended with {status}");
        } else if started.elapsed() < limit {
            match tokio::time::timeout(limit, connect(url)).await {
                Ok(Ok(_connection)) => return Ok(()),
                Ok(Err(error)) => message = Fault::from(error).message,
                Err(_) => {}
            }
            tokio::time::sleep(READY_POLL).await;
            continue;
        }
        return Err(ClusterError::NotReady { after: started.elapsed(), message, log: layout.log_tail() });
    }
}

/// Ends a server that is of no use.
async fn end(child: &mut Child) {
    if let Err(error) = child.kill().await {
        tracing::debug!(%error, "a server that did not start could not be killed");
    }
}

/// Waits for the server's end in the background and tells it.
fn supervise(mut child: Child, layout: Layout) -> watch::Receiver<Option<String>> {
    let (tell, ended) = watch::channel(None);
    tokio::spawn(async move {
        let reason = match child.wait().await {
            Ok(status) => format!("postgres ended with {status}\n{}", layout.log_tail()),
            Err(error) => format!("postgres cannot be waited for: {error}"),
        };
        tell.send_replace(Some(reason));
    });
    ended
}
