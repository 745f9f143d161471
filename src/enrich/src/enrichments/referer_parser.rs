//! referer_parser: where the user came from: medium, source and search term of the referrer (enrichments 5.16).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde_json::Value;
use snowmelt_protocol::badrow::EnrichmentRef;
use snowmelt_protocol::event::Column;

use super::{Assets, ConfigDocument, ConfigError, Enrichment, Settings, Step, View};
use crate::convert;

/// Known referrers by domain, and the domains that count as the site's own.
#[derive(Debug)]
pub(super) struct RefererParser {
    id: EnrichmentRef,
    internal: HashSet<String>,
    /// Host, or host and path, to the referrer.
    domains: HashMap<String, Arc<Referrer>>,
}

/// One source of visits.
#[derive(Debug, PartialEq)]
struct Referrer {
    medium: String,
    source: String,
    /// Names of the query parameters that hold the search term.
    parameters: Vec<String>,
}

const NAME: &str = "referer_parser";

impl RefererParser {
    pub(super) fn assets(document: &ConfigDocument) -> Result<Vec<String>, ConfigError> {
        Ok(vec![database_uri(&document.settings())?])
    }

    pub(super) fn build(document: &ConfigDocument, assets: &Assets) -> Result<Arc<dyn Enrichment>, ConfigError> {
        let settings = document.settings();
        let file = assets.get(&database_uri(&settings)?)?;
        Ok(Arc::new(Self::new(document.id("referer-parser"), settings, file)?))
    }

    fn new(id: EnrichmentRef, settings: Settings<'_>, file: &[u8]) -> Result<Self, ConfigError> {
        let internal = settings.texts("internalDomains")?.into_iter().map(|domain| domain.trim().to_owned()).collect();
        let mut domains = HashMap::new();
        add_referrers(&read_database(file)?, &mut domains)?;
        if let Some(custom) = settings.member("referrers") {
            add_referrers(custom, &mut domains)?;
        }
        Ok(RefererParser { id, internal, domains })
    }

    /// Looks for the full path, its first segment and no path, each with the host and its parent domains.
    fn find(&self, host: &str, path: &str) -> Option<&Referrer> {
        let segment = path.split('/').find(|segment| !segment.is_empty());
        let candidates = match segment {
            Some(segment) => [Some((path, "")), Some(("/", segment)), Some(("", ""))],
            None => [None, None, Some(("", ""))],
        };
        let mut key = String::with_capacity(host.len() + path.len());
        for (slash, rest) in candidates.into_iter().flatten() {
            key.clear();
            key.push_str(host);
            key.push_str(slash);
            key.push_str(rest);
            let labels = host.bytes().enumerate().filter_map(|(at, byte)| (byte == b'.').then_some(at + 1));
            let found = std::iter::once(0).chain(labels).find_map(|start| self.domains.get(&key[start..]));
            if found.is_some() {
                return found.map(Arc::as_ref);
            }
        }
        None
    }
}

fn database_uri(settings: &Settings<'_>) -> Result<String, ConfigError> {
    Ok(Settings::asset_uri(settings.text("uri")?, settings.text("database")?))
}

fn refusal(reason: impl std::fmt::Display) -> ConfigError {
    ConfigError::Invalid { enrichment: NAME, reason: format!("Can't decode referers: {reason}") }
}

/// The database is JSON; the published source of it is YAML, which is read too.
fn read_database(file: &[u8]) -> Result<Value, ConfigError> {
    match serde_json::from_slice(file) {
        Ok(database) => Ok(database),
        Err(json) => {
            serde_yaml_ng::from_slice::<Value>(file).ok().filter(Value::is_object).ok_or_else(|| refusal(json))
        }
    }
}

/// Adds `{medium: {source: {domains, parameters}}}`; of two entries for one domain the later counts.
fn add_referrers(database: &Value, domains: &mut HashMap<String, Arc<Referrer>>) -> Result<(), ConfigError> {
    let mediums = database.as_object().ok_or_else(|| refusal("Referers json must be an object"))?;
    for (medium, sources) in mediums {
        let sources = sources.as_object().ok_or_else(|| refusal(format!("medium {medium} must be an object")))?;
        for (source, entry) in sources {
            let texts = |name: &str| -> Result<Vec<String>, ConfigError> {
                let list: Option<Vec<String>> = match entry.get(name) {
                    None | Some(Value::Null) if name == "parameters" => Some(Vec::new()),
                    Some(Value::Array(items)) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
                    _ => None,
                };
                list.ok_or_else(|| refusal(format!("{medium}: {source}: {name} must be a list of strings")))
            };
            let referrer =
                Arc::new(Referrer { medium: medium.clone(), source: source.clone(), parameters: texts("parameters")? });
            domains.extend(texts("domains")?.into_iter().map(|domain| (domain, Arc::clone(&referrer))));
        }
    }
    Ok(())
}

/// The value of the query's first parameter with one of these names.
fn term(query: &str, names: &[String]) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').filter(|(name, _)| !name.is_empty()).unwrap_or((pair, ""));
        let name = form_decode(name);
        names.contains(&name).then(|| form_decode(value))
    })
}

