//! ua_parser: browser, operating system and device of the user agent, by the rules of uap-core (enrichments 5.18).
//!
//! Reading an agent takes microseconds, more than all other steps together, and agents repeat: results are kept, up to
//! a bound in bytes.

use std::fmt;
use std::sync::Arc;

use moka::sync::Cache;
use snowmelt_iglu::SchemaKey;
use snowmelt_protocol::badrow::EnrichmentRef;
use snowmelt_protocol::event::Column;
use snowmelt_protocol::json::{write_optional_string, write_string};
use ua_parser::{Extractor, Regexes};

use super::{Assets, ConfigDocument, ConfigError, Enrichment, Settings, Step, View};

/// The rules when the configuration names no file: the ones that the original bundles. `data/uap-core/README.md` tells
/// where they come from.
const DEFAULT_RULES: &[u8] = include_bytes!("../../data/uap-core/regexes.yaml");

/// The rules and what they gave for agents seen before.
pub(super) struct UaParser {
    id: EnrichmentRef,
    schema: SchemaKey,
    rules: Extractor<'static>,
    /// Agent to the entity's data.
    known: Cache<Arc<str>, Arc<str>>,
}

const SCHEMA: &str = "iglu:com.snowplowanalytics.snowplow/ua_parser_context/jsonschema/1-0-0";

/// Room for some 10,000 agents of a usual length with their results.
const CACHE_BYTES: u64 = 8 << 20;

/// Longer agents are no browser's: read each time, so that they push no others out.
const LONGEST_CACHED_AGENT: usize = 2_048;

impl UaParser {
    pub(super) fn assets(document: &ConfigDocument) -> Result<Vec<String>, ConfigError> {
        Ok(rules_uri(&document.settings())?.into_iter().collect())
    }

    pub(super) fn build(document: &ConfigDocument, assets: &Assets) -> Result<Arc<dyn Enrichment>, ConfigError> {
        let uri = rules_uri(&document.settings())?;
        let (uri, rules) = match &uri {
            Some(uri) => (uri.as_str(), assets.get(uri)?.as_ref()),
            None => ("(built in)", DEFAULT_RULES),
        };
        Ok(Arc::new(Self::new(document.id("ua-parser"), uri, rules)?))
    }

    fn new(id: EnrichmentRef, uri: &str, file: &[u8]) -> Result<Self, ConfigError> {
        let rules = read_rules(file).map_err(|reason| ConfigError::Asset {
            uri: uri.to_owned(),
            reason: format!("Failed to initialize ua parser: [{reason}]"),
        })?;
        let known = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|agent: &Arc<str>, data: &Arc<str>| (agent.len() + data.len() + 128) as u32)
            .build();
        Ok(UaParser { id, schema: SCHEMA.parse()?, rules, known })
    }

    fn data(&self, agent: &str) -> Arc<str> {
        if agent.len() > LONGEST_CACHED_AGENT {
            return extract(&self.rules, agent).into();
        }
        if let Some(data) = self.known.get(agent) {
            return data;
        }
        let data: Arc<str> = extract(&self.rules, agent).into();
        self.known.insert(agent.into(), Arc::clone(&data));
        data
    }
}

/// A `database` without `uri` is ignored, as in the original.
fn rules_uri(settings: &Settings<'_>) -> Result<Option<String>, ConfigError> {
    match settings.member("uri") {
        None => Ok(None),
        Some(_) => Ok(Some(Settings::asset_uri(settings.text("uri")?, settings.text("database")?))),
    }
}

fn read_rules(file: &[u8]) -> Result<Extractor<'static>, String> {
    let mut rules: Regexes<'static> = serde_yaml_ng::from_slice(file).map_err(|error| error.to_string())?;
    // Replacements that the original does not know.
    for rule in &mut rules.user_agent_parsers {
        (rule.v3_replacement, rule.v4_replacement) = (None, None);
    }
    for rule in &mut rules.os_parsers {
        rule.os_v4_replacement = None;
    }
    Extractor::try_from(rules).map_err(|error| error.to_string())
}

