//! How schemas are shown: `canonical`, `uri`, `meta` (iglu-server spec, section 4.1).

use serde_json::{Map, Value};
use snowmelt_iglu::META_SCHEMA;

use super::catalog::Entry;

/// Which form is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Representation {
    /// The self-describing schema.
    Canonical,
    /// The Iglu URI.
    Uri,
    /// The schema with its metadata.
    Meta,
}

impl Representation {
    /// The form of a name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if is("canonical") => Some(Self::Canonical),
            () if is("uri") => Some(Self::Uri),
            () if is("meta") => Some(Self::Meta),
            () => None,
        }
    }
}

/// Members that stand in front of every schema: those in a stored body are not shown.
pub const OWN_MEMBERS: [&str; 4] = ["$schema", "$supersededBy", "$supersedes", "self"];

/// A stored body as entries keep it: its members in their order, compact, without the braces and without the members
/// that identify it.
#[must_use]
pub fn members_of(mut body: Map<String, Value>) -> String {
    body.retain(|name, _| !OWN_MEMBERS.contains(&name.as_str()));
    let text = Value::Object(body).to_string();
    text[1..text.len() - 1].to_owned()
}

/// Writes one schema; `members` are those of its body.
pub fn write(out: &mut String, entry: &Entry, members: &str, representation: Representation) {
    match representation {
        Representation::Uri => {
            // Nothing in a key needs escaping.
            out.push('"');
            out.push_str(entry.key.uri());
            out.push('"');
        }
        Representation::Canonical => {
            out.push_str("{\"$schema\":\"");
            out.push_str(META_SCHEMA);
            out.push_str("\",");
            identity(out, entry);
            if !members.is_empty() {
                out.push(',');
                out.push_str(members);
            }
            out.push('}');
        }
        Representation::Meta => {
            out.push('{');
            identity(out, entry);
            out.push_str(",\"metadata\":{\"createdAt\":\"");
            out.push_str(&instant(entry.created_us));
            out.push_str("\",\"updatedAt\":\"");
            out.push_str(&instant(entry.updated_us));
            out.push_str(if entry.is_public { "\",\"isPublic\":true}" } else { "\",\"isPublic\":false}" });
            if !members.is_empty() {
                out.push(',');
                out.push_str(members);
            }
            out.push('}');
        }
    }
}

/// Room that one schema needs beside its members.
pub const OVERHEAD: usize = 420;

fn identity(out: &mut String, entry: &Entry) {
    if let Some(version) = entry.superseded_by {
        out.push_str(&format!("\"$supersededBy\":\"{version}\","));
    }
    if !entry.supersedes.is_empty() {
        out.push_str("\"$supersedes\":[");
        for (index, version) in entry.supersedes.iter().enumerate() {
            out.push_str(&format!("{}\"{version}\"", if index == 0 { "" } else { "," }));
        }
        out.push_str("],");
    }
    let (key, version) = (&entry.key, entry.key.version().to_string());
    let parts = [("vendor", key.vendor()), ("name", key.name()), ("format", key.format()), ("version", &version)];
    out.push_str("\"self\":");
    for (at, (name, value)) in parts.into_iter().enumerate() {
        out.push_str(if at == 0 { "{\"" } else { "\",\"" });
        out.push_str(name);
        out.push_str("\":\"");
        out.push_str(value);
    }
    out.push_str("\"}");
}

/// A UTC instant with 0, 3 or 6 digits after the second, whichever shows it all.
#[must_use]
pub fn instant(micros: i64) -> String {
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(at) if micros % 1_000_000 == 0 => format!("{at:.0}"),
        Ok(at) if micros % 1_000 == 0 => format!("{at:.3}"),
        Ok(at) => format!("{at:.6}"),
        // No database has times outside years -9999..9999; the member still has to be an instant.
        Err(_) => "1970-01-01T00:00:00Z".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use snowmelt_iglu::SchemaVer;

    fn shown(entry: &Entry, body: Value, representation: Representation) -> String {
        let Value::Object(body) = body else { panic!("a body is an object") };
        let mut out = String::new();
        write(&mut out, entry, &members_of(body), representation);
        out
    }

    #[test]
    fn members_stand_in_their_order() {
        let key = "iglu:com.acme/e/jsonschema/1-0-1".parse().unwrap();
        let mut entry = Entry::new(key, false, 1_714_557_600_123_000, 1_714_557_601_000_000, 1);
        let body = json!({"z": 1.0, "self": "no", "$schema": "no", "a": {}});
        let own = r#""self":{"vendor":"com.acme","name":"e","format":"jsonschema","version":"1-0-1"}"#;
        let canonical = shown(&entry, body.clone(), Representation::Canonical);
        assert_eq!(canonical, format!(r#"{{"$schema":"{META_SCHEMA}",{own},"z":1.0,"a":{{}}}}"#));
        assert_eq!(shown(&entry, json!({}), Representation::Uri), r#""iglu:com.acme/e/jsonschema/1-0-1""#);

        entry.superseded_by = Some(SchemaVer::new(1, 0, 2));
        entry.supersedes = vec![SchemaVer::new(1, 0, 0), SchemaVer::new(1, 0, 9)];
        let metadata = r#""metadata":{"createdAt":"2024-05-01T10:00:00.123Z","updatedAt":"2024-05-01T10:00:01Z","isPublic":false}"#;
        let meta = shown(&entry, json!({}), Representation::Meta);
        assert_eq!(meta, format!(r#"{{"$supersededBy":"1-0-2","$supersedes":["1-0-0","1-0-9"],{own},{metadata}}}"#));
        assert!(serde_json::from_str::<Value>(&meta).is_ok());
    }

    #[test]
    fn names_of_representations_ignore_case() {
        assert_eq!(Representation::named("META"), Some(Representation::Meta));
        assert_eq!(Representation::named("foo"), None);
    }
}
