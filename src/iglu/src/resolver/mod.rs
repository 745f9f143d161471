//! The resolver: finds schemas in registries and remembers what it found (iglu-client, sections 4 to 8).
//!
//! The event path reads [`Resolver::cached`], which never waits. What is not there is named to the caller, who awaits
//! [`Resolver::resolve`] and lays the answers over the resolver ([`crate::Overlay`]) for the second try, so that it
//! comes to an end even where nothing is cached.

mod builtin;
mod cache;
mod http;
mod registry;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use crate::{Lookup, RegistryError, ResolutionError, ResolverConfig, Schema, SchemaKey, SchemaSource, SchemaVer};
use cache::{Cache, Outcome, Policy, add_failure};
use registry::{Registry, registries, search_order};

/// Milliseconds since the epoch; injected, so that tests run on a clock of their own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The machine's clock.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}

/// What the configuration file does not say.
#[derive(Debug, Clone)]
pub struct ResolverOptions {
    /// Whole time one HTTP request may take, connecting and reading included.
    pub request_timeout: Duration,
    /// How often a failed request is repeated within one look-up.
    pub max_retries: u32,
    /// Longest wait between two of them.
    pub max_retry_wait: Duration,
    /// Largest answer or file that is read.
    pub max_body_bytes: usize,
    /// Deepest schema that is accepted.
    pub max_json_depth: usize,
    /// Prefix of the paths of `embedded` registries, when they are not meant from the root of the file system.
    pub embedded_root: Option<PathBuf>,
    /// Most searches at the same time.
    pub max_searches: usize,
}

impl Default for ResolverOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(5),
            max_retries: 2,
            max_retry_wait: Duration::from_secs(1),
            max_body_bytes: 1 << 20,
            max_json_depth: 50,
            embedded_root: None,
            max_searches: 16,
        }
    }
}

/// Why a resolver cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// The HTTP client.
    #[error("http client for schema registries: {0}")]
    Http(reqwest::Error),
    /// A key that cannot be a header.
    #[error("apikey of registry {0} holds characters that a header cannot carry")]
    ApiKey(String),
}

/// What the resolver did so far, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResolverStats {
    /// Searches through registries.
    pub searches: u64,
    /// Failed requests to single registries, other than "not found".
    pub registry_failures: u64,
    /// Expired schemas that stayed in use because no registry gave a new one.
    pub stale_served: u64,
    /// Schemas and failures in memory.
    pub entries: u64,
}

/// All schemas of a model up to one version, in order.
type Model = Arc<[Arc<Schema>]>;

/// Finds schemas. Share it in an `Arc`; all methods may be called at the same time.
pub struct Resolver {
    registries: Vec<Registry>,
    clock: Clock,
    max_json_depth: usize,
    schemas: Cache<Arc<Schema>>,
    lists: Cache<Arc<[SchemaVer]>>,
    models: Cache<Model>,
    searches: Semaphore,
    searched: AtomicU64,
    failed: AtomicU64,
    stale: AtomicU64,
}

impl Resolver {
    /// A resolver over the configured registries and the built-in one. Does not contact any.
    pub fn new(config: &ResolverConfig, options: ResolverOptions, clock: Clock) -> Result<Self, ResolverError> {
        let ttl_ms = config.cache_ttl_seconds.map(|s| i64::try_from(s.saturating_mul(1_000)).unwrap_or(i64::MAX));
        let policy = Policy { size: config.cache_size, ttl_ms };
        Ok(Self {
            registries: registries(config, &options)?,
            clock,
            max_json_depth: options.max_json_depth,
            schemas: Cache::new(policy),
            lists: Cache::new(policy),
            models: Cache::new(policy),
            searches: Semaphore::new(options.max_searches.max(1)),
            searched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stale: AtomicU64::new(0),
        })
    }

    /// What is in memory and still good: for the event path, no wait. `None`: ask [`Resolver::resolve`].
    #[must_use]
    #[inline]
    pub fn cached(&self, key: &SchemaKey) -> Option<Lookup> {
        self.cached_uri(key.uri())
    }

    /// Like [`Resolver::cached`], from a URI as it stands in an event.
    #[must_use]
    #[inline]
    pub fn cached_uri(&self, uri: &str) -> Option<Lookup> {
        self.schemas.fresh(uri, (self.clock)())
    }

