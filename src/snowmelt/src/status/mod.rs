//! `snowmelt status`: the supervision tree of a running node, and commands to it.

pub mod client;
pub(crate) mod tree;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use snowmelt_supervisor::watcher::seconds;

use crate::cli::{StatusArgs, StatusCommand};
use crate::status::client::{Client, Part};
use crate::status::tree::Paint;
use crate::trouble::{Outcome, Trouble};

/// How long the node may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the command.
pub fn status(args: &StatusArgs) -> Outcome {
    let client = Client::new(&args.operator, PATIENCE)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::machine("the event loop can't be started", error))?;
    match &args.command {
        None => runtime.block_on(show(&client, args)),
        Some(command) => runtime.block_on(order(&client, command)),
    }
}

async fn show(client: &Client, args: &StatusArgs) -> Outcome {
    let report = client.status().await?;
    let text = if args.json {
        let mut json = serde_json::to_string_pretty(&report).map_err(|error| Trouble::caused("status", error))?;
        json.push('\n');
        json
    } else {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        tree::render(&report, args.actors, Paint::new(colours))
    };
    write(&text)?;
    if report.ready { Ok(()) } else { Err(Trouble::Machine("the node is not ready".to_owned())) }
}

async fn order(client: &Client, command: &StatusCommand) -> Outcome {
    let (kind, part) = command.parts();
    let groups = client.order(kind, part.unwrap_or(&Part::default())).await?;
    let mut text = String::new();
    for group in &groups {
        text.push_str(&format!("{} {group}\n", kind.path()));
    }
    if groups.is_empty() {
        text.push_str("accepted; no groups run there yet\n");
    }
    write(&text)
}

fn write(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `snowmelt status | head` is no error.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(|error| Trouble::machine("standard output", error)),
    }
}

/// A number of records or bytes a second as people read it.
pub(crate) fn rate(value: f64) -> String {
    match value {
        v if v >= 99_950.0 => format!("{:.0}k", v / 1e3),
        v if v >= 9_995.0 => format!("{:.1}k", v / 1e3),
        v if v >= 10.0 || v == 0.0 => format!("{v:.0}"),
        v => format!("{v:.1}"),
    }
}

/// A share of one as percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// How far a shard is behind.
pub(crate) fn lag(ms: Option<u64>) -> String {
    ms.map_or_else(|| "?".to_owned(), |ms| if ms == 0 { "none".to_owned() } else { seconds(ms) })
}
