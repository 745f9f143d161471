//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::iglu::args::IgluArgs;
use crate::load::args::LoadArgs;
use crate::status::client::Part;

/// The whole Snowplow pipeline as one program.
#[derive(Debug, Parser)]
#[command(
    name = "snowmelt",
    version,
    about = "The whole Snowplow pipeline as one program: collector, enrich, S3 and Postgres loaders, on an actor runtime.",
    after_help = "Start here:\n  snowmelt run pipelines/quickstart.toml     the whole pipeline on this machine\n  snowmelt send --events 1000 --bad 5        play a small web shop against it\n  snowmelt sql -c 'select event_name, count(*) from atomic.events group by 1'\n  snowmelt tail bad-1                        why events went bad"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What is logged to standard error: error, warn, info, debug, or a filter such as `snowmelt_streams=debug,warn`.
    #[arg(long, global = true, env = "SNOWMELT_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Log one JSON object a line.
    #[arg(long, global = true)]
    pub log_json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run pipeline definitions in this process.
    #[command(
        after_help = "Examples:\n  snowmelt run pipelines/quickstart.toml\n  snowmelt run pipelines/quickstart.toml --data-dir /var/lib/snowmelt --set collector.listen=0.0.0.0:80\n  SNOWMELT__BACKEND__FSYNC=false snowmelt run pipelines/quickstart.toml\n  snowmelt run --collector-config config.hocon                     the original's collector, alone\n  snowmelt run --s3-loader-config config.hocon                     an S3 loader of the original's, alone\n  snowmelt run pipelines/quickstart.toml --collector-config config.hocon\n  snowmelt run --postgres-config loader.hocon --resolver resolver.json   the original's Postgres loader, alone\n\nCtrl-C or SIGTERM stops reading, finishes what was read and exits with 0; a second one exits at once.\nExit code 2: a mistake in a definition; 1: trouble of the machine."
    )]
    Run(DefinitionArgs),
    /// Load definitions without running them: draw their actors, state the memory bound, list what they need.
    #[command(
        after_help = "Examples:\n  snowmelt check pipelines/*.toml\n  snowmelt check --collector-config config.hocon   also: which of its keys do nothing here, and why\n  snowmelt check --keys          every key with its meaning and default\n  snowmelt check --iam pipelines/aws.toml > policy.json"
    )]
    Check(CheckArgs),
    /// Make the streams, lease tables and buckets of AWS that definitions use and that are missing.
    #[command(
        after_help = "What is there is left as it is, so that the command may be repeated. Needs the permissions that `snowmelt check\n--iam` prints, by the AWS SDK's default chain of credentials.\n\nExamples:\n  snowmelt setup pipelines/aws.toml --dry-run\n  snowmelt setup pipelines/aws.toml --set aws.region=eu-west-1 --set aws.bucket=acme-events\n\nExit code 2: a mistake in a definition; 1: AWS refused something or did not answer."
    )]
    Setup(SetupArgs),
    /// Print a configuration of the original as a definition.
    Convert(ConvertArgs),
    /// Play a small web shop against a collector.
    #[command(
        after_help = "Examples:\n  snowmelt send --events 1000 --bad 5\n  snowmelt send --to http://127.0.0.1:8080 --events 100000 --rate 2000 --seed 7"
    )]
    Send(SendArgs),
    /// Show what a running node does: pipelines, shards, lag, failures; restart, drain, pause and resume them.
    #[command(
        after_help = "Examples:\n  snowmelt status                                  the tree; exit code 1 when it is not ready\n  snowmelt status --actors                         with every actor\n  snowmelt status --json | jq '.pipelines[].groups[].lag_ms'\n  snowmelt status pause postgres-enriched          stop reading, keep the groups and their leases\n  snowmelt status drain enrich/shardId-000000000000\n  snowmelt status resume                           everything that was paused or drained runs again\n  snowmelt status --operator http://host:8090 --operator-token-file token"
    )]
    Status(StatusArgs),
    /// Watch a running node live, and restart, drain or pause its groups.
    #[command(
        after_help = "Keys: arrows or j and k select a group, r restart, d drain, p pause or resume, q quit.\n\nExamples:\n  snowmelt top\n  snowmelt top --data-dir /var/lib/snowmelt --every 500ms"
    )]
    Top(TopArgs),
    /// Open psql on the warehouse.
    #[command(
        after_help = "Examples:\n  snowmelt sql\n  snowmelt sql -c 'select event_name, count(*) from atomic.events group by 1 order by 2 desc'"
    )]
    Sql(SqlArgs),
    /// Print what is in a stream, decoded, one JSON object a line.
    #[command(
        after_help = "Examples:\n  snowmelt tail enriched --follow\n  snowmelt tail bad-1 | jq .data.failure\n  snowmelt tail raw --from latest --follow"
    )]
    Tail(TailArgs),
    /// Enrich records without streams: one a line in, one JSON object a line out.
    #[command(
        after_help = "Each line is a collector payload (Thrift, in base64) or a request as JSON:\n  {\"method\": \"GET\", \"path\": \"/i?e=pv&p=web\", \"headers\": [[\"Host\", \"example.com\"]], \"body\": null}\nEmpty lines are skipped. For every other line one object is printed, in the order of the lines:\n  {\"good\":[\"<tsv>\"],\"bad\":[{...}],\"pii\":[\"<tsv>\"]}\nand \"failed\":[\"<tsv>\"] in it when --config names a stream of failed events.\nThe same line at the same time gives the same output, event ids too.\nA line that is neither is told on standard error with its number; the others go on, and the exit code is 2.\nA schema registry that does not answer is waited for; lines that it leaves unfinished are told too, exit code 1.\n\nExamples:\n  snowmelt enrich requests.jsonl --resolver pipelines/iglu/resolver.json --enrichments pipelines/enrichments\n  snowmelt enrich --at 2026-01-01T00:00:00Z < payloads.txt > enriched.jsonl\n  snowmelt enrich --config config.hocon payloads.txt | jq -r '.bad[].data.failure'"
    )]
    Enrich(EnrichArgs),
    /// Publish, fetch, check and print schemas, and make keys of a registry.
    #[command(
        after_help = "DIR holds files VENDOR/NAME/FORMAT/VERSION, at any depth. Without --registry the registry that runs in the data\ndirectory is meant, with its super key; else http://127.0.0.1:8081.\n\nExamples:\n  snowmelt iglu lint schemas\n  snowmelt iglu push schemas --public\n  SNOWMELT_IGLU_KEY=... snowmelt iglu push schemas --registry https://iglu.example.com\n  snowmelt iglu pull copy\n  snowmelt iglu ddl schemas/com.acme/event > event.sql\n  snowmelt iglu keygen --vendor-prefix com.acme\n  snowmelt iglu setup --database postgres://... --migrate 0.5.0\n\nExit code 2: something about the schemas is wrong; 1: the registry can't be reached or refuses."
    )]
    Iglu(IgluArgs),
    /// Load one actor alone and measure it, against stand-ins or the real backends.
    #[command(
        after_help = "Examples:\n  snowmelt load --list\n  snowmelt load enricher --duration 10s --json before.json\n  snowmelt load enricher --compare before.json --plot enricher.svg\n  snowmelt load stream-writer --rate 5000 --delay 5ms --fail 1\n  snowmelt load postgres-writer --records 100000"
    )]
    Load(LoadArgs),
}

