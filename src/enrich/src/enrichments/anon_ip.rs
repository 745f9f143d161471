//! anon_ip: masks the end of the user's address (enrichments 5.1). Runs after everything that needs the whole address.

use std::net::IpAddr;
use std::sync::Arc;

use snowmelt_protocol::badrow::EnrichmentRef;
use snowmelt_protocol::event::Column;

use super::{Assets, ConfigDocument, ConfigError, Enrichment, Settings, Step, View};

/// Keeps the first octets or segments of `user_ipaddress` and writes `x` for the others.
#[derive(Debug)]
pub(super) struct AnonIp {
    id: EnrichmentRef,
    octets_kept: usize,
    segments_kept: usize,
}

const IPV4_OCTETS: usize = 4;
const IPV6_SEGMENTS: usize = 8;
const NAME: &str = "anon_ip";

impl AnonIp {
    pub(super) fn build(document: &ConfigDocument, _: &Assets) -> Result<Arc<dyn Enrichment>, ConfigError> {
        Ok(Arc::new(Self::new(document.id("anon-ip"), document.settings())?))
    }

    fn new(id: EnrichmentRef, settings: Settings<'_>) -> Result<Self, ConfigError> {
        let octets = settings.integer("anonOctets")?;
        if !(1..=4).contains(&octets) {
            let reason = format!("IPv4 address octets to anonymize must be 1, 2, 3 or 4. Value: {octets} was given.");
            return Err(ConfigError::Invalid { enrichment: NAME, reason });
        }
        let segments = match settings.member("anonSegments") {
            Some(_) => settings.integer("anonSegments")?,
            None => octets,
        };
        if !(1..=8).contains(&segments) {
            let reason = format!(
                "IPv6 address segments to anonymize must be 1, 2, 3, 4, 5, 6, 7 or 8. Value {segments} was given."
            );
            return Err(ConfigError::Invalid { enrichment: NAME, reason });
        }
        // Both were just checked to be small.
        let (octets, segments) = (octets as usize, segments as usize);
        Ok(AnonIp { id, octets_kept: IPV4_OCTETS - octets, segments_kept: IPV6_SEGMENTS - segments })
    }

    fn mask(&self, address: &str) -> String {
        match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => self.mask_dotted(address),
            Ok(IpAddr::V6(literal)) => match literal.to_ipv4_mapped() {
                Some(_) if address.contains('.') => self.mask_dotted(address),
                // The original leaves a mapped address in hex digits as it is, whole; that would defeat the purpose.
                Some(mapped) => format!("::ffff:{}", self.mask_dotted(&mapped.to_string())),
                None => {
                    let segments = literal.segments().map(|segment| format!("{segment:x}"));
                    fill(segments.iter().map(String::as_str), self.segments_kept, IPV6_SEGMENTS, ":")
                }
            },
            Err(_) if address.is_empty() || address.contains('.') => self.mask_dotted(address),
            Err(_) if address.contains(':') => {
                fill(parts(address, ':').into_iter(), self.segments_kept, IPV6_SEGMENTS, ":")
            }
            Err(_) => address.to_owned(),
        }
    }

    fn mask_dotted(&self, address: &str) -> String {
        const MAPPED: &str = "::FFFF:";
        let (prefix, dotted) = match address.strip_prefix(MAPPED) {
            Some(dotted) => (MAPPED, dotted),
            None => ("", address),
        };
        let parts = parts(dotted, '.');
        let count = parts.len();
        format!("{prefix}{}", fill(parts.into_iter(), self.octets_kept, count, "."))
    }
}

/// The pieces between separators, empty ones at the end left out, as Java splits. The empty text is one piece.
fn parts(text: &str, separator: char) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(separator).collect();
    while !text.is_empty() && parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    parts
}

/// The first `kept` parts, then `x` up to `count` parts.
fn fill<'p>(parts: impl Iterator<Item = &'p str>, kept: usize, count: usize, separator: &str) -> String {
    let filled: Vec<&str> = parts.take(kept).chain(std::iter::repeat("x")).take(count).collect();
    filled.join(separator)
}

impl Enrichment for AnonIp {
    fn step(&self) -> Step {
        Step::AnonIp
    }

    fn id(&self) -> &EnrichmentRef {
        &self.id
    }

    fn reads_fingerprint(&self) -> bool {
        false
    }

    fn enrich(&self, view: &mut View<'_>) {
        if let Some(masked) = view.event.get(Column::UserIpaddress).map(|address| self.mask(address)) {
            view.event.set(Column::UserIpaddress, &masked);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(parameters: serde_json::Value) -> ConfigDocument {
        ConfigDocument::from_json(&json!({
            "schema": "iglu:com.snowplowanalytics.snowplow/anon_ip/jsonschema/1-0-1",
            "data": {"vendor": "v", "name": "n", "enabled": true, "parameters": parameters},
        }))
        .unwrap()
    }

    fn mask(parameters: serde_json::Value, address: &str) -> String {
        let document = document(parameters);
        AnonIp::new(document.id("anon-ip"), document.settings()).unwrap().mask(address)
    }

    #[test]
    fn literals_are_masked_from_their_end() {
        assert_eq!(mask(json!({"anonOctets": 2}), "203.0.113.77"), "203.0.x.x");
        assert_eq!(mask(json!({"anonOctets": 1, "anonSegments": 3}), "2001:DB8::1"), "2001:db8:0:0:0:x:x:x");
        assert_eq!(mask(json!({"anonOctets": 2}), "::1.2.3.4"), "0:0:0:0:0:0:x:x");
    }

    #[test]
    fn a_mapped_address_in_hex_digits_is_masked_too() {
        assert_eq!(mask(json!({"anonOctets": 2}), "::ffff:c633:6409"), "::ffff:198.51.x.x");
    }

    #[test]
    fn what_is_no_address_is_masked_by_its_punctuation() {
        assert_eq!(mask(json!({"anonOctets": 1}), "1.2.3."), "1.2.3");
        assert_eq!(mask(json!({"anonOctets": 4}), "1.2.3."), "x.x.x");
        assert_eq!(mask(json!({"anonOctets": 4}), "..."), "");
        assert_eq!(mask(json!({"anonOctets": 4}), "z::b"), "z::b:x:x:x:x:x");
        assert_eq!(mask(json!({"anonOctets": 4}), "host"), "host");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for parameters in
            [json!({}), json!({"anonOctets": 0}), json!({"anonOctets": 5}), json!({"anonOctets": 1, "anonSegments": 9})]
        {
            let document = document(parameters);
            assert!(AnonIp::new(document.id("anon-ip"), document.settings()).is_err());
        }
    }
}
