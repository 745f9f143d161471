//! What enrichment promises its callers, without the shared vectors.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};
use snowmelt_enrich::enrichments::{Enrichment, Enrichments, Step, View};
use snowmelt_enrich::{Context, Enrich, EnrichConfig, Needs, Outputs, RecordSeed, Scratch};
use snowmelt_iglu::{Lookup, LookupHistory, RegistryError, ResolutionError, SchemaKey, SchemaSource};
use snowmelt_protocol::badrow::{EnrichmentRef, Processor};
use snowmelt_protocol::container::{Compression, ContainerWriter};
use snowmelt_protocol::event::{Column, EnrichedEvent, TsvRow};
use snowmelt_protocol::payload::{CollectorPayload, SCHEMA};

use crate::support::{NOW_MICROS, Schemas};

pub(super) const SEED: &[u8] = b"49590338271490256608559692538361571095921575989136588898";

pub(super) fn config() -> EnrichConfig {
    EnrichConfig::new(Processor::new("snowmelt-enrich", "0.1.0"))
}

fn user_schema() -> Value {
    json!({
        "$schema": "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#",
        "self": {"vendor": "com.acme", "name": "user", "format": "jsonschema", "version": "1-0-0"},
        "type": "object", "properties": {"id": {"type": "number"}}, "required": ["id"], "additionalProperties": false,
    })
}

/// A tp2 POST of these events.
pub(super) fn post(events: &[Value]) -> Vec<u8> {
    let body = json!({"schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4", "data": events});
    let payload = CollectorPayload {
        schema: Some(SCHEMA.into()),
        encoding: Some("UTF-8".into()),
        collector: Some("ssc".into()),
        timestamp: 1_700_000_000_123,
        path: Some("/com.snowplowanalytics.snowplow/tp2".into()),
        content_type: Some("application/json".into()),
        body: Some(Cow::Owned(body.to_string().into_bytes())),
        ..CollectorPayload::default()
    };
    let mut bytes = Vec::new();
    payload.encode(&mut bytes);
    bytes
}

pub(super) fn page_view(user: &str) -> Value {
    let contexts = format!(
        r#"{{ "data": [{{"data": {{"id": {user}}}, "schema": "iglu:com.acme/user/jsonschema/1-0-0"}}],
             "schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0" }}"#
    );
    json!({"e": "pv", "p": "web", "tv": "t", "uid": user, "co": contexts})
}

fn enriched(enrich: &Enrich, record: &[u8]) -> Outputs {
    let mut out = Outputs::default();
    Schemas::new(&[user_schema()]).enrich(enrich, record, RecordSeed::new("raw", SEED), &mut out);
    out
}

#[test]
fn numbers_in_entities_keep_their_text_and_envelopes_their_order() {
    let out = enriched(&Enrich::new(config(), Enrichments::default()), &post(&[page_view("1.50")]));
    let line = std::str::from_utf8(&out.good[0].data).unwrap();
    let row = TsvRow::parse(line).unwrap();
    assert_eq!(
        row.text(Column::Contexts),
        r#"{"schema":"iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1","data":[{"schema":"iglu:com.acme/user/jsonschema/1-0-0","data":{"id":1.50}}]}"#
    );
    assert_eq!(row.text(Column::EtlTstamp), "2023-11-14 22:15:00.456");
}

#[test]
fn the_partition_key_is_the_configured_field_and_random_without_a_value() {
    let mut config = config();
    config.partition_key = Some(Column::UserId);
    let mut anonymous = page_view("2");
    anonymous.as_object_mut().unwrap().remove("uid");
    let out = enriched(&Enrich::new(config, Enrichments::default()), &post(&[page_view("1"), anonymous]));
    assert_eq!(out.good[0].partition_key, "1");
    assert_eq!(out.good[1].partition_key.len(), 36);
}

