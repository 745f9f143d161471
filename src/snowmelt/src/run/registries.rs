//! The schema registries of a node.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use snowmelt_iglu::{Connection, Repository, Resolver};
use snowmelt_iglu_server::core::api_key::ApiKey;
use snowmelt_iglu_server::{Changed, ServerConfig, ServerError, Storage, StorageOptions, serve};
use tokio::sync::{broadcast, watch};

use crate::check::without_password;
use crate::definition::Plan;
use crate::definition::model::{Registry, Work};
use crate::run::backends::Backends;
use crate::run::operator::report::RegistryReport;
use crate::run::servers::Servers;
use crate::trouble::{Outcome, Trouble};

/// How long the registry's tables may take to be set up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Asked after the registries of `resolver.json`.
const PRIORITY: i64 = 1000;
/// The file of a key that was made here, in the data directory.
const KEY_FILE: &str = "iglu-super-key";

/// Changes that a resolver may not have heard of yet; of more it hears that there were some.
const CHANGES: usize = 256;

/// The registry of this node, as resolvers of this node see it.
#[derive(Clone)]
pub struct OwnRegistry {
    /// How to reach it.
    pub repository: Repository,
    changes: broadcast::Sender<Changed>,
}

impl OwnRegistry {
    /// Lets a resolver hear, as long as it lives, of whatever changes in the registry: without that it would go on for the
    /// whole life of its cache to say that there is no such schema.
    pub fn tell(&self, resolver: &Arc<Resolver>) {
        let (mut changes, resolver) = (self.changes.subscribe(), Arc::downgrade(resolver));
        tokio::spawn(async move {
            loop {
                let changed = changes.recv().await;
                let Some(resolver) = resolver.upgrade() else { return };
                match changed {
                    Ok(Changed::NoSchema) => {}
                    Ok(Changed::Names(names)) => names.iter().for_each(|(vendor, name)| resolver.forget(vendor, name)),
                    Ok(Changed::Anything) | Err(broadcast::error::RecvError::Lagged(_)) => resolver.forget_all(),
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
    }
}

/// The running registries.
pub struct Registries {
    running: Vec<Running>,
    servers: Servers<ServerError>,
}

/// How to reach one of them.
struct Running {
    address: SocketAddr,
    key: ApiKey,
    key_file: Option<PathBuf>,
    changes: broadcast::Sender<Changed>,
    name: String,
    trouble: watch::Receiver<Option<String>>,
}

/// Whether registries reach their databases.
#[derive(Clone)]
pub struct RegistryHealth(Vec<(String, watch::Receiver<Option<String>>)>);

impl RegistryHealth {
    /// One report a registry.
    pub fn report(&self) -> Vec<RegistryReport> {
        let report = |(name, trouble): &(String, watch::Receiver<Option<String>>)| {
            let reason = trouble.borrow().clone();
            RegistryReport { registry: name.clone(), ready: reason.is_none(), reason }
        };
        self.0.iter().map(report).collect()
    }
}

/// Listens for every registry of the plan, before anything else is started.
pub fn bind(plan: &Plan) -> Outcome<Vec<TcpListener>> {
    registries(plan)
        .map(|(name, registry)| {
            TcpListener::bind(registry.listen).map_err(|error| {
                let hint = "choose another with --set iglu.listen=HOST:PORT";
                Trouble::machine(&format!("schema registry {name} can't listen on {}; {hint}", registry.listen), error)
            })
        })
        .collect()
}

fn registries(plan: &Plan) -> impl Iterator<Item = (&str, &Registry)> {
    plan.definitions.iter().filter_map(|definition| match &definition.work {
        Work::Registry(registry) => Some((definition.name.as_str(), registry)),
        _ => None,
    })
}

/// Starts every registry on its listener.
pub async fn start(plan: &Plan, listeners: Vec<TcpListener>, backends: &Backends) -> Outcome<Registries> {
    let mut all = Registries { running: Vec::new(), servers: Servers::new("schema registry") };
    for ((name, registry), listener) in registries(plan).zip(listeners) {
        registry.notes.iter().for_each(|note| tracing::warn!("{note}"));
        let (key, key_file) = super_key(registry, &plan.backend.data_dir)?;
        let address = listener.local_addr().map_err(|error| Trouble::machine("schema registry", error))?;
        let storage = open(registry, backends).await?;
        let (changes, _) = broadcast::channel(CHANGES);
        let (tell, trouble) = watch::channel(None);
        let config = ServerConfig {
            super_key: Some(key),
            changes: Some(changes.clone()),
            trouble: Some(tell),
            ..registry.server.clone()
        };
        let (name, shutdown) = (name.to_owned(), all.servers.stopped());
        all.running.push(Running { address, key, key_file, changes, name: name.clone(), trouble });
        all.servers.run(name, serve(config, storage, listener, shutdown));
    }
    Ok(all)
}

async fn open(registry: &Registry, backends: &Backends) -> Outcome<Storage> {
    let url = registry.database.as_deref().or(backends.postgres_url()).unwrap_or_default();
    let options = StorageOptions {
        schema: registry.schema.clone(),
        connections: registry.connections,
        ..StorageOptions::new(url)
    };
    let what = format!("the schema registry's PostgreSQL at {}", without_password(url));
    match tokio::time::timeout(PATIENCE, Storage::open(&options)).await {
        Ok(opened) => opened.map_err(|error| Trouble::caused(&what, error)),
        Err(_) => Err(Trouble::Machine(format!("{what} does not answer within {} s", PATIENCE.as_secs()))),
    }
}

/// The key with all rights, and the file it is in: as the definition says, else one that is made once.
fn super_key(registry: &Registry, data_dir: &Path) -> Outcome<(ApiKey, Option<PathBuf>)> {
    let parsed = |text: &str, from: &str| {
        ApiKey::parse(text.trim()).ok_or_else(|| Trouble::user(format!("{from} holds no UUID for the super key")))
    };
    if let Some(name) = &registry.super_key_env {
        let text = std::env::var(name)
            .map_err(|_| Trouble::user(format!("environment variable {name} with the super key is not set")))?;
        return Ok((parsed(&text, &format!("environment variable {name}"))?, None));
    }
    if let Some(key) = registry.server.super_key {
        return Ok((key, None));
    }
    let file = registry.super_key_file.clone().unwrap_or_else(|| data_dir.join(KEY_FILE));
    let shown = file.display().to_string();
    let key = match std::fs::read_to_string(&file) {
        Ok(text) => parsed(&text, &shown)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && registry.super_key_file.is_none() => {
            let key = ApiKey::random();
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            options
                .open(&file)
                .and_then(|mut out| writeln!(out, "{}", key.reveal()))
                .map_err(|error| Trouble::machine(&shown, error))?;
            key
        }
        Err(error) => return Err(Trouble::machine(&shown, error)),
    };
    let file = file.canonicalize().map_err(|error| Trouble::machine(&shown, error))?;
    Ok((key, Some(file)))
}

impl Registries {
    /// The first one, as resolvers of this node reach it.
    pub fn own(&self) -> Option<OwnRegistry> {
        let first = self.running.first()?;
        let repository = Repository {
            name: "This node".to_owned(),
            priority: PRIORITY,
            vendor_prefixes: Vec::new(),
            connection: Connection::Http {
                uri: format!("http://{}/api", reachable(first.address)),
                apikey: Some(first.key.reveal()),
            },
        };
        Some(OwnRegistry { repository, changes: first.changes.clone() })
    }

    /// Whether they reach their databases.
    pub fn health(&self) -> RegistryHealth {
        RegistryHealth(self.running.iter().map(|one| (one.name.clone(), one.trouble.clone())).collect())
    }

    /// Where the first one listens.
    pub fn url(&self) -> Option<String> {
        self.running.first().map(|first| format!("http://{}", reachable(first.address)))
    }

    /// Where the first one's super key is, when it is in a file.
    pub fn key_file(&self) -> Option<PathBuf> {
        self.running.first()?.key_file.clone()
    }

    /// Resolves when one ends by itself.
    pub async fn failed(&mut self) -> String {
        self.servers.failed().await
    }

    /// Stops taking requests, finishes those under way.
    pub async fn stop(&mut self) -> Outcome {
        self.servers.stop().await
    }
}

/// An address that is listened on everywhere is reached on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let ip: std::net::IpAddr = match address {
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(super_key_file: Option<PathBuf>) -> Registry {
        Registry {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: None,
            schema: "public".to_owned(),
            connections: 2,
            super_key_file,
            super_key_env: None,
            server: ServerConfig::default(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_super_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let (key, file) = super_key(&registry(None), folder.path()).unwrap();
        let (again, _) = super_key(&registry(None), folder.path()).unwrap();
        assert_eq!(key.reveal(), again.reveal());
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file.unwrap()).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let other = folder.path().join("other");
        std::fs::write(&other, "no key").unwrap();
        assert!(super_key(&registry(Some(other)), folder.path()).is_err());
    }
}
