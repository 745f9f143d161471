//! A connection that keeps each request's head as it came: header names in the client's spelling and order.
//!
//! actix lower-cases header names and forgets their order, but payloads need both (spec 3.2). So a [`Tap`] lies between the socket
//! and actix, looks at the bytes that pass, finds where heads begin and end, and queues a copy of each; the handler takes it from
//! the queue. What actix accepts is framed by the same rules here (one `Content-Length`, or `chunked` alone), and what differs it
//! refuses and closes; [`RawHead::matches`] checks anyway.
//!
//! actix gets to see less than what came. The target is taken from the copy, and so are all headers but those that frame requests or
//! govern the connection ([`governs`]); what nobody reads need not be parsed, checked and hashed a second time, which is a fifth of a
//! request's cost. So of a head that came in one piece, and in which nothing can be wrong ([`RawHead::is_plain`]), actix is shown only
//! these headers, and instead of the target a letter that counts the heads, by which the two are paired again. Any other head is left
//! as it came, for actix to refuse, but for characters of its target that actix would refuse and trackers send (a raw `"`, `<`, a
//! UTF-8 letter): they become `_`. A head beyond the limits is cut by a NUL, which makes actix answer 400 and close.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    sync::LazyLock,
    task::{Context, Poll},
    time::Duration,
};

use memchr::memmem::Finder;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::head::RawHead;

/// Limits of a head: bytes, and the time from its first byte to its last.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadLimits {
    pub(super) request_line: usize,
    pub(super) headers: usize,
    pub(super) time: Duration,
}

/// Heads that have come and whose requests have not been handled.
#[derive(Debug, Clone, Default)]
pub(super) struct Heads(Rc<RefCell<VecDeque<RawHead>>>);

impl Heads {
    /// The head of the request that is being handled; requests of a connection are handled in order.
    pub(super) fn take(&self) -> Option<RawHead> {
        self.0.borrow_mut().pop_front()
    }
}

/// The connection.
pub(super) struct Tap<T> {
    io: T,
    scanner: Scanner,
    heads: Heads,
    /// While a part of a head is there, but for the first: until when the rest may come. actix limits the first head (and answers
    /// 408), but would wait for the rest of a later one for ever as long as a byte comes now and then.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> Tap<T> {
    pub(super) fn new(io: T, limits: HeadLimits) -> Self {
        Self { io, scanner: Scanner::new(limits), heads: Heads::default(), deadline: None }
    }