    /// The schema to validate the key's data with (section 8: perhaps of a newer version), from memory or from the
    /// registries. One search at a time per key; others who ask meanwhile get its result.
    pub async fn resolve(&self, key: &SchemaKey) -> Lookup {
        let question = AskSchema { key, max_json_depth: self.max_json_depth };
        self.search(&self.schemas, key.uri(), key.vendor(), question).await
    }

    /// Asks again for the schemas that are in use and expire within the given time; gives their number. Called now and
    /// then, it spares the event path the wait for a registry whenever an entry's time is over. As ever, a schema that
    /// no registry gives again stays in use.
    pub async fn refresh_expiring(&self, within: Duration) -> usize {
        let within_ms = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
        let keys = self.schemas.expiring((self.clock)().saturating_add(within_ms));
        let mut refreshed = 0;
        for key in keys.iter().filter_map(|uri| uri.parse::<SchemaKey>().ok()) {
            let question = AskSchema { key: &key, max_json_depth: self.max_json_depth };
            let flight = self.schemas.flight(key.uri());
            let search = self.ask_registries(&self.schemas, key.uri(), key.vendor(), question);
            refreshed += usize::from(flight.result(search).await.is_ok());
        }
        refreshed
    }

    /// Something was published, patched or deleted under this name: what is remembered of it is asked for again, above all
    /// that there was no such schema.
    pub fn forget(&self, vendor: &str, name: &str) {
        let (path, uri) = (format!("{vendor}/{name}/"), format!("iglu:{vendor}/{name}/"));
        self.schemas.forget(|key| key.starts_with(&uri));
        self.lists.forget(|key| key.starts_with(&path));
        self.models.forget(|key| key.starts_with(&uri));
    }

    /// The same of every name, where nobody knows which have changed.
    pub fn forget_all(&self) {
        self.schemas.forget(|_| true);
        self.lists.forget(|_| true);
        self.models.forget(|_| true);
    }

    /// Versions of a model, in the order the registry publishes them: first `M-0-0`.
    pub async fn list(&self, vendor: &str, name: &str, model: u32) -> Result<Arc<[SchemaVer]>, Arc<ResolutionError>> {
        let key = format!("{vendor}/{name}/jsonschema/{model}");
        self.search(&self.lists, &key, vendor, AskList { vendor, name, model }).await
    }

    /// All schemas of the key's model up to and with the key, in order, as they were published (no supersession).
    /// Works over registries without lists too, by trying versions. All come from one registry.
    pub async fn schemas_up_to(&self, key: &SchemaKey) -> Result<Arc<[Arc<Schema>]>, Arc<ResolutionError>> {
        let question = AskModel { key, max_json_depth: self.max_json_depth };
        self.search(&self.models, key.uri(), key.vendor(), question).await
    }

    /// Counters and sizes.
    #[must_use]
    pub fn stats(&self) -> ResolverStats {
        ResolverStats {
            searches: self.searched.load(Ordering::Relaxed),
            registry_failures: self.failed.load(Ordering::Relaxed),
            stale_served: self.stale.load(Ordering::Relaxed),
            entries: (self.schemas.len() + self.lists.len() + self.models.len()) as u64,
        }
    }

    /// Names of the registries in the order in which they are asked for a vendor's schemas.
    #[must_use]
    pub fn search_order(&self, vendor: &str) -> Vec<&str> {
        search_order(&self.registries, vendor).into_iter().map(|registry| registry.name.as_str()).collect()
    }

    /// The answer for one key of one cache: remembered, or from the registries that are due, in order.
    async fn search<V: Clone>(
        &self,
        cache: &Cache<V>,
        key: &str,
        vendor: &str,
        question: impl Question<V>,
    ) -> Outcome<V> {
        if let Some(outcome) = cache.fresh(key, (self.clock)()) {
            return outcome;
        }
        let flight = cache.flight(key);
        let search = async {
            // Who searched while this one waited for its turn may have left an answer.
            match cache.fresh(key, (self.clock)()) {
                Some(outcome) => outcome,
                None => self.ask_registries(cache, key, vendor, question).await,
            }
        };
        flight.result(search).await
    }

