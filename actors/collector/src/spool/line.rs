//! Small durable files of one line, with a checksum: a text that a bit has changed would be believed.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Reads the text of such a file. `None` when there is no file, or when it is damaged, which is logged.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => {
            let text = parse(&bytes);
            if text.is_none() {
                tracing::error!(file = %path.display(), "a file of the spool is damaged: records will be put again");
            }
            Ok(text)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stores `text`: the file holds the old line or the new one, whatever happens. Blocks for two fsyncs.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(line(text).as_bytes())?;
    file.sync_data()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// A text and its checksum.
pub(super) fn line(text: &str) -> String {
    let sum = crc32fast::hash(text.as_bytes());
    format!("{text} {sum:08x}\n")
}

/// The text of a line.
pub(super) fn parse(bytes: &[u8]) -> Option<String> {
    let whole = std::str::from_utf8(bytes).ok()?;
    let (text, _) = whole.rsplit_once(' ')?;
    (line(text) == whole).then(|| text.to_owned())
}
