//! What the fuzz targets share: enrichment with the schemas that are built in, and what must hold of its output.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use snowmelt_enrich::enrichments::{Assets, ConfigDocument, Enrichments};
use snowmelt_enrich::{Context, Enrich, EnrichConfig, Outputs, RecordSeed, Scratch};
use snowmelt_iglu::{Lookup, Overlay, Resolver, ResolverConfig, ResolverOptions, SchemaKey};
use snowmelt_protocol::badrow::Processor;
use snowmelt_protocol::event::{EnrichedEvent, TsvRow};
use snowmelt_protocol::payload::{CollectorPayload, SCHEMA};

/// Everything happens at this moment, in microseconds since the epoch.
pub const NOW_MICROS: i64 = 1_700_000_000_123_456;

struct Bench {
    enrich: Enrich,
    resolver: Resolver,
    scratch: RefCell<Scratch>,
    known: RefCell<HashMap<SchemaKey, Lookup>>,
}

thread_local! {
    static BENCH: Bench = Bench::new();
}

impl Bench {
    fn new() -> Self {
        let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).expect("the text is JSON") };
        let resolver = r#"{"schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3",
            "data": {"cacheSize": 500, "repositories": []}}"#;
        let config = ResolverConfig::parse(&json(resolver)).expect("the document above is right");
        let resolver = Resolver::new(&config, ResolverOptions::default(), Arc::new(|| NOW_MICROS / 1000))
            .expect("there are no registries");
        let documents = [
            r#"{"schema": "iglu:com.snowplowanalytics.snowplow/campaign_attribution/jsonschema/1-0-1", "data": {
                "vendor": "v", "name": "n", "enabled": true, "parameters": {"mapping": "static", "fields": {
                "mktMedium": ["utm_medium"], "mktSource": ["utm_source"], "mktTerm": ["utm_term"],
                "mktContent": ["utm_content"], "mktCampaign": ["utm_campaign"]}}}}"#,
            r#"{"schema": "iglu:com.snowplowanalytics.snowplow/event_fingerprint_config/jsonschema/1-0-1", "data": {
                "vendor": "v", "name": "n", "enabled": true,
                "parameters": {"excludeParameters": ["eid"], "hashAlgorithm": "MD5"}}}"#,
            r#"{"schema": "iglu:com.snowplowanalytics.snowplow/anon_ip/jsonschema/1-0-1", "data": {
                "vendor": "v", "name": "n", "enabled": true, "parameters": {"anonOctets": 2, "anonSegments": 3}}}"#,
        ];
        let documents = documents.map(|text| ConfigDocument::from_json(&json(text)).expect("the documents are right"));
        let enrichments = Enrichments::build(&documents, &Assets::new()).expect("they need no files");
        let mut config = EnrichConfig::new(Processor::new("fuzz", "0.0.0"));
        config.failed_output = true;
        let enrich = Enrich::new(config, enrichments);
        Self { enrich, resolver, scratch: RefCell::default(), known: RefCell::default() }
    }

    /// Schemas are built in or not there: the answer never waits, so polling it once is enough.
    fn look_up(&self, key: &SchemaKey) -> Lookup {
        let mut known = self.known.borrow_mut();
        if known.len() > 10_000 {
            known.clear();
        }
        known.entry(key.clone()).or_insert_with(|| block_on(self.resolver.resolve(key))).clone()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::yield_now();
    }
}

/// Enriches a record and checks what must hold: good events have 131 columns, bad rows are JSON with a schema.
pub fn enrich(record: &[u8]) {
    BENCH.with(|bench| {
        let mut scratch = bench.scratch.borrow_mut();
        let mut out = Outputs::default();
        let seed = RecordSeed::new("fuzz", b"1");
        let mut answers: HashMap<SchemaKey, Lookup> = HashMap::new();
        for _ in 0..20 {
            let mut schemas = Overlay::new(&bench.resolver);
            answers.iter().for_each(|(key, answer)| schemas.insert(key.clone(), answer.clone()));
            let cx = Context { now_micros: NOW_MICROS, schemas: &schemas, seed };
            match bench.enrich.record(record, &cx, &mut scratch, &mut out) {
                Ok(()) => return check(&out),
                Err(needs) => {
                    assert!(needs.unreachable.is_empty(), "no registry can be unreachable");
                    answers.extend(needs.schemas.into_iter().map(|key| (key.clone(), bench.look_up(&key))));
                }
            }
        }
        panic!("schemas are still missing");
    });
}

fn check(out: &Outputs) {
    for event in out.good.iter().chain(&out.failed) {
        let line = std::str::from_utf8(&event.data).expect("a line is UTF-8");
        assert!(TsvRow::parse(line).is_ok(), "{line}");
        assert!(!line.contains('\n'));
        let mut again = String::new();
        EnrichedEvent::parse_tsv(line).expect("a line can be read").write_tsv(&mut again);
        assert_eq!(line, again);
    }
    for row in &out.bad {
        let row: serde_json::Value = serde_json::from_slice(&row.data).expect("a bad row is JSON");
        let schema: SchemaKey = row["schema"].as_str().expect("a schema").parse().expect("a schema's name");
        assert_eq!(schema.vendor(), "com.snowplowanalytics.snowplow.badrows");
    }
}

/// A record of a collector with this query string and body.
pub fn record(query: Option<&str>, body: Option<&[u8]>) -> Vec<u8> {
    let path = if body.is_some() { "/com.snowplowanalytics.snowplow/tp2" } else { "/i" };
    let payload = CollectorPayload {
        schema: Some(SCHEMA.into()),
        ip_address: Some("203.0.113.77".into()),
        timestamp: NOW_MICROS / 1000,
        encoding: Some("UTF-8".into()),
        collector: Some("ssc-fuzz".into()),
        path: Some(path.into()),
        querystring: query.map(Into::into),
        body: body.map(Into::into),
        content_type: body.map(|_| "application/json".into()),
        ..CollectorPayload::default()
    };
    let mut bytes = Vec::new();
    payload.encode(&mut bytes);
    bytes
}

