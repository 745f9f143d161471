//! Reading objects of the embedded object store.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::read::MultiGzDecoder;

/// All files below a directory, sorted; none when there is no such directory.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            // Also one that was there a moment ago: the program is at work in it.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e).with_context(|| dir.display().to_string()),
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The lines of all gzip objects below a directory.
pub fn gzip_lines(dir: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for path in files(dir)?.iter().filter(|path| path.extension().is_some_and(|e| e == "gz")) {
        let reader = BufReader::new(MultiGzDecoder::new(File::open(path)?));
        for line in reader.lines() {
            lines.push(line.with_context(|| path.display().to_string())?);
        }
    }
    Ok(lines)
}
