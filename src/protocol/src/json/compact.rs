//! Minifying JSON text without building a tree, in one pass over the source.

use serde_json::Value;

use crate::json::{push_escape, write_escaped, write_value};

/// How many arrays and objects may be nested. The same as `serde_json` reads, so that what passes here parses there.
pub const MAX_DEPTH: usize = 127;

/// Why a text is no JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    /// Something else was expected at this byte of the source.
    #[error("{expected} at byte {offset}")]
    Unexpected {
        /// What was expected, in the words of enrich-core 5.6 (`expected json value`).
        expected: &'static str,
        /// Byte offset into the source.
        offset: usize,
    },
    /// The text ends too early.
    #[error("exhausted input")]
    Exhausted,
    /// More than [`MAX_DEPTH`] arrays and objects inside each other.
    #[error("maximum allowed JSON depth exceeded")]
    TooDeep,
}

impl CompactError {
    /// The text that follows `invalid json: ` in bad rows (enrich-core 5.6): what was expected, up to six of the next
    /// characters, line and column.
    pub fn describe(&self, source: &str) -> String {
        let CompactError::Unexpected { expected, offset } = *self else {
            return self.to_string();
        };
        let offset = source.floor_char_boundary(offset.min(source.len()));
        let (before, after) = source.split_at(offset);
        let next: String = after.chars().take(6).collect();
        let dots = if next.len() < after.len() { "..." } else { "" };
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |text| text.chars().count()) + 1;
        format!("{expected} got '{next}{dots}' (line {line}, column {column})")
    }
}

/// Appends `source` without white space, with normalised strings and the numbers' own text. Of members with one name
/// the last value stands at the first place. Lone surrogate escapes become U+FFFD, since they have no UTF-8 form.
///
/// On an error `out` is as before. Time is linear in the source, but for duplicate names, which cost one parse.
pub fn compact(source: &str, out: &mut String) -> Result<(), CompactError> {
    let start = out.len();
    out.reserve(source.len());
    let mut parser = Parser { source, at: 0, out, open: Vec::new(), names: Vec::new(), duplicates: false };
    let result = parser.document();
    let duplicates = parser.duplicates;
    if let Err(error) = result {
        out.truncate(start);
        return Err(error);
    }
    if duplicates {
        // Rare, so a tree may do it. The text was just written by us: it parses.
        let value: Value = serde_json::from_str(&out[start..]).map_err(|_| CompactError::TooDeep)?;
        out.truncate(start);
        write_value(&value, out);
    }
    Ok(())
}

/// An array or object that is not closed yet. For an object: where its names begin in `names`.
enum Open {
    Array,
    Object { names_from: usize },
}

struct Parser<'s, 'o> {
    source: &'s str,
    at: usize,
    out: &'o mut String,
    open: Vec<Open>,
    /// Hashes of the names of all open objects: equal ones may be duplicates.
    names: Vec<u64>,
    duplicates: bool,
}

impl Parser<'_, '_> {
    fn document(&mut self) -> Result<(), CompactError> {
        loop {
            self.value()?;
            // After a value: close what ends here, then go on to the next value or to the end.
            loop {
                let next = self.peek_token();
                match (self.open.last(), next) {
                    (None, None) => return Ok(()),
                    (None, Some(_)) => return Err(self.unexpected("expected whitespace or eof")),
                    (Some(_), None) => return Err(CompactError::Exhausted),
                    (Some(Open::Array), Some(b',')) => {
                        self.copy_byte(b',');
                        break;
                    }
                    (Some(Open::Array), Some(b']')) => self.close(b']'),
                    (Some(Open::Array), Some(_)) => return Err(self.unexpected("expected ] or ,")),
                    (Some(Open::Object { .. }), Some(b',')) => {
                        self.copy_byte(b',');
                        self.name()?;
                        break;
                    }
                    (Some(Open::Object { .. }), Some(b'}')) => self.close(b'}'),
                    (Some(Open::Object { .. }), Some(_)) => return Err(self.unexpected("expected } or ,")),
                }
            }
        }
    }

    /// Reads one value, going down into arrays and objects as far as their first scalar. An empty array or object is
    /// a complete value.
    fn value(&mut self) -> Result<(), CompactError> {
        loop {
            match self.peek_token().ok_or(CompactError::Exhausted)? {
                b'[' => {
                    self.enter(Open::Array, b'[')?;
                    if self.peek_token() == Some(b']') {
                        self.close(b']');
                        return Ok(());
                    }
                }
                b'{' => {
                    let names_from = self.names.len();
                    self.enter(Open::Object { names_from }, b'{')?;
                    if self.peek_token() == Some(b'}') {
                        self.close(b'}');
                        return Ok(());
                    }
                    self.name()?;
                }
                b'"' => return self.string(),
                b't' => return self.literal("true", "expected true"),
                b'f' => return self.literal("false", "expected false"),
                b'n' => return self.literal("null", "expected null"),
                b'-' | b'0'..=b'9' => return self.number(),
                _ => return Err(self.unexpected("expected json value")),
            }
        }
    }

    fn enter(&mut self, open: Open, byte: u8) -> Result<(), CompactError> {
        if self.open.len() == MAX_DEPTH {
            return Err(CompactError::TooDeep);
        }
        self.open.push(open);
        self.copy_byte(byte);
        Ok(())
    }

