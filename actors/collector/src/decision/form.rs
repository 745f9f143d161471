//! Query strings: parameters separated by `&` or `;`, form-decoded (1.7, 2.1).

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Raw parameters: name, and value when there is a `=`.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    query.split(['&', ';']).filter(|piece| !piece.is_empty()).map(|piece| match piece.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (piece, None),
    })
}

/// Decodes `+` and `%20` to spaces, and so on; invalid UTF-8 is replaced, broken escapes stay as they are.
pub(super) fn decode(raw: &str) -> Cow<'_, str> {
    if !raw.bytes().any(|byte| byte == b'+' || byte == b'%') {
        return Cow::Borrowed(raw);
    }
    let spaced = raw.replace('+', " ");
    Cow::Owned(percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned())
}

/// Decoded names of the parameters.
pub(super) fn names(query: &str) -> impl Iterator<Item = Cow<'_, str>> {
    pairs(query).map(|(name, _)| decode(name))
}

/// The first value of a parameter. An empty one counts, a name without `=` does not.
pub(super) fn first_value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let bytes = query.as_bytes();
    let mut start = 0;
    // Every request is searched for a parameter that hardly any has: what begins otherwise is passed over.
    let may_be = |byte: &u8| *byte == b'%' || name.as_bytes().first() == Some(byte);
    while start < bytes.len() {
        let end = memchr::memchr2(b'&', b';', &bytes[start..]).map_or(bytes.len(), |at| start + at);
        if may_be(&bytes[start])
            && let Some((found, value)) = query[start..end].split_once('=')
            && (found == name || (found.contains('%') && decode(found) == name))
        {
            return Some(decode(value));
        }
        start = end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_wins_and_an_empty_one_counts() {
        assert_eq!(first_value("a=1&u=x+y%2Fz&u=2", "u").as_deref(), Some("x y/z"));
        assert_eq!(first_value("nuid;nuid=&nuid=3", "nuid").as_deref(), Some(""));
        assert_eq!(first_value("n%75id=5", "nuid").as_deref(), Some("5"));
        assert_eq!(first_value("unuid=5", "nuid"), None);
    }

    #[test]
    fn broken_escapes_stay() {
        assert_eq!(decode("%b%zz%41"), "%b%zzA");
    }
}
