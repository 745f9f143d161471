//! What a running pipeline tells the other commands: `run.json` in its data directory.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::trouble::{Outcome, Trouble};

/// The contents of `run.json`. Only its owner can read it: it holds the database's password.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RunFile {
    /// Process id of `snowmelt run`.
    pub pid: u32,
    /// The collector, when one runs.
    pub collector_url: Option<String>,
    /// The operator API.
    pub operator_url: Option<String>,
    /// Where its token is, when it needs one.
    #[serde(default)]
    pub operator_token_file: Option<PathBuf>,
    /// The schema registry, when one runs.
    #[serde(default)]
    pub registry_url: Option<String>,
    /// Where its super key is, when that is in a file.
    #[serde(default)]
    pub registry_key_file: Option<PathBuf>,
    /// The warehouse, when one is used.
    pub postgres_url: Option<String>,
    /// The database schema of the tables.
    pub schema: String,
    /// Where objects are.
    pub objects_dir: PathBuf,
    /// psql for the private server: program, arguments, environment.
    pub psql: Option<Psql>,
}

/// How psql reaches the warehouse.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Psql {
    /// Its path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
}

impl RunFile {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("run.json")
    }

    /// Writes it, readable by its owner only.
    pub fn write(&self, data_dir: &Path) -> Outcome {
        let path = Self::path(data_dir);
        let text = serde_json::to_string_pretty(self).map_err(|error| Trouble::caused("run.json", error))?;
        let temporary = path.with_extension("json.new");
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options
            .open(&temporary)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| std::fs::rename(&temporary, &path))
            .map_err(|error| Trouble::machine(&path.display().to_string(), error))
    }

    /// Removes it, at a clean end.
    pub fn remove(data_dir: &Path) {
        let path = Self::path(data_dir);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "not removed");
        }
    }

    /// The pipeline that runs in `data_dir`, if its process is alive.
    pub fn find(data_dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(Self::path(data_dir)).ok()?;
        let file: Self = serde_json::from_str(&text).ok()?;
        let pid = libc::pid_t::try_from(file.pid).ok()?;
        is_alive(pid).then_some(file)
    }
}

#[expect(unsafe_code, reason = "kill with signal 0 only asks whether the process is there")]
fn is_alive(pid: libc::pid_t) -> bool {
    // SAFETY: no memory is passed, and signal 0 has no effect on the process.
    unsafe { libc::kill(pid, 0) == 0 }
}
