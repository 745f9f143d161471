//! The sections of the configuration; the spec's section in brackets.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::duration;

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

section! {
    /// `p3p`: accepted, without effect.
    P3p {
        /// Address of the policy.
        policy_ref: String = "/w3c/p3p.xml".to_owned(),
        /// Compact policy.
        #[serde(rename = "CP")]
        cp: String = "NOI DSP COR NID PSA OUR IND COM NAV STA".to_owned(),
    }
}

section! {
    /// `crossDomain` (1.9).
    CrossDomain {
        /// Whether `/crossdomain.xml` is served.
        enabled: bool = false,
        /// Its entries.
        domains: Vec<String> = vec!["*".to_owned()],
        /// Whether its entries are for HTTPS only.
        secure: bool = true,
    }
}

/// The `SameSite` attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum SameSite {
    /// Never sent across sites.
    Strict,
    /// Sent on navigation.
    Lax,
    /// Always sent; implies `Secure`.
    None,
}

impl SameSite {
    /// The attribute's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

impl<'de> Deserialize<'de> for SameSite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        [Self::Strict, Self::Lax, Self::None]
            .into_iter()
            .find(|value| value.as_str().eq_ignore_ascii_case(&text))
            .ok_or_else(|| de::Error::custom(format!("sameSite is Strict, Lax or None, not {text:?}")))
    }
}

/// `SameSite` or nothing, as text (serde `with`).
mod same_site {
    use serde::{Deserialize, Deserializer, Serializer, de::IntoDeserializer};

    use super::SameSite;