/// Which definitions, with which changes.
#[derive(Debug, Args)]
pub struct DefinitionArgs {
    /// Definition files.
    #[arg(required_unless_present_any = ["collector_config", "postgres_config", "s3_loader_config"], value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Files of the original.
    #[command(flatten)]
    pub originals: OriginalArgs,
    /// Set a key, over the file and the environment: `source.start=latest`, or `enrich.source.start=latest` for the
    /// definition named enrich. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Where the embedded backends keep everything; the same as `--set backend.data_dir=DIR`.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Configuration files of the original.
#[derive(Debug, Default, Args)]
pub struct OriginalArgs {
    /// The original's config.hocon of a collector: its settings instead of those of the definitions' collector, which keeps its
    /// streams. Without a collector in the definitions it is one of its own, with the streams that it names.
    #[arg(long, value_name = "FILE")]
    pub collector_config: Option<PathBuf>,
    /// The original's config.hocon of a Postgres loader: its database instead of that of the definitions' loader of the same
    /// purpose, which keeps its streams. Without such a loader in the definitions it is one of its own. May be given twice: for
    /// events and for bad rows.
    #[arg(long, value_name = "FILE")]
    pub postgres_config: Vec<PathBuf>,
    /// The original's configuration of an S3 loader, of either generation: a definition of its own, named as its lease table. May be
    /// given several times.
    #[arg(long, value_name = "FILE")]
    pub s3_loader_config: Vec<PathBuf>,
    /// The second file of the original's loader, resolver.json: the schema registries.
    #[arg(long, value_name = "FILE", requires = "postgres_config")]
    pub resolver: Option<PathBuf>,
}

/// What to check.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Definition files.
    #[arg(value_name = "FILE", required_unless_present_any = ["keys", "collector_config", "postgres_config", "s3_loader_config"])]
    pub files: Vec<PathBuf>,
    /// Files of the original, as `run` takes them.
    #[command(flatten)]
    pub originals: OriginalArgs,
    /// Set a key, as `run` does.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Print every key that a definition may have.
    #[arg(long)]
    pub keys: bool,
    /// Print an IAM policy instead: what `run` and `setup` do with streams, tables, buckets and queues of AWS.
    #[arg(long)]
    pub iam: bool,
}

