//! The six enrichments of a usual pipeline, with made-up databases: what the enricher is loaded with unless it is told
//! otherwise.

use serde_json::{Value, json};
use snowmelt_enrich::Enrich;
use snowmelt_enrich::enrichments::{Assets, ConfigDocument, Enrichments};
use snowmelt_runtime::failure::explain;

use super::cities::{self, Network};
use crate::run::enriching;
use crate::trouble::{Outcome, Trouble};

const CITIES: &str = "cities.mmdb";
const REFERRERS: &str = "referers.json";

/// Enrichment with ip_lookups, ua_parser, referer_parser, campaign_attribution, event_fingerprint and anon_ip. The
/// addresses of these networks are found.
///
/// # Errors
/// None, unless this file is wrong.
pub fn enrich(seed: u64, networks: &[Network]) -> Outcome<Enrich> {
    let wrong = |error: &dyn std::error::Error| Trouble::Machine(explain(error));
    let file = |name: &str| json!({"uri": "load:", "database": name});
    let mut referrers = file(REFERRERS);
    referrers["internalDomains"] = json!(["shop.example.com"]);
    let fields = json!({
        "mktMedium": ["utm_medium"], "mktSource": ["utm_source"], "mktTerm": ["utm_term"],
        "mktContent": ["utm_content"], "mktCampaign": ["utm_campaign"]});
    let excluded = json!(["cv", "eid", "nuid", "stm"]);
    let documents = [
        ("ip_lookups/jsonschema/2-0-0", json!({"geo": file(CITIES)})),
        ("ua_parser_config/jsonschema/1-0-1", json!({})),
        ("referer_parser/jsonschema/2-0-0", referrers),
        ("campaign_attribution/jsonschema/1-0-1", json!({"fields": fields})),
        ("event_fingerprint_config/jsonschema/1-0-1", json!({"hashAlgorithm": "MD5", "excludeParameters": excluded})),
        ("anon_ip/jsonschema/1-0-1", json!({"anonOctets": 1, "anonSegments": 4})),
    ];
    let mut parsed = Vec::with_capacity(documents.len());
    for (name, parameters) in documents {
        let data = json!({"vendor": VENDOR, "name": "load", "enabled": true, "parameters": parameters});
        let document = json!({"schema": format!("iglu:{VENDOR}/{name}"), "data": data});
        parsed.push(ConfigDocument::from_json(&document).map_err(|error| wrong(&error))?);
    }
    let mut assets = Assets::new();
    for uri in Enrichments::assets(&parsed).map_err(|error| wrong(&error))? {
        let content = match uri.ends_with(CITIES) {
            true => cities::database(seed, networks),
            false => referers().to_string().into_bytes(),
        };
        assets.insert(uri, content.into());
    }
    let enrichments = Enrichments::build(&parsed, &assets).map_err(|error| wrong(&error))?;
    Ok(Enrich::new(enriching::config(None)?, enrichments))
}

const VENDOR: &str = "com.snowplowanalytics.snowplow";

/// Where the shop's visitors come from, among sites that send nobody.
fn referers() -> Value {
    let mut search = serde_json::Map::new();
    for number in 0..300 {
        let domains = [format!("www.search-{number}.example"), format!("search-{number}.example")];
        search.insert(format!("Search {number}"), json!({"domains": domains, "parameters": ["q"]}));
    }
    search.insert("Google".into(), json!({"domains": ["www.google.com", "google.com"], "parameters": ["q"]}));
    search.insert("Bing".into(), json!({"domains": ["www.bing.com", "bing.com"], "parameters": ["q"]}));
    let social = json!({
        "Facebook": {"domains": ["facebook.com", "l.facebook.com"]},
        "Hacker News": {"domains": ["news.ycombinator.com"]},
    });
    json!({"search": search, "social": social})
}

#[cfg(test)]
mod tests {
    use snowmelt_enrich::{Context, Outputs, RecordSeed, Scratch};
    use snowmelt_protocol::event::{Column, TsvRow};
    use snowmelt_runtime::Clock;

    use super::*;
    use crate::load::input;
    use crate::run::settings;

    #[test]
    fn a_page_view_gets_something_from_each_of_the_six() {
        let (corpus, networks) = input::page_views(1, 300).unwrap();
        let enrich = enrich(1, &networks).unwrap();
        let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let resolver = settings::resolver(&workspace.join("pipelines/iglu/resolver.json"), &Clock::system()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (mut scratch, mut out) = (Scratch::new(), Outputs::default());
        for (_, record) in corpus.records() {
            let cx = Context { now_micros: 1, schemas: &*resolver, seed: RecordSeed::new("load", b"1") };
            while let Err(needs) = enrich.record(record, &cx, &mut scratch, &mut out) {
                needs.schemas.iter().for_each(|key| drop(runtime.block_on(resolver.resolve(key)).unwrap()));
            }
        }
        assert_eq!((out.good.len(), out.bad.len()), (300, 0));
        let seen = |column: Column| {
            let has = |line: &&snowmelt_enrich::OutRecord| {
                TsvRow::parse(std::str::from_utf8(&line.data).unwrap()).unwrap().get(column).is_some()
            };
            out.good.iter().filter(has).count()
        };
        for column in [Column::GeoCity, Column::GeoLatitude, Column::DerivedContexts, Column::EventFingerprint] {
            assert_eq!(seen(column), 300, "{column:?}");
        }
        assert!(seen(Column::RefrSource) > 0 && seen(Column::MktSource) > 0);
        assert!(out.good.iter().all(|line| String::from_utf8_lossy(&line.data).contains(".x\t")));
    }
}
