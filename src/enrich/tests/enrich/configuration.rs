//! Mistakes in enrichments' configuration files: each is told with its file, its key and its value, in one line.

use serde_json::{Value, json};
use snowmelt_enrich::config::read_enrichments;
use snowmelt_enrich::enrichments::{Assets, Enrichments};

/// What `snowmelt run` says of a folder with this one document: reading it, naming its files, building it.
fn mistake(name: &str, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    let documents = match read_enrichments(folder.path()) {
        Ok(documents) => documents,
        Err(error) => return error.to_string(),
    };
    let mut assets = Assets::new();
    let uris = match Enrichments::assets(&documents) {
        Ok(uris) => uris,
        Err(error) => return error.to_string(),
    };
    uris.into_iter().for_each(|uri| assets.insert(uri, "no file of this kind: [".into()));
    Enrichments::build(&documents, &assets).map_or_else(|error| error.to_string(), |_| String::new())
}

fn document(schema: &str, parameters: &Value) -> String {
    let schema = format!("iglu:com.snowplowanalytics.snowplow/{schema}");
    let data = json!({"vendor": "v", "name": "n", "enabled": true, "parameters": parameters});
    json!({"schema": schema, "data": data}).to_string()
}

/// Schema, parameters, and what the message has to hold.
type Case = (&'static str, Value, &'static [&'static str]);

fn check(cases: &[Case]) {
    for (schema, parameters, parts) in cases {
        let text = mistake("own-name.json", &document(schema, parameters));
        assert!(text.contains("own-name.json: ") && !text.contains('\n'), "{schema} {parameters}: {text:?}");
        for part in *parts {
            assert!(text.contains(part), "{schema} {parameters}: no {part:?} in {text:?}");
        }
    }
}

#[test]
fn of_anon_ip() {
    let schema = "anon_ip/jsonschema/1-0-1";
    check(&[
        (schema, json!({"anonOctets": 5}), &["parameters.anonOctets", "(it is 5)"]),
        (schema, json!({"anonOctets": 0}), &["parameters.anonOctets", "(it is 0)"]),
        (schema, json!({"anonOctets": "two"}), &["parameters.anonOctets", "(it is \"two\")"]),
        // The schema lets it through, the original's reader does not.
        (schema, json!({"anonOctets": 2.5}), &["Could not extract parameters.anonOctets as Int", "found 2.5"]),
        (schema, json!({"anonOctets": 1, "anonSegments": 9}), &["parameters.anonSegments", "(it is 9)"]),
        (schema, json!({"anonSegments": 3}), &["parameters", "anonOctets", "missing"]),
        (schema, json!({"anonOctets": 1, "anonOctet": 2}), &["parameters", "anonOctet:"]),
        ("anon_ip/jsonschema/2-0-0", json!({"anonOctets": 1}), &["anon_ip/jsonschema/2-0-0 is not supported", "1-0-*"]),
    ]);
}

#[test]
fn of_campaign_attribution() {
    let schema = "campaign_attribution/jsonschema/1-0-1";
    let with = |name: &str, value: Value| {
        let mut fields = json!({"mktMedium": [], "mktSource": [], "mktTerm": [], "mktContent": [], "mktCampaign": []});
        fields[name] = value;
        json!({"mapping": "static", "fields": fields})
    };
    check(&[
        (schema, with("mktMedium", json!("utm_medium")), &["parameters.fields.mktMedium", "(it is \"utm_medium\")"]),
        (schema, with("mktTerm", json!([7])), &["parameters.fields.mktTerm[0]", "(it is 7)"]),
        (schema, with("mktClickId", json!({"gclid": 1})), &["parameters.fields.mktClickId.gclid", "(it is 1)"]),
        (schema, with("mktMedum", json!([])), &["parameters.fields", "mktMedum"]),
        (
            schema,
            json!({"mapping": "magic", "fields": with("x", json!([]))["fields"]}),
            &["parameters.mapping", "\"magic\""],
        ),
        (schema, json!({"mapping": "static"}), &["parameters", "fields", "missing"]),
    ]);
}

#[test]
fn of_event_fingerprint() {
    let schema = "event_fingerprint_config/jsonschema/1-0-1";
    check(&[
        (
            schema,
            json!({"hashAlgorithm": "MD4", "excludeParameters": []}),
            &["parameters.hashAlgorithm", "(it is \"MD4\")"],
        ),
        (
            schema,
            json!({"hashAlgorithm": "MD5", "excludeParameters": "eid"}),
            &["parameters.excludeParameters", "\"eid\""],
        ),
        (
            schema,
            json!({"hashAlgorithm": "MD5", "excludeParameters": ["eid", null]}),
            &["excludeParameters[1]", "(it is null)"],
        ),
        (schema, json!({"hashAlgorithm": "MD5"}), &["parameters", "excludeParameters", "missing"]),
        (schema, json!("MD5"), &["parameters", "(it is \"MD5\")"]),
    ]);
}

#[test]
fn of_ip_lookups() {
    let schema = "ip_lookups/jsonschema/2-0-1";
    check(&[
        (schema, json!({"geo": {"database": "GeoLite2-City.mmdb"}}), &["parameters.geo", "uri", "missing"]),
        (schema, json!({"geo": {"database": 1, "uri": "http://h"}}), &["parameters.geo.database", "(it is 1)"]),
        (schema, json!({"isp": "GeoIP2-ISP.mmdb"}), &["parameters.isp", "\"GeoIP2-ISP.mmdb\""]),
        (schema, json!({"city": {"database": "GeoLite2-City.mmdb", "uri": "http://h"}}), &["parameters", "city"]),
        (schema, json!({"geo": {"database": "a.mmdb", "uri": "http://h"}}), &["asset http://h/a.mmdb: "]),
        ("ip_lookups/jsonschema/1-0-0", json!({}), &["ip_lookups/jsonschema/1-0-0 is not supported", "2-0-*"]),
    ]);
}

#[test]
fn of_referer_parser() {
    let schema = "referer_parser/jsonschema/2-0-1";
    let with = |name: &str, value: Value| {
        let mut parameters = json!({"internalDomains": [], "database": "r.json", "uri": "http://h/a"});
        parameters[name] = value;
        parameters
    };
    check(&[
        (schema, with("internalDomains", json!("a.example")), &["parameters.internalDomains", "\"a.example\""]),
        (schema, with("internalDomains", json!([1])), &["parameters.internalDomains[0]", "(it is 1)"]),
        (
            schema,
            with("referrers", json!({"search": {"F": {"domains": []}}})),
            &["parameters.referrers.search.F.domains"],
        ),
        (
            schema,
            with("referrers", json!({"search": {"F": {"domains": "f"}}})),
            &["referrers.search.F.domains", "\"f\""],
        ),
        (schema, json!({"internalDomains": []}), &["parameters", "database", "uri", "missing"]),
        (schema, with("databse", json!("x")), &["parameters", "databse"]),
        // The file that it names is none.
        (schema, with("uri", json!("http://h/a")), &["Can't decode referers"]),
    ]);
}

#[test]
fn of_ua_parser() {
    let schema = "ua_parser_config/jsonschema/1-0-1";
    check(&[
        (schema, json!({"uri": "http://h/a"}), &["parameters.database", "missing"]),
        (schema, json!({"uri": 1, "database": "r.yml"}), &["parameters.uri", "(it is 1)"]),
        (schema, json!({"uri": "http://h/a", "database": "r.yml", "url": "x"}), &["parameters", "url"]),
        (
            schema,
            json!({"uri": "http://h/a", "database": "r.yml"}),
            &["asset http://h/a/r.yml", "Failed to initialize ua parser"],
        ),
        (schema, json!([]), &["parameters", "(it is [])"]),
    ]);
}

#[test]
fn of_any_document() {
    let fine = document("anon_ip/jsonschema/1-0-1", &json!({"anonOctets": 1}));
    assert_eq!(mistake("a.json", &fine), "");
    for (text, part) in [
        (
            fine.replace("\"enabled\":true", "\"enabled\":\"yes\""),
            "enabled: string found, boolean expected (it is \"yes\")",
        ),
        (fine.replace("\"vendor\":\"v\",", ""), "vendor"),
        (fine.replace("\"data\"", "\"dat\""), "not self-describing"),
        (fine.replace("iglu:", "iglo:"), "not self-describing"),
        (fine.replace("com.snowplowanalytics.snowplow/", "com.acme/"), "is not supported"),
        ("{ nonsense".to_owned(), "a.json is not HOCON"),
        (fine.replace("\"anonOctets\":1", "\"anonOctets\":${NO_SUCH_VARIABLE}"), "a.json"),
    ] {
        let message = mistake("a.json", &text);
        assert!(message.contains("a.json") && message.contains(part), "{text}: {message:?}");
    }
    // A document that is switched off is checked all the same, as in the original.
    let off = document("anon_ip/jsonschema/1-0-1", &json!({"anonOctets": 9})).replace("true", "false");
    assert!(mistake("a.json", &off).contains("parameters.anonOctets"));
}
