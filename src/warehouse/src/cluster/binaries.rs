//! Finding the programs of PostgreSQL.

use std::path::{Path, PathBuf};

use super::ClusterError;

/// Paths of the programs we run.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
    pub(super) pg_ctl: PathBuf,
    pub(super) psql: PathBuf,
}

impl Binaries {
    /// In PATH, else where Debian puts them, the newest version first. All come from one folder where possible, since
    /// files of one version are of no use to another.
    pub(super) fn find() -> Result<Self, ClusterError> {
        let mut folders: Vec<PathBuf> =
            std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
        folders.extend(debian_folders());
        let servers = ["initdb", "postgres", "pg_ctl"];
        let complete = folders.iter().find(|folder| servers.iter().all(|name| is_file(&folder.join(name))));
        let Some(folder) = complete else {
            let missing = servers.into_iter().find(|name| !folders.iter().any(|folder| is_file(&folder.join(name))));
            return Err(ClusterError::NotInstalled(missing.unwrap_or("postgres")));
        };
        let psql = std::iter::once(folder)
            .chain(&folders)
            .map(|folder| folder.join("psql"))
            .find(|path| is_file(path))
            .ok_or(ClusterError::NotInstalled("psql"))?;
        // Links in PATH lead away from the server's other files, which it finds beside its real place.
        let real = |name: &str| {
            let path = folder.join(name);
            path.canonicalize().unwrap_or(path)
        };
        Ok(Self { initdb: real("initdb"), postgres: real("postgres"), pg_ctl: real("pg_ctl"), psql })
    }
}

fn debian_folders() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}
