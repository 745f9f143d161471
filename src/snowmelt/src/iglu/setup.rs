//! `snowmelt iglu setup`: a registry's tables, made or moved (iglu-server spec, section 14).

use snowmelt_iglu_server::storage::MigrateError;
use snowmelt_iglu_server::{Storage, StorageOptions};

use super::args::SetupArgs;
use crate::check::without_password;
use crate::running::RunFile;
use crate::trouble::{Outcome, Trouble};

/// The release whose tables can be moved.
const OLD_RELEASE: &str = "0.5.0";

/// Makes the tables, which may be repeated; moves what is in the old ones if that is asked for, all or nothing.
pub(super) async fn setup(args: &SetupArgs) -> Outcome {
    if let Some(release) = args.migrate.as_deref().filter(|release| !matches!(*release, OLD_RELEASE | "0.5")) {
        return Err(Trouble::user(format!("--migrate {release}: only tables of {OLD_RELEASE} can be moved")));
    }
    let running = || RunFile::find(&args.data_dir).and_then(|running| running.postgres_url);
    let Some(url) = args.database.clone().or_else(running) else {
        return Err(Trouble::user("which database? give --database URL, or SNOWMELT_IGLU_DATABASE"));
    };
    let what = format!("the schema registry's PostgreSQL at {}", without_password(&url));
    let failed = |error: &dyn std::error::Error| Trouble::Machine(format!("{what}: {error}"));
    let options = StorageOptions { schema: args.schema.clone(), ..StorageOptions::new(url.clone()) };
    let storage = Storage::open(&options).await.map_err(|error| failed(&error))?;
    println!("the tables are there, in schema {}", args.schema);
    let moved = match &args.migrate {
        None => Ok(()),
        Some(_) => match storage.migrate_from_0_5().await {
            Ok(moved) => {
                println!("moved: {} schemas, {} drafts, {} keys", moved.schemas, moved.drafts, moved.keys);
                Ok(())
            }
            Err(MigrateError::Storage(error)) => Err(failed(&error)),
            Err(error @ MigrateError::Inconsistent(_)) => Err(Trouble::user(error.to_string())),
        },
    };
    storage.close().await;
    moved
}
