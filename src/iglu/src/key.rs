//! Identifiers of schemas: `SchemaVer`, Iglu URIs (`SchemaKey`) and criteria (iglu-client spec, section 1).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ParseError;

/// Longest vendor, name and format that is accepted, in characters (all of them ASCII).
pub const MAX_PART_LENGTH: usize = 128;

/// `MODEL-REVISION-ADDITION`; each part fits a signed 32-bit integer, the model is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaVer {
    /// Grows with a breaking change; at least 1.
    pub model: u32,
    /// Grows with a change that may break some data.
    pub revision: u32,
    /// Grows with a compatible change.
    pub addition: u32,
}

impl SchemaVer {
    /// The version with these parts. Parts that came from text are checked by [`SchemaVer::from_str`].
    #[must_use]
    pub const fn new(model: u32, revision: u32, addition: u32) -> Self {
        Self { model, revision, addition }
    }
}

impl fmt::Display for SchemaVer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.model, self.revision, self.addition)
    }
}

impl FromStr for SchemaVer {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parts = text.splitn(3, '-').map(version_part);
        match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten()) {
            (Some(model), Some(revision), Some(addition)) if model > 0 => Ok(Self { model, revision, addition }),
            _ => Err(ParseError::SchemaVer),
        }
    }
}

/// Decimal digits without leading zeros within the signed 32-bit range.
fn version_part(text: &str) -> Option<u32> {
    let bytes = text.as_bytes();
    let digits = !bytes.is_empty() && bytes.len() <= 10 && bytes.iter().all(u8::is_ascii_digit);
    if !digits || (bytes.len() > 1 && bytes[0] == b'0') {
        return None;
    }
    text.parse::<u32>().ok().filter(|&n| n <= i32::MAX as u32)
}

impl Serialize for SchemaVer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The identity of one schema: `iglu:VENDOR/NAME/FORMAT/VERSION`.
///
/// Holds its URI as one shared text (cheap to clone) which is canonical, so equality, hashing and look-up by
/// `&str` (through [`Borrow`]) all work on that text. Ordered by vendor, name, format, then version (numerically).
#[derive(Clone)]
pub struct SchemaKey {
    uri: Arc<str>,
    name_start: u16,
    format_start: u16,
    version_start: u16,
    version: SchemaVer,
}

const SCHEME: &str = "iglu:";

impl SchemaKey {
    /// The key with these parts; the same checks as for a URI.
    pub fn new(vendor: &str, name: &str, format: &str, version: SchemaVer) -> Result<Self, ParseError> {
        format!("{SCHEME}{vendor}/{name}/{format}/{version}").parse()
    }

    /// Whole URI, `iglu:...`.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// `VENDOR/NAME/FORMAT/VERSION`, as in files and HTTP paths. The characters of a key make it safe as both; a vendor of
    /// dots alone, which would be another folder, is none.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.uri[SCHEME.len()..]
    }

    /// Letters, digits, `-`, `_`, `.`.
    #[must_use]
    pub fn vendor(&self) -> &str {
        &self.uri[SCHEME.len()..usize::from(self.name_start) - 1]
    }

    /// Letters, digits, `-`, `_`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.uri[usize::from(self.name_start)..usize::from(self.format_start) - 1]
    }

    /// Letters, digits, `-`, `_`; in practice `jsonschema`.
    #[must_use]
    pub fn format(&self) -> &str {
        &self.uri[usize::from(self.format_start)..usize::from(self.version_start) - 1]
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> SchemaVer {
        self.version
    }

    /// The same schema in another version.
    #[must_use]
    pub fn with_version(&self, version: SchemaVer) -> Self {
        let uri = format!("{}{version}", &self.uri[..usize::from(self.version_start)]);
        Self { uri: uri.into(), version, ..self.clone() }
    }
}

