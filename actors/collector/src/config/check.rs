//! Checks of what types cannot say, so that a bad configuration fails at start and not at a request.

use super::CollectorConfig;
use crate::CollectorError;

/// Headers of answers that are not for the configuration to write.
const OWN_HEADERS: [&str; 10] = [
    "Cache-Control",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Date",
    "Location",
    "Retry-After",
    "Set-Cookie",
    "Strict-Transport-Security",
    "Transfer-Encoding",
];

impl CollectorConfig {
    /// Checks the whole configuration.
    ///
    /// # Errors
    /// [`CollectorError::Config`] for the first key whose value cannot be used.
    pub fn check(&self) -> Result<(), CollectorError> {
        let root = &self.root_response;
        // A final answer cannot be of class 1xx, though the original takes it.
        require(
            !root.enabled || (200..=599).contains(&root.status_code),
            "rootResponse.statusCode",
            "is not within 200 to 599",
        )?;
        for (name, value) in &root.headers {
            require(is_token(name) && is_header_value(value), "rootResponse.headers", "holds what is no HTTP header")?;
        }
        for (name, value) in &self.response_headers {
            require(is_token(name) && is_header_value(value), "responseHeaders", "holds what is no HTTP header")?;
            let own = OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name))
                || name.to_ascii_lowercase().starts_with("access-control-");
            require(!own, "responseHeaders", "holds a header that the collector writes itself")?;
        }
        let names = self.cors.allowed_headers.iter().all(|name| name == "*" || is_token(name));
        require(names, "cors.allowedHeaders", "holds what is no header's name")?;
        let address = self.client_address_header.as_deref();
        require(address.is_none_or(is_token), "clientAddressHeader", "is no header's name")?;
        let compression = &self.compression;
        let level = compression.zstd_compression_level;
        require((1..=22).contains(&level), "compression.zstdCompressionLevel", "is not within 1 to 22")?;
        let level = compression.gzip_compression_level;
        require((0..=9).contains(&level), "compression.gzipCompressionLevel", "is not within 0 to 9")?;
        let statsd = &self.monitoring.metrics.statsd;
        let period = statsd.period;
        require(!statsd.enabled || !period.is_zero(), "monitoring.metrics.statsd.period", "is zero")?;
        require(is_token(&self.cookie.name), "cookie.name", "is no cookie name")?;
        require(
            self.cookie.client_cookie_name.as_deref().is_none_or(is_token),
            "cookie.clientCookieName",
            "is no cookie name",
        )?;
        for domain in self.cookie.domains.iter().chain(&self.cookie.fallback_domain) {
            let usable = domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
            require(usable, "cookie.domains", "holds what is no domain")?;
        }
        require(!self.cookie_bounce.enabled || !self.cookie_bounce.name.is_empty(), "cookieBounce.name", "is empty")?;
        require(self.streams.good.max_bytes > 0, "streams.good.maxBytes", "is zero")?;
        require(self.networking.drop_payload_size > 0, "networking.dropPayloadSize", "is zero")?;
        require(self.networking.max_connections > 0, "networking.maxConnections", "is zero")?;
        require(!self.collector_name.is_empty(), "collectorName", "is empty")?;
        require(self.spool.max_bytes >= 8 * 1024 * 1024, "spool.maxBytes", "is below 8 MiB")?;
        require(self.workers != Some(0), "workers", "is zero")?;
        for (path, target) in &self.paths {
            require(path.starts_with('/') && target.starts_with('/'), "paths", "holds a path without a leading slash")?;
            if path.matches('/').count() != 2 || path.ends_with('/') {
                tracing::warn!(path, "a custom path of other than two segments never matches");
            }
        }
        Ok(())
    }
}

fn require(holds: bool, key: &str, reason: &str) -> Result<(), CollectorError> {
    if holds { Ok(()) } else { Err(CollectorError::Config { key: key.to_owned(), reason: reason.to_owned() }) }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(config: serde_json::Value) -> Option<String> {
        let config: CollectorConfig = serde_json::from_value(config).unwrap();
        match config.check() {
            Err(CollectorError::Config { key, .. }) => Some(key),
            _ => None,
        }
    }

    #[test]
    fn what_would_fail_at_a_request_fails_at_start() {
        assert_eq!(CollectorConfig::default().check().map_err(|error| error.to_string()), Ok(()));
        for (config, key) in [
            (serde_json::json!({"rootResponse": {"enabled": true, "statusCode": 99}}), "rootResponse.statusCode"),
            (serde_json::json!({"rootResponse": {"headers": {"X": "a\r\nb"}}}), "rootResponse.headers"),
            (serde_json::json!({"cookie": {"name": "a;b"}}), "cookie.name"),
            (serde_json::json!({"cookie": {"domains": ["a; Secure"]}}), "cookie.domains"),
            (serde_json::json!({"workers": 0}), "workers"),
            (serde_json::json!({"responseHeaders": {"set-cookie": "a=b"}}), "responseHeaders"),
            (serde_json::json!({"responseHeaders": {"X-A": "a\nb"}}), "responseHeaders"),
            (serde_json::json!({"cors": {"allowedHeaders": ["a, b"]}}), "cors.allowedHeaders"),
            (serde_json::json!({"clientAddressHeader": ""}), "clientAddressHeader"),
            (serde_json::json!({"compression": {"zstdCompressionLevel": 99}}), "compression.zstdCompressionLevel"),
            (serde_json::json!({"durability": "spool", "spool": {"maxBytes": 1_000_000}}), "spool.maxBytes"),
        ] {
            assert_eq!(key_of(config).as_deref(), Some(key));
        }
    }
}
