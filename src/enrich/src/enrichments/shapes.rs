//! The shape that each enrichment's configuration document must have (enrichments 1.1): what a document that the
//! published schemas accept looks like, except that databases may have any file name.

use serde_json::{Value, json};
use snowmelt_iglu::{Report, Schema};

use super::{ConfigDocument, ConfigError};

/// Documents are small; deeper ones are refused before they get here.
const DEPTH: usize = 50;

/// Checks the data of a document of this schema name. Names that stand in no table are let through.
pub(super) fn check(document: &ConfigDocument) -> Result<(), ConfigError> {
    let Some(shape) = shape(document.schema.name()) else { return Ok(()) };
    let reports = match Schema::new(document.schema.clone(), shape, DEPTH).validate(&document.data) {
        Ok(()) => return Ok(()),
        Err(reports) => reports,
    };
    let mut faults: Vec<String> = reports.iter().map(|report| describe(report, &document.data)).collect();
    faults.sort_unstable();
    Err(ConfigError::Shape { name: document.schema.name().to_owned(), faults: faults.join("; ") })
}

/// `parameters.anonOctets: string found, number expected (it is "2")`.
fn describe(report: &Report, data: &Value) -> String {
    let path = report.path.strip_prefix("$.").unwrap_or("data");
    let message = report.message.strip_prefix(&report.path).unwrap_or(&report.message);
    let message = message.trim_start_matches([':', '.']).trim();
    match report.path.strip_prefix("$.").and_then(|path| value_at(data, path)) {
        Some(value) if !value.is_object() => format!("{path}: {message} (it is {value})"),
        _ => format!("{path}: {message}"),
    }
}

/// The value at a dotted path with `[n]` for items.
fn value_at<'d>(data: &'d Value, path: &str) -> Option<&'d Value> {
    path.split('.').try_fold(data, |value, step| {
        let (name, items) = step.split_once('[').map_or((step, ""), |(name, items)| (name, items));
        let indices = items.split('[').filter(|item| !item.is_empty());
        indices.map(|item| item.trim_end_matches(']').parse().ok()).try_fold(value.get(name)?, |value, index| {
            let index: usize = index?;
            value.get(index)
        })
    })
}

fn object(properties: Value, required: Option<Value>) -> Value {
    let mut shape = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if let Some(required) = required {
        shape["required"] = required;
    }
    shape
}

fn shape(name: &str) -> Option<Value> {
    // Only this one has a default for everything.
    let required = match name {
        "ua_parser_config" => json!(["vendor", "name", "enabled"]),
        _ => json!(["vendor", "name", "enabled", "parameters"]),
    };
    let text = json!({"type": "string"});
    let properties = json!({
        "vendor": text, "name": text, "enabled": {"type": "boolean"}, "parameters": parameters(name)?,
    });
    Some(object(properties, Some(required)))
}

