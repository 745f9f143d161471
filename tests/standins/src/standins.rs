//! All stand-ins of a test: emulators and the proxies before them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::emulator::{Emulator, Service};
use crate::plan::Faults;
use crate::proxy::Proxy;

/// Why stand-ins do not stand.
#[derive(Debug, thiserror::Error)]
pub enum StandinError {
    /// Nobody has installed it.
    #[error("{}: {} is missing; bash tests/run.sh installs it", service.name(), path.display())]
    Missing {
        /// Whose emulator.
        service: Service,
        /// What was looked for.
        path: PathBuf,
    },
    /// The process cannot be started.
    #[error("{}: starting its emulator", service.name())]
    Start {
        /// Whose emulator.
        service: Service,
        /// The reason.
        source: io::Error,
    },
    /// It ended before it answered.
    #[error("{}: its emulator ended: {status}\n{log}", service.name())]
    Ended {
        /// Whose emulator.
        service: Service,
        /// How it ended.
        status: String,
        /// Its last lines.
        log: String,
    },
    /// It does not answer.
    #[error("{}: its emulator did not answer within {within:?}\n{log}", service.name())]
    Silent {
        /// Whose emulator.
        service: Service,
        /// How long it had.
        within: Duration,
        /// Its last lines.
        log: String,
    },
    /// No port to listen on.
    #[error("no port to listen on")]
    Listen(#[source] io::Error),
    /// No folder for logs.
    #[error("no folder for the emulators' logs")]
    Logs(#[source] io::Error),
    /// The proxy's client cannot be made.
    #[error("the proxy's HTTP client")]
    Client(#[source] reqwest::Error),
    /// It was not asked for.
    #[error("{} was not started", _0.name())]
    NotStarted(Service),
}

/// Running stand-ins, empty when they start. They end when dropped.
#[derive(Debug)]
pub struct Standins {
    running: Vec<Running>,
    // Kept to the end: the emulators write into it.
    logs: tempfile::TempDir,
}

#[derive(Debug)]
struct Running {
    service: Service,
    // Dropped before what it forwards to.
    proxy: Proxy,
    emulator: Emulator,
}

impl Standins {
    /// Starts those of `services` from what is installed in `tools` (`.tools`), side by side, on free ports of the loopback interface,
    /// and waits until all of them answer.
    pub async fn start(tools: &Path, services: &[Service]) -> Result<Self, StandinError> {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), tools, services).await
    }

    /// The same with proxies that listen on another address of this machine, as network namespaces need it.
    pub async fn start_on(listen: IpAddr, tools: &Path, services: &[Service]) -> Result<Self, StandinError> {
        let tools = std::path::absolute(tools).map_err(StandinError::Logs)?;
        let logs = tempfile::Builder::new().prefix("snowmelt-standins-").tempdir().map_err(StandinError::Logs)?;
        let mut services = services.to_vec();
        services.sort_unstable();
        services.dedup();
        let running = try_join_all(services.into_iter().map(|service| {
            let (tools, logs) = (&tools, logs.path());
            async move {
                let emulator = Emulator::start(service, tools, logs).await?;
                let proxy = Proxy::start(service, &emulator.url, listen)?;
                Ok(Running { service, proxy, emulator })
            }
        }))
        .await?;
        Ok(Self { running, logs })
    }

    /// What a client calls: the proxy before the emulator.
    pub fn endpoint(&self, service: Service) -> Result<&str, StandinError> {
        Ok(&self.find(service)?.proxy.url)
    }

    /// The emulator itself, without faults and fan-out; for what a test does beside the program under test.
    pub fn emulator(&self, service: Service) -> Result<&str, StandinError> {
        Ok(&self.find(service)?.emulator.url)
    }

    /// The plan of a service's proxy.
    pub fn faults(&self, service: Service) -> Result<&Faults, StandinError> {
        Ok(&self.find(service)?.proxy.faults)
    }

    /// Which services run, and where.
    pub fn endpoints(&self) -> impl Iterator<Item = (Service, &str)> {
        self.running.iter().map(|running| (running.service, running.proxy.url.as_str()))
    }

    /// Where the emulators' logs are, as long as they run.
    pub fn logs(&self) -> &Path {
        self.logs.path()
    }

    /// What a process needs in its environment to call them: dummy credentials, a region, and nothing asked of EC2.
    pub fn environment() -> [(&'static str, &'static str); 4] {
        [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
    }

    fn find(&self, service: Service) -> Result<&Running, StandinError> {
        self.running.iter().find(|running| running.service == service).ok_or(StandinError::NotStarted(service))
    }
}
