//! Cost and allocations of enrichment: `cargo bench -p snowmelt-enrich --bench enrich`. The page views are what a browser's
//! tracker posts, with three entities (web page, session, performance timing) whose schemas are the published ones.
//! `--bench roofline` compares with the steps alone.

mod input;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use serde_json::json;
use snowmelt_enrich::enrichments::Enrichments;
use snowmelt_enrich::{Batch, Context, RecordSeed, Scratch};
use snowmelt_protocol::document::Document;
use snowmelt_protocol::payload::CollectorPayload;

/// Counts allocations: they stand beside the times.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// Records a batch.
const BATCH: usize = 100;
/// Different events.
const EVENTS: usize = 200;

/// A page view, changed.
fn changed(change: impl FnOnce(&mut Vec<serde_json::Value>)) -> Vec<u8> {
    let record = input::page_views(1).remove(0);
    let mut payload = CollectorPayload::decode(&record).expect("a record");
    let text = payload.body_text().expect("a body").into_owned();
    let mut body: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    change(body["data"].as_array_mut().expect("a list"));
    payload.body = Some(body.to_string().into_bytes().into());
    let mut bytes = Vec::new();
    payload.encode(&mut bytes);
    bytes
}

fn run(bencher: Bencher<'_, '_>, records: &[Vec<u8>], events: usize, enrichments: Enrichments) {
    let enrich = input::enrich(enrichments);
    let resolver = input::resolver(records, &enrich);
    let cx = Context { now_micros: input::NOW_MICROS, schemas: &*resolver, seed: RecordSeed::new("raw", b"1") };
    let mut scratch = Scratch::new();
    let mut records = records.iter().cycle();
    bencher.counter(ItemsCount::new(events * BATCH)).bench_local(|| {
        let mut batch = Batch::new(&enrich, &mut scratch);
        for record in records.by_ref().take(BATCH) {
            batch.record(black_box(record), &cx).expect("all schemas are in memory");
        }
        batch.finish()
    });
}

#[divan::bench]
fn page_view_with_three_contexts(bencher: Bencher<'_, '_>) {
    run(bencher, &input::page_views(EVENTS), 1, Enrichments::default());
}

#[divan::bench]
fn page_view_with_three_contexts_and_six_enrichments(bencher: Bencher<'_, '_>) {
    if let Some(enrichments) = input::six_enrichments() {
        run(bencher, &input::page_views(EVENTS), 1, enrichments);
    }
}

#[divan::bench]
fn ten_page_views_with_three_contexts(bencher: Bencher<'_, '_>) {
    let ten = changed(|events| *events = vec![events[0].clone(); 10]);
    run(bencher, &[ten], 10, Enrichments::default());
}

#[divan::bench]
fn link_click_with_three_contexts(bencher: Bencher<'_, '_>) {
    let snowplow = "iglu:com.snowplowanalytics.snowplow";
    let click = json!({
        "schema": format!("{snowplow}/unstruct_event/jsonschema/1-0-0"),
        "data": {"schema": format!("{snowplow}/link_click/jsonschema/1-0-1"),
                 "data": {"targetUrl": "https://example.com/x", "elementId": "buy", "elementClasses": ["a", "b"]}},
    });
    let click = changed(|events| {
        events[0]["e"] = "ue".into();
        events[0]["ue_px"] = base64_simd::URL_SAFE_NO_PAD.encode_to_string(click.to_string()).into();
    });
    run(bencher, &[click], 1, Enrichments::default());
}

#[divan::bench]
fn parse_body(bencher: Bencher<'_, '_>) {
    let record = input::page_views(1).remove(0);
    let payload = CollectorPayload::decode(&record).expect("a record");
    let text = payload.body_text().expect("a body");
    let mut document = Document::new();
    bencher
        .counter(BytesCount::of_str(&*text))
        .bench_local(|| document.parse(black_box(&text), 50).map(|root| root.len()));
}
