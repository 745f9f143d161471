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

/// Appends header bytes as text: each byte is one character, as ISO-8859-1 has it (1.12).
pub(super) fn push_latin1(bytes: &[u8], out: &mut String) {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => out.push_str(text),
        _ => out.extend(bytes.iter().map(|&byte| char::from(byte))),
    }
}

/// Header bytes as text.
pub(super) fn latin1(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => text.into(),
        _ => bytes.iter().map(|&byte| char::from(byte)).collect::<String>().into(),
    }
}
