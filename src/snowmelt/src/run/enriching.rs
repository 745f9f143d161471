//! Enrichment as its files configure it, and what keeps it up to date: assets that change, schemas that expire.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use snowmelt_enrich::enrichments::{Assets, ConfigDocument, ConfigError, Enrichments};
use snowmelt_enrich::{Enrich, EnrichConfig};
use snowmelt_enricher::Current;
use snowmelt_iglu::Resolver;
use snowmelt_runtime::failure::explain;
use tokio::task::AbortHandle;

use crate::run::assets::{AssetStore, Changes, Looked, Patience, unsupported};
use crate::run::settings::processor;
use crate::trouble::{Outcome, Trouble};

/// How often the resolver is asked what expires, and how long before its time a schema is asked for again.
const SCHEMAS_EVERY: Duration = Duration::from_secs(30);
const SCHEMAS_AHEAD: Duration = Duration::from_secs(60);
/// After a look at the files that failed the next one comes this soon, if the period is longer.
const AGAIN_AFTER: Duration = Duration::from_secs(3_600);

/// Looks at the files of enrichments, by `pipeline` and `outcome`.
const LOOKS: &str = "snowmelt_enrich_asset_looks_total";

/// The settings of enrichment: the defaults, and over them what the original's `config.hocon` says.
pub fn config(file: Option<&Path>) -> Outcome<EnrichConfig> {
    let Some(file) = file else { return Ok(EnrichConfig::new(processor("snowmelt-enrich"))) };
    let document = match file.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => {
            let wrong = |error: &dyn std::fmt::Display| Trouble::user(format!("{}: {error}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
            toml::from_str::<Value>(&text).map_err(|error| wrong(&error))?
        }
        _ => snowmelt_enrich::config::read_hocon(file).map_err(|error| Trouble::user(explain(&error)))?,
    };
    EnrichConfig::from_document(processor("snowmelt-enrich"), &document)
        .map_err(|error| Trouble::user(format!("{}: {}", file.display(), explain(&error))))
}

/// What a look at the files of enrichments came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Changed,
    Unchanged,
    Failed,
}

impl Look {
    /// The label of its metric.
    const fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

/// What a refresh gave.
#[derive(Debug)]
pub struct Refreshed {
    /// Enrichment built from files that have changed, if any has.
    pub enrich: Option<Enrich>,
    /// Why other files could not be looked at; what was built from them stays.
    pub failures: Vec<Trouble>,
}

/// Looks for mistakes in the configuration files of a folder, without fetching the files that they name.
pub fn check(folder: &Path) -> Outcome {
    files(&documents(folder)?).map(drop)
}

fn documents(folder: &Path) -> Outcome<Vec<ConfigDocument>> {
    snowmelt_enrich::config::read_enrichments(folder).map_err(|error| Trouble::user(explain(&error)))
}

/// Enrichment that can be built again when its files change.
#[derive(Debug)]
pub struct Enriching {
    config: EnrichConfig,
    folder: PathBuf,
    documents: Vec<ConfigDocument>,
    uris: Vec<String>,
    store: AssetStore,
}

impl Enriching {
    /// Reads the enrichments of a folder, fetches their files and builds enrichment from them.
    pub async fn open(config: EnrichConfig, folder: Option<&Path>) -> Outcome<(Self, Enrich)> {
        Self::open_with(config, folder, Patience::default()).await
    }

    async fn open_with(config: EnrichConfig, folder: Option<&Path>, patience: Patience) -> Outcome<(Self, Enrich)> {
        let (folder, documents) = match folder {
            Some(folder) => (folder.to_owned(), documents(folder)?),
            None => (PathBuf::new(), Vec::new()),
        };
        let uris = files(&documents)?;
        let store = AssetStore::new(&folder, patience)?;
        let mut enriching = Self { config, folder, documents, uris, store };
        let Looked { changes, failures } = enriching.store.look(&enriching.uris).await;
        if let Some(failure) = failures.into_iter().next() {
            return Err(failure);
        }
        let enrich = enriching.build(&changes).await?;
        enriching.store.adopt(changes);
        Ok((enriching, enrich))
    }

    /// Looks at the files again and builds enrichment from those that have changed; one that can't be fetched keeps none
    /// of the others old. After an error the next call starts from what was good before.
    pub async fn refresh(&mut self) -> Outcome<Refreshed> {
        let Looked { changes, failures } = self.store.look(&self.uris).await;
        if changes.is_empty() {
            return Ok(Refreshed { enrich: None, failures });
        }
        let enrich = self.build(&changes).await?;
        tracing::info!(changed = changes.len(), folder = %self.folder.display(), "enrichments built from new files");
        self.store.adopt(changes);
        Ok(Refreshed { enrich: Some(enrich), failures })
    }

