//! Which schema a self-describing record names: all that the loader reads of its JSON (spec s3-loader 3.3, 6.2).

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Longest vendor, name or format in characters.
const MAX_PART: usize = 128;

/// A full Iglu schema key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Schema {
    /// `com.snowplowanalytics.snowplow.badrows`
    pub vendor: String,
    /// `schema_violations`
    pub name: String,
    /// `jsonschema`
    pub format: String,
    /// First number of the version, 1 or more.
    pub model: u32,
    /// Second number.
    pub revision: u32,
    /// Third number.
    pub addition: u32,
}

/// Why no schema could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The record is no JSON; the parser's message.
    #[error("Can't parse JSON holding self-describing event: {0}")]
    NotJson(String),
    /// It is JSON, but not an object with a string `schema`.
    #[error("Can't extract schema from self-describing event: INVALID_DATA_PAYLOAD")]
    InvalidDataPayload,
    /// The schema is no Iglu URI.
    #[error("Can't extract schema from self-describing event: INVALID_IGLUURI")]
    InvalidIgluUri,
    /// The form is right, the version is not.
    #[error("Can't extract schema from self-describing event: INVALID_SCHEMAVER")]
    InvalidSchemaVer,
}

impl Schema {
    /// Reads the `schema` of a JSON record. The whole record must be JSON, but nothing of it is kept. A `data` field is
    /// not needed; of several `schema` members the last counts. Bytes that are no UTF-8 count as U+FFFD.
    pub fn of_record(record: &[u8]) -> Result<Schema, SchemaError> {
        let uri = match read_schema_member(record) {
            Err(error) => match String::from_utf8_lossy(record) {
                Cow::Owned(repaired) => read_schema_member(repaired.as_bytes()).map(|uri| uri.map(into_owned)),
                Cow::Borrowed(_) => Err(error),
            },
            read => read,
        };
        match uri {
            Ok(Some(uri)) => Schema::parse(&uri),
            Ok(None) => Err(SchemaError::InvalidDataPayload),
            Err(error) => Err(SchemaError::NotJson(error.to_string())),
        }
    }

    /// Reads `iglu:vendor/name/format/1-0-0`.
    pub fn parse(uri: &str) -> Result<Schema, SchemaError> {
        let path = uri.strip_prefix("iglu:").ok_or(SchemaError::InvalidIgluUri)?;
        let mut parts = path.split('/');
        let (Some(vendor), Some(name), Some(format), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SchemaError::InvalidIgluUri);
        };
        let well_formed = is_part(vendor, true) && is_part(name, false) && is_part(format, false);
        let mut groups = version.split('-');
        let (Some(model), Some(revision), Some(addition), None) =
            (groups.next(), groups.next(), groups.next(), groups.next())
        else {
            return Err(SchemaError::InvalidIgluUri);
        };
        if !well_formed || !version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return Err(SchemaError::InvalidIgluUri);
        }
        match (number(model), number(revision), number(addition)) {
            (Some(model @ 1..), Some(revision), Some(addition)) => Ok(Schema {
                vendor: vendor.to_owned(),
                name: name.to_owned(),
                format: format.to_owned(),
                model,
                revision,
                addition,
            }),
            _ => Err(SchemaError::InvalidSchemaVer),
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Schema { vendor, name, format, model, revision, addition } = self;
        write!(f, "iglu:{vendor}/{name}/{format}/{model}-{revision}-{addition}")
    }
}

fn is_part(text: &str, dots: bool) -> bool {
    (1..=MAX_PART).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || dots && byte == b'.')
}

/// A number of a version: digits without leading zeros, within Java's int.
fn number(text: &str) -> Option<u32> {
    if text.is_empty() || text.len() > 1 && text.starts_with('0') {
        return None;
    }
    text.parse().ok().filter(|number| *number <= i32::MAX as u32)
}

fn into_owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// The `schema` member of a JSON object; `None` where the JSON is something else or the member no string.
fn read_schema_member(record: &[u8]) -> Result<Option<Cow<'_, str>>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(record);
    let schema = (&mut deserializer).deserialize_any(Envelope)?;
    deserializer.end()?;
    Ok(schema)
}

/// Visits any JSON value and keeps the `schema` of an object.
struct Envelope;

impl<'de> Visitor<'de> for Envelope {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut schema = None;
        while let Some(Text(name)) = members.next_key()? {
            // A key that is no string does not occur; numbers come as an object with a key of serde_json's own.
            if name.as_deref() == Some("schema") {
                schema = members.next_value::<Text<'de>>()?.0;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(schema)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A string value, borrowed where it has no escapes; `None` for any other value.
struct Text<'de>(Option<Cow<'de, str>>);

impl<'de> serde::Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::{Schema, SchemaError};

    fn read(record: &str) -> Result<String, SchemaError> {
        Schema::of_record(record.as_bytes()).map(|schema| schema.to_string())
    }

    #[test]
    fn the_schema_is_found_wherever_it_stands() {
        let key = "iglu:com.corner/a_b-c/jsonschema/1-0-12";
        for record in [
            format!(r#"{{"schema":"{key}"}}"#),
            format!(r#" {{"data":{{"schema":5,"n":[1e400,{{}}]}},"schema":"{key}"}} "#),
            format!(r#"{{"schema":1.5,"schema":"{key}"}}"#),
            format!(r#"{{"sch\u0065ma":"{}"}}"#, key.replace('/', "\\/")),
        ] {
            assert_eq!(read(&record).unwrap(), key, "{record}");
        }
        let deep = format!(r#"{{"data":{}{},"schema":"{key}"}}"#, "[".repeat(5000), "]".repeat(5000));
        assert_eq!(read(&deep).unwrap(), key, "depth is no matter where nothing is kept");
        let bytes = [br#"{"data":"#.as_slice(), b"\"\xFF\"", format!(r#","schema":"{key}"}}"#).as_bytes()].concat();
        assert_eq!(Schema::of_record(&bytes).unwrap().to_string(), key);
    }

    #[test]
    fn what_is_no_json_or_no_object_is_told_apart() {
        for record in ["", "{", "{}x", "{\"schema\":\"iglu:a/b/c/1-0-0\"", "nul", "\u{FEFF}{}"] {
            assert!(matches!(read(record), Err(SchemaError::NotJson(_))), "{record}");
        }
        for record in
            ["[]", "1", "1.5", "\"schema\"", "null", "true", "{}", r#"{"schema":null}"#, r#"{"schema":{"a":[1]}}"#]
        {
            assert_eq!(read(record), Err(SchemaError::InvalidDataPayload), "{record}");
        }
    }

    #[test]
    fn uris_are_checked_as_iglu_does() {
        let long = "a".repeat(129);
        for uri in [
            "",
            "iglu:a/b/c",
            "a/b/c/1-0-0",
            "iglu:a/b.c/d/1-0-0",
            "iglu:a/b/c/1-0",
            "iglu:a/b/c/1-0-0/",
            "iglu:/b/c/1-0-0",
            "iglu:a/b/c/1-0-x",
            &format!("iglu:{long}/b/c/1-0-0"),
        ] {
            assert_eq!(Schema::parse(uri), Err(SchemaError::InvalidIgluUri), "{uri}");
        }
        for version in ["0-0-1", "01-0-0", "1-0-00", "1--0", "1-0-2147483648"] {
            assert_eq!(
                Schema::parse(&format!("iglu:a/b/c/{version}")),
                Err(SchemaError::InvalidSchemaVer),
                "{version}"
            );
        }
    }
}
