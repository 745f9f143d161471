//! The commands against a registry of ours on a private PostgreSQL server.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use snowmelt_iglu_server::core::api_key::ApiKey;
use snowmelt_iglu_server::{ServerConfig, Storage, StorageOptions, serve};
use snowmelt_warehouse::{ClusterOptions, PrivateCluster};
use tokio::sync::oneshot;

use super::args::{IgluArgs, IgluCommand, KeygenArgs, LintArgs, PullArgs, PushArgs, RegistryArgs};
use super::files;
use super::push::same;
use crate::trouble::{Outcome, Trouble};

/// A registry in a thread of its own, and a folder for what belongs to it.
struct Rig {
    folder: tempfile::TempDir,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the registry ended badly");
        }
    }
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("snowmelt-iglu-").tempdir().unwrap();
        let key = ApiKey::random();
        std::fs::write(folder.path().join("key"), key.reveal()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let data = tempfile::Builder::new().prefix("snowmelt-pg-").tempdir().unwrap();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let options = ClusterOptions { durable: false, ..ClusterOptions::default() };
                let cluster = PrivateCluster::start(data.path(), &options).await.unwrap();
                let storage = Storage::open(&StorageOptions::new(cluster.url())).await.unwrap();
                let config = ServerConfig {
                    super_key: Some(key),
                    pre_termination_period: Duration::ZERO,
                    ..ServerConfig::default()
                };
                serve(config, storage, listener, async move { drop(stopped.await) }).await.unwrap();
                cluster.stop().await.unwrap();
            });
        });
        Self { folder, url, stop: Some(stop), thread: Some(thread) }
    }

    fn registry(&self) -> RegistryArgs {
        RegistryArgs {
            registry: Some(format!("{}/api/", self.url)),
            key_file: Some(self.folder.path().join("key")),
            data_dir: self.folder.path().join("nothing"),
        }
    }

    fn push(&self, folder: &Path) -> Outcome {
        let args = PushArgs { folder: folder.to_owned(), public: true, registry: self.registry() };
        run(IgluCommand::Push(args))
    }

    fn pull(&self, folder: PathBuf) -> Outcome {
        run(IgluCommand::Pull(PullArgs { folder, registry: self.registry() }))
    }
}

fn run(command: IgluCommand) -> Outcome {
    super::iglu(&IgluArgs { command })
}

fn lines(outcome: Outcome) -> Vec<String> {
    match outcome {
        Err(Trouble::User(lines)) => lines,
        other => panic!("{other:?}"),
    }
}

fn write(folder: &Path, version: &str, body: &Value) {
    let file = folder.join("com.acme/e/jsonschema").join(version);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let own = json!({"vendor": "com.acme", "name": "e", "format": "jsonschema", "version": version});
    let mut document = json!({"$schema": snowmelt_iglu::META_SCHEMA, "self": own});
    for (name, value) in body.as_object().unwrap() {
        document[name] = value.clone();
    }
    std::fs::write(file, document.to_string()).unwrap();
}

#[test]
fn pushing_again_changes_nothing_and_changed_versions_are_told() {
    let rig = Rig::new();
    let own = rig.folder.path().join("own");
    let body = json!({"type": "object", "description": "d", "properties": {}});
    for version in ["1-0-0", "1-0-1", "1-0-10", "1-1-0"] {
        write(&own, version, &body);
    }
    let gap = lines(rig.push(&own));
    assert!(gap.len() == 1 && gap[0].contains("1-0-10: Preceding SchemaVer"), "{gap:?}");
    std::fs::remove_file(own.join("com.acme/e/jsonschema/1-0-10")).unwrap();
    rig.push(&own).unwrap();
    rig.push(&own).unwrap();

    write(&own, "1-0-1", &json!({"type": "object", "description": "another", "properties": {}}));
    let changed = lines(rig.push(&own));
    assert!(changed.len() == 1 && changed[0].contains("publish it as a new version"), "{changed:?}");

    write(&own, "1-1-1", &json!({"type": "strin"}));
    let wrong = lines(rig.push(&own));
    assert!(
        wrong.iter().any(|line| line.contains("1-1-1") && line.contains("Cannot extract JSON Schema")),
        "{wrong:?}"
    );
    let lint = LintArgs { paths: vec![own], advice: true, skip_checks: Vec::new(), strict: false };
    assert_eq!(lines(run(IgluCommand::Lint(lint))).len(), 1);

    let keys = |registry: RegistryArgs| {
        run(IgluCommand::Keygen(KeygenArgs { vendor_prefix: Some("com.acme".into()), delete: None, registry }))
    };
    keys(rig.registry()).unwrap();
    std::fs::write(rig.folder.path().join("other"), ApiKey::random().reveal()).unwrap();
    let other = RegistryArgs { key_file: Some(rig.folder.path().join("other")), ..rig.registry() };
    assert!(matches!(keys(other), Err(Trouble::Machine(why)) if why.contains("Not sufficient privileges")));
}

#[test]
fn all_of_iglu_central_is_pushed_and_pulled_back_equal() {
    let Some(central) = shared("data/iglu-central") else { return };
    let rig = Rig::new();
    let began = std::time::Instant::now();
    rig.push(&central).unwrap();
    let pushed = began.elapsed();
    let began = std::time::Instant::now();
    rig.push(&central).unwrap();
    println!("pushed in {pushed:?}, again in {:?}", began.elapsed());
    let copy = rig.folder.path().join("copy");
    rig.pull(copy.clone()).unwrap();
    let (theirs, ours) = (files::read(&[central]).unwrap(), files::read(&[copy]).unwrap());
    assert!(theirs.schemas.len() > 600 && ours.mistakes.is_empty());
    assert_eq!(theirs.schemas.len(), ours.schemas.len());
    for (key, found) in &theirs.schemas {
        assert!(same(&ours.schemas[key].document, &found.document), "{key}");
    }
}

/// A folder of the shared data, when it is there.
fn shared(path: &str) -> Option<PathBuf> {
    let beside = || {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).map(|root| root.join("../shared"))
    };
    let folder = std::env::var_os("SNOWMELT_SHARED").map(PathBuf::from).or_else(beside)?.join(path);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: ../shared is missing");
    None
}
