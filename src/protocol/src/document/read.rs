//! The reader: one pass over the bytes, without recursion, so that no nesting can exhaust the stack.

use std::collections::HashSet;

use memchr::{memchr, memchr_iter};

use super::{DUPLICATES, Document, ESCAPED, Entry, FRACTION, Frame, Kind, Node, SyntaxError, name_hash};
use crate::scan::{digit_run, plain_run};

impl Document {
    pub(super) fn read_document(&mut self, text: &str) -> Result<(), Fault> {
        let bytes = text.as_bytes();
        let mut at = self.skip_space(bytes, 0);
        loop {
            // A value starts at `at`.
            match bytes.get(at) {
                None => return Err(Fault::Exhausted),
                Some(b'{') => {
                    self.open(Kind::Object, at);
                    at = self.skip_space(bytes, at + 1);
                    if bytes.get(at) != Some(&b'}') {
                        at = self.read_name(text, at)?;
                        continue;
                    }
                    self.close(text, at + 1);
                    at += 1;
                }
                Some(b'[') => {
                    self.open(Kind::Array, at);
                    at = self.skip_space(bytes, at + 1);
                    if bytes.get(at) != Some(&b']') {
                        continue;
                    }
                    self.close(text, at + 1);
                    at += 1;
                }
                Some(b'"') => at = self.read_string(bytes, at)?,
                Some(b't') => at = self.read_word(bytes, at, b"true", Kind::Bool, "expected true")?,
                Some(b'f') => at = self.read_word(bytes, at, b"false", Kind::Bool, "expected false")?,
                Some(b'n') => at = self.read_word(bytes, at, b"null", Kind::Null, "expected null")?,
                Some(b'-' | b'0'..=b'9') => at = self.read_number(bytes, at)?,
                Some(_) => return Err(Fault::Expected("expected json value", at)),
            }
            // A value has ended before `at`; close what ends with it.
            loop {
                at = self.skip_space(bytes, at);
                let Some(frame) = self.stack.last() else {
                    self.depth = self.depth.max(1);
                    return if at < bytes.len() {
                        Err(Fault::Expected("expected whitespace or eof", at))
                    } else {
                        Ok(())
                    };
                };
                let container = &mut self.entries[frame.entry as usize];
                container.count += 1;
                let array = container.kind == Kind::Array;
                match bytes.get(at) {
                    None => return Err(Fault::Exhausted),
                    Some(b',') => {
                        at = self.skip_space(bytes, at + 1);
                        if !array {
                            at = self.read_name(text, at)?;
                        }
                        break;
                    }
                    Some(b']') if array => self.close(text, at + 1),
                    Some(b'}') if !array => self.close(text, at + 1),
                    Some(_) if array => return Err(Fault::Expected("expected ] or ,", at)),
                    Some(_) => return Err(Fault::Expected("expected } or ,", at)),
                }
                at += 1;
            }
        }
    }

    #[inline(always)]
    fn skip_space(&mut self, bytes: &[u8], mut at: usize) -> usize {
        // Nearly always nothing is skipped, which one comparison tells.
        while let Some(&byte) = bytes.get(at)
            && byte <= b' '
            && matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
        {
            self.compact = false;
            at += 1;
        }
        at
    }

    #[inline(always)]
    fn open(&mut self, kind: Kind, at: usize) {
        self.stack.push(Frame { entry: self.entries.len() as u32, names: [0; 4] });
        // A container of scalars has depth 2.
        self.depth = self.depth.max(self.stack.len());
        self.entries.push(Entry { start: at as u32, end: 0, next: 0, count: 0, kind, flags: 0 });
    }

    fn close(&mut self, text: &str, end: usize) {
        let Some(frame) = self.stack.pop() else { return };
        let next = self.entries.len() as u32;
        let container = &mut self.entries[frame.entry as usize];
        container.end = end as u32;
        container.next = next;
        if container.count > 0 {
            self.depth = self.depth.max(self.stack.len() + 2);
        }
        if container.kind == Kind::Object && container.count > SEARCHED_MEMBERS {
            let object = Node { text, entries: &self.entries, index: frame.entry, compact: self.compact };
            let mut names = HashSet::with_capacity(object.len());
            if !object.members().all(|(name, _)| names.insert(name)) {
                self.duplicates = true;
                self.entries[frame.entry as usize].flags |= DUPLICATES;
            }
        }
    }