impl FromStr for SchemaKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let rest = text.strip_prefix(SCHEME).ok_or(ParseError::IgluUri)?;
        let mut parts = rest.split('/');
        let (Some(vendor), Some(name), Some(format), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseError::IgluUri);
        };
        let shaped =
            is_part(vendor, true) && is_part(name, false) && is_part(format, false) && is_loose_version(version);
        if !shaped {
            return Err(ParseError::IgluUri);
        }
        let version = version.parse()?;
        // At most 128 * 3 + scheme + separators before the version: fits 16 bits.
        let name_start = SCHEME.len() + vendor.len() + 1;
        let format_start = name_start + name.len() + 1;
        let version_start = format_start + format.len() + 1;
        Ok(Self {
            uri: text.into(),
            name_start: name_start as u16,
            format_start: format_start as u16,
            version_start: version_start as u16,
            version,
        })
    }
}

pub(crate) fn is_part(text: &str, dots: bool) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_') || (dots && *b == b'.');
    let dots_only = text.bytes().all(|b| b == b'.');
    !dots_only && text.len() <= MAX_PART_LENGTH && text.as_bytes().iter().all(allowed)
}

/// Digits, hyphen, digits, hyphen, digits, where a group of digits may be empty (enrich-core 5.2): the shape that
/// tells a bad version from a bad URI.
fn is_loose_version(text: &str) -> bool {
    text.len() <= MAX_PART_LENGTH
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'-')
        && text.bytes().filter(|&b| b == b'-').count() == 2
}

impl fmt::Display for SchemaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for SchemaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl PartialEq for SchemaKey {
    fn eq(&self, other: &Self) -> bool {
        self.uri == other.uri
    }
}

impl Eq for SchemaKey {}

impl Hash for SchemaKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uri.hash(state);
    }
}

impl Borrow<str> for SchemaKey {
    fn borrow(&self) -> &str {
        &self.uri
    }
}

impl Ord for SchemaKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_part = |of: for<'a> fn(&'a Self) -> &'a str| of(self).cmp(of(other));
        by_part(Self::vendor)
            .then_with(|| by_part(Self::name))
            .then_with(|| by_part(Self::format))
            .then_with(|| self.version.cmp(&other.version))
    }
}

impl PartialOrd for SchemaKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for SchemaKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.uri)
    }
}

