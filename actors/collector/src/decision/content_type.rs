//! The content type of a POST, and its body as UTF-8 (3.4).

use std::borrow::Cow;

use encoding_rs::Encoding;

/// How a body's bytes are read as text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Charset {
    Utf8,
    Latin1,
    Ascii,
    Other(&'static Encoding),
}

impl Charset {
    /// Finds a charset by any of its usual names.
    fn find(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        Some(match lower.as_str() {
            // The web's label table takes these two for windows-1252, which they are not.
            "iso-8859-1" | "iso8859-1" | "iso_8859-1" | "iso8859_1" | "latin1" | "l1" => Self::Latin1,
            "us-ascii" | "ascii" => Self::Ascii,
            "utf8" | "utf-8" => Self::Utf8,
            // Java's UTF-16 without a mark is big-endian.
            "utf-16" => Self::Other(encoding_rs::UTF_16BE),
            other => Encoding::for_label(other.as_bytes()).map(Self::Other)?,
        })
    }

    /// Its canonical name, lower case.
    fn name(self, given: &str) -> String {
        match self {
            Self::Utf8 => "utf-8".to_owned(),
            Self::Latin1 => "iso-8859-1".to_owned(),
            Self::Ascii => "us-ascii".to_owned(),
            Self::Other(_) if given.eq_ignore_ascii_case("utf-16") => "utf-16".to_owned(),
            Self::Other(encoding) => encoding.name().to_ascii_lowercase(),
        }
    }

    /// The body as UTF-8 bytes: malformed input replaced, a byte-order mark at the start removed.
    pub(super) fn decode(self, body: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Utf8 => {
                let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
                // Much faster than asking `from_utf8_lossy` first, and nearly always the answer.
                match std::str::from_utf8(body) {
                    Ok(_) => Cow::Borrowed(body),
                    Err(_) => Cow::Owned(String::from_utf8_lossy(body).into_owned().into_bytes()),
                }
            }
            Self::Latin1 | Self::Ascii if body.is_ascii() => Cow::Borrowed(body),
            Self::Latin1 => Cow::Owned(body.iter().map(|&byte| char::from(byte)).collect::<String>().into_bytes()),
            Self::Ascii => {
                let text: String =
                    body.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { '\u{fffd}' }).collect();
                Cow::Owned(text.into_bytes())
            }
            Self::Other(encoding) => match encoding.decode(body).0 {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
        }
    }
}

/// What nearly all requests say, and what [`parse_any`] makes of it.
const USUAL: [(&[u8], &str); 5] = [
    (b"application/json", "application/json"),
    (b"application/json; charset=utf-8", "application/json; charset=utf-8"),
    (b"application/json; charset=UTF-8", "application/json; charset=utf-8"),
    (b"application/json;charset=UTF-8", "application/json; charset=utf-8"),
    (b"text/plain;charset=UTF-8", "text/plain; charset=utf-8"),
];

/// A `Content-Type` header: the text for the payload, and the body's charset. None when it does not parse.
pub(super) fn parse(header: &[u8]) -> Option<(Cow<'static, str>, Charset)> {
    match USUAL.iter().find(|(usual, _)| *usual == header) {
        Some((_, rendered)) => Some((Cow::Borrowed(*rendered), Charset::Utf8)),
        None => parse_any(header).map(|(rendered, charset)| (Cow::Owned(rendered), charset)),
    }
}

fn parse_any(header: &[u8]) -> Option<(String, Charset)> {
    let text = std::str::from_utf8(header).ok()?.trim();
    let (media_type, mut rest) = token(text)?;
    rest = rest.strip_prefix('/')?;
    let (subtype, mut rest) = token(rest)?;
    let mut rendered = format!("{media_type}/{subtype}");
    let mut charset = None;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            break;
        }
        rest = rest.strip_prefix(';')?.trim_start_matches([' ', '\t']);
        let (name, after) = token(rest)?;
        let (value, after) = value(after.strip_prefix('=')?)?;
        rest = after;
        if name.eq_ignore_ascii_case("charset") {
            charset = charset.or_else(|| Charset::find(&value).map(|found| (found, found.name(&value))));
        } else {
            rendered.push_str("; ");
            rendered.push_str(name);
            rendered.push_str("=\"");
            rendered.push_str(&value.replace('\\', "\\\\").replace('"', "\\\""));
            rendered.push('"');
        }
    }
    if let Some((_, name)) = &charset {
        rendered.push_str("; charset=");
        rendered.push_str(name);
    }
    Some((rendered.to_lowercase(), charset.map_or(Charset::Utf8, |(found, _)| found)))
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, rest)| (Cow::Borrowed(value), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((Cow::Owned(value), &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_rendered_again() {
        for (header, rendered) in [
            ("application/json", Some("application/json")),
            ("Application/JSON;charset=UTF8", Some("application/json; charset=utf-8")),
            ("text/plain; charset=klingon", Some("text/plain")),
            (
                "multipart/form-data; charset=latin1; boundary=\"A b\"",
                Some("multipart/form-data; boundary=\"a b\"; charset=iso-8859-1"),
            ),
            ("text/plain;charset=\"Shift_JIS\"", Some("text/plain; charset=shift_jis")),
            ("json", None),
            ("application/json;", None),
            ("application/", None),
            ("text/plain; a=\"b", None),
        ] {
            assert_eq!(parse(header.as_bytes()).map(|(text, _)| text).as_deref(), rendered, "{header}");
        }
        for (header, rendered) in USUAL {
            assert_eq!(parse_any(header), Some((rendered.to_owned(), Charset::Utf8)));
        }
    }

    #[test]
    fn bodies_become_utf8() {
        assert_eq!(Charset::Latin1.decode(b"caf\xe9").as_ref(), "café".as_bytes());
        assert_eq!(Charset::Ascii.decode(b"a\xe9").as_ref(), "a\u{fffd}".as_bytes());
        assert_eq!(Charset::Utf8.decode(b"\xef\xbb\xbf{}").as_ref(), b"{}");
        assert_eq!(Charset::Other(encoding_rs::UTF_16BE).decode(b"\0a").as_ref(), b"a");
        assert!(matches!(Charset::Utf8.decode(b"plain"), Cow::Borrowed(_)));
    }
}
