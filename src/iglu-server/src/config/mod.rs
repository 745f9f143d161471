//! What an operator can set (iglu-server spec, section 16).

pub mod hocon;

use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::core::api_key::ApiKey;
use crate::core::catalog::Changed;
use crate::core::document::DEEPEST;

/// Settings of a server. None is a secret but the key, which is not printed.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The key that has all rights.
    pub super_key: Option<ApiKey>,
    /// Whether published versions may be replaced and deleted.
    pub patches_allowed: bool,
    /// Whether `/api/debug` is there.
    pub debug: bool,
    /// Deepest JSON that is read, at most 120.
    pub max_json_depth: usize,
    /// Bodies of this many bytes and more are refused.
    pub max_payload_bytes: usize,
    /// Who is told of published schemas.
    pub web_hooks: Vec<WebHook>,
    /// Prefix of the paths in the descriptions, when a proxy adds one.
    pub base_url: String,
    /// `Strict-Transport-Security` on every answer, for this long.
    pub hsts: Option<Duration>,
    /// Room for schemas' bodies in memory.
    pub cache_bytes: usize,
    /// How often the database is asked whether something changed, in case a notification was lost.
    pub check_every: Duration,
    /// Threads that serve requests.
    pub workers: usize,
    /// Connections at most.
    pub max_connections: usize,
    /// Idle connections are closed after this time.
    pub idle_timeout: Duration,
    /// Head and body of a request must be there after this time.
    pub request_timeout: Duration,
    /// How long requests are still taken after the stop was asked for.
    pub pre_termination_period: Duration,
    /// Whether the health endpoint says 503 in that time.
    pub pre_termination_unhealthy: bool,
    /// Where it is told which schemas changed, whoever changed them: for resolvers in the same process.
    pub changes: Option<broadcast::Sender<Changed>>,
    /// Where it is told why the database cannot be followed, as long as it cannot.
    pub trouble: Option<watch::Sender<Option<String>>>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            super_key: None,
            patches_allowed: false,
            debug: false,
            max_json_depth: 40,
            max_payload_bytes: 100_000,
            web_hooks: Vec::new(),
            base_url: String::new(),
            hsts: None,
            cache_bytes: 64 << 20,
            check_every: Duration::from_secs(2),
            workers: 2,
            max_connections: 1024,
            idle_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            pre_termination_period: Duration::from_secs(1),
            pre_termination_unhealthy: false,
            changes: None,
            trouble: None,
        }
    }
}

impl ServerConfig {
    /// The depth that holds: the parser has a limit of its own.
    #[must_use]
    pub fn json_depth(&self) -> usize {
        self.max_json_depth.min(DEEPEST)
    }
}

/// Who is told of published schemas (iglu-server spec, section 12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebHook {
    /// Where to.
    pub uri: String,
    /// Only vendors that begin with one of these, as texts; none: all.
    pub vendor_prefixes: Vec<String>,
    /// POST instead of GET.
    pub use_post: bool,
}

impl WebHook {
    /// Whether it is told of the vendor's schemas.
    #[must_use]
    pub fn applies_to(&self, vendor: &str) -> bool {
        self.vendor_prefixes.is_empty() || self.vendor_prefixes.iter().any(|prefix| vendor.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_without_prefixes_hear_of_everything() {
        let hook = |prefixes: &[&str]| WebHook {
            uri: String::new(),
            vendor_prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
            use_post: false,
        };
        assert!(hook(&[]).applies_to("com.acme"));
        assert!(hook(&["org", "com.ac"]).applies_to("com.acme"));
        assert!(!hook(&["com.acme.x"]).applies_to("com.acme"));
    }
}
