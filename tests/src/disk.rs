//! A disk that fails at will: how a stream is taken down from outside, for as long as a test wants.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::root;

/// Fails the writes of the program under test to some of its files, as a full disk does. The program knows nothing of it: it is done
/// by a library that is loaded before the C library (`tests/tools/disk_fault.c`).
pub struct FailingDisk {
    library: PathBuf,
    switch: PathBuf,
    under: &'static str,
}

impl FailingDisk {
    /// Builds the library in `directory`; it is for files with `under` in their path. Needs a C compiler, as Rust does.
    pub fn new(directory: &Path, under: &'static str) -> Result<Self> {
        let library = directory.join("disk_fault.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(root().join("tests/tools/disk_fault.c"))
            .arg("-ldl")
            .output()
            .context("cc")?;
        ensure!(built.status.success(), "disk_fault.c: {}", String::from_utf8_lossy(&built.stderr));
        Ok(Self { library, switch: directory.join("disk-is-full"), under })
    }

    /// What the program has to have in its environment.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", self.library.clone().into()),
            ("SNOWMELT_FAULT_UNDER", self.under.into()),
            ("SNOWMELT_FAULT_SWITCH", self.switch.clone().into()),
        ]
    }

    /// From now on writes fail.
    pub fn fail(&self) -> Result<()> {
        std::fs::write(&self.switch, b"").context("failing the disk")
    }

    /// From now on writes succeed again.
    pub fn heal(&self) -> Result<()> {
        std::fs::remove_file(&self.switch).context("healing the disk")
    }
}