    const NONE_AT_ALL: &str = "omit";

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SameSite>, D::Error> {
        match Option::<String>::deserialize(deserializer)? {
            Some(text) if !text.eq_ignore_ascii_case(NONE_AT_ALL) => {
                SameSite::deserialize(text.into_deserializer()).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub(super) fn serialize<S: Serializer>(value: &Option<SameSite>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.map_or(NONE_AT_ALL, SameSite::as_str))
    }
}

section! {
    /// `cookie` (2.3).
    Cookie {
        /// Whether answers set it. It is read in any case.
        enabled: bool = true,
        /// Its name.
        name: String = "sp".to_owned(),
        /// How long a browser keeps it.
        #[serde(with = "duration")]
        expiration: Duration = Duration::from_secs(365 * 86_400),
        /// Domains to choose from by the request's `Origin`, in order of preference.
        domains: Vec<String> = Vec::new(),
        /// Domain when none of `domains` fits; empty = host-only.
        fallback_domain: Option<String> = None,
        /// `Secure`.
        secure: bool = true,
        /// `HttpOnly`.
        http_only: bool = true,
        /// `SameSite`; null, or `omit` where there is no null, leaves it out.
        #[serde(with = "same_site")]
        same_site: Option<SameSite> = Some(SameSite::None),
        /// Name of a second cookie which scripts may read (2.4).
        client_cookie_name: Option<String> = None,
    }
}

section! {
    /// `doNotTrackCookie` (2.6).
    DoNotTrackCookie {
        /// Whether it is looked for.
        enabled: bool = false,
        /// Its name.
        name: String = String::new(),
        /// Regular expression which must match its whole value.
        value: String = String::new(),
    }
}

section! {
    /// `cookieBounce` (2.7).
    CookieBounce {
        /// Whether browsers without the cookie are redirected once.
        enabled: bool = false,
        /// Parameter that marks the second request.
        name: String = "n3pc".to_owned(),
        /// Network user id of a browser that keeps no cookie.
        fallback_network_user_id: String = "00000000-0000-4000-A000-000000000000".to_owned(),
        /// Header which tells the scheme of an absolute Location.
        forwarded_protocol_header: Option<String> = None,
    }
}

section! {
    /// `redirectMacro` (1.7).
    RedirectMacro {
        /// Whether the placeholder is replaced.
        enabled: bool = false,
        /// The placeholder; none = `${SP_NUID}`.
        placeholder: Option<String> = None,
    }
}

section! {
    /// `rootResponse` (1.8).
    RootResponse {
        /// Whether `GET /` is answered.
        enabled: bool = false,
        /// Status, 100 to 599.
        status_code: u16 = 302,
        /// Headers, as they are.
        headers: BTreeMap<String, String> = BTreeMap::new(),
        /// Body, as UTF-8.
        body: String = String::new(),
    }
}

section! {
    /// `cors` (1.6).
    Cors {
        /// `Access-Control-Max-Age` in milliseconds; sent in whole seconds.
        #[serde(with = "duration::signed")]
        access_control_max_age: i64 = 3_600_000,
        /// Ours: `Access-Control-Allow-Headers`, what scripts may send.
        allowed_headers: Vec<String> = ["Content-Type", "SP-Anonymous"].map(str::to_owned).to_vec(),
    }
}

section! {
    /// `streams` (6.3): the new style; the HOCON reader turns the legacy style into it.
    StreamsConfig {
        /// Partition key = client address instead of a random UUID (4.1).
        use_ip_address_as_partition_key: bool = false,
        /// Payloads.
        good: SinkConfig = SinkConfig::default(),
        /// Bad rows.
        bad: SinkConfig = SinkConfig::default(),
    }
}

section! {
    /// `streams.good`, `streams.bad` (6.5).
    SinkConfig {
        /// Stream name.
        name: Option<String> = None,
        /// AWS region of the overflow queue.
        region: Option<String> = None,
        /// Accepted, without effect.
        custom_endpoint: Option<String> = None,
        /// Accepted, without effect.
        thread_pool_size: usize = 10,
        /// Accepted, without effect.
        aws: AwsKeys = AwsKeys::default(),
        /// A record must be smaller than this (4.2).
        max_bytes: usize = 1_000_000,
        /// Overflow queue of good records, by name or URL (see [`Overflow`](crate::Overflow)).
        sqs_good_buffer: Option<String> = None,
        /// Overflow queue of bad records, likewise.
        sqs_bad_buffer: Option<String> = None,
        /// Largest record for the overflow queue.
        sqs_max_bytes: usize = 192_000,
        /// Retries.
        backoff_policy: BackoffPolicy = BackoffPolicy::default(),
        /// Time between looks for the overflow queue at the start, and for a stream that was down.
        #[serde(with = "duration")]
        startup_check_interval: Duration = Duration::from_secs(1),
        /// Batches.
        buffer: BufferConfig = BufferConfig::default(),
    }
}

section! {
    /// `aws`: accepted, without effect; credentials come from the SDK's default chain.
    AwsKeys {
        /// `iam`, `env` or `default`.
        access_key: String = "iam".to_owned(),
        /// `iam`, `env` or `default`.
        secret_key: String = "iam".to_owned(),
    }
}

section! {
    /// `backoffPolicy` (5.3); milliseconds.
    BackoffPolicy {
        /// Shortest pause.
        min_backoff: u64 = 500,
        /// Longest pause.
        max_backoff: u64 = 1500,
        /// Retries before the sink counts as unhealthy.
        max_retries: u32 = 3,
    }
}

section! {
    /// `buffer` (5.1).
    BufferConfig {
        /// Bytes a batch; ours is never above 4 MiB.
        byte_limit: usize = 3_145_728,
        /// Records a batch; ours is never above 500.
        record_limit: usize = 500,
        /// Milliseconds a record may wait for its batch; with `durability = "memory"` only (see `groupCommit.linger`).
        time_limit: u64 = 5000,
    }
}

section! {
    /// `ssl`.
    Ssl {
        /// Serve HTTPS instead of HTTP.
        enable: bool = false,
        /// Whether plain HTTP on `port` is answered with 301 to HTTPS; with `enable`.
        redirect: bool = false,
        /// HTTPS port.
        port: u16 = 443,
        /// Ours: PEM file with the certificate chain.
        certificate: Option<PathBuf> = None,
        /// Ours: PEM file with the private key.
        private_key: Option<PathBuf> = None,
    }
}

section! {
    /// `hsts` (1.13).
    Hsts {
        /// Whether answers carry the header.
        enable: bool = false,
        /// Its `max-age`.
        #[serde(with = "duration")]
        max_age: Duration = Duration::from_secs(365 * 86_400),
    }
}

section! {
    /// `networking` (1.11); sizes in bytes.
    Networking {
        /// Open connections.
        max_connections: usize = 1024,
        /// After which an idle connection is closed.
        #[serde(with = "duration")]
        idle_timeout: Duration = Duration::from_secs(610),
        /// Until the answer is ready, including reading the body; then 408.
        #[serde(with = "duration")]
        response_header_timeout: Duration = Duration::from_secs(30),
        /// From the head to the end of the body; then 408.
        #[serde(with = "duration")]
        body_read_timeout: Duration = Duration::from_secs(25),
        /// Method, target and version.
        max_request_line_length: usize = 20_480,
        /// All header lines.
        max_headers_length: usize = 40_960,
        /// Payloads above this are not split (4.2). The original's default, 1048576, turns most large batches into one bad row;
        /// ours leaves room for any body below `dropPayloadSize` and its head.
        max_payload_size: usize = 2_097_152 + 65_536,
        /// Bodies of this size and above are refused with 413; also after decompression.
        drop_payload_size: usize = 2_097_152,
    }
}

section! {
    /// `monitoring`.
    Monitoring {
        /// Metrics.
        metrics: MetricsConfig = MetricsConfig::default(),
    }
}

section! {
    /// `monitoring.metrics`.
    MetricsConfig {
        /// StatsD.
        statsd: Statsd = Statsd::default(),
    }
}

section! {
    /// `monitoring.metrics.statsd` (6.7).
    Statsd {
        /// Whether metrics are sent.
        enabled: bool = false,
        /// To this host.
        hostname: String = "localhost".to_owned(),
        /// And UDP port.
        port: u16 = 8125,
        /// How often.
        #[serde(with = "duration")]
        period: Duration = Duration::from_secs(10),
        /// Before each name.
        prefix: String = "snowplow.collector".to_owned(),
        /// On every metric.
        tags: BTreeMap<String, String> = BTreeMap::new(),
    }
}

section! {
    /// `telemetry` (6.8): accepted; nothing is sent, whatever it says.
    Telemetry {
        /// Off.
        disable: bool = true,
        /// How often.
        #[serde(with = "duration")]
        interval: Duration = Duration::from_secs(3600),
        /// Request method.
        method: String = "POST".to_owned(),
        /// To whom.
        url: Option<String> = None,
        /// Port.
        port: u16 = 443,
        /// HTTPS.
        secure: bool = true,
        /// Passed through.
        user_provided_id: Option<String> = None,
        /// Passed through.
        module_name: Option<String> = None,
        /// Passed through.
        module_version: Option<String> = None,
        /// Passed through.
        instance_id: Option<String> = None,
        /// Passed through.
        auto_generated_id: Option<String> = None,
    }
}

section! {
    /// `license`: accepted, never required.
    License {
        /// Boolean, or text such as `yes`.
        accept: serde_json::Value = serde_json::Value::Bool(false),
    }
}

/// How containers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompressionType {
    /// A zstd frame.
    Zstd,
    /// A gzip stream.
    Gzip,
}

section! {
    /// `compression` (appendix A): good records as containers of many payloads (see [`Pack`](crate::Pack)).
    Compression {
        /// Whether they are.
        enabled: bool = false,
        /// `zstd` or `gzip`.
        r#type: CompressionType = CompressionType::Zstd,
        /// 1 to 22.
        zstd_compression_level: i32 = 9,
        /// 0 to 9.
        gzip_compression_level: i32 = 6,
    }
}

section! {
    /// `groupCommit`, ours: the one bounded buffer between requests and each sink.
    GroupCommit {
        /// The longest a record waits for company before its batch is written; less when as much as last time has come.
        #[serde(with = "duration")]
        linger: Duration = Duration::from_millis(1),
        /// Batches under way at a time.
        max_in_flight: usize = 4,
        /// Records that may wait; beyond, requests wait for room.
        max_pending_records: usize = 50_000,
        /// Bytes that may wait or be under way; beyond, requests wait for room.
        max_pending_bytes: usize = 64 * 1024 * 1024,
        /// How long a request waits for room before it gets a 503.
        #[serde(with = "duration")]
        wait_for_room: Duration = Duration::from_secs(2),
        /// How long one write may take before its requests get a 503.
        #[serde(with = "duration")]
        write_timeout: Duration = Duration::from_secs(20),
        /// `Retry-After` of a 503.
        #[serde(with = "duration")]
        retry_after: Duration = Duration::from_secs(5),
    }
}

section! {
    /// `spool`, ours: the log on this machine that requests are answered from with `durability = "spool"`; one a sink.
    SpoolConfig {
        /// Bytes on the disk for each sink; beyond, requests get a 503. At least 8 MiB, two of the largest batches.
        max_bytes: u64 = 4 * 1024 * 1024 * 1024,
        /// Where they are, a folder a collector and sink; none = `spool` in the node's data directory. One process at a time.
        directory: Option<PathBuf> = None,
    }
}

section! {
    /// `anonymous`, ours (2.5).
    Anonymous {
        /// Request headers which an anonymous payload leaves out; any case.
        drop_headers: Vec<String> = ["X-Forwarded-For", "X-Real-IP", "Cookie", "Forwarded", "CF-Connecting-IP", "True-Client-IP",
            "X-Client-IP", "X-Original-Forwarded-For"].map(str::to_owned).to_vec(),
    }
}
