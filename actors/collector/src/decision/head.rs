//! The head of a request as it came over the wire: spelling and order of header names kept.

/// One header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name as the client wrote it.
    pub name: &'a str,
    /// Its value, white space around it removed; any byte but controls.
    pub value: &'a [u8],
}

/// What stands before a request's body, and who sent it.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Method, upper case.
    pub method: &'a str,
    /// Request target as received.
    pub target: &'a [u8],
    /// Header lines in order of arrival.
    pub headers: &'a [Header<'a>],
    /// Address of the TCP peer.
    pub peer: std::net::IpAddr,
}

impl<'a> Head<'a> {
    /// The first value of a header; its name in any case.
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Every value of a header, in order.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }
}

/// Appends header bytes as UTF-8: each byte is one character, as ISO-8859-1 has it (1.12).
pub(super) fn push_latin1(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_ascii() {
        out.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        if byte.is_ascii() {
            out.push(byte);
        } else {
            out.extend_from_slice(&[0xc0 | byte >> 6, 0x80 | byte & 0x3f]);
        }
    }
}

/// Header bytes as text.
pub(super) fn latin1(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => text.into(),
        _ => bytes.iter().map(|&byte| char::from(byte)).collect::<String>().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_one_character() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        push_latin1(&bytes, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), latin1(&bytes));
    }
}
