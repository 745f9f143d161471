//! Enricher: payloads in, events and bad rows out.

use std::sync::Arc;
use std::time::Duration;

use snowmelt_batcher::{BatchRules, Batcher};
use snowmelt_enricher::{Current, Enricher, Outlets};
use snowmelt_runtime::{Batch, GroupBuilder, Ledger, Port};
use snowmelt_streams::PutEntry;

use super::stream_writer::writer;
use crate::load::bench::{Bench, mailbox};
use crate::load::input::Dealer;
use crate::load::pace::Pace;
use crate::load::rig::{Rig, feed};
use crate::load::standins::Gate;
use crate::trouble::Outcome;

/// As definitions have it by default.
pub const RULES: BatchRules = BatchRules { max_bytes: 8 << 20, max_records: 500, max_age: Duration::from_millis(20) };

/// Builds the rig.
pub async fn build(bench: &mut Bench, pace: Pace) -> Outcome<Rig> {
    let (corpus, enrich) = bench.page_views().await?;
    let (enrich, resolver) = (Current::new(enrich), bench.resolver()?);
    let mut builder = bench.group("enricher");
    let outlets = Outlets {
        good: outlet(bench, &mut builder, "good events").await?,
        bad: bench.bad_rows(&mut builder),
        failed: None,
        pii: None,
    };
    let port = builder.stage("enricher", mailbox(0), move || Enricher::new(enrich, resolver, "raw", outlets));
    let (ledger, mut dealer) = (Ledger::new(), Dealer::new(corpus));
    let generator = feed(pace, ledger.clone(), port, move |count| dealer.records(count));
    Ok(Rig::of_group(builder, Some(ledger), Some(generator)).counting("events", &["good events", "bad rows"]))
}

/// Where good events go: an actor that takes all, or batcher and writer of an embedded stream.
async fn outlet(bench: &mut Bench, builder: &mut GroupBuilder, name: &'static str) -> Outcome<Port<Batch<PutEntry>>> {
    if !bench.args.real {
        let faults = Arc::new(bench.faults());
        return Ok(builder.stage(name, mailbox(0), move || Gate::new(faults)));
    }
    let streams = bench.streams(&["enriched"], Arc::default()).await?;
    let writer = writer(builder, name, streams, "enriched");
    Ok(builder.stage("batcher", mailbox(0), move || Batcher::new(RULES, writer)))
}
