//! Checks of what types cannot say, so that a bad configuration fails at start and not at a request.

use super::CollectorConfig;
use crate::CollectorError;

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
            (serde_json::json!({"durability": "spool", "spool": {"maxBytes": 1_000_000}}), "spool.maxBytes"),
        ] {
            assert_eq!(key_of(config).as_deref(), Some(key));
        }
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_errors() {
        for config in [
            serde_json::json!({"prot": 1}),
            serde_json::json!({"cookie": {"sameSite": "Some"}}),
            serde_json::json!({"networking": {"idleTimeout": "-1 s"}}),
            serde_json::json!({"durability": "disk"}),
        ] {
            assert!(serde_json::from_value::<CollectorConfig>(config.clone()).is_err(), "{config}");
        }
    }
}
