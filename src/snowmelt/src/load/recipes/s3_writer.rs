//! S3 writer: enriched events in, gzipped objects out.

use std::sync::Arc;

use serde_json::json;
use snowmelt_objects::{DirectoryStore, LoaderFile, ObjectStore, PackRatio, S3LoaderConfig};
use snowmelt_runtime::{Ledger, SinkIntents};
use snowmelt_s3_writer::{Packer, Puts, Report, S3Writer};

use crate::load::bench::{Bench, mailbox};
use crate::load::input::Dealer;
use crate::load::pace::Pace;
use crate::load::rig::{Rig, feed};
use crate::load::standins::StandInObjects;
use crate::trouble::{Outcome, Trouble};

/// Builds the rig.
pub async fn build(bench: &mut Bench, pace: Pace, batch: u32) -> Outcome<Rig> {
    let corpus = bench.enriched().await?;
    let bytes = corpus.bytes() / corpus.len().max(1) * batch as usize;
    let config = Arc::new(config()?);
    let store: Arc<dyn ObjectStore> = if bench.args.real {
        let folder = bench.directory()?.join("objects");
        Arc::new(DirectoryStore::open(folder).map_err(|error| Trouble::caused("objects", error))?)
    } else {
        Arc::new(StandInObjects::new(bench.faults()))
    };
    let mut builder = bench.group("s3-writer");
    let bad = bench.bad_rows(&mut builder);
    let puts = Puts { store, retry_for: None, report: Report::default() };
    let (declared, packed) = (SinkIntents::untracked(), SinkIntents::untracked());
    let writer = builder.stage("s3-writer", mailbox(bytes), move || S3Writer::new(puts, declared, bad));
    let ratio = PackRatio::default();
    let port = builder.stage("s3-packer", mailbox(bytes), move || Packer::new(config, packed, ratio, writer));
    let (ledger, mut dealer) = (Ledger::new(), Dealer::new(corpus));
    let generator = feed(pace, ledger.clone(), port, move |count| dealer.records(count));
    Ok(Rig::of_group(builder, Some(ledger), Some(generator)))
}

/// Enriched events, gzipped, named by sequence: as the pipeline of the quick start has it.
fn config() -> Outcome<S3LoaderConfig> {
    let document = json!({
        "purpose": "ENRICHED_EVENTS",
        "input": { "appName": "", "streamName": "", "position": "TRIM_HORIZON", "maxRecords": 1 },
        "output": {
            "s3": { "path": "load/enriched", "compression": "GZIP", "maxTimeout": 600_000 },
            "bad": { "streamName": "" },
        },
        "buffer": { "byteLimit": 8 << 20, "recordLimit": 20_000, "timeLimit": 1000 },
        "snowmelt": { "naming": "sequence" },
    });
    LoaderFile::from_value(&document)
        .and_then(|file| file.resolve(env!("CARGO_PKG_VERSION")))
        .map_err(|error| Trouble::caused("the objects' configuration", error))
}
