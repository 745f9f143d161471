//! What `run` prints when everything is up: where it listens and lands.

use crate::check::without_password;
use crate::definition::model::{ObjectPlace, Objects, Plan, Target, Work};
use crate::running::RunFile;

/// Prints it to standard output.
pub fn print(plan: &Plan, run: &RunFile, owner: &str) {
    let row = |name: &str, what: &str| println!("{name:<10} {what}");
    println!("snowmelt {} is running", env!("CARGO_PKG_VERSION"));
    if let Some(url) = &run.collector_url {
        row("collector", url);
    }
    if let Some(url) = &run.registry_url {
        row("schemas", url);
    }
    if let Some(url) = &run.operator_url {
        row("operator", &format!("{url}  (/health /ready /metrics /status)"));
    }
    if let Some(url) = &run.postgres_url {
        row("postgres", &format!("{}  schema {}", without_password(url), run.schema));
    }
    let objects = plan
        .definitions
        .iter()
        .filter_map(|definition| match &definition.work {
            Work::Load(load) => Some(load.sinks.iter()),
            _ => None,
        })
        .flatten()
        .filter_map(|sink| match &sink.target {
            Target::S3(objects) => Some(objects),
            Target::Postgres { .. } => None,
        });
    let (in_buckets, in_folders): (Vec<_>, Vec<_>) =
        objects.partition(|objects| matches!(objects.place, ObjectPlace::S3(_)));
    let paths = |objects: Vec<&Objects>| objects.iter().map(|objects| objects.path()).collect::<Vec<_>>().join(", ");
    if !in_folders.is_empty() {
        row("objects", &format!("{}  ({})", run.objects_dir.display(), paths(in_folders)));
    }
    if !in_buckets.is_empty() {
        row("objects", &format!("s3  ({})", paths(in_buckets)));
    }
    if let Some(aws) = &plan.backend.aws {
        let at = aws.kinesis_endpoint.as_deref().or(aws.region.as_deref()).unwrap_or("the region of the AWS SDK");
        row("streams", &format!("Kinesis at {at}"));
        row("worker", owner);
    }
    let names: Vec<&str> = plan.definitions.iter().map(|definition| definition.name.as_str()).collect();
    row("pipelines", &names.join(", "));
    row("data", &plan.backend.data_dir.display().to_string());
    if run.collector_url.is_some() {
        row("try", "snowmelt send --events 1000 --bad 5");
    }
    if run.psql.is_some() {
        row("then", &format!("snowmelt sql -c 'select event_name, count(*) from {}.events group by 1'", run.schema));
    }
}
