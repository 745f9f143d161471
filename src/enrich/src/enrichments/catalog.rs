//! Which configuration document makes which enrichment (enrichments 1.2).

use std::sync::Arc;

use snowmelt_iglu::SchemaCriterion;

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
    #[allow(dead_code)] // until the first enrichment stands here
    Made {
        assets: fn(&ConfigDocument) -> Result<Vec<String>, ConfigError>,
        build: fn(&ConfigDocument, &Assets) -> Result<Arc<dyn Enrichment>, ConfigError>,
    },
    /// Known to the original, not built yet.
    NotAvailable,
}

const CORE: &str = "com.snowplowanalytics.snowplow";
const ENRICHMENTS: &str = "com.snowplowanalytics.snowplow.enrichments";

const fn missing(name: &'static str, vendor: &'static str, version: &'static str) -> Kind {
    Kind { name, vendor, version, several: false, maker: Maker::NotAvailable }
}

static KINDS: [Kind; 21] = [
    missing("anon_ip", CORE, "1-0"),
    missing("api_request_enrichment_config", ENRICHMENTS, "1-0"),
    missing("asn_lookups", ENRICHMENTS, "1-0"),
    missing("bot_detection_enrichment_config", ENRICHMENTS, "1-0"),
    missing("campaign_attribution", CORE, "1-0"),
    missing("cookie_extractor_config", CORE, "1-0"),
    missing("cross_navigation_config", ENRICHMENTS, "1-0"),
    missing("currency_conversion_config", CORE, "1-0"),
    missing("event_fingerprint_config", CORE, "1-0"),
    missing("event_spec_enrichment_config", ENRICHMENTS, "1-0"),
    missing("http_header_extractor_config", ENRICHMENTS, "1-0"),
    missing("iab_spiders_and_robots_enrichment", ENRICHMENTS, "1-0"),
    missing("ip_lookups", CORE, "2-0"),
    Kind { several: true, ..missing("javascript_script_config", CORE, "1-0") },
    missing("pii_enrichment_config", ENRICHMENTS, "2-0"),
    missing("referer_parser", CORE, "2-0"),
    missing("sql_query_enrichment_config", ENRICHMENTS, "1-0"),
    missing("ua_parser_config", CORE, "1-0"),
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
        check_version(document, kind)?;
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
        if let Maker::Made { assets, .. } = &kind.maker {
            uris.extend(assets(document)?);
        }
    }
    Ok(uris)
}

pub(super) fn build(documents: &[ConfigDocument], assets: &Assets) -> Result<Vec<Arc<dyn Enrichment>>, ConfigError> {
    let build = |(document, kind): (&ConfigDocument, &Kind)| match &kind.maker {
        Maker::Made { build, .. } => build(document, assets),
        Maker::NotAvailable => Err(ConfigError::NotAvailable(kind.name.to_owned())),
    };
    select(documents)?.into_iter().map(build).collect()
}
