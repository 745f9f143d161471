//! A request's head, as bytes with the places of its parts.

use std::{cell::RefCell, net::IpAddr, ops::Range};

use actix_http::{HttpMessage, Request};

use super::tap::mask;
use crate::decision::{Head, Header};

/// Heads kept for their memory by each thread, and the most of it that one may have.
const SPARES: usize = 64;
const SPARE_BYTES: usize = 16 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<RawHead>> = const { RefCell::new(Vec::new()) };
}

/// The head of one request.
#[derive(Debug, Clone, Default)]
pub(super) struct RawHead {
    bytes: Vec<u8>,
    method: Range<usize>,
    target: Range<usize>,
    version: Range<usize>,
    lines: Vec<Line>,
    /// What actix is shown instead of the target.
    shown: Option<[u8; 2]>,
}

/// A header line.
#[derive(Debug, Clone)]
struct Line {
    name: Range<usize>,
    value: Range<usize>,
    /// Where the next one begins.
    end: usize,
}

impl RawHead {
    /// Takes a head apart. Its grammar is for actix to check.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut head = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        head.read(bytes);
        head
    }

    /// Keeps the memory for another.
    pub(super) fn recycle(self) {
        if self.bytes.capacity() + self.lines.capacity() * size_of::<Line>() <= SPARE_BYTES {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARES {
                    spare.push(self);
                }
            });
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.lines.clear();
        self.shown = None;
        let end_of = |start: usize| memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |at| start + at + 1);
        let without_break = |start: usize, end: usize| {
            let line = bytes[start..end].strip_suffix(b"\n").unwrap_or(&bytes[start..end]);
            start..start + line.strip_suffix(b"\r").unwrap_or(line).len()
        };
        let mut start = end_of(0);
        let line = without_break(0, start);
        let mut spaces = memchr::memchr_iter(b' ', &bytes[line.clone()]);
        self.method = 0..spaces.next().unwrap_or(line.end);
        self.target = (self.method.end + 1).min(line.end)..spaces.next().unwrap_or(line.end);
        self.version = (self.target.end + 1).min(line.end)..line.end;
        while start < bytes.len() {
            let end = end_of(start);
            let line = without_break(start, end);
            if let Some(colon) = memchr::memchr(b':', &bytes[line.clone()]) {
                let name = start..start + colon;
                self.lines.push(Line { name, value: trimmed(bytes, start + colon + 1..line.end), end });
            }
            start = end;
        }
    }

    /// Whether everything in it is sure to be well formed: then actix need not look. The other way round says nothing.
    pub(super) fn is_plain(&self) -> bool {
        let target = &self.bytes[self.target.clone()];
        let version = &self.bytes[self.version.clone()];
        let mut start = memchr::memchr(b'\n', &self.bytes).map_or(0, |at| at + 1);
        let contiguous = self.lines.iter().all(|line| std::mem::replace(&mut start, line.end) == line.name.start);
        contiguous
            && matches!(&self.bytes[start..], b"\r\n")
            && matches!(version, b"HTTP/1.1" | b"HTTP/1.0")
            && !target.is_empty()
            && !target.iter().fold(false, |found, byte| found | (*byte <= b' ') | (*byte == 0x7f))
            && self.headers_are_plain()
    }

    fn headers_are_plain(&self) -> bool {
        self.lines.iter().all(|line| {
            let name = &self.bytes[line.name.clone()];
            // All of them, without a look at each: that is what vector instructions are for.
            let control = |found, byte: &u8| found | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f);
            !name.is_empty()
                && name.iter().all(|byte| TOKEN[usize::from(*byte)])
                && !self.bytes[line.value.clone()].iter().fold(false, control)
        })
    }

    /// Writes a plain head for actix over the one that came, no longer than that: of its header lines those that `wanted` says, and
    /// instead of a target that is a path `/` and `mark`. Gives its length.
    pub(super) fn show(&mut self, mark: u8, wanted: impl Fn(&[u8]) -> bool, out: &mut [u8]) -> usize {
        let mut at = self.target.start;
        if self.bytes[self.target.clone()].starts_with(b"/") && self.target.len() >= 2 {
            let shown = [b'/', mark];
            out[at..at + 2].copy_from_slice(&shown);
            self.shown = Some(shown);
            at += 2;
        } else {
            out[self.target.clone()].iter_mut().for_each(mask);
            at = self.target.end;
        }
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(b" ");
        put(&self.bytes[self.version.clone()]);
        put(b"\r\n");
        for line in &self.lines {
            if wanted(&self.bytes[line.name.clone()]) {
                put(&self.bytes[line.name.start..line.end]);
            }
        }
        put(b"\r\n");
        at
    }

    /// The head as actix gives it, for the case that the connection's copy is not to be trusted: names in `Title-Case`.
    pub(super) fn rebuild(request: &Request) -> Self {
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
        Self::parse(&bytes)
    }

    /// Whether this is the head of the request that actix is handling.
    pub(super) fn matches(&self, request: &Request) -> bool {
        let path_and_query = || request.uri().path_and_query().map(|target| target.as_str());
        let same_target = match self.shown {
            Some(shown) => path_and_query().is_some_and(|target| target.as_bytes() == shown),
            None => {
                !self.target().starts_with(b"/")
                    || path_and_query().is_some_and(|target| {
                        target.len() == self.target.len()
                            && target.bytes().zip(self.target()).all(|(seen, &(mut sent))| {
                                mask(&mut sent);
                                seen == sent
                            })
                    })
            }
        };
        let host = request.headers().get("host").map(|value| value.as_bytes());
        same_target
            && self.method() == request.method().as_str()
            && host == self.headers().find(|header| header.name.eq_ignore_ascii_case("Host")).map(|header| header.value)
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

/// What header names are made of (RFC 9110, 5.6.2).
const TOKEN: [bool; 256] = {
    let mut token = [false; 256];
    let mut byte = 0;
    while byte < 0x80_u8 {
        token[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    token
};

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
        let head = RawHead::parse(b"GET /a?b HTTP/1.1\r\nhOST:x\r\nEmpty:\r\nB: \t c d\t\r\n\r\n");
        assert_eq!((head.method(), head.target()), ("GET", &b"/a?b"[..]));
        let headers: Vec<_> = head.headers().collect();
        let expected = [("hOST", &b"x"[..]), ("Empty", b""), ("B", b"c d")].map(|(name, value)| Header { name, value });
        assert_eq!(headers, expected);
    }

    #[test]
    fn only_what_is_sure_to_be_well_formed_is_plain() {
        let plain = "GET /a HTTP/1.1\r\nHost: x\r\nX_~!: \t\u{e9}\r\nE:\r\n\r\n";
        assert!(RawHead::parse(plain.as_bytes()).is_plain());
        for head in [
            "GET /a HTTP/1.1\nHost: x\n\n",
            "GET /a HTTP/2.0\r\nHost: x\r\n\r\n",
            "GET  /a HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a HTTP/1.1 \r\nHost: x\r\n\r\n",
            "GET /a\0 HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET /a HTTP/1.1\r\nA: x\r\n b: y\r\n\r\n",
            "GET /a HTTP/1.1\r\nA: x\r\r\n\r\n",
            "GET /a HTTP/1.1\r\nno colon\r\n\r\n",
            "GET /a HTTP/1.1\r\nA: x\r\nno colon\r\nB: x\r\n\r\n",
            "GET /a HTTP/1.1\r\n: x\r\n\r\n",
            "GET /a HTTP/1.1\r\nA: x\u{7f}\r\n\r\n",
            "GET /a HTTP/1.1\r\nA: x\r\n",
            "\r\nGET /a HTTP/1.1\r\n\r\n",
            "\r\n\r\n",
            "",
        ] {
            assert!(!RawHead::parse(head.as_bytes()).is_plain(), "{head:?}");
        }
    }

    #[test]
    fn broken_heads_do_no_harm() {
        for bytes in ["", "\n", "GET", "GET \n: \n:", "GET  \r\nno colon\r\n"] {
            let head = RawHead::parse(bytes.as_bytes());
            assert!(head.headers().count() <= 2);
            head.target();
        }
    }
}
