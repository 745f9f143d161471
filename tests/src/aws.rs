//! The same pipelines on stand-ins of AWS instead of the embedded backends: `SNOWMELT_BACKEND=aws`.

use std::ffi::OsString;

use anyhow::{Context, Result, bail, ensure};
use snowmelt_standins::{Service, Standins};

use crate::{run_to_end_with, tools_dir};

/// The definition that is run.
pub const DEFINITION: &str = "pipelines/aws.toml";
/// The bucket that it names.
pub const BUCKET: &str = "snowmelt";

/// Whether tests of the pipeline run it on stand-ins of AWS.
pub fn is_asked_for() -> Result<bool> {
    match std::env::var("SNOWMELT_BACKEND").as_deref() {
        Err(_) | Ok("embedded") => Ok(false),
        Ok("aws") => Ok(true),
        Ok(other) => bail!("SNOWMELT_BACKEND={other}: has to be embedded or aws"),
    }
}

/// Stand-ins of all three services, and the program told where they are.
pub struct Aws {
    /// The stand-ins.
    pub standins: Standins,
}

impl Aws {
    /// Starts them; they are empty. None where they are not installed.
    pub async fn start() -> Result<Option<Self>> {
        let Some(tools) = tools_dir() else { return Ok(None) };
        let standins = Standins::start(&tools, &[Service::Kinesis, Service::DynamoDb, Service::S3]).await?;
        Ok(Some(Self { standins }))
    }

    /// What a definition of backend aws has to be told: where the services are, and the shortest times that they allow.
    pub fn arguments(&self) -> Result<Vec<String>> {
        let mut arguments = Vec::new();
        let mut set = |key: &str, value: &str| arguments.extend(["--set".to_owned(), format!("aws.{key}={value}")]);
        set("kinesis_endpoint", self.standins.endpoint(Service::Kinesis)?);
        set("dynamodb_endpoint", self.standins.endpoint(Service::DynamoDb)?);
        set("s3_endpoint", self.standins.endpoint(Service::S3)?);
        set("poll_every", "200ms");
        set("lease_duration", "3s");
        Ok(arguments)
    }

    /// What the program has to have in its environment.
    pub fn environment() -> Vec<(&'static str, OsString)> {
        Standins::environment().into_iter().map(|(name, value)| (name, value.into())).collect()
    }

    /// Runs `snowmelt setup` for a definition and gives what it printed.
    pub async fn setup(&self, definition: &str, more: &[&str]) -> Result<String> {
        let mut arguments = vec!["setup".to_owned(), definition.to_owned()];
        arguments.extend(self.arguments()?);
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let done = run_to_end_with(&arguments, Self::environment()).await?;
        ensure!(done.code == Some(0), "{done:?}");
        Ok(done.stdout)
    }

    /// The bucket of [`DEFINITION`].
    pub fn bucket(&self) -> Result<crate::Bucket> {
        crate::Bucket::of(&self.standins, BUCKET).context("the stand-in of S3")
    }
}
