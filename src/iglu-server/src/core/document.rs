//! Bodies of requests as JSON, and the schema in the body of a publishing request (iglu-server spec, sections 3 and 5).

use serde_json::{Map, Value, json};
use snowmelt_iglu::{META_SCHEMA, SchemaKey, SchemaVer, is_within_depth, schema_key_of};

use super::reply::Reply;

/// Deepest nesting the parser takes, whatever is configured.
pub const DEEPEST: usize = 120;

/// Reads a body: syntax first, then depth.
///
/// # Errors
/// The answer to a body that is none.
pub fn parse(body: &[u8], max_json_depth: usize) -> Result<Value, Reply> {
    // The parser stops at 128 levels without telling that from a mistake.
    if nesting(body) > DEEPEST {
        return Err(Reply::invalid_body());
    }
    let value: Value = serde_json::from_slice(body).map_err(|_| Reply::malformed_body())?;
    if is_within_depth(&value, max_json_depth) { Ok(value) } else { Err(Reply::invalid_body()) }
}

/// Most brackets that are open at once, outside texts.
fn nesting(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0usize, 0usize, false, false);
    for &byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A schema that somebody wants to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// Its members besides those of supersession; `self` and `$schema` are among them where they were given.
    members: Map<String, Value>,
    /// Its identity, when it is self-describing.
    pub key: Option<SchemaKey>,
    /// The versions it declares to replace.
    pub supersedes: Vec<SchemaVer>,
}

impl Submitted {
    /// Takes the members of supersession out of a body.
    ///
    /// # Errors
    /// The answer to a body that is no object, or has something else in those members.
    pub fn read(body: Value) -> Result<Self, Reply> {
        let Value::Object(mut members) = body else { return Err(Reply::invalid_body()) };
        let version = |value: &Value| value.as_str().and_then(|text| text.parse::<SchemaVer>().ok());
        // `shift_remove` keeps the order of the others.
        let supersedes = match members.shift_remove("$supersedes") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(versions)) => {
                versions.iter().map(version).collect::<Option<_>>().ok_or_else(Reply::invalid_body)?
            }
            Some(_) => return Err(Reply::invalid_body()),
        };
        match members.shift_remove("$supersededBy") {
            None | Some(Value::Null) => {}
            Some(value) if version(&value).is_some() => {}
            Some(_) => return Err(Reply::invalid_body()),
        }
        let document = Value::Object(members);
        let key = schema_key_of(&document).ok();
        let Value::Object(members) = document else { unreachable!("made of an object above") };
        Ok(Self { members, key, supersedes })
    }

    /// The document to lint: the members over `$schema` and the identity that the path gives.
    #[must_use]
    pub fn document(&self, identity: &Identity) -> Value {
        let mut document = json!({
            "$schema": META_SCHEMA,
            "self": {
                "vendor": identity.vendor,
                "name": identity.name,
                "format": identity.format,
                "version": identity.version.to_string(),
            }
        });
        for (name, value) in &self.members {
            document[name] = value.clone();
        }
        document
    }

    /// What is stored: the body without its identity.
    #[must_use]
    pub fn into_members(self) -> Map<String, Value> {
        self.members
    }
}

/// An identity as a path gives it: names are not checked yet, the lint does that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Vendor.
    pub vendor: String,
    /// Name.
    pub name: String,
    /// Format.
    pub format: String,
    /// Version.
    pub version: SchemaVer,
}

impl Identity {
    /// The Iglu URI, also of names that no key can have.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("iglu:{}/{}/{}/{}", self.vendor, self.name, self.format, self.version)
    }

    /// The key; `None` for names that no key can have.
    #[must_use]
    pub fn key(&self) -> Option<SchemaKey> {
        SchemaKey::new(&self.vendor, &self.name, &self.format, self.version).ok()
    }

    /// The identity of a key.
    #[must_use]
    pub fn of(key: &SchemaKey) -> Self {
        let (vendor, name, format) = (key.vendor().to_owned(), key.name().to_owned(), key.format().to_owned());
        Self { vendor, name, format, version: key.version() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_malformed_or_invalid() {
        let status = |body: &str| parse(body.as_bytes(), 3).map_or_else(|reply| reply.status, |_| 200);
        for (body, expected) in [
            ("", 400),
            ("{", 400),
            ("{}", 200),
            ("[[1]]", 200),
            ("[[[1]]]", 422),
            (r#"{"a":"[[[[\"[["}"#, 200),
            ("{\"a\":1} x", 400),
        ] {
            assert_eq!(status(body), expected, "{body}");
        }
        assert_eq!(status(&"[".repeat(100_000)), 422, "nobody's stack overflows");
    }

    #[test]
    fn supersession_is_taken_out_and_checked() {
        let read = |value: Value| Submitted::read(value).map_err(|reply| reply.status);
        let submitted = read(json!({"a": 1, "$supersedes": ["1-0-0"], "$supersededBy": "1-0-9", "b": 2})).unwrap();
        assert_eq!(submitted.supersedes, [SchemaVer::new(1, 0, 0)]);
        assert_eq!(Value::Object(submitted.into_members()).to_string(), r#"{"a":1,"b":2}"#);
        for bad in
            [json!([]), json!({"$supersedes": "1-0-0"}), json!({"$supersedes": ["1-0"]}), json!({"$supersededBy": 1})]
        {
            assert_eq!(read(bad), Err(422));
        }
    }

    #[test]
    fn own_members_win_over_those_of_the_path() {
        let identity = Identity {
            vendor: "com.acme".into(),
            name: "x y".into(),
            format: "jsonschema".into(),
            version: SchemaVer::new(1, 0, 0),
        };
        let bare = Submitted::read(json!({"type": "object"})).unwrap();
        assert_eq!((bare.key.clone(), bare.document(&identity)["self"]["name"].clone()), (None, json!("x y")));
        let foreign = Submitted::read(json!({"$schema": "other"})).unwrap();
        assert_eq!(foreign.document(&identity)["$schema"], json!("other"));
        assert!(identity.key().is_none());
    }
}
