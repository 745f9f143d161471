//! The files of a private server: who owns them, what stands in them.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use super::ClusterError;

/// Where the server notes its process, in its data.
const PID_FILE: &str = "postmaster.pid";
/// Paths of sockets may have 107 bytes; the server appends its own name.
const MAX_SOCKET_FOLDER: usize = 80;
/// A log that is longer starts anew.
const MAX_LOG_BYTES: u64 = 16 << 20;
/// How much of the log is shown.
const TAIL_BYTES: usize = 4000;

/// The user that the server runs as, where it is not us.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl User {
    /// `None` when we are not root: the server runs as we do.
    pub(super) fn to_run_as(name: &str) -> Result<Option<Self>, ClusterError> {
        let read = |path: &str| file(Path::new(path), std::fs::metadata(path));
        if read("/proc/self")?.uid() != 0 {
            return Ok(None);
        }
        let passwd = file(Path::new("/etc/passwd"), std::fs::read_to_string("/etc/passwd"))?;
        let found = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let matches = fields.next() == Some(name);
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            matches.then(|| Self { name: name.to_owned(), uid, gid })
        });
        found.map(Some).ok_or_else(|| ClusterError::NoUser(name.to_owned()))
    }
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    directory: PathBuf,
    pub(super) data: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) log: PathBuf,
    /// The superuser's password, for initdb.
    pub(super) password: PathBuf,
    /// The same in the form that psql reads.
    pub(super) passfile: PathBuf,
}

impl Layout {
    pub(super) fn at(directory: &Path) -> Self {
        let own = directory.join("socket");
        let socket = if own.as_os_str().len() <= MAX_SOCKET_FOLDER {
            own
        } else {
            let hash = directory.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
            std::env::temp_dir().join(format!("snowmelt-{hash:016x}"))
        };
        Self {
            data: directory.join("data"),
            socket,
            log: directory.join("server.log"),
            password: directory.join("password"),
            passfile: directory.join("pgpass"),
            directory: directory.to_owned(),
        }
    }

    /// Makes the folders, gives them to the server's user and locks them against other processes of ours.
    pub(super) fn prepare(directory: &Path, user: Option<&User>) -> Result<(Self, File), ClusterError> {
        file(directory, std::fs::create_dir_all(directory))?;
        let directory = file(directory, directory.canonicalize())?;
        let layout = Self::at(&directory);
        let lock_path = directory.join("lock");
        let lock = file(&lock_path, OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(ClusterError::InUse(directory)),
            Err(std::fs::TryLockError::Error(source)) => return Err(ClusterError::File { path: lock_path, source }),
        }
        for folder in [&directory, &layout.data, &layout.socket] {
            file(folder, std::fs::create_dir_all(folder))?;
            file(folder, std::fs::set_permissions(folder, Permissions::from_mode(0o700)))?;
            give(folder, user)?;
        }
        if let Some(user) = user {
            check_ancestors(&directory, user)?;
        }
        Ok((layout, lock))
    }

    pub(super) fn is_initialised(&self) -> Result<bool, ClusterError> {
        let version = self.data.join("PG_VERSION");
        file(&version, version.try_exists())
    }

    /// The superuser's password; made at the first start.
    pub(super) fn password(&self, user: Option<&User>) -> Result<String, ClusterError> {
        if file(&self.password, self.password.try_exists())? {
            return file(&self.password, std::fs::read_to_string(&self.password)).map(|text| text.trim().to_owned());
        }
        let password = uuid::Uuid::new_v4().simple().to_string();
        write_secret(&self.password, &format!("{password}\n"))?;
        give(&self.password, user)?;
        Ok(password)
    }

    /// Settings for a server that is loaded by few connections. Included from postgresql.conf, which stays the user's.
    pub(super) fn write_configuration(&self, user: Option<&User>, durable: bool) -> Result<(), ClusterError> {
        let on = if durable { "on" } else { "off" };
        let text = format!(
            "# Written by snowmelt at every start; own settings go to postgresql.conf, below the include.\n\
             listen_addresses = '127.0.0.1'\n\
             unix_socket_permissions = 0700\n\
             max_connections = 100\n\
             shared_buffers = 256MB\n\
             maintenance_work_mem = 128MB\n\
             wal_level = minimal\n\
             max_wal_senders = 0\n\
             wal_compression = on\n\
             wal_buffers = 16MB\n\
             max_wal_size = 4GB\n\
             min_wal_size = 256MB\n\
             checkpoint_timeout = 15min\n\
             fsync = {on}\n\
             synchronous_commit = {on}\n\
             full_page_writes = {on}\n\
             password_encryption = 'scram-sha-256'\n\
             timezone = 'UTC'\n\
             log_timezone = 'UTC'\n\
             log_line_prefix = '%m [%p] '\n\
             log_min_error_statement = panic\n\
             log_error_verbosity = terse\n"
        );
        let path = self.data.join("snowmelt.conf");
        file(&path, std::fs::write(&path, text))?;
        give(&path, user)?;
        let main = self.data.join("postgresql.conf");
        let now = file(&main, std::fs::read_to_string(&main))?;
        const INCLUDE: &str = "include = 'snowmelt.conf'";
        if !now.lines().any(|line| line == INCLUDE) {
            let mut open = file(&main, OpenOptions::new().append(true).open(&main))?;
            file(&main, writeln!(open, "\n{INCLUDE}"))?;
        }
        Ok(())
    }