/// The data of the entity: all twelve members, `null` where nothing is known.
fn extract(rules: &Extractor<'_>, agent: &str) -> String {
    let browser = rules.ua.extract(agent).filter(|found| !found.family.is_empty());
    let os = rules.os.extract(agent).filter(|found| !found.os.is_empty());
    let device = rules.dev.extract(agent).filter(|found| !found.device.is_empty());

    let family = browser.as_ref().map_or(OTHER, |found| &found.family);
    let version = browser.as_ref().map_or([None; 3], |found| [found.major, found.minor, found.patch]);
    let mut out = String::with_capacity(384);
    out.push('{');
    write_family("useragent", family, &["Major", "Minor", "Patch"], &version, &mut out);
    out.push(',');
    let family = os.as_ref().map_or(OTHER, |found| &found.os);
    let version = os.as_ref().map_or([None; 4], |found| {
        [&found.major, &found.minor, &found.patch, &found.patch_minor].map(|part| part.as_deref())
    });
    write_family("os", family, &["Major", "Minor", "Patch", "PatchMinor"], &version, &mut out);
    out.push_str(",\"deviceFamily\":");
    write_string(device.as_ref().map_or(OTHER, |found| &found.device), &mut out);
    out.push('}');
    out
}

/// What no rule knows.
const OTHER: &str = "Other";

/// Appends `"<prefix>Family"`, each part of the version, and `"<prefix>Version"`, the family with the parts there are.
fn write_family(prefix: &str, family: &str, names: &[&str], version: &[Option<&str>], out: &mut String) {
    let name = |out: &mut String, suffix: &str| {
        out.push('"');
        out.push_str(prefix);
        out.push_str(suffix);
        out.push_str("\":");
    };
    name(out, "Family");
    write_string(family, out);
    let mut whole = String::from(family);
    for (nth, (suffix, part)) in names.iter().zip(version).enumerate() {
        out.push(',');
        name(out, suffix);
        write_optional_string(*part, out);
        if let Some(part) = part {
            whole.push(if nth == 0 { ' ' } else { '.' });
            whole.push_str(part);
        }
    }
    out.push(',');
    name(out, "Version");
    write_string(&whole, out);
}

impl fmt::Debug for UaParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UaParser").field("known", &self.known.entry_count()).finish_non_exhaustive()
    }
}

impl Enrichment for UaParser {
    fn step(&self) -> Step {
        Step::UaParser
    }

    fn id(&self) -> &EnrichmentRef {
        &self.id
    }