impl<'de> Deserialize<'de> for SchemaKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A pattern of keys, `iglu:vendor/name/format/M-R-A` where parts of the version may be `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SchemaCriterion {
    vendor: Box<str>,
    name: Box<str>,
    format: Box<str>,
    model: Option<u32>,
    revision: Option<u32>,
    addition: Option<u32>,
}

impl SchemaCriterion {
    /// All of vendor, name and format are equal, and so is every part of the version that is given.
    #[must_use]
    pub fn matches(&self, key: &SchemaKey) -> bool {
        let part = |given: Option<u32>, actual: u32| given.is_none_or(|n| n == actual);
        let version = key.version();
        *self.vendor == *key.vendor()
            && *self.name == *key.name()
            && *self.format == *key.format()
            && part(self.model, version.model)
            && part(self.revision, version.revision)
            && part(self.addition, version.addition)
    }
}

impl FromStr for SchemaCriterion {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parts = text.strip_prefix(SCHEME).ok_or(ParseError::IgluUri)?.split('/');
        let (Some(vendor), Some(name), Some(format), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseError::IgluUri);
        };
        if !(is_part(vendor, true) && is_part(name, false) && is_part(format, false)) {
            return Err(ParseError::IgluUri);
        }
        let mut version = version.splitn(3, '-').map(|part| match part {
            "*" => Some(None),
            digits => version_part(digits).map(Some),
        });
        let mut next = || version.next().flatten().ok_or(ParseError::SchemaVer);
        Ok(Self {
            vendor: vendor.into(),
            name: name.into(),
            format: format.into(),
            model: next()?,
            revision: next()?,
            addition: next()?,
        })
    }
}

impl fmt::Display for SchemaCriterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}/", self.vendor, self.name, self.format)?;
        for (i, part) in [self.model, self.revision, self.addition].into_iter().enumerate() {
            if i > 0 {
                f.write_str("-")?;
            }
            match part {
                Some(n) => write!(f, "{n}")?,
                None => f.write_str("*")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_gives_its_parts() {
        let key: SchemaKey = "iglu:com.acme-x/a_b/jsonschema/1-0-12".parse().unwrap();
        assert_eq!((key.vendor(), key.name(), key.format()), ("com.acme-x", "a_b", "jsonschema"));
        assert_eq!(key.version(), SchemaVer::new(1, 0, 12));
        assert_eq!(key.path(), "com.acme-x/a_b/jsonschema/1-0-12");
        assert_eq!(key.with_version(SchemaVer::new(2, 1, 0)).uri(), "iglu:com.acme-x/a_b/jsonschema/2-1-0");
    }

    #[test]
    fn a_bad_shape_and_a_bad_version_have_different_codes() {
        let code = |text: &str| text.parse::<SchemaKey>().unwrap_err();
        for text in
            ["", "iglu:a/b/c", "IGLU:a/b/c/1-0-0", " iglu:a/b/c/1-0-0", "iglu:a/b/c/1-0-0 ", "iglu:a/b.c/d/1-0-0"]
        {
            assert_eq!(code(text), ParseError::IgluUri, "{text}");
        }
        for text in ["iglu:a/b/c/1-0", "iglu:a/b/c/x-0-0", "iglu:ä/b/c/1-0-0", "iglu:a/b/c/1-0-0/"] {
            assert_eq!(code(text), ParseError::IgluUri, "{text}");
        }
        for text in
            ["iglu:a/b/c/0-1-0", "iglu:a/b/c/01-0-0", "iglu:a/b/c/1-00-0", "iglu:a/b/c/--", "iglu:a/b/c/1-0-2147483648"]
        {
            assert_eq!(code(text), ParseError::SchemaVer, "{text}");
        }
        for dots in [".", "..", "..."] {
            assert_eq!(code(&format!("iglu:{dots}/b/c/1-0-0")), ParseError::IgluUri, "{dots} is another folder");
        }
        let long = format!("iglu:{}/b/c/1-0-0", "v".repeat(129));
        assert_eq!(code(&long), ParseError::IgluUri);
    }

    proptest::proptest! {
        #[test]
        fn keys_print_as_they_are_read(text in "iglu:[a-z.]{1,4}/[a-z_]{1,3}/[a-z-]{1,3}/[0-9]{1,11}-[0-9]{0,2}-[0-9]{1,2}") {
            if let Ok(key) = text.parse::<SchemaKey>() {
                proptest::prop_assert_eq!(key.to_string(), &*text);
                proptest::prop_assert_eq!(SchemaKey::new(key.vendor(), key.name(), key.format(), key.version()), Ok(key.clone()));
                proptest::prop_assert!(key.vendor().len() + key.name().len() + key.format().len() + 8 <= key.uri().len());
            }
        }
    }

    #[test]
    fn versions_order_by_number() {
        let ver = |text: &str| text.parse::<SchemaVer>().unwrap();
        assert!(ver("1-0-9") < ver("1-0-10"));
        assert!(ver("1-10-0") > ver("1-9-99"));
        assert!("1-0-0-0".parse::<SchemaVer>().is_err());
        assert!("1-?-?".parse::<SchemaVer>().is_err());
    }

    #[test]
    fn criteria_match_given_parts_only() {
        let criterion: SchemaCriterion = "iglu:com.acme/x/jsonschema/1-*-*".parse().unwrap();
        assert!(criterion.matches(&"iglu:com.acme/x/jsonschema/1-7-3".parse().unwrap()));
        assert!(!criterion.matches(&"iglu:com.acme/x/jsonschema/2-0-0".parse().unwrap()));
        assert!(!criterion.matches(&"iglu:com.acme/y/jsonschema/1-0-0".parse().unwrap()));
        assert_eq!(criterion.to_string(), "iglu:com.acme/x/jsonschema/1-*-*");
    }
}
