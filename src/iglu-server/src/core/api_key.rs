//! Keys of callers: UUIDs, which are kept as hashes and compared so that timing tells nothing.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// A key as a caller sends it. Not printed: whoever has it, has its rights.
#[derive(Clone, Copy)]
pub struct ApiKey(Uuid);

/// What is kept of a key. A key has 122 random bits, so that a plain hash cannot be turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub(crate) [u8; 32]);

impl ApiKey {
    /// Reads the usual form, in either case. Shorter groups, which the JVM fills with zeros, are no keys here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // The crate reads forms without hyphens and with braces too.
        (text.len() == 36).then(|| Uuid::try_parse(text).ok().map(Self)).flatten()
    }

    /// The key of this UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// A new random key.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The text to hand out, and for the original's table.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.0.hyphenated().to_string()
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(******)")
    }
}

impl KeyHash {
    /// Equality in constant time.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_usual_form_is_a_key() {
        let key = ApiKey::parse("5FB4713D-73ad-4163-93a9-2b82f0177c5b").unwrap();
        assert_eq!(key.reveal(), "5fb4713d-73ad-4163-93a9-2b82f0177c5b");
        for text in
            ["", "zzz", "1-1-1-1-1", "5fb4713d73ad416393a92b82f0177c5b", "{5fb4713d-73ad-4163-93a9-2b82f0177c5b}"]
        {
            assert!(ApiKey::parse(text).is_none(), "{text}");
        }
        assert_eq!(format!("{key:?}"), "ApiKey(******)");
        assert!(key.hash().is(&key.hash()) && !key.hash().is(&ApiKey::random().hash()));
    }
}