#[test]
fn a_compressed_record_gives_the_events_of_all_its_payloads_with_ids_of_their_own() {
    let enrich = Enrich::new(config(), Enrichments::default());
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut writer = ContainerWriter::new(compression, 3, 1_000_000);
        writer.append(&post(&[page_view("1"), page_view("2")])).unwrap();
        writer.append(&post(&[page_view("3")])).unwrap();
        let out = enriched(&enrich, &writer.finish().unwrap().unwrap());
        let mut ids: Vec<String> = out
            .good
            .iter()
            .map(|record| {
                TsvRow::parse(std::str::from_utf8(&record.data).unwrap()).unwrap().text(Column::EventId).to_owned()
            })
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), out.bad.len(), out.counts.raw), (3, 0, 2));
    }
}

/// A registry that is down.
struct Down;

impl SchemaSource for Down {
    fn lookup(&self, key: &SchemaKey) -> Option<Lookup> {
        (key.vendor() == "com.acme").then(|| {
            let history = LookupHistory { errors: vec![RegistryError::repo("503")], attempts: 3, last_attempt_ms: 1 };
            Err(Arc::new(ResolutionError { history: [("Central".to_owned(), history)].into() }))
        })
    }
}

#[test]
fn missing_schemas_are_named_each_once() {
    let enrich = Enrich::new(config(), Enrichments::default());
    let cx = Context { now_micros: NOW_MICROS, schemas: &Down, seed: RecordSeed::new("raw", SEED) };
    let mut out = Outputs::default();
    let contexts = page_view("1")["co"].as_str().unwrap().to_owned();
    let query: String = contexts.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut record = Vec::new();
    CollectorPayload {
        schema: Some(SCHEMA.into()),
        encoding: Some("UTF-8".into()),
        path: Some("/i".into()),
        querystring: Some(format!("e=pv&co={query}").into()),
        ..CollectorPayload::default()
    }
    .encode(&mut record);
    let Err(Needs { schemas, unreachable }) = enrich.record(&record, &cx, &mut Scratch::new(), &mut out) else {
        panic!("the envelope's schema is missing");
    };
    let uris: Vec<&str> = schemas.iter().map(SchemaKey::uri).collect();
    assert_eq!(uris, ["iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0"]);
    assert!(unreachable.is_empty() && out == Outputs::default());
}

/// Knows the standard schemas; the registry of all others is down.
pub(super) struct HalfDown(pub(super) Schemas);

impl SchemaSource for HalfDown {
    fn lookup(&self, key: &SchemaKey) -> Option<Lookup> {
        Down.lookup(key).or_else(|| Some(self.0.resolve(key)))
    }
}

#[test]
fn an_unreachable_registry_is_the_callers_business_and_no_bad_row() {
    let enrich = Enrich::new(config(), Enrichments::default());
    let schemas = HalfDown(Schemas::new(&[]));
    let cx = Context { now_micros: NOW_MICROS, schemas: &schemas, seed: RecordSeed::new("raw", SEED) };
    let mut out = Outputs::default();
    let record = post(&[page_view("1"), page_view("2")]);
    let needs = enrich.record(&record, &cx, &mut Scratch::new(), &mut out).unwrap_err();
    assert_eq!((needs.schemas.len(), needs.unreachable.len()), (0, 1));
    assert!(
        needs.to_string().starts_with("Could not reach Iglu Server for schema 'iglu:com.acme/user/jsonschema/1-0-0'.")
    );
    assert_eq!(out, Outputs::default());
}