/// What to set up.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// Definition files.
    #[arg(required_unless_present_any = ["collector_config", "postgres_config", "s3_loader_config"], value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Files of the original, as `run` takes them.
    #[command(flatten)]
    pub originals: OriginalArgs,
    /// Set a key, as `run` does.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Only look: tell what is there and what would be made.
    #[arg(long)]
    pub dry_run: bool,
}

/// What to convert.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// Whose configuration.
    #[command(subcommand)]
    pub what: Convert,
}

/// Configurations of the original.
#[derive(Debug, Subcommand)]
pub enum Convert {
    /// The collector's config.hocon; keys that do nothing here are told on standard error.
    #[command(
        after_help = "Every ${VARIABLE} must be set; the definition has the value that it has now.\n\nExamples:\n  snowmelt convert collector config.hocon > collector.toml\n  INSTANCE_ID=i-1 snowmelt convert collector config.hocon"
    )]
    Collector {
        /// The original's file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// An S3 loader's configuration, of either generation; keys that do nothing here are told on standard error.
    #[command(
        after_help = "Every ${VARIABLE} must be set; the definition has the value that it has now.\n\nExamples:\n  snowmelt convert s3-loader config.hocon > s3-enriched.toml\n  snowmelt run s3-enriched.toml --set sink[0].store=directory      to try it without S3"
    )]
    S3Loader {
        /// The original's file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// The Postgres loader's config.hocon; keys that do nothing here are told on standard error. The definition holds the
    /// password of the database.
    #[command(
        after_help = "Every ${VARIABLE} must be set; the definition has the value that it has now.\n\nExamples:\n  snowmelt convert postgres-loader loader.hocon --resolver resolver.json > loader.toml"
    )]
    PostgresLoader {
        /// The original's file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The original's second file, resolver.json.
        #[arg(long, value_name = "FILE")]
        resolver: PathBuf,
    },
}

/// What to send.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The collector; by default the one that runs in the data directory, else http://127.0.0.1:8080.
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// How many events.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Events a second; as fast as the collector answers when absent.
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Percent of events that are bad.
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub bad: f64,
    /// The same seed sends the same shop; by default another one each time.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Requests in flight at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Where the pipeline runs, to find its collector.
    #[arg(long, default_value = ".data", value_name = "DIR")]
    pub data_dir: PathBuf,
}

/// Which running node.
#[derive(Debug, Args)]
pub struct OperatorArgs {
    /// Where the pipeline runs.
    #[arg(long, default_value = ".data", value_name = "DIR", global = true)]
    pub data_dir: PathBuf,
    /// Its operator API, when it runs on another machine.
    #[arg(long, value_name = "URL", global = true)]
    pub operator: Option<String>,
    /// The file of that API's token.
    #[arg(long, value_name = "FILE", requires = "operator", global = true)]
    pub operator_token_file: Option<PathBuf>,
}

