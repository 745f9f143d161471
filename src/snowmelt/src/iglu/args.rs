//! The command line of `snowmelt iglu`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with schemas.
#[derive(Debug, Args)]
pub struct IgluArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: IgluCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum IgluCommand {
    /// Publish the schemas of a folder, versions in order; those that are there already stay as they are.
    Push(PushArgs),
    /// Write the schemas of a registry into a folder.
    Pull(PullArgs),
    /// Say what is wrong or doubtful about schemas.
    Lint(LintArgs),
    /// Print the Postgres tables of schemas.
    Ddl(DdlArgs),
    /// Make a read key and a write key for a vendor prefix, or delete a key.
    Keygen(KeygenArgs),
    /// Make a registry's tables in a database, or move those of release 0.5 of the original there.
    Setup(SetupArgs),
}

/// Which registry.
#[derive(Debug, Args)]
pub struct RegistryArgs {
    /// The registry, e.g. https://iglu.example.com (with or without /api).
    #[arg(long, value_name = "URL")]
    pub registry: Option<String>,
    /// File with the key; without it SNOWMELT_IGLU_KEY counts, then the super key of the registry that runs here.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Where the pipeline runs, to find its registry.
    #[arg(long, default_value = ".data", value_name = "DIR")]
    pub data_dir: PathBuf,
}

/// What to publish.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The folder.
    pub folder: PathBuf,
    /// Everybody may read them.
    #[arg(long)]
    pub public: bool,
    /// Which registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// What to fetch.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// The folder; made when it is missing. Files of schemas that the registry lacks stay.
    pub folder: PathBuf,
    /// Which registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// What to lint.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Folders and files.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Show advice too.
    #[arg(long)]
    pub advice: bool,
    /// Checks to leave out, e.g. numericMinMax,stringLength. Errors can't be left out: no registry takes them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub skip_checks: Vec<String>,
    /// Warnings count as errors.
    #[arg(long)]
    pub strict: bool,
}

/// What to print tables of.
#[derive(Debug, Args)]
pub struct DdlArgs {
    /// Folders and files; all versions of a model make one table.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The database schema of the tables.
    #[arg(long, default_value = "atomic")]
    pub schema: String,
}

/// Which keys.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// Vendors that the keys are for: com.acme covers com.acme.team too; `*` is everybody.
    #[arg(long, value_name = "PREFIX", required_unless_present = "delete")]
    pub vendor_prefix: Option<String>,
    /// Delete this key instead.
    #[arg(long, value_name = "KEY", conflicts_with = "vendor_prefix")]
    pub delete: Option<String>,
    /// Which registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// Which tables.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// The database, postgres://user:password@host:port/name; without it that of what runs in the data directory.
    #[arg(long, value_name = "URL", env = "SNOWMELT_IGLU_DATABASE", hide_env_values = true)]
    pub database: Option<String>,
    /// The database schema of the tables.
    #[arg(long, default_value = "public")]
    pub schema: String,
    /// Move schemas, drafts and keys from the tables of this release, 0.5.0; they stay as they are.
    #[arg(long, value_name = "RELEASE")]
    pub migrate: Option<String>,
    /// Where the pipeline runs, to find its database.
    #[arg(long, default_value = ".data", value_name = "DIR")]
    pub data_dir: PathBuf,
}
