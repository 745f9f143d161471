//! The pinned Python and Node programs in `.tools`, which `tests/run.sh` installs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::root;

/// Debian's; the one that `tests/tools/browser_tracker.cjs` starts.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Where the tools are: `SNOWMELT_TOOLS`, else `.tools`; prints that the test is skipped where nobody has installed them.
pub fn tools_dir() -> Option<PathBuf> {
    let dir = std::env::var_os("SNOWMELT_TOOLS").map_or_else(|| root().join(".tools"), PathBuf::from);
    if dir.join("python").is_dir() && dir.join("node").is_dir() {
        return Some(dir);
    }
    println!("skipped: {} is missing; bash tests/run.sh installs it", dir.display());
    None
}

/// Whether the browser that `tests/run.sh` installs is on this machine; prints that the test is skipped where it is not.
pub fn has_browser() -> bool {
    let found = Path::new(CHROMIUM).try_exists().unwrap_or(false);
    if !found {
        println!("skipped: {CHROMIUM} is missing; bash tests/run.sh installs it");
    }
    found
}

/// Runs a tool, feeds it, and gives back what it prints. Anything but success within a minute is an error.
pub async fn feed(program: &str, arguments: &[&str], input: String) -> Result<String> {
    let dir = tools_dir().context("no tools")?;
    let program = match program {
        "python" => dir.join("python/bin/python"),
        other => PathBuf::from(other),
    };
    let mut child = Command::new(&program)
        .args(arguments)
        .current_dir(root().join("tests/tools"))
        .env("SNOWMELT_TOOLS", &dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let mut stdin = child.stdin.take().context("it was asked for")?;
    // Written beside reading: neither side waits for the other with a full pipe.
    let writing = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    let output =
        tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.context("too slow")??;
    ensure!(
        output.status.success(),
        "{} {}: {}\n{}",
        program.display(),
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    writing.await?.context("feeding")?;
    Ok(String::from_utf8(output.stdout)?)
}