/// Attaches an entity, valid or not.
#[derive(Debug)]
struct Attach(Step, &'static str, EnrichmentRef);

impl Enrichment for Attach {
    fn step(&self) -> Step {
        self.0
    }

    fn id(&self) -> &EnrichmentRef {
        &self.2
    }

    fn enrich(&self, view: &mut View<'_>) {
        view.add_entity("iglu:com.acme/user/jsonschema/1-0-0".parse().unwrap(), self.1.to_owned());
    }
}

#[test]
fn entities_of_later_steps_come_first_and_invalid_ones_are_told() {
    let attach = |step, data| -> Arc<dyn Enrichment> {
        Arc::new(Attach(step, data, EnrichmentRef { schema_key: "iglu:x".into(), identifier: "x".into() }))
    };
    let deep = Box::leak(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into_boxed_str());
    let derived = |out: &Outputs| -> Value {
        let record = out.good.first().or(out.failed.first()).unwrap();
        let row = std::str::from_utf8(&record.data).unwrap().split('\t').nth(Column::DerivedContexts.index()).unwrap();
        serde_json::from_str::<Value>(row).unwrap()["data"].clone()
    };
    let good = Enrichments::new(vec![attach(Step::Yauaa, r#"{"id":2}"#), attach(Step::UaParser, r#"{"id":1}"#)]);
    let out = enriched(&Enrich::new(config(), good), &post(&[page_view("1")]));
    assert_eq!(derived(&out)[0]["data"]["id"], 2);
    assert_eq!(derived(&out)[1]["data"]["id"], 1);

    for bad in [r#"{"id":"x"}"#, "nonsense", deep] {
        let mut config = config();
        config.failed_output = true;
        let enrichments = Enrichments::new(vec![attach(Step::Yauaa, bad), attach(Step::UaParser, r#"{"id":1}"#)]);
        let out = enriched(&Enrich::new(config, enrichments), &post(&[page_view("1")]));
        assert_eq!((out.good.len(), out.bad.len(), out.failed.len()), (0, 1, 1), "{out:?}");
        let derived = derived(&out);
        assert_eq!(derived[0]["data"]["errors"][0]["source"], "derived_contexts");
        assert_eq!(derived[1]["data"]["id"], 1);
    }
}

/// Pseudonymises the user id and tells the original one, as a later enrichment will.
#[derive(Debug)]
struct Pseudonymise(EnrichmentRef, &'static str);

impl Enrichment for Pseudonymise {
    fn step(&self) -> Step {
        Step::PiiPseudonymizer
    }

    fn id(&self) -> &EnrichmentRef {
        &self.0
    }

    fn enrich(&self, view: &mut View<'_>) {
        let Some(user) = view.event.get(Column::UserId).map(str::to_owned) else { return };
        let mut told = EnrichedEvent::new();
        told.set(Column::Event, "pii_transformation");
        told.set(Column::SeProperty, &self.1.replace("{}", &user));
        view.emit_pii(told);
        view.event.set(Column::UserId, "hashed");
    }
}

#[test]
fn events_about_pseudonymisation_go_out_with_good_events_only_and_never_into_bad_rows() {
    let enrich = |what: &'static str, config: EnrichConfig| {
        let id = EnrichmentRef { schema_key: "iglu:x".into(), identifier: "pii".into() };
        Enrich::new(config, Enrichments::new(vec![Arc::new(Pseudonymise(id, what))]))
    };
    let mut bad = page_view("2");
    bad["eid"] = json!("no uuid");
    let out = enriched(&enrich("was {}", config()), &post(&[page_view("1"), bad.clone(), page_view("3")]));
    assert_eq!((out.good.len(), out.bad.len(), out.pii.len()), (2, 1, 2));
    let column = |record: &snowmelt_enrich::OutRecord, column: Column| {
        TsvRow::parse(std::str::from_utf8(&record.data).unwrap()).unwrap().text(column).to_owned()
    };
    assert_eq!(column(&out.good[1], Column::UserId), "hashed");
    assert_eq!(column(&out.pii[0], Column::SeProperty), "was 1");
    assert_eq!(column(&out.pii[1], Column::SeProperty), "was 3");

    let large = "secret {} ".repeat(200).leak();
    let out = enriched(&enrich(large, EnrichConfig { max_record_bytes: 1_500, ..config() }), &post(&[page_view("1")]));
    assert_eq!((out.good.len(), out.bad.len(), out.pii.len()), (1, 1, 0));
    let row: Value = serde_json::from_slice(&out.bad[0].data).unwrap();
    assert_eq!(row["data"]["failure"]["expectation"], "PII event exceeds the maximum allowed size of 1500 bytes");
    assert!(!row.to_string().contains("secret"), "{row}");
}
