//! A request's head, as bytes with the places of its parts.

use std::{net::IpAddr, ops::Range};

use actix_web::{HttpRequest, http::header::HeaderMap};

use super::tap::mask;
use crate::decision::{Head, Header};

/// The head of one request.
#[derive(Debug)]
pub(super) struct RawHead {
    bytes: Vec<u8>,
    method: Range<usize>,
    target: Range<usize>,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    name: Range<usize>,
    value: Range<usize>,
}

impl RawHead {
    /// Takes a head apart. Its grammar is for actix to check.
    pub(super) fn parse(bytes: Vec<u8>) -> Self {
        let mut lines = Vec::with_capacity(16);
        let (mut method, mut target) = (0..0, 0..0);
        let mut start = 0;
        while start < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |at| start + at);
            let line = start..if bytes[start..end].ends_with(b"\r") { end - 1 } else { end };
            if start == 0 {
                let mut spaces = memchr::memchr_iter(b' ', &bytes[line.clone()]);
                method = 0..spaces.next().unwrap_or(line.end);
                target = (method.end + 1).min(line.end)..spaces.next().unwrap_or(line.end);
            } else if let Some(colon) = memchr::memchr(b':', &bytes[line.clone()]) {
                let name = line.start..line.start + colon;
                lines.push(Line { name, value: trimmed(&bytes, line.start + colon + 1..line.end) });
            }
            start = end + 1;
        }
        Self { bytes, method, target, lines }
    }

    /// The head as actix gives it, for the case that the connection's copy is not to be trusted: names in `Title-Case`.
    pub(super) fn rebuild(request: &HttpRequest) -> Self {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
        for (name, value) in request.headers() {
            let mut upper = true;
            for byte in name.as_str().bytes() {
                bytes.push(if upper { byte.to_ascii_uppercase() } else { byte });
                upper = byte == b'-';
            }
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        Self::parse(bytes)
    }

    /// Whether this is the head of the request that actix is handling.
    pub(super) fn matches(&self, request: &HttpRequest) -> bool {
        let same_target = !self.target().starts_with(b"/")
            || request.uri().path_and_query().is_some_and(|target| {
                target.as_str().len() == self.target.len()
                    && target.as_str().bytes().zip(self.target()).all(|(seen, &(mut sent))| {
                        mask(&mut sent);
                        seen == sent
                    })
            });
        let same_host = host(request.headers())
            == self.headers().find(|header| header.name.eq_ignore_ascii_case("Host")).map(|header| header.value);
        self.method() == request.method().as_str()
            && same_target
            && same_host
            && self.lines.len() == request.headers().len()
    }

    pub(super) fn method(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.method.clone()]).unwrap_or("")
    }

    pub(super) fn target(&self) -> &[u8] {
        &self.bytes[self.target.clone()]
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.lines.iter().map(|line| Header {
            // actix refuses names that are not ASCII.
            name: std::str::from_utf8(&self.bytes[line.name.clone()]).unwrap_or(""),
            value: &self.bytes[line.value.clone()],
        })
    }

    /// Borrows the head for the core; `headers` is [`RawHead::headers`], collected.
    pub(super) fn borrow<'a>(&'a self, headers: &'a [Header<'a>], peer: IpAddr) -> Head<'a> {
        Head { method: self.method(), target: self.target(), headers, peer }
    }
}

fn host(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get("host").map(|value| value.as_bytes())
}

fn trimmed(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = &bytes[range.clone()];
    let Some(first) = value.iter().position(|byte| !blank(byte)) else { return range.end..range.end };
    let last = value.iter().rposition(|byte| !blank(byte)).unwrap_or(first);
    range.start + first..range.start + last + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_apart() {
        let head = RawHead::parse(b"GET /a?b HTTP/1.1\r\nhOST:x\r\nEmpty:\r\nB: \t c d\t\r\n\r\n".to_vec());
        assert_eq!((head.method(), head.target()), ("GET", &b"/a?b"[..]));
        let headers: Vec<_> = head.headers().collect();
        let expected = [("hOST", &b"x"[..]), ("Empty", b""), ("B", b"c d")].map(|(name, value)| Header { name, value });
        assert_eq!(headers, expected);
    }

    #[test]
    fn broken_heads_do_no_harm() {
        for bytes in ["", "\n", "GET", "GET \n: \n:", "GET  \r\nno colon\r\n"] {
            let head = RawHead::parse(bytes.as_bytes().to_vec());
            assert!(head.headers().count() <= 2);
            head.target();
        }
    }
}
