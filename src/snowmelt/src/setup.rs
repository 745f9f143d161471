//! `snowmelt setup`: makes the streams, lease tables and buckets of AWS that definitions use and that are missing.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use snowmelt_objects::s3::S3Store;
use snowmelt_runtime::failure::explain;
use snowmelt_streams::{StreamError, Streams};

use crate::cli::SetupArgs;
use crate::definition::{Originals, Overrides, Plan, load};
use crate::inventory::Inventory;
use crate::run::aws;
use crate::trouble::{Outcome, Trouble};

/// How long the making of one thing may take: AWS takes up to a minute for a stream, and more for a table.
const PATIENCE: Duration = Duration::from_secs(600);

/// What became of one thing.
enum Fate {
    There,
    Missing,
    Made,
    Failed(String),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::There => f.write_str("is there"),
            Self::Missing => f.write_str("would be made"),
            Self::Made => f.write_str("made"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

/// Runs the command.
pub fn setup(args: &SetupArgs) -> Outcome {
    let overrides = Overrides::new(std::env::vars(), &args.sets)?;
    let originals = Originals::read(&args.originals)?;
    let plan = load(&args.files, &originals, &overrides)?;
    let inventory = Inventory::of(&plan);
    if inventory.is_empty() {
        println!(
            "nothing to set up: these definitions use nothing of AWS, and everything else is made by `snowmelt run`"
        );
        return Ok(());
    }
    actix_rt::System::new().block_on(make(&plan, &inventory, args.dry_run))
}

/// Looks for each thing, and makes it unless only a look was asked for. All are tried; one that fails is told at the end.
async fn make(plan: &Plan, inventory: &Inventory, dry_run: bool) -> Outcome {
    let mut failures = Vec::new();
    let mut tell = |what: &str, name: &str, more: &str, fate: Fate| {
        println!("{what:<8} {name:<32} {more:<12} {fate}");
        if let Fate::Failed(reason) = fate {
            failures.push(format!("{what} {name}: {reason}"));
        }
    };
    if let Some(aws) = &plan.backend.aws {
        let streams = aws::streams(aws).await;
        for (name, shards) in &inventory.streams {
            let more = if *shards == 1 { "1 shard".to_owned() } else { format!("{shards} shards") };
            let retention = plan.backend.retention;
            let there = async {
                match streams.describe(name).await {
                    Ok(_) => Ok(true),
                    Err(StreamError::StreamNotFound { .. }) => Ok(false),
                    Err(error) => Err(explain(&error)),
                }
            };
            let create = async { streams.create(name, *shards, retention).await.map_err(|error| explain(&error)) };
            tell("stream", name, &more, settle(there, create, dry_run).await);
        }
        let leases = aws::leases(aws).await?;
        for name in &inventory.tables {
            let there = async { leases.table_exists(name).await.map_err(|error| explain(&error)) };
            let create = async { leases.create_table(name).await.map_err(|error| explain(&error)) };
            tell("table", name, "leases", Box::pin(settle(there, create, dry_run)).await);
        }
    }
    for bucket in &inventory.buckets {
        let store = S3Store::open(&bucket.name, &bucket.options).await;
        let there = async { store.exists().await.map_err(|error| explain(&error)) };
        let create = async { store.create().await.map_err(|error| explain(&error)) };
        tell("bucket", &bucket.name, "", Box::pin(settle(there, create, dry_run)).await);
    }
    if failures.is_empty() { Ok(()) } else { Err(Trouble::Machine(failures.join("\n"))) }
}

async fn settle(
    there: impl Future<Output = Result<bool, String>>,
    create: impl Future<Output = Result<(), String>>,
    dry_run: bool,
) -> Fate {
    let work = async {
        match there.await {
            Err(reason) => Fate::Failed(reason),
            Ok(true) => Fate::There,
            Ok(false) if dry_run => Fate::Missing,
            Ok(false) => match create.await {
                Ok(()) => Fate::Made,
                Err(reason) => Fate::Failed(reason),
            },
        }
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(fate) => fate,
        Err(_) => Fate::Failed(format!("no end within {} s", PATIENCE.as_secs())),
    }
}