    /// Reads `"name":` and the space around it; gives the position of the value.
    #[inline(always)]
    fn read_name(&mut self, text: &str, at: usize) -> Result<usize, Fault> {
        let bytes = text.as_bytes();
        match bytes.get(at) {
            None => return Err(Fault::Exhausted),
            Some(b'"') => {}
            Some(_) => return Err(Fault::Expected("expected \"", at)),
        }
        let index = self.entries.len();
        let end = self.read_string(bytes, at)?;
        self.note_name(text, index);
        let at = self.skip_space(bytes, end);
        match bytes.get(at) {
            None => Err(Fault::Exhausted),
            Some(b':') => Ok(self.skip_space(bytes, at + 1)),
            Some(_) => Err(Fault::Expected("expected :", at)),
        }
    }

    /// Remembers the name just read at `index` and marks the object when it had that name already.
    #[inline(always)]
    fn note_name(&mut self, text: &str, index: usize) {
        let name = &mut self.entries[index];
        let hash = if name.flags & ESCAPED == 0 {
            name_hash(&text.as_bytes()[name.start as usize + 1..name.end as usize - 1])
        } else {
            self.hash_of_escaped(text, index)
        };
        self.entries[index].count = hash;
        let Some(frame) = self.stack.last_mut() else { return };
        let names = &mut frame.names[(hash >> 6 & 3) as usize];
        let bit = 1 << (hash & 63);
        let seen = *names & bit != 0;
        *names |= bit;
        if seen {
            self.look_for_duplicate(text, index, hash);
        }
    }

    #[cold]
    fn hash_of_escaped(&self, text: &str, index: usize) -> u32 {
        let name = Node { text, entries: &self.entries, index: index as u32, compact: false };
        name_hash(name.as_str().unwrap_or_default().as_bytes())
    }

    #[inline(never)]
    fn look_for_duplicate(&mut self, text: &str, index: usize, hash: u32) {
        let Some(object) = self.stack.last().map(|frame| frame.entry as usize) else { return };
        if self.entries[object].count > SEARCHED_MEMBERS {
            return;
        }
        let at = |index: usize| Node { text, entries: &self.entries, index: index as u32, compact: false };
        let mut earlier = object + 1;
        while earlier < index {
            if self.entries[earlier].count == hash && at(earlier).as_str() == at(index).as_str() {
                self.duplicates = true;
                self.entries[object].flags |= DUPLICATES;
                return;
            }
            earlier = self.entries[earlier + 1].next as usize;
        }
    }

    #[inline(always)]
    fn read_string(&mut self, bytes: &[u8], start: usize) -> Result<usize, Fault> {
        let (end, odd) = plain_run(bytes, start + 1);
        if odd || bytes.get(end) != Some(&b'"') {
            return self.read_unusual_string(bytes, start, end, odd);
        }
        self.leaf(Kind::String, 0, start, end + 1);
        Ok(end + 1)
    }

    /// The rest of a string that is more than plain ASCII, or is none.
    #[inline(never)]
    fn read_unusual_string(
        &mut self,
        bytes: &[u8],
        start: usize,
        mut at: usize,
        mut odd: bool,
    ) -> Result<usize, Fault> {
        let mut flags = 0;
        loop {
            match bytes.get(at) {
                None => return Err(Fault::Exhausted),
                Some(b'"') => break,
                Some(b'\\') => {
                    flags |= ESCAPED;
                    let (end, more) = plain_run(bytes, self.read_escape(bytes, at)?);
                    at = end;
                    odd |= more;
                }
                Some(&byte) => return Err(Fault::Control(byte, at)),
            }
        }
        if odd && self.compact {
            let inner = &bytes[start + 1..at];
            let control = |at: usize| inner.get(at + 1).is_some_and(|&byte| byte < 0xA0);
            self.compact = !(memchr(0x7F, inner).is_some() || memchr_iter(0xC2, inner).any(control));
        }
        self.leaf(Kind::String, flags, start, at + 1);
        Ok(at + 1)
    }