    fn close(&mut self, byte: u8) {
        self.copy_byte(byte);
        if let Some(Open::Object { names_from }) = self.open.pop() {
            // Sorting keeps this fast for objects with very many members.
            let names = &mut self.names[names_from..];
            names.sort_unstable();
            self.duplicates |= names.windows(2).any(|pair| pair[0] == pair[1]);
            self.names.truncate(names_from);
        }
    }

    /// A member's name and its colon.
    fn name(&mut self) -> Result<(), CompactError> {
        match self.peek_token() {
            Some(b'"') => {}
            Some(_) => return Err(self.unexpected("expected \"")),
            None => return Err(CompactError::Exhausted),
        }
        let from = self.out.len();
        self.string()?;
        self.names.push(hash(&self.out.as_bytes()[from..]));
        match self.peek_token() {
            Some(b':') => self.copy_byte(b':'),
            Some(_) => return Err(self.unexpected("expected :")),
            None => return Err(CompactError::Exhausted),
        }
        Ok(())
    }

    /// The next byte that is no white space, without taking it.
    fn peek_token(&mut self) -> Option<u8> {
        let rest = &self.source.as_bytes()[self.at..];
        let blank = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += blank;
        rest.get(blank).copied()
    }

    fn copy_byte(&mut self, byte: u8) {
        self.out.push(char::from(byte));
        self.at += 1;
    }

    fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.at).copied()
    }

    fn literal(&mut self, word: &'static str, expected: &'static str) -> Result<(), CompactError> {
        let rest = &self.source.as_bytes()[self.at..];
        if rest.starts_with(word.as_bytes()) {
            self.out.push_str(word);
            self.at += word.len();
            Ok(())
        } else if word.as_bytes().starts_with(rest) {
            Err(CompactError::Exhausted)
        } else {
            Err(self.unexpected(expected))
        }
    }

    /// JSON's own grammar leaves nothing to normalise in a number: the text is kept.
    fn number(&mut self) -> Result<(), CompactError> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.out.push_str(&self.source[from..self.at]);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), CompactError> {
        let count = self.source.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        match (count, self.peek()) {
            (0, None) => Err(CompactError::Exhausted),
            (0, Some(_)) => Err(self.unexpected("expected digit")),
            _ => Ok(()),
        }
    }

    /// A string with its quotes; `at` is on the opening one.
    fn string(&mut self) -> Result<(), CompactError> {
        self.copy_byte(b'"');
        let bytes = self.source.as_bytes();
        loop {
            let clean = bytes[self.at..]
                .iter()
                .position(|byte| *byte == b'"' || *byte == b'\\' || *byte < 0x20 || *byte == 0x7f || *byte == 0xc2);
            let Some(clean) = clean else {
                return Err(CompactError::Exhausted);
            };
            self.out.push_str(&self.source[self.at..self.at + clean]);
            self.at += clean;
            match bytes[self.at] {
                b'"' => {
                    self.copy_byte(b'"');
                    return Ok(());
                }
                b'\\' => self.escape()?,
                0x7f => {
                    push_escape(0x7f, self.out);
                    self.at += 1;
                }
                0xc2 => {
                    write_escaped(&self.source[self.at..self.at + 2], self.out);
                    self.at += 2;
                }
                _ => return Err(self.unexpected("control char in string")),
            }
        }
    }

    /// An escape sequence, printed again by our own rules; `at` is on the backslash.
    fn escape(&mut self) -> Result<(), CompactError> {
        let letter = *self.source.as_bytes().get(self.at + 1).ok_or(CompactError::Exhausted)?;
        let byte = match letter {
            b'"' | b'\\' => letter,
            b'/' => {
                self.out.push('/');
                self.at += 2;
                return Ok(());
            }
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.unexpected("illegal escape sequence")),
        };
        push_escape(byte, self.out);
        self.at += 2;
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<(), CompactError> {
        let unit = self.hex_unit(self.at)?;
        self.at += 6;
        let mut code = u32::from(unit);
        if (0xd800..0xdc00).contains(&unit)
            && self.source.as_bytes()[self.at..].starts_with(b"\\u")
            && let low = self.hex_unit(self.at)?
            && (0xdc00..0xe000).contains(&low)
        {
            self.at += 6;
            code = 0x10000 + ((code - 0xd800) << 10) + (u32::from(low) - 0xdc00);
        }
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        write_escaped(character.encode_utf8(&mut [0; 4]), self.out);
        Ok(())
    }

    /// The four hex digits of the `\u` at this offset.
    fn hex_unit(&self, at: usize) -> Result<u16, CompactError> {
        let mut unit = 0;
        for offset in at + 2..at + 6 {
            let byte = *self.source.as_bytes().get(offset).ok_or(CompactError::Exhausted)?;
            let digit = char::from(byte).to_digit(16).ok_or(self.unexpected("expected valid unicode escape"))?;
            unit = unit << 4 | digit as u16;
        }
        Ok(unit)
    }

    fn unexpected(&self, expected: &'static str) -> CompactError {
        CompactError::Unexpected { expected, offset: self.at }
    }
}

/// Tells names apart. Collisions cost time only, so it need not be keyed.
fn hash(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR).rotate_left(29);
    }
    hash
}
