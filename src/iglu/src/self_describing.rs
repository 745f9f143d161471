//! Self-describing data and schemas: reading them, and the codes for what is not (iglu-client 1 and 2, enrich-core 5.2).

use serde_json::Value;

use crate::{SchemaKey, SchemaVer};

/// `$schema` of every self-describing schema.
pub const META_SCHEMA: &str = "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#";

/// Why a text or a value is not what the Iglu rules ask for. `Display` is the code as bad rows carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParseError {
    /// Not a full `MODEL-REVISION-ADDITION`.
    #[error("INVALID_SCHEMAVER")]
    SchemaVer,
    /// Not of the form `iglu:vendor/name/format/version`.
    #[error("INVALID_IGLUURI")]
    IgluUri,
    /// Not an object with a text `schema` and a member `data`.
    #[error("INVALID_DATA_PAYLOAD")]
    DataPayload,
    /// A schema without a usable `self`.
    #[error("INVALID_SCHEMA")]
    Schema,
    /// A schema whose `$schema` is not [`META_SCHEMA`].
    #[error("INVALID_METASCHEMA")]
    MetaSchema,
}

impl ParseError {
    /// The code, for example `INVALID_IGLUURI`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SchemaVer => "INVALID_SCHEMAVER",
            Self::IgluUri => "INVALID_IGLUURI",
            Self::DataPayload => "INVALID_DATA_PAYLOAD",
            Self::Schema => "INVALID_SCHEMA",
            Self::MetaSchema => "INVALID_METASCHEMA",
        }
    }
}

/// A value that names its schema, borrowed from the JSON it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct SelfDescribing<'a> {
    /// The schema `data` claims to follow.
    pub schema: SchemaKey,
    /// The value itself.
    pub data: &'a Value,
}

impl<'a> SelfDescribing<'a> {
    /// Reads `{"schema": URI, "data": ...}`; other members are ignored. A missing `data` or `schema` is
    /// [`ParseError::DataPayload`], even when the URI is bad too (enrich-core 5.2).
    pub fn parse(value: &'a Value) -> Result<Self, ParseError> {
        let members = value.as_object().ok_or(ParseError::DataPayload)?;
        let data = members.get("data").ok_or(ParseError::DataPayload)?;
        let schema = members.get("schema").and_then(Value::as_str).ok_or(ParseError::DataPayload)?;
        Ok(Self { schema: schema.parse()?, data })
    }
}

/// The key in a schema document's `self`, with `$schema` checked. Vendor, name and format of a document must be
/// ones that a key can have: anything else could never be looked up, and is [`ParseError::Schema`].
pub fn schema_key_of(document: &Value) -> Result<SchemaKey, ParseError> {
    let own = document.get("self").and_then(Value::as_object).ok_or(ParseError::Schema)?;
    let text = |name: &str| own.get(name).and_then(Value::as_str).ok_or(ParseError::Schema);
    let (vendor, name, format) = (text("vendor")?, text("name")?, text("format")?);
    let version = own.get("version").and_then(Value::as_str).ok_or(ParseError::SchemaVer)?;
    let version: SchemaVer = version.parse()?;
    match document.get("$schema").and_then(Value::as_str) {
        Some(META_SCHEMA) => SchemaKey::new(vendor, name, format, version).map_err(|_| ParseError::Schema),
        _ => Err(ParseError::MetaSchema),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn self_describing_data_is_read_with_its_codes() {
        let good = json!({"schema": "iglu:a/b/jsonschema/1-0-0", "data": null, "more": 1});
        assert_eq!(SelfDescribing::parse(&good).unwrap().schema.uri(), "iglu:a/b/jsonschema/1-0-0");
        let code = |value: Value| SelfDescribing::parse(&value).unwrap_err().code();
        assert_eq!(code(json!([])), "INVALID_DATA_PAYLOAD");
        assert_eq!(code(json!({"schema": "iglu:a/b/jsonschema/1-0-0"})), "INVALID_DATA_PAYLOAD");
        assert_eq!(code(json!({"schema": 1, "data": {}})), "INVALID_DATA_PAYLOAD");
        assert_eq!(code(json!({"schema": "b", "data": {}})), "INVALID_IGLUURI");
        assert_eq!(code(json!({"schema": "iglu:a/b/jsonschema/0-0-1", "data": {}})), "INVALID_SCHEMAVER");
    }

    #[test]
    fn a_schema_document_names_its_key() {
        let own = json!({"vendor": "a", "name": "b", "format": "jsonschema", "version": "1-0-0"});
        let good = json!({"self": own, "$schema": META_SCHEMA});
        assert_eq!(schema_key_of(&good).unwrap().path(), "a/b/jsonschema/1-0-0");
        assert_eq!(schema_key_of(&json!({"self": own})), Err(ParseError::MetaSchema));
        assert_eq!(schema_key_of(&json!({"$schema": META_SCHEMA})), Err(ParseError::Schema));
        let no_version = json!({"self": {"vendor": "a", "name": "b", "format": "c"}, "$schema": META_SCHEMA});
        assert_eq!(schema_key_of(&no_version), Err(ParseError::SchemaVer));
    }
}