fn form_decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

impl Enrichment for RefererParser {
    fn step(&self) -> Step {
        Step::RefererParser
    }

    fn id(&self) -> &EnrichmentRef {
        &self.id
    }

    fn enrich(&self, view: &mut View<'_>) {
        let Some(referrer) = view.referrer else { return };
        let (Some("http" | "https" | "android-app"), Some(host), Some(path)) =
            (referrer.scheme(), referrer.host(), referrer.path())
        else {
            return;
        };
        if view.event.get(Column::PageUrlhost) == Some(host) || self.internal.contains(host) {
            view.event.set(Column::RefrMedium, "internal");
            return;
        }
        match self.find(host, path) {
            None => view.event.set(Column::RefrMedium, "unknown"),
            Some(known) => {
                convert::set_safe(view.event, Column::RefrMedium, &known.medium);
                convert::set_safe(view.event, Column::RefrSource, &known.source);
                if let Some(term) = referrer.query().and_then(|query| term(query, &known.parameters)) {
                    convert::set_safe(view.event, Column::RefrTerm, &term);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::uri::Uri;
    use serde_json::json;

    use super::*;

    fn parser(database: &Value) -> RefererParser {
        let document = ConfigDocument::from_json(&json!({
            "schema": "iglu:com.snowplowanalytics.snowplow/referer_parser/jsonschema/2-0-1",
            "data": {"parameters": {"internalDomains": [], "database": "d", "uri": "u"}},
        }))
        .unwrap();
        let file = database.to_string();
        RefererParser::new(document.id("referer-parser"), document.settings(), file.as_bytes()).unwrap()
    }

    fn database() -> Value {
        json!({
            "search": {"Finder": {"domains": ["finder.example", "images.example/finder"], "parameters": ["q", "p"]}},
            "social": {"Chatter": {"domains": ["images.example", "b.images.example"]}},
        })
    }

    #[test]
    fn a_path_on_a_parent_domain_beats_the_full_host() {
        let parser = parser(&database());
        let source = |host, path| parser.find(host, path).map(|found| found.source.as_str());
        assert_eq!(source("b.images.example", "/finder/x"), Some("Finder"));
        assert_eq!(source("b.images.example", "//finder"), Some("Finder"));
        assert_eq!(source("b.images.example", "/x"), Some("Chatter"));
        assert_eq!(source("a.b.images.example", "/"), Some("Chatter"));
        assert_eq!(source("images.example.org", "/"), None);
        assert_eq!(source("xfinder.example", ""), None);
    }

    #[test]
    fn the_first_named_parameter_of_the_query_is_the_term() {
        let names = ["q".to_owned(), "p".to_owned()];
        assert_eq!(term("a=1&p=two&q=one", &names).as_deref(), Some("two"));
        assert_eq!(term("q", &names).as_deref(), Some(""));
        assert_eq!(term("%71=caf%C3%A9+%zz", &names).as_deref(), Some("café %zz"));
        assert_eq!(term("=q&Q=1", &names), None);
        assert_eq!(term("q=1", &[]), None);
    }

    #[test]
    fn a_broken_database_is_refused_with_the_reason() {
        let mut domains = HashMap::new();
        for broken in [json!([]), json!({"search": 1}), json!({"search": {"a": {"domains": [1]}}})] {
            let error = add_referrers(&broken, &mut domains).unwrap_err().to_string();
            assert!(error.contains("Can't decode referers: "), "{error}");
        }
        assert!(read_database(b"\xff{").is_err());
        assert!(read_database(b"just words").is_err());
    }

    #[test]
    fn yaml_databases_are_read_too() {
        let database = read_database(b"search:\n  Finder:\n    domains:\n      - finder.example\n").unwrap();
        assert_eq!(database, json!({"search": {"Finder": {"domains": ["finder.example"]}}}));
    }

    /// The public test data of the referer-parser project, of which we need no copy.
    #[test]
    fn the_public_test_cases_pass() {
        let Some(folder) = super::super::tests::shared("data/referer-parser/resources") else { return };
        let database = read_database(&std::fs::read(folder.join("referers.yml")).unwrap()).unwrap();
        let cases: Vec<Value> =
            serde_json::from_slice(&std::fs::read(folder.join("referer-tests.json")).unwrap()).unwrap();
        let parser = parser(&database);
        let mut failed = Vec::new();
        for case in &cases {
            let text = |name: &str| case[name].as_str();
            let uri = Uri::parse(text("uri").unwrap()).unwrap();
            let found = parser.find(uri.host().unwrap_or_default(), uri.path().unwrap_or_default());
            // Which sites are one's own is not in the database.
            if text("medium") == Some("internal") {
                continue;
            }
            let term = found.and_then(|known| term(uri.query()?, &known.parameters)).filter(|term| !term.is_empty());
            let medium = Some(found.map_or("unknown", |known| &known.medium));
            let source = found.map(|known| known.source.as_str());
            if (medium, source, term.as_deref()) != (text("medium"), text("source"), text("term")) {
                failed.push(format!("{}: got {medium:?} {source:?} {term:?}", case["spec"]));
            }
        }
        assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
    }
}
