//! Views of the values of a document, and printing them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::{DUPLICATES, ESCAPED, Entry, FRACTION, Kind, name_hash};
use crate::json::write_string;

/// One value of a [`Document`]. Copying it is free.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    pub(super) text: &'a str,
    pub(super) entries: &'a [Entry],
    pub(super) index: u32,
    pub(super) compact: bool,
}

impl<'a> Node<'a> {
    fn entry(&self) -> &'a Entry {
        &self.entries[self.index as usize]
    }

    fn at(&self, index: u32) -> Node<'a> {
        Node { index, ..*self }
    }

    /// What the value is.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.entry().kind
    }

    /// The value as it stands in the source.
    #[inline]
    pub fn source(&self) -> &'a str {
        let entry = self.entry();
        &self.text[entry.start as usize..entry.end as usize]
    }

    /// Position of the value among all values of its document: distinct for each.
    pub fn position(&self) -> u32 {
        self.index
    }

    /// The text of a string; borrowed unless it contains escapes. Lone surrogates become U+FFFD.
    #[inline]
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        (self.entry().kind == Kind::String).then(|| self.string())
    }

    /// The text of a value that is known to be a string.
    #[inline]
    fn string(&self) -> Cow<'a, str> {
        let entry = self.entry();
        let inner = &self.text[entry.start as usize + 1..entry.end as usize - 1];
        if entry.flags & ESCAPED == 0 { Cow::Borrowed(inner) } else { Cow::Owned(unescape(inner)) }
    }

    /// The boolean.
    pub fn as_bool(&self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.source() == "true")
    }

    /// For a number: whether it is written without fraction and exponent.
    pub fn is_written_as_integer(&self) -> bool {
        self.entry().flags & FRACTION == 0
    }

    /// Number of members or elements; 0 for a scalar.
    pub fn len(&self) -> usize {
        self.entry().count as usize
    }

    /// Whether a container has no children.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of an object's member.
    #[inline]
    pub fn get(&self, name: &str) -> Option<Node<'a>> {
        if self.kind() != Kind::Object {
            return None;
        }
        let hash = name_hash(name.as_bytes());
        let is_it = |candidate: MemberName<'a>| candidate.hash() == hash && *candidate.bytes() == *name.as_bytes();
        self.named_members().find_map(|(candidate, value)| is_it(candidate).then_some(value))
    }

    /// The members of an object in order; nothing for other kinds.
    pub fn members(&self) -> Members<'a> {
        let end = if self.kind() == Kind::Object { self.entry().next } else { self.index };
        Members { node: self.at(self.index + 1), end }
    }

    /// The same with names as they stand in the document, whose texts are made when they are asked for.
    #[inline]
    pub fn named_members(&self) -> NamedMembers<'a> {
        NamedMembers(self.members())
    }

    /// The elements of an array in order; nothing for other kinds.
    pub fn elements(&self) -> Elements<'a> {
        let end = if self.kind() == Kind::Array { self.entry().next } else { self.index };
        Elements { node: self.at(self.index + 1), end }
    }

    /// Appends the value printed by the rules of enrich-core 4.2.
    pub fn write_compact(&self, out: &mut String) {
        if self.compact {
            out.push_str(self.source());
        } else {
            self.write(out, false);
        }
    }

    pub(super) fn write_deduplicated(&self, out: &mut String) {
        self.write(out, true);
    }

    fn write(&self, out: &mut String, deduplicate: bool) {
        match self.kind() {
            Kind::Object if deduplicate && self.entry().flags & DUPLICATES != 0 => {
                let last: HashMap<_, _> = self.members().collect();
                let mut written = HashSet::new();
                out.push('{');
                for (name, _) in self.members() {
                    let Some(value) = last.get(&name) else { continue };
                    if written.insert(name.clone()) {
                        if written.len() > 1 {
                            out.push(',');
                        }
                        write_string(&name, out);
                        out.push(':');
                        value.write(out, deduplicate);
                    }
                }
                out.push('}');
            }
            Kind::Object => {
                out.push('{');
                for (nth, (name, value)) in self.members().enumerate() {
                    if nth > 0 {
                        out.push(',');
                    }
                    write_string(&name, out);
                    out.push(':');
                    value.write(out, deduplicate);
                }
                out.push('}');
            }
            Kind::Array => {
                out.push('[');
                for (nth, value) in self.elements().enumerate() {
                    if nth > 0 {
                        out.push(',');
                    }
                    value.write(out, deduplicate);
                }
                out.push(']');
            }
            Kind::String => write_string(&self.as_str().unwrap_or_default(), out),
            Kind::Null | Kind::Bool | Kind::Number => out.push_str(self.source()),
        }
    }

    /// Compact text of the value.
    pub fn to_compact(&self) -> String {
        let mut out = String::with_capacity(self.source().len());
        self.write_compact(&mut out);
        out
    }

    /// The value as a tree, for cold paths. Numbers keep their text.
    pub fn to_value(&self) -> serde_json::Value {
        // The text was checked by our own reader, which accepts what serde_json accepts except lone surrogates;
        // those are gone once the text is printed by us.
        let mut text = String::with_capacity(self.source().len());
        self.write(&mut text, false);
        serde_json::from_str(&text).unwrap_or(serde_json::Value::Null)
    }
}

