//! Batcher: small batches in, large ones out.

use std::sync::Arc;

use snowmelt_batcher::Batcher;
use snowmelt_runtime::Ledger;

use super::enricher::RULES;
use super::stream_writer::writer;
use crate::load::bench::{Bench, mailbox};
use crate::load::input::Dealer;
use crate::load::pace::Pace;
use crate::load::rig::{Rig, feed};
use crate::load::standins::Gate;
use crate::trouble::Outcome;

/// Builds the rig.
pub async fn build(bench: &mut Bench, pace: Pace) -> Outcome<Rig> {
    let corpus = bench.enriched().await?;
    let mut builder = bench.group("batcher");
    let out = if bench.args.real {
        let streams = bench.streams(&["enriched"], Arc::default()).await?;
        writer(&mut builder, "stream-writer", streams, "enriched")
    } else {
        let faults = Arc::new(bench.faults());
        builder.stage("next actor", mailbox(0), move || Gate::new(faults))
    };
    let port = builder.stage("batcher", mailbox(0), move || Batcher::new(RULES, out));
    let (ledger, mut dealer) = (Ledger::new(), Dealer::new(corpus));
    let generator = feed(pace, ledger.clone(), port, move |count| dealer.entries(count));
    Ok(Rig::of_group(builder, Some(ledger), Some(generator)))
}
