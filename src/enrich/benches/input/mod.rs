//! What the benches enrich: page views with three entities, and the six enrichments of a usual pipeline.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use snowmelt_enrich::enrichments::{Assets, ConfigDocument, Enrichments};
use snowmelt_enrich::{Context, Enrich, EnrichConfig, Outputs, RecordSeed, Scratch};
use snowmelt_iglu::{Resolver, ResolverConfig, ResolverOptions, system_clock};
use snowmelt_protocol::badrow::Processor;
use snowmelt_protocol::payload::{CollectorPayload, SCHEMA};
use snowmelt_shop::{PageViews, ShopRequest};

/// 2023-11-14T22:15:00.456Z
pub const NOW_MICROS: i64 = 1_700_000_100_456_000;

/// The records a collector makes of page views with three entities; browsers and addresses repeat.
pub fn page_views(count: usize) -> Vec<Vec<u8>> {
    PageViews::new(1).take(count).map(|request| record(&request)).collect()
}

fn record(request: &ShopRequest) -> Vec<u8> {
    let header = |name: &str| request.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    let shown = request.headers.iter().map(|(name, value)| format!("{name}: {value}").into());
    let usual = (0..4).map(|nth| format!("X-Header-{nth}: some value of a usual length").into());
    let payload = CollectorPayload {
        schema: Some(SCHEMA.into()),
        ip_address: header("X-Forwarded-For").map(Cow::Borrowed),
        timestamp: NOW_MICROS / 1_000 - 333,
        encoding: Some("UTF-8".into()),
        collector: Some("ssc-3.4.0-kinesis".into()),
        user_agent: header("User-Agent").map(Cow::Borrowed),
        referer_uri: header("Referer").map(Cow::Borrowed),
        path: Some(request.path_and_query.as_str().into()),
        body: request.body.as_deref().map(|body| Cow::Borrowed(body.as_bytes())),
        headers: Some(shown.chain(usual).collect()),
        content_type: request.content_type.map(Cow::Borrowed),
        hostname: Some("collector.example.com".into()),
        network_userid: Some("6d7d6a5c-1e4b-4d0c-9d7e-2f4f5b8c9a10".into()),
        ..CollectorPayload::default()
    };
    let mut bytes = Vec::new();
    payload.encode(&mut bytes);
    bytes
}

/// A file of the folder that is shared between workspaces.
pub fn shared(name: &str) -> Option<Vec<u8>> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("SNOWMELT_SHARED").map_or(own, PathBuf::from).join("data").join(name);
    let content = std::fs::read(&path).ok();
    if content.is_none() {
        println!("skipped: {} is missing", path.display());
    }
    content
}

pub const CITIES: &str = "geoip/test-data/GeoIP2-City-Test.mmdb";
pub const AGENT_RULES: &str = "uap-core/regexes.yaml";
pub const REFERRERS: &str = "referer-parser/resources/referers.yml";

/// The documents of the six enrichments of a usual pipeline, and the files of `../shared` that they name; none where one is
/// missing.
pub fn documents() -> Option<(Vec<ConfigDocument>, Assets)> {
    let core = "com.snowplowanalytics.snowplow";
    let file = |name: &str| json!({"uri": "http://files", "database": name});
    let mut referrers = file("referers");
    referrers["internalDomains"] = json!(["shop.example.com"]);
    let fields = json!({
        "mktMedium": ["utm_medium"], "mktSource": ["utm_source"], "mktTerm": ["utm_term"],
        "mktContent": ["utm_content"], "mktCampaign": ["utm_campaign"]});
    let configurations = [
        ("ip_lookups/jsonschema/2-0-0", json!({"geo": file("cities")})),
        ("ua_parser_config/jsonschema/1-0-1", file("agents")),
        ("referer_parser/jsonschema/2-0-0", referrers),
        ("campaign_attribution/jsonschema/1-0-1", json!({"fields": fields})),
        ("event_fingerprint_config/jsonschema/1-0-1", json!({"hashAlgorithm": "MD5", "excludeParameters": EXCLUDED})),
        ("anon_ip/jsonschema/1-0-1", json!({"anonOctets": 1, "anonSegments": 4})),
    ];
    let document = |(name, parameters): (&str, Value)| {
        let data = json!({"vendor": core, "name": "n", "enabled": true, "parameters": parameters});
        ConfigDocument::from_json(&json!({"schema": format!("iglu:{core}/{name}"), "data": data})).expect(name)
    };
    let mut assets = Assets::new();
    for (name, path) in [("cities", CITIES), ("agents", AGENT_RULES), ("referers", REFERRERS)] {
        assets.insert(format!("http://files/{name}"), shared(path)?.into());
    }
    Some((configurations.map(document).into(), assets))
}

/// All six.
#[allow(dead_code)] // not every bench has them so
pub fn six_enrichments() -> Option<Enrichments> {
    let (documents, assets) = documents()?;
    Some(Enrichments::build(&documents, &assets).expect("the documents are right"))
}

/// Parameters that the fingerprint leaves out.
pub const EXCLUDED: [&str; 4] = ["cv", "eid", "nuid", "stm"];

/// A resolver over the schemas that are shipped, with all in memory that these records need: as a pipeline has them
/// after its first second.
pub fn resolver(records: &[Vec<u8>], enrich: &Enrich) -> Arc<Resolver> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/iglu");
    let config = json!({
        "schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3",
        "data": {"cacheSize": 500, "repositories": [{
            "name": "Shipped", "priority": 0, "vendorPrefixes": [], "connection": {"embedded": {"path": folder}}}]},
    });
    let config = ResolverConfig::parse(&config).expect("the configuration is right");
    let resolver = Resolver::new(&config, ResolverOptions::default(), system_clock()).expect("a resolver");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
    let (mut scratch, mut out) = (Scratch::new(), Outputs::default());
    for record in records {
        let cx = Context { now_micros: NOW_MICROS, schemas: &resolver, seed: RecordSeed::new("raw", b"1") };
        for _ in 0..8 {
            let Err(needs) = enrich.record(record, &cx, &mut scratch, &mut out) else { break };
            for key in needs.schemas {
                runtime.block_on(resolver.resolve(&key)).expect("a schema that is shipped");
            }
        }
    }
    assert!(out.bad.is_empty(), "{:?}", out.bad.first());
    assert!(out.good.len() >= records.len());
    Arc::new(resolver)
}

/// Enrichment as a pipeline has it.
pub fn enrich(enrichments: Enrichments) -> Enrich {
    Enrich::new(EnrichConfig::new(Processor::new("snowmelt-enrich", "0.1.0")), enrichments)
}
