//! A batch of records gives what its records give one after the other.

use std::sync::Arc;

use serde_json::json;
use snowmelt_enrich::enrichments::{Assets, ConfigDocument, Enrichment, Enrichments, Step, View};
use snowmelt_enrich::{Batch, Context, Enrich, Lengths, Outputs, RecordSeed, Scratch};
use snowmelt_protocol::badrow::EnrichmentRef;
use snowmelt_protocol::event::{Column, TsvRow};

use crate::behaviour::{HalfDown, SEED, config, page_view, post};
use crate::support::{NOW_MICROS, Schemas};

fn fingerprints() -> Enrichments {
    let document = json!({
        "schema": "iglu:com.snowplowanalytics.snowplow/event_fingerprint_config/jsonschema/1-0-1",
        "data": {
            "vendor": "com.snowplowanalytics.snowplow",
            "name": "event_fingerprint_config",
            "enabled": true,
            "parameters": {"hashAlgorithm": "MD5", "excludeParameters": ["eid", "stm"]},
        },
    });
    Enrichments::build(&[ConfigDocument::from_json(&document).unwrap()], &Assets::default()).unwrap()
}

/// Good events of many lengths, bad ones, several in a record, nonsense, and one whose registry is down.
fn records() -> Vec<Vec<u8>> {
    let good = |number: usize| json!({"e": "pv", "p": "web", "tv": "t", "url": format!("https://a.example/{}", "x".repeat(number * 13 % 500))});
    let mut records: Vec<Vec<u8>> = (0..60).map(|number| post(&[good(number)])).collect();
    records[7] = post(&[good(1), json!({"e": "pv", "co": "nonsense", "tv": "t", "p": "web"}), good(2)]);
    records[20] = b"nonsense".to_vec();
    records[21] = post(&[good(3), page_view("1"), good(4)]);
    records[40] = post(&(0..40).map(good).collect::<Vec<_>>());
    records
}

#[test]
fn a_batch_gives_what_its_records_give_one_after_the_other() {
    let enrich = Enrich::new(config(), fingerprints());
    let schemas = HalfDown(Schemas::new(&[]));
    let cx = Context { now_micros: NOW_MICROS, schemas: &schemas, seed: RecordSeed::new("raw", SEED) };
    let mut scratch = Scratch::new();
    let (mut single, mut ends) = (Outputs::default(), Vec::new());
    for record in records() {
        let done = enrich.record(&record, &cx, &mut scratch, &mut single);
        ends.push((done.is_ok(), single.good.len(), single.bad.len()));
    }
    // Abandoned, as by a panic: the next one does not mind.
    let mut abandoned = Batch::new(&enrich, &mut scratch);
    abandoned.record(&records()[0], &cx).unwrap();
    let _ = abandoned;

    let mut batch = Batch::new(&enrich, &mut scratch);
    batch.record(&records()[1], &cx).unwrap();
    batch.clear();
    assert_eq!(batch.lengths(), Lengths::default());
    for (record, end) in records().iter().zip(&ends) {
        let done = batch.record(record, &cx);
        let Lengths { good, bad, .. } = batch.lengths();
        assert_eq!((done.is_ok(), good, bad), *end);
    }
    let together = batch.finish();
    assert_eq!(together, single);
    assert_eq!((together.good.len(), together.bad.len()), (56 + 2 + 40, 2));
    for record in &together.good {
        let row = TsvRow::parse(std::str::from_utf8(&record.data).unwrap()).unwrap();
        let fingerprint = row.text(Column::EventFingerprint);
        assert!(fingerprint.len() == 32 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()), "{fingerprint}");
    }
}

/// Copies the fingerprint, as a script might.
#[derive(Debug)]
struct Reader(EnrichmentRef);

impl Enrichment for Reader {
    fn step(&self) -> Step {
        Step::JavaScript
    }

    fn id(&self) -> &EnrichmentRef {
        &self.0
    }

    fn enrich(&self, view: &mut View<'_>) {
        let seen = view.event.text(Column::EventFingerprint).to_owned();
        view.event.set(Column::UserId, &seen);
    }
}

#[test]
fn whoever_looks_at_a_fingerprint_sees_it() {
    let id = EnrichmentRef { schema_key: "iglu:x".into(), identifier: "x".into() };
    let schemas = HalfDown(Schemas::new(&[]));
    let cx = Context { now_micros: NOW_MICROS, schemas: &schemas, seed: RecordSeed::new("raw", SEED) };
    let mut by_key = config();
    by_key.partition_key = Some(Column::EventFingerprint);
    let record = &records()[3];
    let mut expected = Outputs::default();
    Enrich::new(by_key, fingerprints()).record(record, &cx, &mut Scratch::new(), &mut expected).unwrap();

    let mut seen = Outputs::default();
    let enrichments = fingerprints().with(Arc::new(Reader(id)));
    Enrich::new(config(), enrichments).record(record, &cx, &mut Scratch::new(), &mut seen).unwrap();
    let row = TsvRow::parse(std::str::from_utf8(&seen.good[0].data).unwrap()).unwrap();
    assert_eq!(row.text(Column::UserId), row.text(Column::EventFingerprint));
    assert_eq!(expected.good[0].partition_key, row.text(Column::UserId));
}