    fn enrich(&self, view: &mut View<'_>) {
        if let Some(data) = view.event.get(Column::Useragent).map(|agent| self.data(agent)) {
            view.add_entity(self.schema.clone(), data);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const RULES: &[u8] = br#"
user_agent_parsers:
  - regex: '(Fox)/(\d+)\.(\d+)\.(\d+)'
    family_replacement: '$1 Browser'
    v3_replacement: 'ignored'
  - regex: '(Cat)/(\d+)'
os_parsers:
  - regex: 'Win (\d+)'
    os_replacement: 'Windows'
    os_v1_replacement: '$1'
device_parsers:
  - regex: 'pad (\w+)'
    regex_flag: 'i'
    device_replacement: ' $1 Pad '
"#;

    fn data(agent: &str) -> Value {
        serde_json::from_str(&extract(&read_rules(RULES).unwrap(), agent)).unwrap()
    }

    #[test]
    fn versions_are_put_together_from_the_parts_there_are() {
        let data = data("Fox/1.2.3 Win 7 PAD Blue");
        assert_eq!(data["useragentFamily"], "Fox Browser");
        assert_eq!(data["useragentPatch"], "3");
        assert_eq!(data["useragentVersion"], "Fox Browser 1.2.3");
        assert_eq!(data["osVersion"], "Windows 7");
        assert_eq!(data["osPatchMinor"], Value::Null);
        assert_eq!(data["deviceFamily"], "Blue Pad");
    }

    #[test]
    fn what_no_rule_knows_is_other() {
        let data = data("");
        assert_eq!(data.as_object().unwrap().len(), 12);
        for name in ["useragentFamily", "useragentVersion", "osFamily", "osVersion", "deviceFamily"] {
            assert_eq!(data[name], "Other");
        }
        assert_eq!(data["useragentMajor"], Value::Null);
    }

    #[test]
    fn broken_rules_are_refused() {
        let broken = "user_agent_parsers: [{regex: '('}]\nos_parsers: []\ndevice_parsers: []".as_bytes();
        assert!(read_rules(broken).is_err());
        assert!(read_rules(b"[]").is_err());
    }

    #[test]
    fn a_known_agent_gives_the_same_and_long_agents_are_not_kept() {
        let id = EnrichmentRef { schema_key: "iglu:x".into(), identifier: "ua-parser".into() };
        let parser = UaParser::new(id, "file", RULES).unwrap();
        let first = parser.data("Cat/9");
        assert!(Arc::ptr_eq(&first, &parser.data("Cat/9")));
        let long = format!("Cat/9 {}", "x".repeat(LONGEST_CACHED_AGENT));
        assert_eq!(parser.data(&long), first);
        parser.known.run_pending_tasks();
        assert_eq!(parser.known.entry_count(), 1);
    }

    #[test]
    fn without_a_file_the_rules_of_the_original_are_used_whether_or_not_a_database_is_named() {
        use sha2::{Digest, Sha256};
        let digest: String = Sha256::digest(DEFAULT_RULES).iter().map(|byte| format!("{byte:02x}")).collect();
        let readme = include_str!("../../data/uap-core/README.md");
        assert!(readme.contains(&digest), "the file is not the one that its README describes: {digest}");

        for parameters in [r#"{}"#, r#"{"database": "ignored.yml"}"#] {
            let document = format!(
                r#"{{"schema": "iglu:com.snowplowanalytics.snowplow/ua_parser_config/jsonschema/1-0-1",
                    "data": {{"vendor": "v", "name": "n", "enabled": true, "parameters": {parameters}}}}}"#
            );
            let document = ConfigDocument::from_json(&serde_json::from_str(&document).unwrap()).unwrap();
            assert_eq!(UaParser::assets(&document).unwrap(), Vec::<String>::new());
            UaParser::build(&document, &Assets::new()).unwrap();
        }
        let rules = read_rules(DEFAULT_RULES).unwrap();
        let agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/17.5 Mobile/15E148 Safari/604.1";
        let data: Value = serde_json::from_str(&extract(&rules, agent)).unwrap();
        assert_eq!(data["useragentVersion"], "Mobile Safari 17.5");
        assert_eq!((&data["osVersion"], &data["deviceFamily"]), (&"iOS 17.5".into(), &"iPhone".into()));
    }

    /// uap-core's own cases against its own rules.
    #[test]
    fn the_public_test_cases_pass() {
        let Some(folder) = super::super::tests::shared("data/uap-core") else { return };
        let rules = read_rules(&std::fs::read(folder.join("regexes.yaml")).unwrap()).unwrap();
        let mut failed = Vec::new();
        let mut count = 0;
        let kinds = [
            ("test_ua", "useragent", ["major", "minor", "patch", ""]),
            ("test_os", "os", ["major", "minor", "patch", "patch_minor"]),
            ("test_device", "device", ["", "", "", ""]),
        ];
        for (file, prefix, version) in kinds {
            let yaml = std::fs::read(folder.join("tests").join(file).with_extension("yaml")).unwrap();
            let cases: Value = serde_yaml_ng::from_slice(&yaml).unwrap();
            for case in cases["test_cases"].as_array().unwrap() {
                count += 1;
                let agent = case["user_agent_string"].as_str().unwrap();
                let data: Value = serde_json::from_str(&extract(&rules, agent)).unwrap();
                let mut same = data[format!("{prefix}Family")] == case["family"];
                for (part, name) in version.iter().zip(["Major", "Minor", "Patch", "PatchMinor"]) {
                    let ours = data[format!("{prefix}{name}")].as_str().unwrap_or_default();
                    same &= part.is_empty() || ours == case[*part].as_str().unwrap_or_default();
                }
                if !same {
                    failed.push(format!("{file}: {agent}: {case}\n  got {data}"));
                }
            }
        }
        assert!(failed.is_empty(), "{} of {count} failed:\n{}", failed.len(), failed.join("\n"));
    }
}
