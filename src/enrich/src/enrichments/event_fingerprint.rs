//! event_fingerprint: a hash of the event's raw parameters, by which copies of an event are recognised (enrichments 5.9).

use std::cmp::Ordering;
use std::sync::Arc;

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use snowmelt_protocol::badrow::EnrichmentRef;
use snowmelt_protocol::event::Column;

use super::{Assets, ConfigDocument, ConfigError, Enrichment, Settings, Step, View};
use crate::fields::FieldId;
use crate::parameters::Parameters;

/// Hashes all parameters but some.
#[derive(Debug)]
pub(super) struct EventFingerprint {
    id: EnrichmentRef,
    /// Sorted.
    excluded: Vec<String>,
    /// The parameters of the tracker protocol that are hashed, in the order of their names.
    known: Vec<FieldId>,
    algorithm: Algorithm,
}

#[derive(Debug, Clone, Copy)]
enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// U+001F stands after each name and each value.
const SEPARATOR: u8 = 0x1f;

impl EventFingerprint {
    pub(super) fn build(document: &ConfigDocument, _: &Assets) -> Result<Arc<dyn Enrichment>, ConfigError> {
        Ok(Arc::new(Self::new(document.id("event-fingerprint"), document.settings())?))
    }

    fn new(id: EnrichmentRef, settings: Settings<'_>) -> Result<Self, ConfigError> {
        let algorithm = match settings.text("hashAlgorithm")? {
            "MD5" => Algorithm::Md5,
            "SHA1" => Algorithm::Sha1,
            "SHA256" => Algorithm::Sha256,
            "SHA384" => Algorithm::Sha384,
            "SHA512" => Algorithm::Sha512,
            other => {
                let reason = format!("[{other}] is not a supported event fingerprint generation algorithm");
                return Err(ConfigError::Invalid { enrichment: "event_fingerprint_config", reason });
            }
        };
        let mut excluded: Vec<String> = settings.texts("excludeParameters")?.into_iter().map(str::to_owned).collect();
        excluded.sort_unstable();
        let mut known: Vec<FieldId> = FieldId::all().collect();
        known.retain(|id| !is_among(&excluded, id.field().name));
        known.sort_unstable_by_key(|id| id.field().name);
        Ok(EventFingerprint { id, excluded, known, algorithm })
    }

    /// Names and values of all parameters that are hashed, in order: those of the protocol stand in order already.
    fn message(&self, parameters: &Parameters<'_>, message: &mut Vec<u8>) {
        let known = self.known.iter().filter_map(|&id| Some((id.field().name, parameters.value_of(id)?)));
        if parameters.unknown_count() == 0 {
            return known.for_each(|(name, value)| append(message, name, value));
        }
        let unknown = parameters.unknown().filter_map(|(name, value)| Some((name, value?)));
        let unknown = unknown.filter(|(name, _)| !is_among(&self.excluded, name));
        let mut pairs: Vec<(&str, &str)> = known.chain(unknown).collect();
        pairs.sort_unstable_by(|(one, _), (other, _)| by_utf16(one, other));
        pairs.into_iter().for_each(|(name, value)| append(message, name, value));
    }
}

fn is_among(sorted: &[String], name: &str) -> bool {
    sorted.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
}

#[inline]
fn append(message: &mut Vec<u8>, name: &str, value: &str) {
    message.extend_from_slice(name.as_bytes());
    message.push(SEPARATOR);
    message.extend_from_slice(value.as_bytes());
    message.push(SEPARATOR);
}

impl Enrichment for EventFingerprint {
    fn step(&self) -> Step {
        Step::EventFingerprint
    }

    fn id(&self) -> &EnrichmentRef {
        &self.id
    }

    fn reads_fingerprint(&self) -> bool {
        false
    }

    fn enrich(&self, view: &mut View<'_>) {
        let hash: fn(&[u8], &mut String) = match self.algorithm {
            Algorithm::Md5 => {
                return view.deferral.set(view.event, |message| self.message(view.parameters, message));
            }
            Algorithm::Sha1 => hash::<Sha1>,
            Algorithm::Sha256 => hash::<Sha256>,
            Algorithm::Sha384 => hash::<Sha384>,
            Algorithm::Sha512 => hash::<Sha512>,
        };
        let mut message = Vec::with_capacity(view.parameters.size_hint());
        self.message(view.parameters, &mut message);
        view.event.set_with(Column::EventFingerprint, |out| hash(&message, out));
    }
}

/// The order of Java's texts. It differs from Rust's only where a character beyond U+FFFF meets one from U+E000 on: both
/// begin with a byte from 0xEE on.
fn by_utf16(one: &str, other: &str) -> Ordering {
    match one.bytes().zip(other.bytes()).find(|(one, other)| one != other) {
        None => one.len().cmp(&other.len()),
        Some((one, other)) if one < 0xEE || other < 0xEE => one.cmp(&other),
        Some(_) => one.encode_utf16().cmp(other.encode_utf16()),
    }
}

fn hash<D: Digest>(message: &[u8], out: &mut String) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    for byte in D::digest(message) {
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_ordered_by_utf16_units() {
        assert_eq!(by_utf16("a", "b"), Ordering::Less);
        assert_eq!(by_utf16("\u{ff5e}", "\u{1f600}"), Ordering::Greater);
        assert_eq!("\u{ff5e}".cmp("\u{1f600}"), Ordering::Less);
        let texts =
            ["", "a", "aa", "é", "\u{7ff}", "\u{800}", "\u{d7ff}", "\u{e000}", "\u{ff5e}", "\u{10000}", "\u{1f600}"];
        for one in texts {
            for other in texts {
                let java: (Vec<u16>, Vec<u16>) = (one.encode_utf16().collect(), other.encode_utf16().collect());
                assert_eq!(by_utf16(one, other), java.0.cmp(&java.1), "{one:?} {other:?}");
            }
        }
    }

    fn message(excluded: &[&str], pairs: &[(&'static str, &'static str)]) -> Vec<u8> {
        let parameters = json!({"hashAlgorithm": "MD5", "excludeParameters": excluded});
        let document = ConfigDocument::from_json(&json!({
            "schema": "iglu:com.snowplowanalytics.snowplow/event_fingerprint_config/jsonschema/1-0-1",
            "data": {"vendor": "v", "name": "n", "enabled": true, "parameters": parameters},
        }))
        .unwrap();
        let fingerprint = EventFingerprint::new(document.id("x"), document.settings()).unwrap();
        let mut parameters = Parameters::default();
        pairs.iter().for_each(|(name, value)| parameters.set(*name, Some((*value).into())));
        let mut message = Vec::new();
        fingerprint.message(&parameters, &mut message);
        message
    }

    #[test]
    fn names_and_values_are_set_apart() {
        assert_ne!(message(&[], &[("a", "bc")]), message(&[], &[("ab", "c")]));
        let mut out = String::new();
        hash::<Sha1>(&message(&[], &[]), &mut out);
        assert_eq!(out, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }

    #[test]
    fn parameters_of_the_protocol_and_others_are_hashed_in_the_order_of_their_names() {
        let pairs = [("url", "1"), ("e", "2"), ("zz", "3"), ("aid", "4"), ("eid", "5"), ("bb", "6"), ("cc", "7")];
        let text = |of: &[u8]| String::from_utf8(of.to_vec()).unwrap().replace('\u{1f}', " ");
        assert_eq!(text(&message(&["eid", "cc"], &pairs)), "aid 4 bb 6 e 2 url 1 zz 3 ");
        assert_eq!(text(&message(&["eid"], &pairs[..2])), "e 2 url 1 ");
    }
}