    /// Building may take a second of CPU time: a thread for blocking work does it.
    async fn build(&self, changes: &Changes) -> Outcome<Enrich> {
        let (config, documents, assets) = (self.config.clone(), self.documents.clone(), self.store.with(changes));
        let build = move || build(config, &documents, &assets);
        tokio::task::spawn_blocking(build)
            .await
            .map_err(|error| Trouble::Machine(format!("enrichments can't be built: {error}")))?
    }

    /// Whether there is anything that can change.
    fn has_files(&self) -> bool {
        !self.uris.is_empty()
    }
}

/// Addresses of all files that the documents name, each once.
fn files(documents: &[ConfigDocument]) -> Outcome<Vec<String>> {
    let mistake = |error: ConfigError| Trouble::user(explain(&error));
    for document in documents {
        for uri in Enrichments::assets(std::slice::from_ref(document)).map_err(mistake)? {
            if let Some(reason) = unsupported(&uri) {
                let file = document.file.as_deref().unwrap_or(Path::new("")).display();
                return Err(Trouble::user(format!("{file}: uri {uri}: {reason}")));
            }
        }
    }
    let mut uris = Enrichments::assets(documents).map_err(mistake)?;
    uris.sort_unstable();
    uris.dedup();
    Ok(uris)
}

fn build(config: EnrichConfig, documents: &[ConfigDocument], assets: &Assets) -> Outcome<Enrich> {
    let enrichments = Enrichments::build(documents, assets).map_err(|error| Trouble::user(explain(&error)))?;
    Ok(Enrich::new(config, enrichments))
}

/// Tasks that keep an enrichment and its schemas up to date; they end when this goes.
#[derive(Debug)]
pub struct Refreshers(Vec<AbortHandle>);

impl Refreshers {
    /// Starts them, for the application of this name.
    pub fn start(pipeline: &str, enriching: Enriching, current: Current, resolver: Arc<Resolver>) -> Self {
        let mut tasks = Self(Vec::new());
        if enriching.has_files() {
            tasks.spawn(refresh_assets(pipeline.to_owned(), enriching, current));
        }
        tasks.spawn(refresh_schemas(resolver));
        tasks
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(task).abort_handle());
    }
}

