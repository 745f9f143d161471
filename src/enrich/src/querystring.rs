//! Query strings as the original reads them: checked as a URI, split at `&` and `;`, form-decoded (enrich-core 1.4).

use std::borrow::Cow;

use crate::parameters::Pair;
use crate::uri::check_query;

/// Checks and reads a raw query string. The error is Java's text about `http://localhost/?<query>`.
pub(crate) fn parse(raw: &str, charset: Charset) -> Result<Vec<Pair<'_>>, String> {
    if raw.is_empty() {
        return Ok(Vec::new());
    }
    check_query(raw).map(|query| pairs_in(query, charset)).map_err(|reason| clean(&reason))
}

/// The pairs of a query that is known to be legal, in order. Pieces without a name are left out.
pub(crate) fn pairs(query: &str) -> Vec<Pair<'_>> {
    pairs_in(query, Charset::Utf8)
}

fn pairs_in(query: &str, charset: Charset) -> Vec<Pair<'_>> {
    let mut pairs = Vec::with_capacity(query.len() / 16);
    let mut start = 0;
    for end in memchr::memchr2_iter(b'&', b';', query.as_bytes()).chain([query.len()]) {
        let piece = &query[start..end];
        start = end + 1;
        let (name, value) = match memchr::memchr(b'=', piece.as_bytes()) {
            Some(at) => (&piece[..at], Some(&piece[at + 1..])),
            None => (piece, None),
        };
        if !name.is_empty() {
            pairs.push((charset.decode(name), value.map(|value| charset.decode(value))));
        }
    }
    pairs
}

/// Tabs become four spaces, other ASCII controls vanish, white space at the ends too.
fn clean(reason: &str) -> String {
    let spaced = reason.replace('\t', "    ");
    let printable: String = spaced.chars().filter(|character| !character.is_ascii_control()).collect();
    printable.trim().to_owned()
}

/// Charsets that a payload may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8,
    Ascii,
    Latin1,
}

impl Charset {
    /// The charset of a Java name or alias, in any case.
    pub(crate) fn from_name(name: &str) -> Option<Charset> {
        const UTF_8: [&str; 3] = ["UTF-8", "UTF8", "unicode-1-1-utf-8"];
        const ASCII: [&str; 6] = ["US-ASCII", "ASCII", "ISO646-US", "ANSI_X3.4-1968", "646", "us"];
        const LATIN_1: [&str; 7] = ["ISO-8859-1", "ISO8859_1", "latin1", "ISO_8859-1", "8859_1", "ISO8859-1", "l1"];
        let among = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if among(&UTF_8) {
            Some(Charset::Utf8)
        } else if among(&ASCII) {
            Some(Charset::Ascii)
        } else if among(&LATIN_1) {
            Some(Charset::Latin1)
        } else {
            None
        }
    }

    /// Java's canonical name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Charset::Utf8 => "UTF-8",
            Charset::Ascii => "US-ASCII",
            Charset::Latin1 => "ISO-8859-1",
        }
    }

    fn decode(self, text: &str) -> Cow<'_, str> {
        if text.bytes().all(|byte| byte != b'%' && byte != b'+' && byte < 128) {
            return Cow::Borrowed(text);
        }
        Cow::Owned(self.text(form_bytes(text)))
    }

    fn text(self, bytes: Vec<u8>) -> String {
        match self {
            Charset::Utf8 => match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            },
            Charset::Ascii => {
                let character = |byte: u8| if byte < 128 { char::from(byte) } else { char::REPLACEMENT_CHARACTER };
                bytes.into_iter().map(character).collect()
            }
            Charset::Latin1 => bytes.into_iter().map(char::from).collect(),
        }
    }
}

/// `+` is a space, `%XX` a byte; of any other character the low eight bits of its UTF-16 units count.
fn form_bytes(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |offset: usize| bytes.get(at + offset).and_then(|&byte| hex(byte));
                match (digit(1), digit(2)) {
                    (Some(high), Some(low)) => {
                        out.push(high << 4 | low);
                        at += 2;
                    }
                    _ => out.push(b'%'),
                }
            }
            byte if byte < 128 => out.push(byte),
            _ => {
                let Some(character) = text[at..].chars().next() else { break };
                out.extend(character.encode_utf16(&mut [0; 2]).iter().map(|&unit| unit as u8));
                at += character.len_utf8() - 1;
            }
        }
        at += 1;
    }
    out
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Vec<(String, Option<String>)> {
        let pairs = parse(raw, Charset::Utf8).unwrap();
        pairs.into_iter().map(|(name, value)| (name.into_owned(), value.map(Cow::into_owned))).collect()
    }

    fn pair(name: &str, value: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn pairs_are_split_at_ampersands_and_semicolons_and_decoded() {
        assert_eq!(
            read("a=1;b=%E2%82%AC+x&c&=no&d=&e=x=y&f=%FF&a%20b=2#z=1"),
            [
                pair("a", Some("1")),
                pair("b", Some("€ x")),
                pair("c", None),
                pair("d", Some("")),
                pair("e", Some("x=y")),
                pair("f", Some("\u{fffd}")),
                pair("a b", Some("2")),
            ]
        );
    }

    #[test]
    fn raw_characters_beyond_ascii_are_cut_to_a_byte() {
        assert_eq!(read("a=é&b=ŁA"), [pair("a", Some("\u{fffd}")), pair("b", Some("AA"))]);
    }

    #[test]
    fn the_reason_of_an_illegal_query_is_cleaned() {
        assert_eq!(
            parse("a=\t", Charset::Utf8).unwrap_err(),
            "Illegal character in query at index 20: http://localhost/?a="
        );
    }

    #[test]
    fn charsets_have_their_java_names() {
        assert_eq!(Charset::from_name("utf8").map(Charset::name), Some("UTF-8"));
        assert_eq!(Charset::from_name("FOO"), None);
    }
}
