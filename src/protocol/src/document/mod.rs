//! A JSON document read once into a flat table of positions, borrowing everything else from its text.
//!
//! The event path parses, validates and prints the same JSON. A tree of owned values would allocate for every member and
//! lose how numbers were written; here a document is one reusable `Vec` of small entries over the source text, so that
//! parsing allocates nothing once warm, numbers keep their characters (enrich-core 4.2) and a document that is already
//! compact is printed by copying it. Strict JSON (enrich-core 5.6); error texts follow the original's parser.

mod node;
mod read;
#[cfg(test)]
mod tests;

pub use node::{Elements, MemberName, Members, NamedMembers, Node, write_self_describing};

/// Why a text is not a JSON document we accept. Displays as the text that follows `invalid json: ` in bad rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// Not JSON; the message says what was expected and where.
    #[error("{0}")]
    Syntax(String),
    /// JSON, but nested deeper than allowed.
    #[error("maximum allowed JSON depth exceeded")]
    TooDeep,
    /// More text than positions can address (2 GiB).
    #[error("document of {0} bytes is too long")]
    TooLong(usize),
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// Any number; see [`Node::is_written_as_integer`].
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// The string contains escapes.
const ESCAPED: u8 = 1;
/// The number has a fraction or an exponent.
const FRACTION: u8 = 2;
/// The object names a member twice.
const DUPLICATES: u8 = 4;

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    end: u32,
    /// Index of the entry after this one's subtree.
    next: u32,
    /// Children of a container; of a member's name its [`name_hash`].
    count: u32,
    kind: Kind,
    flags: u8,
}

/// A hash of a member's name that a document keeps with it, for finding names in tables. It reads only the ends: names
/// of one length that share both are rare, unless somebody wants them: what is looked up must not be an event's to choose.
#[inline]
pub fn name_hash(name: &[u8]) -> u32 {
    let (first, last) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (Some(first), Some(last)) => (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into()),
            _ => (
                u64::from(name.first().copied().unwrap_or_default()) << 8
                    | u64::from(name.get(name.len() / 2).copied().unwrap_or_default()),
                name.last().copied().unwrap_or_default().into(),
            ),
        },
    };
    let mixed = (first ^ last.rotate_left(29) ^ name.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as u32
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    entry: u32,
    /// Bloom filter of the member names seen, so that most objects need no search for duplicates.
    names: [u64; 4],
}

/// Reusable storage for one parsed document.
#[derive(Debug, Default)]
pub struct Document {
    entries: Vec<Entry>,
    stack: Vec<Frame>,
    normalised: String,
    /// No white space, no needless escapes: printing is copying.
    compact: bool,
    duplicates: bool,
    depth: usize,
}

/// More room than this is given back before the next document: one huge document must not hold memory for ever.
const KEPT_ENTRIES: usize = 1 << 16;

impl Document {
    /// An empty document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses `text` and gives its root. A scalar has depth 1; a document deeper than `max_depth` is refused.
    /// Of members with one name the last value counts, at the first one's position.
    pub fn parse<'a>(&'a mut self, text: &'a str, max_depth: usize) -> Result<Node<'a>, SyntaxError> {
        self.read(text, max_depth)?;
        let text = if self.duplicates {
            let mut normalised = std::mem::take(&mut self.normalised);
            normalised.clear();
            self.root(text).write_deduplicated(&mut normalised);
            let outcome = self.read(&normalised, max_depth);
            self.normalised = normalised;
            outcome?;
            &self.normalised
        } else {
            text
        };
        Ok(Node { text, entries: &self.entries, index: 0, compact: self.compact })
    }

    fn root<'a>(&'a self, text: &'a str) -> Node<'a> {
        Node { text, entries: &self.entries, index: 0, compact: self.compact }
    }

    fn read(&mut self, text: &str, max_depth: usize) -> Result<(), SyntaxError> {
        if text.len() > i32::MAX as usize {
            return Err(SyntaxError::TooLong(text.len()));
        }
        if self.entries.capacity() > KEPT_ENTRIES {
            self.entries = Vec::new();
        }
        self.entries.clear();
        self.stack.clear();
        self.compact = true;
        self.duplicates = false;
        self.depth = 0;
        self.read_document(text).map_err(|fault| fault.describe(text))?;
        if self.depth > max_depth { Err(SyntaxError::TooDeep) } else { Ok(()) }
    }
}