impl Drop for Refreshers {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Whatever goes wrong, what is in use stays in use until the next look.
async fn refresh_assets(pipeline: String, mut enriching: Enriching, current: Current) {
    let period = enriching.config.assets_update_period;
    let mut wait = period;
    loop {
        tokio::time::sleep(wait).await;
        let mut look = Look::Unchanged;
        let failures = match enriching.refresh().await {
            Ok(Refreshed { enrich, failures }) => {
                if let Some(enrich) = enrich {
                    current.exchange(enrich);
                    look = Look::Changed;
                }
                failures
            }
            Err(trouble) => vec![trouble],
        };
        for trouble in &failures {
            tracing::error!(pipeline, %trouble, "a file of the enrichments can't be refreshed, the old one stays");
            look = Look::Failed;
        }
        wait = if failures.is_empty() { period } else { period.min(AGAIN_AFTER) };
        metrics::counter!(LOOKS, "pipeline" => pipeline.clone(), "outcome" => look.name()).increment(1);
    }
}

async fn refresh_schemas(resolver: Arc<Resolver>) {
    loop {
        tokio::time::sleep(SCHEMAS_EVERY).await;
        let refreshed = resolver.refresh_expiring(SCHEMAS_AHEAD).await;
        tracing::debug!(refreshed, "schemas that expire soon were asked for again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "user_agent_parsers:\n  - regex: '(Firefox)/(\\d+)'\nos_parsers: []\ndevice_parsers: []\n";

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let document = r#"{"schema": "iglu:com.snowplowanalytics.snowplow/ua_parser_config/jsonschema/1-0-1",
            "data": {"vendor": "v", "name": "n", "enabled": true, "parameters": {"uri": ".", "database": "rules.yml"}}}"#;
        std::fs::write(folder.path().join("ua.json"), document).unwrap();
        std::fs::write(folder.path().join("rules.yml"), RULES).unwrap();
        folder
    }

    #[tokio::test]
    async fn changed_files_are_built_in_and_broken_ones_leave_the_old_in_use() {
        let folder = folder();
        let (mut enriching, _) = Enriching::open(config(None).unwrap(), Some(folder.path())).await.unwrap();
        assert!(enriching.refresh().await.unwrap().enrich.is_none());
        let rules = folder.path().join("rules.yml");
        std::fs::write(&rules, RULES.replace("Firefox", "Chrome")).unwrap();
        assert!(enriching.refresh().await.unwrap().enrich.is_some());
        assert!(enriching.refresh().await.unwrap().enrich.is_none());
        std::fs::write(&rules, "[broken").unwrap();
        let trouble = enriching.refresh().await.unwrap_err().to_string();
        assert!(trouble.contains("ua.json") && trouble.contains("rules.yml"), "{trouble}");
        // The broken file was not taken over: repaired, it is a change to what is in use no more.
        std::fs::write(&rules, RULES.replace("Firefox", "Chrome")).unwrap();
        assert!(enriching.refresh().await.unwrap().enrich.is_none());
    }

    #[tokio::test]
    async fn files_of_places_that_are_not_reached_yet_are_told_with_the_document_that_names_them() {
        for (uri, part) in [
            ("s3://bucket/rules", "files in s3:// can't be fetched by this version yet"),
            ("gs://bucket", "files in gs:// can't be fetched by this version yet"),
            ("ftp://host", "ftp:// is unknown here"),
        ] {
            let folder = folder();
            let document = std::fs::read_to_string(folder.path().join("ua.json")).unwrap();
            std::fs::write(folder.path().join("ua.json"), document.replace("\".\"", &format!("{uri:?}"))).unwrap();
            let trouble = Enriching::open(config(None).unwrap(), Some(folder.path())).await.unwrap_err();
            assert!(matches!(trouble, Trouble::User(_)));
            let text = trouble.to_string();
            assert!(text.contains(&format!("ua.json: uri {uri}/rules.yml: {part}")), "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_in_use_is_exchanged_after_the_period() {
        let folder = folder();
        let config = EnrichConfig { assets_update_period: Duration::from_millis(20), ..config(None).unwrap() };
        let (enriching, enrich) = Enriching::open(config, Some(folder.path())).await.unwrap();
        let current = Current::new(enrich);
        let before = current.load();
        let resolver = crate::run::settings::built_in_schemas(&snowmelt_runtime::Clock::system()).unwrap();
        let _refreshers = Refreshers::start("test", enriching, current.clone(), resolver);
        std::fs::write(folder.path().join("rules.yml"), RULES.replace("Firefox", "Chrome")).unwrap();
        let exchanged = async {
            while Arc::ptr_eq(&before, &current.load()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), exchanged).await.expect("exchanged in time");
    }

    #[tokio::test]
    async fn while_a_server_fails_the_old_file_stays_in_use_and_a_new_one_is_taken_when_it_is_back() {
        use crate::run::assets::tests::{Page, Server};
        let page = |rules: &str, etag| Page { etag: Some(etag), ..Page::of(rules) };
        let server = Server::start(page(RULES, "\"v1\"")).await;
        let folder = folder();
        let document = std::fs::read_to_string(folder.path().join("ua.json")).unwrap();
        let place = server.uri.trim_end_matches("/rules.yml");
        std::fs::write(folder.path().join("ua.json"), document.replace("\".\"", &format!("{place:?}"))).unwrap();
        let config = EnrichConfig { assets_update_period: Duration::from_millis(5), ..config(None).unwrap() };
        let patience = Patience { retries: 1, first_wait: Duration::from_millis(1), ..Patience::default() };
        let (enriching, enrich) = Enriching::open_with(config, Some(folder.path()), patience).await.unwrap();
        let current = Current::new(enrich);
        let resolver = crate::run::settings::built_in_schemas(&snowmelt_runtime::Clock::system()).unwrap();
        let first = current.load();
        let _refreshers = Refreshers::start("test", enriching, current.clone(), resolver);
        let requests = async |more: usize| {
            let until = server.log().len() + more;
            let came = async {
                while server.log().len() < until {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), came).await.expect("it is asked");
        };
        requests(3).await;
        assert!(server.log()[1..].iter().all(|(tag, _, bytes)| tag.as_deref() == Some("\"v1\"") && *bytes == 0));
        for broken in [Page { status: 500, ..Page::default() }, page("[broken", "\"v2\"")] {
            server.now(broken);
            requests(4).await;
            assert!(Arc::ptr_eq(&first, &current.load()), "what is in use stays");
        }
        server.now(page(&RULES.replace("Firefox", "Chrome"), "\"v3\""));
        let exchanged = async {
            while Arc::ptr_eq(&first, &current.load()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), exchanged).await.expect("exchanged in time");
    }

    #[tokio::test]
    async fn the_original_configuration_is_read_as_hocon_and_its_mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.hocon");
        std::fs::write(&file, "assetsUpdatePeriod = 1 day # often\nvalidation { acceptInvalid = true }").unwrap();
        let read = config(Some(&file)).unwrap();
        assert!(read.accept_invalid);
        assert_eq!(read.assets_update_period, Duration::from_secs(24 * 3600));
        std::fs::write(&file, "validation.maxJsonDepth = deep").unwrap();
        let trouble = config(Some(&file)).unwrap_err().to_string();
        assert!(trouble.contains("config.hocon: validation.maxJsonDepth") && trouble.contains("deep"), "{trouble}");
    }
}
