//! The text format of COPY: rows of tab-separated values, `\N` for NULL.

/// Rows in one buffer. A row is begun, gets its values in the order of the columns, and is ended.
#[derive(Debug, Default)]
pub(crate) struct CopyText {
    bytes: Vec<u8>,
    /// The next value is the first of its row.
    first: bool,
}

impl CopyText {
    /// What was written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the next row begins.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all rows from this place on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Rows that were written elsewhere.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes, first: false }
    }

    /// Starts a row.
    pub(crate) fn begin_row(&mut self) {
        self.first = true;
    }

    /// Ends a row.
    pub(crate) fn end_row(&mut self) {
        self.bytes.push(b'\n');
    }

    /// Adds NULL.
    pub(crate) fn null(&mut self) {
        if self.first {
            self.first = false;
            self.bytes.extend_from_slice(b"\\N");
        } else {
            self.bytes.extend_from_slice(b"\t\\N");
        }
    }

    /// Adds a text, escaped.
    pub(crate) fn text(&mut self, text: &str) {
        self.separate();
        escape(text.as_bytes(), &mut self.bytes);
    }

    /// Adds a value that holds nothing to escape: a number, a UUID, a timestamp, a text of a row that was looked through.
    pub(crate) fn plain(&mut self, text: &str) {
        self.separate();
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Adds a value that a function writes, which must need no escaping. When it writes none the row is of no use.
    pub(crate) fn with(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<()> {
        self.separate();
        write(&mut self.bytes)
    }

    fn separate(&mut self) {
        if self.first {
            self.first = false;
        } else {
            self.bytes.push(b'\t');
        }
    }
}

/// Bytes that are looked at together.
const BLOCK: usize = 16;

/// Backslash, tab, line feed and carriage return are escaped, all else stands for itself.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let special = |byte: u8| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r');
    let mut clean_from = 0;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        // Without a way out of the loop, so that it becomes a few instructions for the whole block.
        if let Some(block) = rest.first_chunk::<BLOCK>()
            && !block.iter().fold(false, |found, byte| found | special(*byte))
        {
            at += BLOCK;
            continue;
        }
        for byte in rest.iter().take(BLOCK) {
            let letter = match byte {
                b'\\' => b'\\',
                b'\t' => b't',
                b'\n' => b'n',
                b'\r' => b'r',
                _ => {
                    at += 1;
                    continue;
                }
            };
            out.extend_from_slice(&bytes[clean_from..at]);
            out.extend_from_slice(&[b'\\', letter]);
            at += 1;
            clean_from = at;
        }
    }
    out.extend_from_slice(&bytes[clean_from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_escaped_and_empty_text_is_not_null() {
        let mut rows = CopyText::default();
        rows.begin_row();
        rows.text("");
        rows.null();
        rows.text("a\tb\\N\r\n");
        rows.plain("1");
        rows.end_row();
        assert_eq!(rows.bytes(), b"\t\\N\ta\\tb\\\\N\\r\\n\t1\n");
        let len = rows.len();
        rows.begin_row();
        rows.text("x");
        rows.truncate(len);
        assert_eq!(rows.len(), len);
    }

    #[test]
    fn what_is_escaped_is_found_at_every_place_of_a_long_text() {
        for at in 0..100 {
            for (special, escaped) in [("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")] {
                let (before, after) = ("ä".repeat(at), "z".repeat(99 - at));
                let mut out = Vec::new();
                escape(format!("{before}{special}{after}{special}").as_bytes(), &mut out);
                assert_eq!(String::from_utf8(out).unwrap(), format!("{before}{escaped}{after}{escaped}"));
            }
        }
    }
}
