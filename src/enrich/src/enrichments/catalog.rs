//! Which configuration document makes which enrichment (enrichments 1.2).

use std::sync::Arc;

use snowmelt_iglu::SchemaCriterion;

use super::anon_ip::AnonIp;
use super::campaign_attribution::CampaignAttribution;
use super::event_fingerprint::EventFingerprint;
use super::ip_lookups::IpLookups;
use super::referer_parser::RefererParser;
use super::ua_parser::UaParser;
use super::{Assets, ConfigDocument, ConfigError, Enrichment};

/// How one enrichment is configured and built. To add an enrichment: write its file, put its functions here.
struct Kind {
    /// Schema name, which alone selects it.
    name: &'static str,
    vendor: &'static str,
    /// Model and revision that are supported; the addition is free.
    version: &'static str,
    /// All documents count, not only the last.
    several: bool,
    maker: Maker,
}

enum Maker {
    /// URIs of the files it needs, and how it is made from its document and them.
    Made { assets: AssetsOf, build: Build },
    /// Known to the original, not built yet.
    NotAvailable,
}

type AssetsOf = fn(&ConfigDocument) -> Result<Vec<String>, ConfigError>;
type Build = fn(&ConfigDocument, &Assets) -> Result<Arc<dyn Enrichment>, ConfigError>;

const CORE: &str = "com.snowplowanalytics.snowplow";
const ENRICHMENTS: &str = "com.snowplowanalytics.snowplow.enrichments";

const fn missing(name: &'static str, vendor: &'static str, version: &'static str) -> Kind {
    Kind { name, vendor, version, several: false, maker: Maker::NotAvailable }
}

const fn made(name: &'static str, vendor: &'static str, version: &'static str, assets: AssetsOf, build: Build) -> Kind {
    Kind { name, vendor, version, several: false, maker: Maker::Made { assets, build } }
}

/// For enrichments that need no file.
fn no_assets(_: &ConfigDocument) -> Result<Vec<String>, ConfigError> {
    Ok(Vec::new())
}

static KINDS: [Kind; 21] = [
    made("anon_ip", CORE, "1-0", no_assets, AnonIp::build),
    missing("api_request_enrichment_config", ENRICHMENTS, "1-0"),
    missing("asn_lookups", ENRICHMENTS, "1-0"),
    missing("bot_detection_enrichment_config", ENRICHMENTS, "1-0"),
    made("campaign_attribution", CORE, "1-0", no_assets, CampaignAttribution::build),
    missing("cookie_extractor_config", CORE, "1-0"),
    missing("cross_navigation_config", ENRICHMENTS, "1-0"),
    missing("currency_conversion_config", CORE, "1-0"),
    made("event_fingerprint_config", CORE, "1-0", no_assets, EventFingerprint::build),
    missing("event_spec_enrichment_config", ENRICHMENTS, "1-0"),
    missing("http_header_extractor_config", ENRICHMENTS, "1-0"),
    missing("iab_spiders_and_robots_enrichment", ENRICHMENTS, "1-0"),
    made("ip_lookups", CORE, "2-0", IpLookups::assets, IpLookups::build),
    Kind { several: true, ..missing("javascript_script_config", CORE, "1-0") },
    missing("pii_enrichment_config", ENRICHMENTS, "2-0"),
    made("referer_parser", CORE, "2-0", RefererParser::assets, RefererParser::build),
    missing("sql_query_enrichment_config", ENRICHMENTS, "1-0"),
    made("ua_parser_config", CORE, "1-0", UaParser::assets, UaParser::build),
    missing("user_agent_utils_config", CORE, "1-0"),
    missing("weather_enrichment_config", ENRICHMENTS, "1-0"),
    missing("yauaa_enrichment_config", ENRICHMENTS, "1-0"),
];

/// The documents that count, each with its kind.
fn select(documents: &[ConfigDocument]) -> Result<Vec<(&ConfigDocument, &'static Kind)>, ConfigError> {
    let mut selected: Vec<(&ConfigDocument, &'static Kind)> = Vec::new();
    for document in documents.iter().filter(|document| document.enabled()) {
        let name = document.schema.name();
        let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
            tracing::warn!(schema = %document.schema, "configuration of an unknown enrichment is ignored");
            continue;
        };
        check_version(document, kind).map_err(|error| document.named(error))?;
        if !kind.several {
            selected.retain(|(_, earlier)| earlier.name != kind.name);
        }
        selected.push((document, kind));
    }
    Ok(selected)
}

fn check_version(document: &ConfigDocument, kind: &Kind) -> Result<(), ConfigError> {
    let criterion = format!("iglu:{}/{}/jsonschema/{}-*", kind.vendor, kind.name, kind.version);
    let parsed: SchemaCriterion = criterion.parse()?;
    if parsed.matches(&document.schema) {
        return Ok(());
    }
    let (schema, name) = (document.schema.uri().to_owned(), kind.name.to_owned());
    Err(ConfigError::UnsupportedSchema { schema, name, criterion })
}

pub(super) fn assets(documents: &[ConfigDocument]) -> Result<Vec<String>, ConfigError> {
    let mut uris = Vec::new();
    for (document, kind) in select(documents)? {
        let found = match &kind.maker {
            Maker::Made { assets, .. } => assets(document),
            Maker::NotAvailable => Err(ConfigError::NotAvailable(kind.name.to_owned())),
        };
        uris.extend(found.map_err(|error| document.named(error))?);
    }
    Ok(uris)
}

pub(super) fn build(documents: &[ConfigDocument], assets: &Assets) -> Result<Vec<Arc<dyn Enrichment>>, ConfigError> {
    let build = |(document, kind): (&ConfigDocument, &Kind)| {
        let built = match &kind.maker {
            Maker::Made { build, .. } => build(document, assets),
            Maker::NotAvailable => Err(ConfigError::NotAvailable(kind.name.to_owned())),
        };
        built.map_err(|error| document.named(error))
    };
    select(documents)?.into_iter().map(build).collect()
}
