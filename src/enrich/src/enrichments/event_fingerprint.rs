//! event_fingerprint: a hash of the event's raw parameters, by which copies of an event are recognised (enrichments 5.9).

use std::cmp::Ordering;
use std::sync::Arc;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use snowmelt_protocol::badrow::EnrichmentRef;
use snowmelt_protocol::event::Column;

use super::{Assets, ConfigDocument, ConfigError, Enrichment, Settings, Step, View};

/// Hashes all parameters but some.
#[derive(Debug)]
pub(super) struct EventFingerprint {
    id: EnrichmentRef,
    /// Sorted: a few short names are found faster so than by their hashes.
    excluded: Vec<String>,
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
const SEPARATOR: [u8; 1] = [0x1f];

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
        Ok(EventFingerprint { id, excluded, algorithm })
    }
}

impl Enrichment for EventFingerprint {
    fn step(&self) -> Step {
        Step::EventFingerprint
    }

    fn id(&self) -> &EnrichmentRef {
        &self.id
    }

    fn enrich(&self, view: &mut View<'_>) {
        let with_value = view.parameters.iter().filter_map(|(name, value)| Some((name, value?)));
        let mut pairs: Vec<(&str, &str)> = with_value
            .filter(|(name, _)| self.excluded.binary_search_by(|excluded| excluded.as_str().cmp(name)).is_err())
            .collect();
        pairs.sort_unstable_by(|(one, _), (other, _)| by_utf16(one, other));
        view.event.set_with(Column::EventFingerprint, |out| match self.algorithm {
            Algorithm::Md5 => hash::<Md5>(&pairs, out),
            Algorithm::Sha1 => hash::<Sha1>(&pairs, out),
            Algorithm::Sha256 => hash::<Sha256>(&pairs, out),
            Algorithm::Sha384 => hash::<Sha384>(&pairs, out),
            Algorithm::Sha512 => hash::<Sha512>(&pairs, out),
        });
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

fn hash<D: Digest>(pairs: &[(&str, &str)], out: &mut String) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let mut digest = D::new();
    for (name, value) in pairs {
        digest.update(name);
        digest.update(SEPARATOR);
        digest.update(value);
        digest.update(SEPARATOR);
    }
    for byte in digest.finalize() {
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn names_and_values_are_set_apart() {
        let of = |pairs: &[(&str, &str)]| {
            let mut out = String::new();
            hash::<Md5>(pairs, &mut out);
            out
        };
        assert_ne!(of(&[("a", "bc")]), of(&[("ab", "c")]));
        assert_eq!(of(&[]), "d41d8cd98f00b204e9800998ecf8427e");
    }
}
