//! Logs to standard error, and panics as log lines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command};

/// Starts logging as the command line asks; `run` tells what it does, the others only what is wrong.
pub fn start(cli: &Cli) {
    let default = match cli.command {
        Command::Run(_) => "info,actix_server=warn,actix_web=warn",
        _ => "warn",
    };
    let wanted = cli.log.as_deref().unwrap_or(default);
    let (filter, complaint) = match EnvFilter::try_new(wanted) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(default), Some(error)),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if cli.log_json {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).init();
    }
    if let Some(error) = complaint {
        tracing::warn!(filter = wanted, %error, "the log filter can't be read, using the default");
    }
    // A panic in an actor is a failure that its supervisor reports; here it is a line with its place, not a backtrace.
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("without a message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(message, place, "panic");
    }));
}