    /// Whether a server of an earlier process still runs here.
    pub(super) fn left_over_server(&self) -> Result<bool, ClusterError> {
        let path = self.data.join(PID_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(ClusterError::File { path, source }),
        };
        let pid = text.lines().next().unwrap_or_default().trim();
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = self.data.as_os_str().as_encoded_bytes();
        Ok(!pid.is_empty() && command.split(|byte| *byte == 0).any(|argument| argument == ours))
    }

    /// Whether a process of a server works in the data. Those that serve connections outlive a killed postmaster while they
    /// finish a statement.
    pub(super) fn is_worked_in(&self) -> Result<bool, ClusterError> {
        let processes = Path::new("/proc");
        for entry in file(processes, std::fs::read_dir(processes))? {
            // Of a process that ends meanwhile, or of another user, there is nothing to read.
            let process = file(processes, entry)?.path();
            let is_here = std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == self.data);
            if is_here && std::fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == "postgres") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the notes of a server that does not run any more: another process may have its number by now, and one that
    /// was killed a moment ago still counts as running.
    pub(super) fn forget_server(&self) -> Result<(), ClusterError> {
        let mut notes = vec![self.data.join(PID_FILE)];
        for entry in file(&self.socket, std::fs::read_dir(&self.socket))? {
            notes.push(file(&self.socket, entry)?.path());
        }
        for note in notes {
            match std::fs::remove_file(&note) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => file(&note, removed)?,
            }
        }
        Ok(())
    }

    /// The log for standard output and error of the server.
    pub(super) fn open_log(&self, user: Option<&User>) -> Result<(File, File), ClusterError> {
        let long = std::fs::metadata(&self.log).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES);
        if long {
            file(&self.log, std::fs::remove_file(&self.log))?;
        }
        let log = file(&self.log, OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log))?;
        give(&self.log, user)?;
        let second = file(&self.log, log.try_clone())?;
        Ok((log, second))
    }

    /// The last lines of the log, for error messages.
    pub(super) fn log_tail(&self) -> String {
        let Ok(bytes) = std::fs::read(&self.log) else {
            return String::new();
        };
        let tail = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]).into_owned();
        let lines: Vec<&str> = tail.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Writes down how to reach the server, for the next start and for psql.
    pub(super) fn remember(&self, port: u16, name: &str, password: &str) -> Result<(), ClusterError> {
        let path = self.directory.join("port");
        file(&path, std::fs::write(&path, port.to_string()))?;
        write_secret(&self.passfile, &format!("127.0.0.1:{port}:*:{name}:{password}\n"))
    }

    /// The port of last time.
    pub(super) fn remembered_port(&self) -> Result<Option<u16>, ClusterError> {
        let path = self.directory.join("port");
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ClusterError::File { path, source }),
        }
    }
}

fn file<T>(path: &Path, outcome: std::io::Result<T>) -> Result<T, ClusterError> {
    outcome.map_err(|source| ClusterError::File { path: path.to_owned(), source })
}

fn give(path: &Path, user: Option<&User>) -> Result<(), ClusterError> {
    match user {
        Some(user) => file(path, chown(path, Some(user.uid), Some(user.gid))),
        None => Ok(()),
    }
}

/// Replaces a file that only its owner may read.
fn write_secret(path: &Path, text: &str) -> Result<(), ClusterError> {
    let open = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path);
    let mut open = file(path, open)?;
    file(path, open.set_permissions(Permissions::from_mode(0o600)))?;
    file(path, open.write_all(text.as_bytes()))
}

/// Whether the server's user can reach the folder: everybody's right to pass, or its own.
fn check_ancestors(directory: &Path, user: &User) -> Result<(), ClusterError> {
    for folder in directory.ancestors().skip(1) {
        let metadata = file(folder, folder.metadata())?;
        let mode = metadata.mode();
        let passable = (mode & 0o001 != 0)
            || (metadata.uid() == user.uid && mode & 0o100 != 0)
            || (metadata.gid() == user.gid && mode & 0o010 != 0);
        if !passable {
            return Err(ClusterError::NotTraversable { user: user.name.clone(), folder: folder.to_owned() });
        }
    }
    Ok(())
}
