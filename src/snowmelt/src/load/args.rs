//! What `snowmelt load` is asked for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::definition::units;
use crate::trouble::{Outcome, Trouble};

/// How long a run takes when nothing is said.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// The actors that can be loaded alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum Actor {
    /// Reads a shard page by page.
    ShardReader,
    /// Enriches collector payloads.
    Enricher,
    /// Gathers small batches into large ones.
    Batcher,
    /// Puts records into a stream.
    StreamWriter,
    /// Writes enriched events as gzipped objects.
    S3Writer,
    /// Loads enriched events into PostgreSQL.
    PostgresWriter,
    /// Stores a shard's positions.
    Checkpointer,
    /// Takes tracking requests over HTTP.
    Collector,
}

impl Actor {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// A load test of one actor.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// Which actor; `--list` explains them.
    #[arg(value_enum, required_unless_present = "list")]
    pub actor: Option<Actor>,
    /// Explain what each actor is fed with and what stands behind it.
    #[arg(long)]
    pub list: bool,
    /// How many records; without it the run takes `--duration`.
    #[arg(long, conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    pub records: Option<u64>,
    /// For how long, e.g. 30s or 5m [default: 10s].
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub duration: Option<Duration>,
    /// Records a second; as fast as they are taken when absent. Latency is then measured from the moment a record was
    /// due, whether or not it could be sent then.
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Records in one batch; each actor has a default of its own.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch: Option<u32>,
    /// Feed the lines of this file, each one record, base64 or as it is, instead of a made-up web shop (the enricher: of
    /// page views with three entities each).
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// The same seed makes the same input and the same failures.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long a stand-in takes for each call, e.g. 5ms [default: 0].
    #[arg(long, value_parser = duration, value_name = "DURATION", help_heading = "Stand-ins")]
    pub delay: Option<Duration>,
    /// How much a stand-in takes in a second and refuses beyond: records of streams and mailboxes, else calls.
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Stand-ins")]
    pub throttle: Option<u32>,
    /// Percent of a stand-in's calls that fail and may be repeated.
    #[arg(long, value_name = "PERCENT", help_heading = "Stand-ins")]
    pub fail: Option<f64>,
    /// Against the embedded backends, in a temporary directory, instead of stand-ins.
    #[arg(long, conflicts_with_all = ["delay", "throttle", "fail"], help_heading = "Real backends")]
    pub real: bool,
    /// postgres-writer: this server instead of a private one; tables go to its schema `snowmelt_load`, and stay.
    #[arg(long, value_name = "URL", help_heading = "Real backends")]
    pub postgres: Option<String>,
    /// Where the temporary directory is made; what is measured is the disk under it [default: $TMPDIR].
    #[arg(long, value_name = "DIR", help_heading = "Real backends")]
    pub dir: Option<PathBuf>,
    /// The schema registries, for enriching.
    #[arg(long, value_name = "FILE", default_value = "pipelines/iglu/resolver.json")]
    pub resolver: PathBuf,
    /// The enrichments' configuration [default: pipelines/enrichments; for the enricher six usual enrichments, with made-up
    /// databases of cities and referrers].
    #[arg(long, value_name = "DIR")]
    pub enrichments: Option<PathBuf>,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
    /// Draw throughput over time and the percentiles of latency.
    #[arg(long, value_name = "FILE.svg", help_heading = "Output")]
    pub plot: Option<PathBuf>,
    /// Show the difference to an earlier `--json` file, and whether it is more than noise.
    #[arg(long, value_name = "OLD.json", help_heading = "Output")]
    pub compare: Option<PathBuf>,
}

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Until {
    /// After so many records.
    Records(u64),
    /// After this time.
    Elapsed(Duration),
}

impl LoadArgs {
    /// When the run ends.
    pub fn until(&self) -> Until {
        match self.records {
            Some(records) => Until::Records(records),
            None => Until::Elapsed(self.duration.unwrap_or(DEFAULT_DURATION)),
        }
    }

    /// What clap can't check: options that this actor has no use for.
    pub fn check(&self, actor: Actor) -> Outcome {
        let stand_in = self.delay.is_some() || self.throttle.is_some() || self.fail.is_some();
        let mut wrong = Vec::new();
        if self.fail.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
            wrong.push("--fail: has to be a percentage from 0 to 100".to_owned());
        }
        if self.until() == Until::Elapsed(Duration::ZERO) {
            wrong.push("--duration: has to be more than nothing".to_owned());
        }
        if actor == Actor::PostgresWriter && stand_in {
            wrong.push(
                "postgres-writer always has a real PostgreSQL: --delay, --throttle and --fail have no use".to_owned(),
            );
        }
        if actor != Actor::PostgresWriter && self.postgres.is_some() {
            wrong.push(format!("--postgres: {} uses no PostgreSQL", actor.name()));
        }
        if actor == Actor::Collector && self.batch.is_some_and(|batch| batch != 1) {
            wrong.push("--batch: the collector takes requests one by one".to_owned());
        }
        if matches!(actor, Actor::Checkpointer | Actor::Collector) && self.input.is_some() {
            wrong.push(format!("--input: {} is not fed with records", actor.name()));
        }
        if wrong.is_empty() { Ok(()) } else { Err(Trouble::User(wrong)) }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).ok_or_else(|| "needs a number and a unit, such as 500ms, 10s or 5m".to_owned())
}