    fn read_escape(&mut self, bytes: &[u8], at: usize) -> Result<usize, Fault> {
        match bytes.get(at + 1) {
            None => Err(Fault::Exhausted),
            Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
            Some(b'/') => {
                self.compact = false;
                Ok(at + 2)
            }
            Some(b'u') => {
                self.compact = false;
                let Some(digits) = bytes.get(at + 2..at + 6) else { return Err(Fault::Exhausted) };
                if digits.iter().all(u8::is_ascii_hexdigit) {
                    Ok(at + 6)
                } else {
                    Err(Fault::Expected("expected valid unicode escape", at + 2))
                }
            }
            Some(_) => Err(Fault::Escape(at)),
        }
    }

    fn read_word(
        &mut self,
        bytes: &[u8],
        at: usize,
        word: &[u8],
        kind: Kind,
        expectation: &'static str,
    ) -> Result<usize, Fault> {
        let rest = &bytes[at..];
        if rest.starts_with(word) {
            self.leaf(kind, 0, at, at + word.len());
            Ok(at + word.len())
        } else if word.starts_with(rest) {
            Err(Fault::Exhausted)
        } else {
            Err(Fault::Expected(expectation, at))
        }
    }

    fn read_number(&mut self, bytes: &[u8], start: usize) -> Result<usize, Fault> {
        let mut at = start + usize::from(bytes[start] == b'-');
        let mut flags = 0;
        at = match bytes.get(at) {
            // Zero ends the integer part: a digit after it is refused as what follows a value.
            Some(b'0') => at + 1,
            _ => read_digits(bytes, at)?,
        };
        if bytes.get(at) == Some(&b'.') {
            flags = FRACTION;
            at = read_digits(bytes, at + 1)?;
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            flags = FRACTION;
            at += 1;
            at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
            at = read_digits(bytes, at)?;
        }
        self.leaf(Kind::Number, flags, start, at);
        Ok(at)
    }

    #[inline(always)]
    fn leaf(&mut self, kind: Kind, flags: u8, start: usize, end: usize) {
        let next = self.entries.len() as u32 + 1;
        self.entries.push(Entry { start: start as u32, end: end as u32, next, count: 0, kind, flags });
    }
}

/// Above this many members the names of an object are compared through a hash table.
const SEARCHED_MEMBERS: u32 = 48;

fn read_digits(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let at = digit_run(bytes, start);
    match bytes.get(at) {
        _ if at > start => Ok(at),
        None => Err(Fault::Exhausted),
        Some(_) => Err(Fault::Expected("expected digit", at)),
    }
}

/// Where and why reading stopped.
pub(super) enum Fault {
    Exhausted,
    Expected(&'static str, usize),
    Control(u8, usize),
    Escape(usize),
}

impl Fault {
    pub(super) fn describe(&self, text: &str) -> SyntaxError {
        let (what, at, quoted) = match self {
            Fault::Exhausted => return SyntaxError::Syntax("exhausted input".to_owned()),
            Fault::Expected(what, at) => ((*what).to_owned(), *at, 6),
            Fault::Control(byte, at) => (format!("control char ({byte}) in string"), *at, 1),
            Fault::Escape(at) => {
                let escaped = text.get(*at + 1..).and_then(|rest| rest.chars().next()).unwrap_or_default();
                (format!("illegal escape sequence (\\{escaped})"), *at, 1)
            }
        };
        let before = text.get(..at).unwrap_or_default();
        let after = text.get(at..).unwrap_or_default();
        let shown: String = after.chars().take(quoted).collect();
        let dots = if shown.len() < after.len() { "..." } else { "" };
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        SyntaxError::Syntax(format!("{what} got '{shown}{dots}' (line {line}, column {column})"))
    }
}
