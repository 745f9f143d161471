//! The steps of enriching an event, each alone, with the fastest crate for it that we know.

use std::collections::HashMap;
use std::hint::black_box;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::Value;
use snowmelt_enrich::{Context, Enrich, Outputs, RecordSeed, Scratch, Uri};
use snowmelt_iglu::{Resolver, Schema, SchemaSource};
use snowmelt_protocol::document::{Document, Node};
use snowmelt_protocol::event::{Column, EnrichedEvent};
use snowmelt_protocol::payload::CollectorPayload;

use crate::Best;
use crate::input::{self, EXCLUDED};

/// One step, over a slice of the events.
pub struct Step<'s> {
    pub name: &'static str,
    /// Which crate does it.
    pub by: &'static str,
    pub run: Box<dyn FnMut(Range<usize>) + 's>,
    pub best: Best,
}

/// What one event holds, taken apart before the clock starts.
struct Parts {
    body: String,
    encoded: String,
    contexts: String,
    judged: Vec<Judged>,
    agent: String,
    page: String,
    referrer: Option<String>,
    address: String,
    fingerprinted: Vec<u8>,
    /// The columns of the enriched event.
    columns: Vec<(Column, String)>,
}

/// Something that is validated, as a tree and as the document that enrichment has.
struct Judged {
    schema: Arc<Schema>,
    tree: Value,
    node: Node<'static>,
}

/// All steps over these records.
pub fn all<'s>(records: &'s [Vec<u8>], enrich: &Enrich, resolver: &Resolver) -> Vec<Step<'s>> {
    let parts: Arc<[Parts]> = records.iter().map(|record| Parts::of(record, enrich, resolver)).collect();
    let mut steps = vec![Step {
        name: "thrift",
        by: "snowmelt-protocol",
        run: Box::new(move |slice| {
            for record in &records[slice] {
                black_box(CollectorPayload::decode(black_box(record)).is_ok());
            }
        }),
        best: Best::default(),
    }];
    let mut add = |name, by, mut work: Box<dyn FnMut(&Parts)>| {
        let parts = Arc::clone(&parts);
        let run = Box::new(move |slice: Range<usize>| parts[slice].iter().for_each(&mut work));
        steps.push(Step { name, by, run, best: Best::default() });
    };
    add("body: JSON", "sonic-rs", Box::new(|parts| parse(&parts.body)));
    add("body: JSON", "snowmelt-protocol", read(|parts| &parts.body));
    let mut decoded = Vec::new();
    add(
        "contexts: base64",
        "base64-simd",
        Box::new(move |parts| {
            decoded.clear();
            let done = base64_simd::URL_SAFE_NO_PAD.decode_append(&parts.encoded, &mut decoded);
            black_box((done.is_ok(), &decoded));
        }),
    );
    add("contexts: JSON", "sonic-rs", Box::new(|parts| parse(&parts.contexts)));
    add("contexts: JSON", "snowmelt-protocol", read(|parts| &parts.contexts));
    let validators = validators(&parts);
    add(
        "six validations",
        "jsonschema, of trees",
        Box::new(move |parts| {
            for judged in &parts.judged {
                black_box(validators[judged.schema.key().uri()].is_valid(&judged.tree));
            }
        }),
    );
    add(
        "six validations",
        "snowmelt-iglu, of documents",
        Box::new(|parts| {
            for judged in &parts.judged {
                black_box(judged.schema.check_document(Some(judged.node)).is_ok());
            }
        }),
    );
    let urls = |parts: &Parts, parse: fn(&str) -> bool| {
        black_box(parse(&parts.page));
        black_box(parts.referrer.as_deref().map(parse));
    };
    add("page and referrer", "url", Box::new(move |parts| urls(parts, |text| url::Url::parse(text).is_ok())));
    add("page and referrer", "snowmelt-enrich", Box::new(move |parts| urls(parts, |text| Uri::parse(text).is_ok())));
    add(
        "campaign: query",
        "form_urlencoded",
        Box::new(|parts| {
            let query = parts.page.split_once('?').map_or("", |(_, query)| query);
            black_box(url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "utm_source").count());
        }),
    );
    lookups(&parts, &mut add);
    let mut hex = [0; 16];
    add(
        "event fingerprint",
        "md-5",
        Box::new(move |parts| {
            hex.copy_from_slice(&Md5::digest(&parts.fingerprinted));
            black_box(&hex);
        }),
    );
    let mut event = EnrichedEvent::new();
    add(
        "columns and line",
        "snowmelt-protocol",
        Box::new(move |parts| {
            event.clear();
            for (column, text) in &parts.columns {
                event.set(*column, text);
            }
            let mut line = String::new();
            event.write_tsv(&mut line);
            black_box(Bytes::from(line));
        }),
    );
    steps
}

fn parse(text: &str) {
    black_box(sonic_rs::from_str::<sonic_rs::Value>(black_box(text)).is_ok());
}

/// Our own reader, into a document that is used again and again.
fn read(text: fn(&Parts) -> &String) -> Box<dyn FnMut(&Parts)> {
    let mut document = Document::new();
    Box::new(move |parts| {
        black_box(document.parse(black_box(text(parts)), 50).is_ok());
    })
}

