//! Input cut into chunks of whole lines.

use std::io::{self, BufRead, Read};
use std::ops::Range;

/// A chunk is handed on when it has this many bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// Or this many lines.
const CHUNK_LINES: usize = 512;
/// The longest line: more than any payload in base64 that a collector writes.
pub const MAX_LINE_BYTES: usize = 32 << 20;

/// Some lines of the input.
#[derive(Debug, Default)]
pub struct Chunk {
    text: Vec<u8>,
    /// Number from 1, and place in `text`; none for a line that was too long.
    lines: Vec<(u64, Option<Range<usize>>)>,
}

impl Chunk {
    /// Its lines with their numbers, without line ends; `None` for one that was too long.
    pub fn lines(&self) -> impl Iterator<Item = (u64, Option<&[u8]>)> {
        self.lines.iter().map(|(number, place)| (*number, place.clone().map(|place| &self.text[place])))
    }
}

/// Reads lines. Empty ones are counted and left out.
pub struct Lines<R> {
    input: R,
    number: u64,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// From the beginning.
    pub fn new(input: R) -> Self {
        Self { input, number: 0, ended: false }
    }

    /// The next lines; none at the end. What comes slowly, from a pipe or a terminal, is given as soon as it is there.
    pub fn chunk(&mut self) -> io::Result<Option<Chunk>> {
        let mut chunk = Chunk::default();
        // Reading never blocks while there is something to hand on.
        let mut available = self.input.fill_buf()?.len();
        while !self.ended && chunk.text.len() < CHUNK_BYTES && chunk.lines.len() < CHUNK_LINES {
            let before = chunk.text.len();
            self.line(&mut chunk)?;
            available = available.saturating_sub(chunk.text.len() - before);
            if available == 0 && !chunk.lines.is_empty() {
                break;
            }
            if available == 0 {
                available = self.input.fill_buf()?.len();
            }
        }
        Ok((!chunk.lines.is_empty()).then_some(chunk))
    }

    fn line(&mut self, chunk: &mut Chunk) -> io::Result<()> {
        let start = chunk.text.len();
        let most = MAX_LINE_BYTES as u64 + 2;
        let read = self.input.by_ref().take(most).read_until(b'\n', &mut chunk.text)?;
        if read == 0 {
            self.ended = true;
            return Ok(());
        }
        self.number += 1;
        let ends = chunk.text.last() == Some(&b'\n');
        let line = chunk.text[start..].trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        if line.len() > MAX_LINE_BYTES {
            chunk.text.truncate(start);
            chunk.lines.push((self.number, None));
            return if ends { Ok(()) } else { self.skip() };
        }
        let begin = start + chunk.text[start..].len() - chunk.text[start..].trim_ascii_start().len();
        let length = line.len();
        chunk.lines.push((self.number, Some(begin..begin + length)));
        Ok(())
    }

    /// The rest of a line that is too long.
    fn skip(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let (used, ends) = match memchr::memchr(b'\n', buffer) {
                Some(at) => (at + 1, true),
                None => (buffer.len(), false),
            };
            self.input.consume(used);
            if ends {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<(u64, Option<String>)> {
        let mut lines = Lines::new(io::BufReader::with_capacity(64, text));
        let mut all = Vec::new();
        while let Some(chunk) = lines.chunk().unwrap() {
            let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
            all.extend(chunk.lines().map(|(number, line)| (number, line.map(text))));
        }
        all
    }

    #[test]
    fn lines_keep_their_numbers_and_empty_ones_are_left_out() {
        let some = |number, text: &str| (number, Some(text.to_owned()));
        assert_eq!(all(b"a\r\n\n  b \n\n\nc"), [some(1, "a"), some(3, "b"), some(6, "c")]);
        assert_eq!(all(b"\n\n"), []);
        assert_eq!(all(b""), []);
        let many = "x\n".repeat(10_000);
        assert_eq!(all(many.as_bytes()).last(), Some(&some(10_000, "x")));
    }

    #[test]
    fn a_line_at_the_limit_is_read_and_a_longer_one_is_told_and_skipped() {
        let mut text = vec![b'x'; MAX_LINE_BYTES];
        text.extend(b"\r\ny\n");
        let lines = all(&text);
        assert_eq!(lines[0].1.as_ref().map(String::len), Some(MAX_LINE_BYTES));
        assert_eq!(lines[1], (2, Some("y".to_owned())));
        let mut text = vec![b'x'; MAX_LINE_BYTES + 1];
        text.extend(b"xxxxxx\ny\n");
        assert_eq!(all(&text), [(1, None), (2, Some("y".to_owned()))]);
    }
}