/// What to show, or what to do.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = false)]
pub struct StatusArgs {
    /// A command to the node.
    #[command(subcommand)]
    pub command: Option<StatusCommand>,
    /// Print the whole report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Show every actor: its mailbox, what it does, what it waits for.
    #[arg(long, short = 'a')]
    pub actors: bool,
    /// Which node.
    #[command(flatten)]
    pub operator: OperatorArgs,
}

/// Commands to a node.
#[derive(Debug, Subcommand)]
pub enum StatusCommand {
    /// Finish what was read, then start again from the checkpoint; counts as no failure.
    Restart(PartArgs),
    /// Finish what was read, then stay down until resumed or restarted.
    Drain(PartArgs),
    /// Read nothing more, but keep the groups and their leases.
    Pause(PartArgs),
    /// Go on after pause or drain.
    Resume(PartArgs),
}

/// What a command is for.
#[derive(Debug, Args)]
pub struct PartArgs {
    /// A pipeline, a shard, or the shard whose group an actor belongs to; everything when absent.
    #[arg(value_name = "PIPELINE[/SHARD[/ACTOR]]", value_parser = Part::parse)]
    pub part: Option<Part>,
}

/// The kinds of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    /// Drain, then start again.
    Restart,
    /// Drain and stay down.
    Drain,
    /// Stop reading.
    Pause,
    /// Go on.
    Resume,
}

impl OrderKind {
    /// Its word, which is its path in the operator API.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Drain => "drain",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

impl StatusCommand {
    /// What to do, and to what.
    pub const fn parts(&self) -> (OrderKind, Option<&Part>) {
        match self {
            Self::Restart(args) => (OrderKind::Restart, args.part.as_ref()),
            Self::Drain(args) => (OrderKind::Drain, args.part.as_ref()),
            Self::Pause(args) => (OrderKind::Pause, args.part.as_ref()),
            Self::Resume(args) => (OrderKind::Resume, args.part.as_ref()),
        }
    }
}

/// What to watch.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// How often the node is asked.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = interval)]
    pub every: std::time::Duration,
    /// Which node.
    #[command(flatten)]
    pub operator: OperatorArgs,
}

/// A duration with its unit, long enough not to be a load.
fn interval(text: &str) -> Result<std::time::Duration, String> {
    crate::definition::units::duration(text)
        .filter(|every| *every >= std::time::Duration::from_millis(100))
        .ok_or_else(|| "not a duration of 100ms or more, such as 500ms or 2s".to_owned())
}

/// How to open psql.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// Run one query and exit.
    #[arg(short = 'c', long = "command", value_name = "QUERY")]
    pub command: Option<String>,
    /// Unaligned output without headings, for scripts.
    #[arg(short = 't', long)]
    pub tuples_only: bool,
    /// Where the pipeline runs.
    #[arg(long, default_value = ".data", value_name = "DIR")]
    pub data_dir: PathBuf,
}

/// What to enrich, and how.
#[derive(Debug, Args)]
pub struct EnrichArgs {
    /// The records, one a line; standard input when absent or `-`.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// resolver.json: the schema registries; without it only the schemas that are built in are known.
    #[arg(long, value_name = "FILE")]
    pub resolver: Option<PathBuf>,
    /// Folder of the enrichments' configuration files; no enrichments without it.
    #[arg(long, value_name = "DIR")]
    pub enrichments: Option<PathBuf>,
    /// The time at which everything is collected and enriched, e.g. 2026-01-01T00:00:00Z; the clock's when absent.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub at: Option<i64>,
    /// The original's config.hocon: limits of validation and output, and how schema registries are asked.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// An ISO instant as microseconds since the epoch.
fn instant(text: &str) -> Result<i64, String> {
    let instant: jiff::Timestamp =
        text.parse().map_err(|_| "not an instant such as 2026-01-01T00:00:00Z".to_owned())?;
    Ok(instant.as_microsecond())
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// The oldest record that is kept.
    Oldest,
    /// Only what comes from now on.
    Latest,
}

/// What to print.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// The stream.
    pub stream: String,
    /// Where to begin.
    #[arg(long, value_enum, default_value = "oldest")]
    pub from: From,
    /// Go on with what comes.
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Print records as they are: shard, sequence, partition key, data in base64.
    #[arg(long)]
    pub json: bool,
    /// Where the pipeline runs.
    #[arg(long, default_value = ".data", value_name = "DIR")]
    pub data_dir: PathBuf,
}
