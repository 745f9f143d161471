//! Every key of the original's configuration (spec, section 6) with its default, and ours.
//!
//! Names are the original's, in its camelCase, so that `config.hocon` files and pipeline definitions read alike.
//! Durations are text such as `10 seconds`, or whole milliseconds. [`hocon`] reads the original's files.

mod check;
mod duration;
mod effect;
pub mod hocon;
mod java;
mod read;
mod sections;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

pub use duration::{DurationError, parse_millis};
pub use effect::Note;
pub use read::ConfigProblem;
pub use sections::*;

/// When a tracking request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When the sink has stored the request's records; 503 when it cannot.
    Stream,
    /// When a log on this machine has them on its disk (see [`Spool`](crate::Spool)), whether the stream is up or not; 503 when that is
    /// full. Whoever calls [`serve`](crate::serve) gives the spools as the sinks.
    #[default]
    Spool,
    /// At once, as the original does; records in memory are lost with the process.
    Memory,
}

/// The collector's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CollectorConfig {
    /// Address to bind.
    pub interface: String,
    /// HTTP port; unused with `ssl.enable`.
    pub port: u16,
    /// Two-segment request paths and what they stand for (1.5).
    pub paths: BTreeMap<String, String>,
    /// Accepted, without effect (as in the original since 3.0).
    pub p3p: P3p,
    /// Flash cross-domain policy (1.9).
    pub cross_domain: CrossDomain,
    /// The network-user-id cookie (section 2).
    pub cookie: Cookie,
    /// A cookie that switches tracking off (2.6).
    pub do_not_track_cookie: DoNotTrackCookie,
    /// Test for third-party cookies by a redirect (2.7).
    pub cookie_bounce: CookieBounce,
    /// Whether `/r/<version>` is served (1.1, rule 1).
    pub enable_default_redirect: bool,
    /// Hosts that may be redirected to; empty = any (1.7).
    pub redirect_domains: Vec<String>,
    /// Replaces a placeholder in redirect targets by the network user id (1.7).
    pub redirect_macro: RedirectMacro,
    /// What `GET /` answers (1.8).
    pub root_response: RootResponse,
    /// Preflight answers (1.6).
    pub cors: Cors,
    /// The two sinks.
    pub streams: StreamsConfig,
    /// HTTPS instead of HTTP.
    pub ssl: Ssl,
    /// Strict transport security (1.13).
    pub hsts: Hsts,
    /// Limits and timeouts (1.11).
    pub networking: Networking,
    /// StatsD (6.7).
    pub monitoring: Monitoring,
    /// Accepted; nothing is ever sent.
    pub telemetry: Telemetry,
    /// How long to go on serving after the request to stop, so that a load balancer drains.
    #[serde(with = "duration")]
    pub pre_termination_period: Duration,
    /// Whether `/health` answers 503 meanwhile.
    pub pre_termination_unhealthy: bool,
    /// How long requests and records under way may take after that.
    #[serde(with = "duration")]
    pub termination_deadline: Duration,
    /// Accepted; there is nothing to accept.
    pub license: License,
    /// Whether good records are packed and compressed (appendix A).
    pub compression: Compression,
    /// Ours: when a request is answered.
    pub durability: Durability,
    /// Ours: the log of `durability = "spool"`.
    pub spool: SpoolConfig,
    /// Ours: the buffer between requests and sinks.
    pub group_commit: GroupCommit,
    /// Ours: headers on every answer.
    pub response_headers: BTreeMap<String, String>,
    /// Ours: the request header with the client's address, such as `CF-Connecting-IP`, before `X-Forwarded-For`.
    pub client_address_header: Option<String>,
    /// Ours: what `SP-Anonymous` keeps out of the payload beyond the original's list.
    pub anonymous: Anonymous,
    /// Ours: number of threads that serve requests; none = one a core.
    pub workers: Option<usize>,
    /// Ours: the `collector` field of payloads, `v_collector` of events (3.5).
    pub collector_name: String,
}

impl Default for CollectorConfig {
    fn default() -> Self {
        Self {
            interface: "0.0.0.0".to_owned(),
            port: 8080,
            paths: BTreeMap::new(),
            p3p: P3p::default(),
            cross_domain: CrossDomain::default(),
            cookie: Cookie::default(),
            do_not_track_cookie: DoNotTrackCookie::default(),
            cookie_bounce: CookieBounce::default(),
            enable_default_redirect: false,
            redirect_domains: Vec::new(),
            redirect_macro: RedirectMacro::default(),
            root_response: RootResponse::default(),
            cors: Cors::default(),
            streams: StreamsConfig::default(),
            ssl: Ssl::default(),
            hsts: Hsts::default(),
            networking: Networking::default(),
            monitoring: Monitoring::default(),
            telemetry: Telemetry::default(),
            pre_termination_period: Duration::from_secs(10),
            pre_termination_unhealthy: false,
            termination_deadline: Duration::from_secs(10),
            license: License::default(),
            compression: Compression::default(),
            durability: Durability::default(),
            spool: SpoolConfig::default(),
            group_commit: GroupCommit::default(),
            response_headers: BTreeMap::new(),
            client_address_header: None,
            anonymous: Anonymous::default(),
            workers: None,
            collector_name: concat!("snowmelt-", env!("CARGO_PKG_VERSION"), "-streams").to_owned(),
        }
    }
}

impl CollectorConfig {
    /// The overflow queue of good records, by name or URL; an empty text names none.
    pub fn good_queue(&self) -> Option<&str> {
        self.streams.good.sqs_good_buffer.as_deref().filter(|queue| !queue.is_empty())
    }

    /// The overflow queue of bad records, likewise.
    pub fn bad_queue(&self) -> Option<&str> {
        self.streams.bad.sqs_bad_buffer.as_deref().filter(|queue| !queue.is_empty())
    }

    /// Host and port to listen on.
    pub fn address(&self) -> (&str, u16) {
        (&self.interface, if self.ssl.enable { self.ssl.port } else { self.port })
    }
}