/// Iterator of [`Node::members`].
#[derive(Debug, Clone)]
pub struct Members<'a> {
    node: Node<'a>,
    end: u32,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Node<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.step()?;
        Some((name.string(), value))
    }
}

impl<'a> Members<'a> {
    #[inline(always)]
    fn step(&mut self) -> Option<(Node<'a>, Node<'a>)> {
        if self.node.index >= self.end {
            return None;
        }
        let name = self.node;
        let value = name.at(name.index + 1);
        self.node.index = value.entry().next;
        Some((name, value))
    }
}

/// Iterator of [`Node::named_members`].
#[derive(Debug, Clone)]
pub struct NamedMembers<'a>(Members<'a>);

impl<'a> Iterator for NamedMembers<'a> {
    type Item = (MemberName<'a>, Node<'a>);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.0.step()?;
        Some((MemberName(name), value))
    }
}

/// The name of a member.
#[derive(Debug, Clone, Copy)]
pub struct MemberName<'a>(Node<'a>);

impl<'a> MemberName<'a> {
    /// The [`name_hash`] of the name.
    #[inline]
    pub fn hash(self) -> u32 {
        self.0.entry().count
    }

    /// The name's text; borrowed unless it contains escapes.
    #[inline]
    pub fn text(self) -> Cow<'a, str> {
        self.0.string()
    }

    /// The bytes of the text.
    #[inline(always)]
    pub fn bytes(self) -> Cow<'a, [u8]> {
        let entry = self.0.entry();
        if entry.flags & ESCAPED == 0 {
            return Cow::Borrowed(&self.0.text.as_bytes()[entry.start as usize + 1..entry.end as usize - 1]);
        }
        self.unescaped_bytes()
    }

    #[cold]
    fn unescaped_bytes(self) -> Cow<'a, [u8]> {
        match self.text() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    }
}

/// Iterator of [`Node::elements`].
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    node: Node<'a>,
    end: u32,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Node<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.node.index >= self.end {
            return None;
        }
        let value = self.node;
        self.node.index = value.entry().next;
        Some(value)
    }
}

fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let escape = &rest[at..];
        let (plain, used) = match escape.as_bytes().get(1) {
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'u') => unicode_escape(escape),
            Some(&other) => (char::from(other), 2),
            None => ('\\', 1),
        };
        out.push(plain);
        rest = escape.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The character of the `\uXXXX` at the start of `escape`, with its length: 12 when it is a pair of surrogates.
fn unicode_escape(escape: &str) -> (char, usize) {
    let unit = |at: usize| escape.get(at..at + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(first) = unit(2) else { return (char::REPLACEMENT_CHARACTER, escape.len().min(6)) };
    if (0xD800..0xDC00).contains(&first)
        && escape.as_bytes().get(6..8) == Some(b"\\u")
        && let Some(second @ 0xDC00..0xE000) = unit(8)
    {
        let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

impl std::fmt::Display for Node<'_> {
    /// The compact text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_compact())
    }
}

/// Appends `{"schema":"<uri>","data":<data>}`.
pub fn write_self_describing(out: &mut String, uri: impl std::fmt::Display, data: &Node<'_>) {
    // Writing into a String cannot fail; a schema URI needs no escaping.
    if write!(out, "{{\"schema\":\"{uri}\",\"data\":").is_ok() {
        data.write_compact(out);
        out.push('}');
    }
}