    async fn ask_registries<V: Clone>(
        &self,
        cache: &Cache<V>,
        key: &str,
        vendor: &str,
        question: impl Question<V>,
    ) -> Outcome<V> {
        // Never closed; if it were, searching without a limit is still right.
        let _permit = self.searches.acquire().await.ok();
        self.searched.fetch_add(1, Ordering::Relaxed);
        let forgets = cache.forgets();
        let previous = cache.last(key);
        let mut error = match previous.as_ref().map(|entry| &entry.outcome) {
            Some(Err(error)) => ResolutionError::clone(error),
            _ => ResolutionError::default(),
        };
        let mut found = None;
        for registry in search_order(&self.registries, vendor) {
            if !is_due(cache.policy, registry, &mut error, (self.clock)()) {
                continue;
            }
            match question.ask(registry).await {
                Ok(value) => {
                    found = Some(value);
                    break;
                }
                Err(failure) => {
                    if failure != RegistryError::NotFound {
                        self.failed.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(registry = registry.name, key, ?failure, "schema registry failed");
                    }
                    add_failure(&mut error, &registry.name, failure, (self.clock)());
                }
            }
        }
        let outcome = match (found, previous.as_ref().map(|entry| &entry.outcome)) {
            (Some(value), _) => Ok(value),
            // An outage of registries does not break a running pipeline.
            (None, Some(Ok(old))) => {
                self.stale.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(key, "no registry gave the expired schema again, it stays in use");
                Ok(old.clone())
            }
            (None, _) => Err(Arc::new(error)),
        };
        let is_remote = |name: &str| self.registries.iter().any(|r| r.name == name && r.is_remote());
        // A failure from before a publication would hide what was published.
        if outcome.is_ok() || forgets == cache.forgets() {
            cache.store(key, &outcome, (self.clock)(), is_remote);
        }
        outcome
    }
}

/// What is asked of a registry.
trait Question<V>: Send + Sync {
    /// The registry's answer.
    fn ask(&self, registry: &Registry) -> impl Future<Output = Result<V, RegistryError>> + Send;
}

struct AskSchema<'k> {
    key: &'k SchemaKey,
    max_json_depth: usize,
}

impl Question<Arc<Schema>> for AskSchema<'_> {
    async fn ask(&self, registry: &Registry) -> Result<Arc<Schema>, RegistryError> {
        let (document, newer) = registry.superseding_document(self.key).await?;
        Ok(Arc::new(match newer {
            Some(version) => Schema::superseded(self.key.clone(), version, document, self.max_json_depth),
            None => Schema::new(self.key.clone(), document, self.max_json_depth),
        }))
    }
}

struct AskList<'k> {
    vendor: &'k str,
    name: &'k str,
    model: u32,
}

impl Question<Arc<[SchemaVer]>> for AskList<'_> {
    async fn ask(&self, registry: &Registry) -> Result<Arc<[SchemaVer]>, RegistryError> {
        registry.list(self.vendor, self.name, self.model).await.map(Arc::from)
    }
}

struct AskModel<'k> {
    key: &'k SchemaKey,
    max_json_depth: usize,
}

impl Question<Model> for AskModel<'_> {
    async fn ask(&self, registry: &Registry) -> Result<Model, RegistryError> {
        let mut schemas = Vec::new();
        for version in registry.versions_up_to(self.key).await? {
            let key = self.key.with_version(version);
            let document = registry.document(&key).await?;
            schemas.push(Arc::new(Schema::new(key, document, self.max_json_depth)));
        }
        Ok(schemas.into())
    }
}

/// Whether a registry is to be asked (again); an expired "not found" is forgotten.
fn is_due(policy: Policy, registry: &Registry, error: &mut ResolutionError, now_ms: i64) -> bool {
    let Some(history) = error.history.get_mut(&registry.name) else { return true };
    if policy.due_ms(history, registry.is_remote()) > now_ms {
        return false;
    }
    history.errors.retain(|error| *error != RegistryError::NotFound);
    policy.due_ms(history, registry.is_remote()) <= now_ms
}

impl SchemaSource for Resolver {
    fn lookup(&self, key: &SchemaKey) -> Option<Lookup> {
        self.cached(key)
    }

    fn lookup_uri(&self, uri: &str) -> Option<Lookup> {
        self.cached_uri(uri)
    }
}
