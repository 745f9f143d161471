//! Postgres writer: enriched events in, rows and progress out.

use snowmelt_postgres_writer::{Loader, PostgresWriter};
use snowmelt_runtime::Ledger;
use snowmelt_warehouse::{EventLoader, LoaderOptions, ProgressKey};

use crate::load::bench::{Bench, mailbox};
use crate::load::input::Dealer;
use crate::load::pace::Pace;
use crate::load::rig::{Rig, feed};
use crate::run::settings;
use crate::trouble::{Outcome, Trouble};

/// Builds the rig.
pub async fn build(bench: &mut Bench, pace: Pace, batch: u32) -> Outcome<Rig> {
    let corpus = bench.enriched().await?;
    let bytes = corpus.bytes() / corpus.len().max(1) * batch as usize;
    let (warehouse, resolver) = (bench.warehouse().await?, bench.resolver()?);
    let options =
        LoaderOptions::new(settings::processor("snowmelt-postgres-loader"), settings::iglu_clock(&bench.clock));
    let loader = EventLoader::new(warehouse, resolver, options);
    loader.prepare().await.map_err(|error| Trouble::caused("the table of events", error))?;
    // Progress outlives a run: each has a shard of its own, or its records would count as loaded before.
    let shard = format!("{}-{}", bench.clock.now_ms(), std::process::id());
    let progress = ProgressKey { application: "load".to_owned(), stream: "enriched".to_owned(), shard };
    let mut builder = bench.group("postgres-writer");
    let bad = bench.bad_rows(&mut builder);
    let port = builder
        .stage("postgres-writer", mailbox(bytes), move || PostgresWriter::new(Loader::Events(loader), progress, bad));
    let (ledger, mut dealer) = (Ledger::new(), Dealer::new(corpus));
    let generator = feed(pace, ledger.clone(), port, move |count| dealer.records(count));
    Ok(Rig::of_group(builder, Some(ledger), Some(generator)).counting("bad rows", &["bad rows"]))
}
