//! How each actor is loaded: what feeds it, what stands behind it.

mod batcher;
mod checkpointer;
mod collector;
mod enricher;
mod http;
mod postgres_writer;
mod s3_writer;
mod shard_reader;
mod stream_writer;
#[cfg(test)]
mod tests;

use super::args::Actor;
use super::bench::Bench;
use super::rig::Rig;
use crate::trouble::Outcome;

/// What is said of a recipe.
pub struct Recipe {
    /// The actor.
    pub actor: Actor,
    /// Records of a batch when nothing else is asked for.
    pub batch: u32,
    /// Batches before the clock begins.
    pub warm_up: u32,
    /// What it is fed with, what stands behind it, and what `--real` changes.
    pub explained: &'static str,
}

/// All recipes.
pub const RECIPES: [Recipe; 8] = [
    Recipe {
        actor: Actor::ShardReader,
        batch: 1000,
        warm_up: 4,
        explained: "reads pages of payloads from a stand-in shard without end and hands them to an actor that takes all; \
                    --throttle counts reads; --real reads an embedded stream again and again",
    },
    Recipe {
        actor: Actor::Enricher,
        batch: 1000,
        warm_up: 8,
        explained: "enriches pages of payloads (page views with three entities; six enrichments) on all cores and hands \
                    events and bad rows to actors that take all; --real puts them into embedded streams, through batchers and writers",
    },
    Recipe {
        actor: Actor::Batcher,
        batch: 100,
        warm_up: 20,
        explained: "gathers enriched events to batches of 500 or of 20 ms and hands them to an actor that takes all; \
                    --real puts them into an embedded stream",
    },
    Recipe {
        actor: Actor::StreamWriter,
        batch: 500,
        warm_up: 8,
        explained: "puts enriched events into a stand-in stream; --throttle counts records, refused ones are put again; \
                    --real puts into an embedded stream, synced to the disk",
    },
    Recipe {
        actor: Actor::S3Writer,
        batch: 3000,
        warm_up: 2,
        explained: "packs enriched events into gzipped objects and puts them into a stand-in store; --throttle counts \
                    objects; --real writes files, synced to the disk",
    },
    Recipe {
        actor: Actor::PostgresWriter,
        batch: 2000,
        warm_up: 3,
        explained: "loads enriched events, one transaction a batch, always into a real PostgreSQL: a private server in a \
                    temporary directory, or --postgres; CPU is this process's, not the server's",
    },
    Recipe {
        actor: Actor::Checkpointer,
        batch: 1,
        warm_up: 4,
        explained: "stores the position of batches that are durable at once (a record is such a batch), as often as the \
                    stand-in lease table takes it; --throttle counts calls; --real stores in the embedded table",
    },
    Recipe {
        actor: Actor::Collector,
        batch: 1,
        warm_up: 200,
        explained: "answers a web shop's requests on 64 connections (a record is a request) when a stand-in stream has \
                    stored them; --throttle counts records; --real stores in an embedded stream",
    },
];

/// The recipe of an actor.
pub fn of(actor: Actor) -> &'static Recipe {
    RECIPES.iter().find(|recipe| recipe.actor == actor).expect("there is a recipe for every actor")
}

/// Puts a recipe together: input made, backends open, nothing sent yet.
///
/// # Errors
/// When the input or a backend can't be had.
pub async fn build(actor: Actor, bench: &mut Bench) -> Outcome<Rig> {
    let recipe = of(actor);
    let batch = bench.args.batch.unwrap_or(recipe.batch);
    let pace = bench.pace(batch, recipe.warm_up);
    match actor {
        Actor::ShardReader => shard_reader::build(bench, pace, batch).await,
        Actor::Enricher => enricher::build(bench, pace).await,
        Actor::Batcher => batcher::build(bench, pace).await,
        Actor::StreamWriter => stream_writer::build(bench, pace).await,
        Actor::S3Writer => s3_writer::build(bench, pace, batch).await,
        Actor::PostgresWriter => postgres_writer::build(bench, pace, batch).await,
        Actor::Checkpointer => checkpointer::build(bench, pace).await,
        Actor::Collector => collector::build(bench, pace).await,
    }
}
