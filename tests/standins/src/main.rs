//! Runs stand-ins of AWS until it is told to end (Ctrl-C, or SIGTERM). Prints each endpoint as a line of JSON, then `{"ready":true}`.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use snowmelt_standins::{Service, Standins};
use tokio::signal::unix::{SignalKind, signal};

/// Stand-ins of AWS on this machine, empty when they start: kinesis-mock, DynamoDB Local and moto behind a proxy that makes faults.
/// The plan of faults is at /_faults of each endpoint.
#[derive(Parser)]
struct Arguments {
    /// Kinesis.
    #[arg(long)]
    kinesis: bool,
    /// DynamoDB.
    #[arg(long)]
    dynamodb: bool,
    /// S3 and SQS.
    #[arg(long)]
    s3: bool,
    /// Where the emulators are installed.
    #[arg(long, default_value = ".tools")]
    tools: PathBuf,
    /// Which address the proxies listen on.
    #[arg(long, default_value = "127.0.0.1")]
    listen: IpAddr,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(reason) = cause {
                text = format!("{text}: {reason}");
                cause = reason.source();
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let asked =
        [(arguments.kinesis, Service::Kinesis), (arguments.dynamodb, Service::DynamoDb), (arguments.s3, Service::S3)];
    let services: Vec<Service> =
        asked.into_iter().filter_map(|(is_asked, service)| is_asked.then_some(service)).collect();
    if services.is_empty() {
        return Err("name at least one of --kinesis, --dynamodb and --s3".into());
    }
    // Before anything is started: whoever ends us early wants nothing left behind.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let starting = Standins::start_on(arguments.listen, &arguments.tools, &services);
    let standins = tokio::select! {
        started = starting => started?,
        _ = terminated.recv() => return Ok(()),
        _ = interrupted.recv() => return Ok(()),
    };
    let mut out = std::io::stdout().lock();
    for (service, endpoint) in standins.endpoints() {
        writeln!(out, "{}", json!({ "service": service, "endpoint": endpoint }))?;
    }
    writeln!(out, "{}", json!({ "ready": true }))?;
    out.flush()?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}
