//! Stream writer: entries in, puts out.

use std::sync::Arc;

use snowmelt_runtime::{Batch, GroupBuilder, Ledger, Port};
use snowmelt_stream_writer::StreamWriter;
use snowmelt_streams::{Producer, PutEntry, Streams};

use crate::load::bench::{Bench, mailbox};
use crate::load::input::Dealer;
use crate::load::pace::Pace;
use crate::load::rig::{Rig, feed};
use crate::trouble::Outcome;

/// Builds the rig.
pub async fn build(bench: &mut Bench, pace: Pace) -> Outcome<Rig> {
    let corpus = bench.enriched().await?;
    let streams = bench.streams(&["enriched"], Arc::default()).await?;
    let mut builder = bench.group("stream-writer");
    let port = writer(&mut builder, "stream-writer", streams, "enriched");
    let (ledger, mut dealer) = (Ledger::new(), Dealer::new(corpus));
    let generator = feed(pace, ledger.clone(), port, move |count| dealer.entries(count));
    Ok(Rig::of_group(builder, Some(ledger), Some(generator)))
}

/// A writer of `stream`.
pub fn writer(
    builder: &mut GroupBuilder,
    name: &str,
    streams: Arc<dyn Streams>,
    stream: &str,
) -> Port<Batch<PutEntry>> {
    let (stream, producer) = (stream.to_owned(), Producer(format!("load/{stream}")));
    builder.stage(name, mailbox(0), move || StreamWriter::new(streams, stream, producer))
}