fn parameters(name: &str) -> Option<Value> {
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": text});
    let database = json!({
        "type": "object", "properties": {"database": text, "uri": text}, "required": ["database", "uri"],
    });
    let shape = match name {
        "anon_ip" => object(
            json!({
                "anonOctets": {"type": "number", "minimum": 1, "maximum": 4},
                "anonSegments": {"type": "integer", "minimum": 1, "maximum": 8},
            }),
            Some(json!(["anonOctets"])),
        ),
        "campaign_attribution" => {
            let fields = object(
                json!({
                    "mktMedium": texts, "mktSource": texts, "mktTerm": texts, "mktContent": texts, "mktCampaign": texts,
                    "mktClickId": {"type": "object", "additionalProperties": text},
                }),
                Some(json!(["mktMedium", "mktSource", "mktTerm", "mktContent", "mktCampaign"])),
            );
            let mapping = json!({"type": ["string", "null"], "enum": ["static", "script"]});
            object(json!({"mapping": mapping, "fields": fields}), Some(json!(["fields"])))
        }
        "event_fingerprint_config" => object(
            json!({
                "hashAlgorithm": {"enum": ["MD5", "SHA1", "SHA256", "SHA384", "SHA512"]},
                "excludeParameters": texts,
            }),
            Some(json!(["hashAlgorithm", "excludeParameters"])),
        ),
        "ip_lookups" => object(
            json!({
                "geo": database, "isp": database, "domain": database, "connectionType": database, "asn": database,
            }),
            None,
        ),
        "referer_parser" => {
            let source = object(
                json!({"domains": {"type": "array", "minItems": 1, "items": text}, "parameters": texts}),
                Some(json!(["domains"])),
            );
            let medium = json!({"type": "object", "additionalProperties": source});
            let referrers = json!({"type": "object", "additionalProperties": medium});
            let properties = json!({"internalDomains": texts, "database": text, "uri": text, "referrers": referrers});
            object(properties, Some(json!(["internalDomains", "database", "uri"])))
        }
        "ua_parser_config" => object(json!({"database": text, "uri": text}), None),
        _ => return None,
    };
    Some(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str, data: Value) -> String {
        let schema = format!("iglu:com.snowplowanalytics.snowplow/{name}/jsonschema/1-0-0");
        let document = ConfigDocument::from_json(&json!({"schema": schema, "data": data})).unwrap();
        check(&document).map_or_else(|error| error.to_string(), |()| String::new())
    }

    fn with(parameters: Value) -> Value {
        json!({"vendor": "v", "name": "n", "enabled": true, "parameters": parameters})
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key() {
        let text = fault("anon_ip", with(json!({"anonOctets": "2", "anonSegment": 4})));
        assert!(text.starts_with("configuration of 'anon_ip' is wrong: "), "{text}");
        assert!(text.contains("parameters.anonOctets: ") && text.contains("(it is \"2\")"), "{text}");
        assert!(text.contains("anonSegment"), "{text}");
        let text = fault("anon_ip", with(json!({"anonOctets": 7})));
        assert!(text.contains("parameters.anonOctets: ") && text.contains("4 (it is 7)"), "{text}");
        let text = fault("event_fingerprint_config", with(json!({"hashAlgorithm": "MD5", "excludeParameters": [1]})));
        assert!(text.contains("parameters.excludeParameters[0]: ") && text.contains("(it is 1)"), "{text}");
    }

    #[test]
    fn the_shapes_are_themselves_valid_schemas() {
        for name in [
            "anon_ip",
            "campaign_attribution",
            "event_fingerprint_config",
            "ip_lookups",
            "referer_parser",
            "ua_parser_config",
        ] {
            let key = format!("iglu:a/{name}/jsonschema/1-0-0").parse().unwrap();
            let schema = Schema::new(key, shape(name).unwrap(), DEPTH);
            assert!(schema.issues().is_empty(), "{name}: {:?}", schema.issues());
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = fault("ua_parser_config", json!({"vendor": "v", "name": "n"}));
        assert!(text.contains("enabled"), "{text}");
        let text = fault("ip_lookups", json!({"vendor": "v", "name": "n", "enabled": true}));
        assert!(text.contains("parameters"), "{text}");
    }

    /// Parameters with all their keys.
    fn complete() -> [(&'static str, Value); 6] {
        let file = |database: &str| json!({"database": database, "uri": "http://h/a"});
        let names = json!(["a", "b"]);
        [
            ("anon_ip", json!({"anonOctets": 1, "anonSegments": 8})),
            (
                "campaign_attribution",
                json!({"mapping": "static", "fields": {
                    "mktMedium": names, "mktSource": names, "mktTerm": [], "mktContent": names, "mktCampaign": names,
                    "mktClickId": {"gclid": "Google"},
                }}),
            ),
            ("event_fingerprint_config", json!({"hashAlgorithm": "SHA512", "excludeParameters": names})),
            (
                "ip_lookups",
                json!({
                    "geo": file("GeoLite2-City.mmdb"), "isp": file("GeoIP2-ISP.mmdb"),
                    "domain": file("GeoIP2-Domain.mmdb"), "connectionType": file("GeoIP2-Connection-Type.mmdb"),
                    "asn": file("GeoLite2-ASN.mmdb"),
                }),
            ),
            (
                "referer_parser",
                json!({
                    "internalDomains": names, "database": "referers.json", "uri": "http://h/a",
                    "referrers": {"search": {"Finder": {"domains": ["finder.example"], "parameters": ["q"]}}},
                }),
            ),
            ("ua_parser_config", file("rules.yml")),
        ]
    }

    #[test]
    fn documents_with_all_their_keys_pass() {
        for (name, parameters) in complete() {
            assert_eq!(fault(name, with(parameters)), "", "{name}");
        }
        assert_eq!(fault("unheard_of", with(json!({"a": 1}))), "");
    }

    /// Every way to change one place of a value: another value there, the member left out, a member added.
    fn changed(value: &Value) -> Vec<Value> {
        let others = [
            json!(null),
            json!("text"),
            json!(""),
            json!(3),
            json!(2.5),
            json!(true),
            json!([]),
            json!({}),
            json!([1]),
        ];
        let mut all = Vec::from(others);
        match value {
            Value::Object(members) => {
                let with = |name: &str, member: Option<Value>| {
                    let mut members = members.clone();
                    match member {
                        Some(member) => members.insert(name.to_owned(), member),
                        None => members.shift_remove(name),
                    };
                    Value::Object(members)
                };
                all.push(with("unheard_of", Some(json!("x"))));
                for (name, member) in members {
                    all.push(with(name, None));
                    all.extend(changed(member).into_iter().map(|member| with(name, Some(member))));
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    all.extend(changed(item).into_iter().map(|item| {
                        let mut items = items.clone();
                        items[index] = item;
                        Value::Array(items)
                    }));
                }
            }
            _ => {}
        }
        all
    }

    /// What the published schemas refuse and we accept: another name of a database, a path in place of an address.
    fn is_freer(report: &Report, data: &Value) -> bool {
        let value = report.path.strip_prefix("$.").and_then(|path| value_at(data, path));
        let place = report.path.rsplit('.').next().unwrap_or_default();
        value.is_some_and(Value::is_string)
            && matches!((place, report.keyword), ("database", Some("enum")) | ("uri", Some("format")))
    }

    #[test]
    fn the_shapes_accept_what_the_published_schemas_accept() {
        let Some(central) = super::super::tests::shared("data/iglu-central/schemas/com.snowplowanalytics.snowplow")
        else {
            return;
        };
        let (mut count, mut differing) = (0, Vec::new());
        for (name, parameters) in complete() {
            let version = if matches!(name, "ip_lookups" | "referer_parser") { "2-0-1" } else { "1-0-1" };
            let file = central.join(name).join("jsonschema").join(version);
            let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            let key = format!("iglu:com.snowplowanalytics.snowplow/{name}/jsonschema/{version}").parse().unwrap();
            let published = Schema::new(key, document, DEPTH);
            assert!(published.issues().is_empty());
            for data in changed(&with(parameters)) {
                count += 1;
                let theirs = match published.validate(&data) {
                    Ok(()) => true,
                    Err(reports) => reports.iter().all(|report| is_freer(report, &data)),
                };
                let ours = fault(name, data.clone());
                if theirs != ours.is_empty() {
                    differing.push(format!("{name}: {data}: the published schema accepts it: {theirs}; ours: {ours}"));
                }
            }
        }
        assert!(count > 500, "only {count} documents were compared");
        assert!(differing.is_empty(), "{} of {count} differ:\n{}", differing.len(), differing.join("\n"));
        println!("{count} documents compared");
    }
}
