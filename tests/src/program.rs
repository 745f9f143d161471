//! The program under test, and running it to its end.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::root;

/// The built `snowmelt`: `SNOWMELT_BIN`, else built now (once), so that it is never an old one.
pub fn snowmelt() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    if let Some(path) = std::env::var_os("SNOWMELT_BIN") {
        return Ok(PathBuf::from(path));
    }
    BUILT.get_or_init(|| build().map_err(|e| format!("{e:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--locked", "--quiet", "--package", "snowmelt", "--bin", "snowmelt"])
        .current_dir(root())
        .status()
        .context("cargo build")?;
    if !built.success() {
        bail!("cargo build -p snowmelt: {built}");
    }
    // This test is target/<profile>/deps/<name>; the program is built by cargo's default profile.
    let exe = std::env::current_exe()?;
    let target = exe.ancestors().nth(3).context("a test lies three levels below the target directory")?;
    Ok(target.join("debug/snowmelt"))
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// Runs `snowmelt` with these arguments in the workspace's root, until it ends or a minute is over.
pub async fn run_to_end<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Result<Finished> {
    run_to_end_with(arguments, Vec::new()).await
}

/// The same with more in its environment.
pub async fn run_to_end_with<S: AsRef<std::ffi::OsStr>>(
    arguments: &[S],
    environment: Vec<(&'static str, OsString)>,
) -> Result<Finished> {
    let child = tokio::process::Command::new(snowmelt()?)
        .args(arguments)
        .current_dir(root())
        .envs(environment)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting snowmelt")?;
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output())
        .await
        .context("snowmelt did not end within a minute")??;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