    /// The end of the connection, once the time for the rest of a head is over.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.deadline {
            Some(deadline) => deadline.as_mut().poll(cx).map(Ok),
            None => Poll::Pending,
        }
    }

    pub(super) fn heads(&self) -> Heads {
        self.heads.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tap<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let tap = &mut *self;
        match Pin::new(&mut tap.io).poll_read(cx, buf) {
            Poll::Ready(read) => read?,
            Poll::Pending => return tap.poll_deadline(cx),
        }
        let new = &mut buf.filled_mut()[before..];
        if !new.is_empty() {
            let left = tap.scanner.scan(new, &mut tap.heads.0.borrow_mut());
            buf.set_filled(before + left);
            if !tap.scanner.waits_for_more_of_a_later_head() {
                tap.deadline = None;
            } else if tap.deadline.is_none() {
                tap.deadline = Some(Box::pin(tokio::time::sleep(tap.scanner.limits.time)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tap<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Where in the stream of bytes a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// A body, or a chunk's data with its line break.
    Body {
        left: u64,
        chunked: bool,
    },
    /// The line with a chunk's size; `digits` until an extension begins.
    ChunkSize {
        size: u64,
        digits: bool,
    },
    /// The lines after the last chunk, up to an empty one.
    Trailer {
        line: usize,
    },
    /// Not HTTP/1 requests any more.
    Opaque,
}

/// Follows the framing of requests.
#[derive(Debug)]
struct Scanner {
    limits: HeadLimits,
    state: State,
    head: Vec<u8>,
    /// Where the current line of `head` begins.
    line_start: usize,
    /// Length of the request line once it is complete.
    request_line: Option<usize>,
    /// Heads that came whole, modulo 256.
    count: u8,
    /// Whether a head has come to its end.
    later: bool,
}

/// What a head ends with; made ready once.
static HEAD_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Heads that may wait. actix reads no more than 128 KiB ahead, some 5,000 of the shortest.
const MAX_HEADS: usize = 8192;

impl Scanner {
    fn new(limits: HeadLimits) -> Self {
        Self { limits, state: State::Head, head: Vec::new(), line_start: 0, request_line: None, count: 0, later: false }
    }

    fn waits_for_more_of_a_later_head(&self) -> bool {
        self.later && self.state == State::Head && !self.head.is_empty()
    }

    /// Follows new bytes, and takes out of them what actix need not see. Gives how many are left at their beginning: at least one.
    fn scan(&mut self, bytes: &mut [u8], heads: &mut VecDeque<RawHead>) -> usize {
        let (mut read, mut kept) = (0, 0);
        while read < bytes.len() {
            let new = &mut bytes[read..];
            let (used, left) = match self.state {
                State::Opaque => (new.len(), new.len()),
                State::Head => self.whole_head(new, heads).unwrap_or_else(|| {
                    let used = self.head(new, heads);
                    (used, used)
                }),
                State::Body { .. } | State::ChunkSize { .. } | State::Trailer { .. } => {
                    let used = self.body(new);
                    (used, used)
                }
            };
            if kept < read {
                bytes.copy_within(read..read + left, kept);
            }
            read += used;
            kept += left;
        }
        kept
    }

    /// Takes bytes of a body: all of them, or one of what is around chunks.
    fn body(&mut self, bytes: &[u8]) -> usize {
        match self.state {
            State::Body { left, chunked } => {
                let used = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - used as u64;
                self.state = match (left, chunked) {
                    (0, true) => State::ChunkSize { size: 0, digits: true },
                    (0, false) => State::Head,
                    _ => State::Body { left, chunked },
                };
                return used;
            }
            State::ChunkSize { size, digits } => self.state = chunk_size(bytes[0], size, digits),
            State::Trailer { line } => {
                self.state = match bytes[0] {
                    b'\n' if line == 0 => State::Head,
                    b'\n' => State::Trailer { line: 0 },
                    b'\r' => State::Trailer { line },
                    _ => State::Trailer { line: line + 1 },
                };
            }
            State::Head | State::Opaque => {}
        }
        1
    }

    /// Takes a plain head that is there as a whole, as nearly all are. Gives its length and that of what is left of it for actix.
    fn whole_head(&mut self, bytes: &mut [u8], heads: &mut VecDeque<RawHead>) -> Option<(usize, usize)> {
        if !self.head.is_empty() || heads.len() >= MAX_HEADS {
            return None;
        }
        let length = HEAD_END.find(bytes)? + 4;
        let request_line = memchr::memchr(b'\n', bytes)? + 1;
        let HeadLimits { request_line: longest, headers, .. } = self.limits;
        if request_line > longest.saturating_add(2) || length - request_line > headers.saturating_add(2) {
            return None;
        }
        let mut head = RawHead::parse(&bytes[..length]);
        if !head.is_plain() {
            head.recycle();
            return None;
        }
        (self.state, self.later) = (body_of(&head), true);
        self.count = self.count.wrapping_add(1);
        let left = head.show(b'a' + self.count % 26, governs, &mut bytes[..length]);
        heads.push_back(head);
        Some((length, left))
    }

    /// Takes bytes up to the end of the current line.
    fn head(&mut self, bytes: &mut [u8], heads: &mut VecDeque<RawHead>) -> usize {
        let line_end = memchr::memchr(b'\n', bytes);
        let used = line_end.map_or(bytes.len(), |at| at + 1);
        let limit = match self.request_line {
            None => self.limits.request_line,
            Some(length) => length + self.limits.headers,
        };
        if self.head.len() + used > limit.saturating_add(2) {
            bytes.fill(0);
            self.state = State::Opaque;
            return bytes.len();
        }
        self.head.extend_from_slice(&bytes[..used]);
        if self.request_line.is_none() {
            bytes[..used].iter_mut().for_each(mask);
        }
        if line_end.is_some() {
            self.line_ended(heads);
        }
        used
    }

    fn line_ended(&mut self, heads: &mut VecDeque<RawHead>) {
        let line = &self.head[self.line_start..];
        let empty = matches!(line, b"\n" | b"\r\n");
        match (empty, self.request_line) {
            // Empty lines before a request are skipped, as RFC 9112, 2.2 has it.
            (true, None) => self.head.clear(),
            (true, Some(_)) => {
                let head = RawHead::parse(&std::mem::take(&mut self.head));
                (self.state, self.later) = (body_of(&head), true);
                self.request_line = None;
                self.line_start = 0;
                if heads.len() < MAX_HEADS {
                    heads.push_back(head);
                } else {
                    self.state = State::Opaque;
                }
            }
            (false, request_line) => {
                self.line_start = self.head.len();
                self.request_line = request_line.or(Some(self.line_start));
            }
        }
    }
}

/// Whether actix needs a header: it says where a request ends, whether it is one, and what becomes of the connection.
fn governs(name: &[u8]) -> bool {
    let needed: &[u8] = match name.len() {
        4 => b"host",
        6 => b"expect",
        7 => b"upgrade",
        10 => b"connection",
        14 => b"content-length",
        17 => b"transfer-encoding",
        _ => return false,
    };
    name.eq_ignore_ascii_case(needed)
}

/// What follows a head, by actix's own order of precedence.
fn body_of(head: &RawHead) -> State {
    let (mut length, mut chunked, mut websocket) = (0, false, false);
    for header in head.headers() {
        if header.name.eq_ignore_ascii_case("Content-Length") {
            length = std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        } else if header.name.eq_ignore_ascii_case("Transfer-Encoding") {
            chunked |= header.value.eq_ignore_ascii_case(b"chunked");
        } else if header.name.eq_ignore_ascii_case("Upgrade") {
            websocket |= header.value.eq_ignore_ascii_case(b"websocket");
        }
    }
    match length {
        _ if chunked => State::ChunkSize { size: 0, digits: true },
        _ if websocket => State::Opaque,
        0 if head.method() == "CONNECT" => State::Opaque,
        0 => State::Head,
        left => State::Body { left, chunked: false },
    }
}

fn chunk_size(byte: u8, size: u64, digits: bool) -> State {
    match byte {
        b'\n' if size == 0 => State::Trailer { line: 0 },
        // With the line break after the data.
        b'\n' => State::Body { left: size.saturating_add(2), chunked: true },
        _ if !digits => State::ChunkSize { size, digits },
        _ => match char::from(byte).to_digit(16) {
            Some(digit) if size >> 60 == 0 => State::ChunkSize { size: size << 4 | u64::from(digit), digits },
            Some(_) => State::Opaque,
            None => State::ChunkSize { size, digits: false },
        },
    }
}

/// What actix's URI type refuses in a target, though it is no control character.
pub(super) fn mask(byte: &mut u8) {
    if matches!(*byte, b'"' | b'<' | b'>' | b'#' | b'`' | 0x80..) {
        *byte = b'_';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { request_line: 100, headers: 200, time: Duration::from_secs(1) };

    /// Heads found when the stream comes in pieces of `step` bytes.
    fn targets(stream: &[u8], step: usize) -> Vec<String> {
        let mut scanner = Scanner::new(LIMITS);
        let mut heads = VecDeque::new();
        for piece in stream.to_vec().chunks_mut(step) {
            scanner.scan(piece, &mut heads);
        }
        heads.iter().map(|head| String::from_utf8_lossy(head.target()).into_owned()).collect()
    }

    #[test]
    fn heads_are_found_however_the_stream_is_cut() {
        let stream = b"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n\
            POST /b HTTP/1.1\r\nhost: x\r\ncontent-LENGTH: 24\r\n\r\nGET /no HTTP/1.1\r\nA: b\r\n\
            POST /c HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=1\r\n\r\n\r\n\n\r\n1a\r\nGET /no HTTP/1.1\r\nAbc: d\r\n\r\n0\r\nT: 1\r\n\r\n\
            GET /d HTTP/1.1\nHost: x\n\n";
        for step in 1..stream.len() {
            assert_eq!(targets(stream, step), ["/a", "/b", "/c", "/d"], "step {step}");
        }
    }

    #[test]
    fn a_head_beyond_the_limits_is_cut() {
        for stream in [
            format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100)),
            format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(200)),
        ] {
            let mut scanner = Scanner::new(LIMITS);
            let mut bytes = stream.into_bytes();
            let mut heads = VecDeque::new();
            scanner.scan(&mut bytes, &mut heads);
            assert!(heads.is_empty());
            assert!(bytes.contains(&0));
            assert_eq!(scanner.state, State::Opaque);
        }
    }

    /// What actix sees of a stream that comes in pieces of `step` bytes.
    fn shown(stream: &[u8], step: usize) -> String {
        let mut scanner = Scanner::new(LIMITS);
        let mut heads = VecDeque::new();
        let mut out = Vec::new();
        for piece in stream.to_vec().chunks_mut(step) {
            let left = scanner.scan(piece, &mut heads);
            assert!((1..=piece.len()).contains(&left));
            out.extend_from_slice(&piece[..left]);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn actix_sees_what_governs_the_connection_and_bodies() {
        let stream = b"POST /i?a=\"<x>\" HTTP/1.1\r\nUser-Agent: u\r\nhOST:x\r\nCookie: a=b\r\nContent-LENGTH: 9\r\n\r\nA: b\r\n\r\nx\
            GET / HTTP/1.0\r\nConnection: close\r\nA:\r\n\r\n";
        let seen = "POST /b HTTP/1.1\r\nhOST:x\r\nContent-LENGTH: 9\r\n\r\nA: b\r\n\r\nxGET / HTTP/1.0\r\nConnection: close\r\n\r\n";
        assert_eq!(shown(stream, stream.len()), seen);
        assert_eq!(targets(stream, stream.len()), ["/i?a=\"<x>\"", "/"]);
    }

    #[test]
    fn a_head_that_may_be_wrong_is_left_to_actix() {
        for head in [
            "GET /i?a HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
            "GET /i?a HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
            "GET /i?a HTTP/1.1\nHost: x\nA: b\n\n",
            "GET /i?a HTTP/1.1\r\nHost: x\r\nA: b\x01\r\n\r\n",
        ] {
            assert_eq!(shown(head.as_bytes(), head.len()), head);
        }
        // Nor is one shortened that comes in pieces, but masked.
        let head = "GET /i?a=\"<\u{e9}>\" HTTP/1.1\r\nA: \"\u{e9}\"\r\n\r\n";
        for step in 1..head.len() {
            assert_eq!(shown(head.as_bytes(), step), "GET /i?a=______ HTTP/1.1\r\nA: \"\u{e9}\"\r\n\r\n");
        }
    }

    #[test]
    fn chunk_sizes_do_not_overflow() {
        assert!(targets(b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 7).len() == 1);
    }

    proptest::proptest! {
        #[test]
        fn any_stream_is_survived_and_keeps_its_length(
            pieces in proptest::collection::vec(piece(), 0..40),
            step in 1_usize..50,
        ) {
            let mut scanner = Scanner::new(LIMITS);
            let mut heads = VecDeque::new();
            for part in pieces.concat().chunks_mut(step) {
                scanner.scan(part, &mut heads);
            }
            for head in &heads {
                head.headers().for_each(|header| assert!(!header.value.contains(&b'\n')));
                assert!(!head.target().contains(&b'\n'));
            }
        }
    }

    /// Parts of requests, and noise.
    fn piece() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::{prelude::any, prop_oneof, sample::select, strategy::Strategy};
        let parts = [
            "GET ",
            "POST ",
            "/a?b",
            " HTTP/1.1",
            "\r\n",
            "\n",
            "\r\n\r\n",
            "Content-Length: 7",
            "Transfer-Encoding: chunked",
            "5",
            "0\r\n\r\n",
            ":",
            " ",
            "CONNECT x",
            "Upgrade: websocket",
            "\0",
            "\"",
        ];
        prop_oneof![
            6 => select(parts.to_vec()).prop_map(|part| part.as_bytes().to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..30),
        ]
    }
}