/// Look-ups of address, browser and referrer.
fn lookups(parts: &[Parts], add: &mut impl FnMut(&'static str, &'static str, Box<dyn FnMut(&Parts)>)) {
    let cities = input::shared(input::CITIES).unwrap_or_default();
    let cities = maxminddb::Reader::from_source(Bytes::from(cities)).expect("a database");
    add(
        "address: city",
        "maxminddb",
        Box::new(move |parts| {
            let address: IpAddr = parts.address.parse().expect("an address");
            let found = cities.lookup(address).ok().and_then(|found| found.decode::<City<'_>>().ok().flatten());
            black_box(found.is_some());
        }),
    );
    let agents: HashMap<String, Arc<str>, ahash::RandomState> =
        parts.iter().map(|parts| (parts.agent.clone(), "x".repeat(400).into())).collect();
    add("user agent: known", "ahash", Box::new(move |parts| drop(black_box(agents.get(&parts.agent).cloned()))));
    let hosts: HashMap<String, u32, ahash::RandomState> = [("www.google.com".to_owned(), 1)].into_iter().collect();
    add(
        "referrer: host",
        "ahash",
        Box::new(move |parts| {
            let host = parts.referrer.as_deref().and_then(|text| text.split('/').nth(2)).unwrap_or_default();
            black_box(hosts.get(host));
        }),
    );
}

type Validators = HashMap<String, jsonschema::Validator, ahash::RandomState>;

fn validators(parts: &[Parts]) -> Validators {
    let mut validators = Validators::default();
    for Judged { schema, .. } in parts.iter().flat_map(|parts| &parts.judged) {
        validators.entry(schema.key().uri().to_owned()).or_insert_with(|| {
            let mut document = schema.document().clone();
            document.as_object_mut().map(|members| members.remove("$schema"));
            let options = jsonschema::options().with_draft(jsonschema::Draft::Draft4).should_validate_formats(true);
            options.build(&document).expect("a schema that is shipped")
        });
    }
    validators
}

impl Parts {
    fn of(record: &[u8], enrich: &Enrich, resolver: &Resolver) -> Self {
        let payload = CollectorPayload::decode(record).expect("a record");
        let body = payload.body_text().expect("a body").into_owned();
        let root: Value = serde_json::from_str(&body).expect("JSON");
        let text = |name: &str| root["data"][0][name].as_str().map(str::to_owned);
        let encoded = text("cx").expect("contexts");
        let decoded = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(&encoded).expect("base64");
        let contexts = String::from_utf8(decoded).expect("a text");

        let (mut scratch, mut out) = (Scratch::new(), Outputs::default());
        let cx = Context { now_micros: input::NOW_MICROS, schemas: resolver, seed: RecordSeed::new("raw", b"1") };
        enrich.record(record, &cx, &mut scratch, &mut out).expect("all schemas are in memory");
        let line = std::str::from_utf8(&out.good[0].data).expect("a text");
        let event = EnrichedEvent::parse_tsv(line).expect("a line");
        let columns = Column::ALL.iter().filter_map(|&column| Some((column, event.get(column)?.to_owned())));

        let mut judged = vec![of(&root, resolver)];
        for text in [&contexts, event.get(Column::DerivedContexts).expect("a browser")] {
            let contexts: Value = serde_json::from_str(text).expect("JSON");
            judged.extend(contexts["data"].as_array().expect("a list").iter().map(|entity| of(entity, resolver)));
            if judged.len() < 5 {
                judged.push(of(&contexts, resolver));
            }
        }
        assert_eq!(judged.len(), 6);

        let mut pairs: Vec<_> = root["data"][0].as_object().expect("an object").iter().collect();
        pairs.retain(|(name, _)| !EXCLUDED.contains(&name.as_str()));
        pairs.sort_unstable_by_key(|(name, _)| name.as_str());
        let mut fingerprinted = Vec::new();
        for (name, value) in pairs {
            for text in [name.as_str(), value.as_str().unwrap_or_default()] {
                fingerprinted.extend_from_slice(text.as_bytes());
                fingerprinted.push(0x1f);
            }
        }
        Parts {
            agent: payload.user_agent.clone().unwrap_or_default().into_owned(),
            address: payload.ip_address.clone().unwrap_or_default().into_owned(),
            page: text("url").expect("a page"),
            referrer: text("refr"),
            columns: columns.collect(),
            body,
            encoded,
            contexts,
            judged,
            fingerprinted,
        }
    }
}

fn of(entity: &Value, resolver: &Resolver) -> Judged {
    let key = entity["schema"].as_str().expect("a key").parse().expect("a key");
    let schema = resolver.lookup(&key).expect("in memory").expect("a schema");
    let tree = entity["data"].clone();
    // For ever, as far as a bench is concerned.
    let (document, text) = (Box::leak(Box::default()), Box::leak(tree.to_string().into_boxed_str()));
    let node = Document::parse(document, text, 50).expect("printed JSON is JSON");
    Judged { schema, tree, node }
}

/// What becomes columns.
#[derive(Deserialize, Default)]
#[serde(default)]
#[allow(dead_code)] // read to be measured
struct City<'a> {
    #[serde(borrow)]
    city: Named<'a>,
    #[serde(borrow)]
    country: Coded<'a>,
    #[serde(borrow)]
    location: Location<'a>,
    #[serde(borrow)]
    postal: Coded<'a>,
    #[serde(borrow)]
    subdivisions: Vec<Named<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
#[allow(dead_code)]
struct Named<'a> {
    #[serde(borrow)]
    names: Names<'a>,
    iso_code: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
#[allow(dead_code)]
struct Names<'a> {
    en: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
#[allow(dead_code)]
struct Coded<'a> {
    iso_code: Option<&'a str>,
    code: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
#[allow(dead_code)]
struct Location<'a> {
    latitude: Option<f64>,
    longitude: Option<f64>,
    time_zone: Option<&'a str>,
}
