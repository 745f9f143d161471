//! Reading objects of the embedded object store.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
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

/// The records of an LZO object, unpacked by Debian's `lzop`: groups of a marker, a length, and a Protocol Buffers message whose
/// third field repeats a record (spec s3-loader 2.2).
pub fn lzo_records(path: &Path) -> Result<Vec<Vec<u8>>> {
    let unpacked = std::process::Command::new("lzop").arg("-dc").arg(path).output().context("lzop")?;
    ensure!(unpacked.status.success(), "lzop: {}", String::from_utf8_lossy(&unpacked.stderr));
    let (mut rest, mut records) = (unpacked.stdout.as_slice(), Vec::new());
    while !rest.is_empty() {
        let length = rest.get(16..20).context("a group has a head")?;
        let end = 20 + u32::from_le_bytes(length.try_into()?) as usize;
        // After the first two fields, which are always the same ten bytes.
        let mut message = rest.get(30..end).context("a group is whole")?;
        while let Some((&field, after)) = message.split_first() {
            ensure!(field == 0x1A, "field {field:#x}");
            let digits = after.iter().take_while(|byte| **byte >= 0x80).count() + 1;
            let varint = after.get(..digits).context("a length is whole")?;
            let size = varint.iter().rev().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7F));
            records.push(after.get(digits..digits + size).context("a record is whole")?.to_vec());
            message = &after[digits + size..];
        }
        rest = &rest[end..];
    }
    Ok(records)
}
