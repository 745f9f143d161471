//! One process a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Holds a directory until it is dropped; the operating system frees it when the process ends, however that happens.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

/// Why a directory was not locked.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process, or another instance in this process, has it.
    Held(String),
    /// The lock file cannot be used.
    Io(io::Error),
}

impl DirectoryLock {
    /// Locks `directory` by the file `name` in it.
    pub(crate) fn acquire(directory: &Path, name: &str) -> Result<Self, LockError> {
        let path = directory.join(name);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The holder's number only makes the message better; the lock itself says that there is one.
                let holder = match Read::by_ref(&mut file).take(64).read_to_string(&mut holder) {
                    Ok(_) if !holder.trim().is_empty() => format!("process {}", holder.trim()),
                    _ => "another process".to_owned(),
                };
                return Err(LockError::Held(holder));
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(LockError::Io)?;
        writeln!(file, "{}", std::process::id()).map_err(LockError::Io)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_names_the_holder_and_succeeds_after_the_first_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let first = DirectoryLock::acquire(directory.path(), "x.lock").unwrap();
        match DirectoryLock::acquire(directory.path(), "x.lock") {
            Err(LockError::Held(holder)) => assert_eq!(holder, format!("process {}", std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        DirectoryLock::acquire(directory.path(), "x.lock").unwrap();
    }
}
