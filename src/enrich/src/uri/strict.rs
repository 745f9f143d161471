//! The grammar of `java.net.URI`: RFC 2396 with non-ASCII characters allowed, and registry-based authorities.

use std::ops::Range;

use super::Parts;

/// Classes of ASCII characters.
const ALPHA: u16 = 1;
const DIGIT: u16 = 2;
const MARK: u16 = 4;
const HEX: u16 = 8;
/// `+ - .` of a scheme.
const SCHEME_EXTRA: u16 = 16;
const PATH_EXTRA: u16 = 32;
const QUERY_EXTRA: u16 = 64;
const USER_EXTRA: u16 = 128;
const REGISTRY_EXTRA: u16 = 256;
/// `. : @ [ ]` of a server.
const SERVER_EXTRA: u16 = 512;
const DASH: u16 = 1024;

const ALPHANUM: u16 = ALPHA | DIGIT;
const UNRESERVED: u16 = ALPHANUM | MARK;
const PATH: u16 = UNRESERVED | PATH_EXTRA;
const QUERY: u16 = UNRESERVED | QUERY_EXTRA;
const USER: u16 = UNRESERVED | USER_EXTRA;
const REGISTRY: u16 = UNRESERVED | REGISTRY_EXTRA;
const SERVER: u16 = USER | SERVER_EXTRA;

const fn has(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// Of bytes that are not ASCII none.
static CLASSES: [u16; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0u8;
    while byte < 128 {
        let mut class = 0;
        if byte.is_ascii_alphabetic() {
            class |= ALPHA;
        }
        if byte.is_ascii_digit() {
            class |= DIGIT;
        }
        if byte.is_ascii_hexdigit() {
            class |= HEX;
        }
        if has(b"_-!.~'()*", byte) {
            class |= MARK;
        }
        if has(b"+-.", byte) {
            class |= SCHEME_EXTRA;
        }
        if has(b"/;:@&=+$,", byte) {
            class |= PATH_EXTRA;
        }
        if has(b";/?:@&=+$,[]", byte) {
            class |= QUERY_EXTRA;
        }
        if has(b";:&=+$,", byte) {
            class |= USER_EXTRA;
        }
        if has(b"$,;:@&=+", byte) {
            class |= REGISTRY_EXTRA;
        }
        if has(b".:@[]", byte) {
            class |= SERVER_EXTRA;
        }
        if byte == b'-' {
            class |= DASH;
        }
        classes[byte as usize] = class;
        byte += 1;
    }
    classes
};

#[inline]
fn is(byte: u8, class: u16) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Characters outside ASCII that Java takes as they are: neither control nor space.
fn is_other(character: char) -> bool {
    let space = matches!(
        character,
        '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    );
    !character.is_ascii() && !space && !('\u{80}'..='\u{9f}').contains(&character)
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
}

impl Scanner<'_> {
    fn at(&self, position: usize, end: usize, byte: u8) -> bool {
        position < end && self.bytes[position] == byte
    }

    /// First position from `start` that holds one of `stops`, or `end`.
    fn until(&self, start: usize, end: usize, stops: &[u8]) -> usize {
        let range = &self.bytes[start..end];
        let found = match *stops {
            [one] => memchr::memchr(one, range),
            [one, two] => memchr::memchr2(one, two, range),
            [one, two, three] => memchr::memchr3(one, two, three, range),
            _ => range.iter().position(|byte| stops.contains(byte)),
        };
        found.map_or(end, |offset| start + offset)
    }

    /// First position whose character is not of the ASCII class.
    fn ascii_run(&self, start: usize, end: usize, class: u16) -> usize {
        self.bytes[start..end].iter().position(|&byte| !is(byte, class)).map_or(end, |offset| start + offset)
    }

    /// First position whose character is neither of the class, nor an escape, nor one of Java's "other" characters.
    /// A bad escape is an error.
    fn run(&self, start: usize, end: usize, class: u16) -> Result<usize, String> {
        let mut at = start;
        while at < end {
            at = self.ascii_run(at, end, class);
            if at == end {
                break;
            }
            let byte = self.bytes[at];
            if byte == b'%' {
                match self.bytes[..end].get(at + 1..at + 3) {
                    Some(&[high, low]) if is(high, HEX) && is(low, HEX) => at += 3,
                    _ => return Err(self.fault("Malformed escape pair", at)),
                }
            } else if byte >= 128 {
                match self.text[at..].chars().next().filter(|&character| is_other(character)) {
                    Some(character) => at += character.len_utf8(),
                    None => return Ok(at),
                }
            } else {
                return Ok(at);
            }
        }
        Ok(end)
    }

    /// The whole range must be of the class.
    fn check(&self, start: usize, end: usize, class: u16, what: &str) -> Result<Range<usize>, String> {
        match self.run(start, end, class)? {
            stop if stop < end => Err(self.fault(&format!("Illegal character in {what}"), stop)),
            _ => Ok(start..end),
        }
    }

    /// Java's message; the index counts UTF-16 units.
    fn fault(&self, reason: &str, at: usize) -> String {
        let index = self.text.get(..at).unwrap_or_default().encode_utf16().count();
        format!("{reason} at index {index}: {}", self.text)
    }
}

/// Where the components lie, or Java's message.
pub(super) fn parse(text: &str) -> Result<Parts, String> {
    let scanner = Scanner { text, bytes: text.as_bytes() };
    let end = text.len();
    let mut parts = Parts::default();
    let mut at = 0;
    let colon = scanner.until(0, end, b"/?#:");
    if scanner.at(colon, end, b':') {
        if colon == 0 {
            return Err(scanner.fault("Expected scheme name", 0));
        }
        if !is(scanner.bytes[0], ALPHA) {
            return Err(scanner.fault("Illegal character in scheme name", 0));
        }
        let stop = scanner.ascii_run(1, colon, ALPHANUM | SCHEME_EXTRA);
        if stop < colon {
            return Err(scanner.fault("Illegal character in scheme name", stop));
        }
        parts.scheme = Some(0..colon);
        at = colon + 1;
        if !scanner.at(at, end, b'/') {
            let stop = scanner.until(at, end, b"#");
            if stop <= at {
                return Err(scanner.fault("Expected scheme-specific part", at));
            }
            scanner.check(at, stop, QUERY, "opaque part")?;
            parts.fragment = fragment(&scanner, stop)?;
            return Ok(parts);
        }
    }
    if scanner.at(at, end, b'/') && scanner.at(at + 1, end, b'/') {
        at += 2;
        let stop = scanner.until(at, end, b"/?#");
        if stop > at {
            authority(&scanner, at, stop, &mut parts)?;
            at = stop;
        } else if stop >= end {
            return Err(scanner.fault("Expected authority", at));
        }
    }
    let stop = scanner.until(at, end, b"?#");
    parts.path = Some(scanner.check(at, stop, PATH, "path")?);
    at = stop;
    if scanner.at(at, end, b'?') {
        let stop = scanner.until(at + 1, end, b"#");
        parts.query = Some(scanner.check(at + 1, stop, QUERY, "query")?);
        at = stop;
    }
    parts.fragment = fragment(&scanner, at)?;
    Ok(parts)
}

fn fragment(scanner: &Scanner<'_>, at: usize) -> Result<Option<Range<usize>>, String> {
    let end = scanner.bytes.len();
    if at < end { scanner.check(at + 1, end, QUERY, "fragment").map(Some) } else { Ok(None) }
}

/// A server-based authority gives host and port; a registry-based one is legal and gives nothing.
fn authority(scanner: &Scanner<'_>, start: usize, end: usize, parts: &mut Parts) -> Result<(), String> {
    let bracketed = scanner.until(start, end, b"]") < end;
    let (server_stop, escape_fault) = match server_run(scanner, start, end, bracketed) {
        Ok(stop) => (stop, None),
        Err(fault) => (start, Some(fault)),
    };
    let registry = match scanner.run(start, end, REGISTRY) {
        Ok(stop) => stop == end,
        Err(fault) => return Err(escape_fault.unwrap_or(fault)),
    };
    if server_stop < end {
        return if registry { Ok(()) } else { Err(scanner.fault("Illegal character in authority", server_stop)) };
    }
    match server(scanner, start, end) {
        Ok((host, port)) => {
            parts.host = Some(host);
            parts.port = port;
            Ok(())
        }
        Err(_) if registry => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// With an IPv6 literal a lone `%` is legal: it starts a scope.
fn server_run(scanner: &Scanner<'_>, start: usize, end: usize, bracketed: bool) -> Result<usize, String> {
    if !bracketed {
        return scanner.run(start, end, SERVER);
    }
    let legal = |&byte: &u8| is(byte, SERVER) || byte == b'%' || byte >= 128;
    Ok(scanner.bytes[start..end].iter().position(|byte| !legal(byte)).map_or(end, |offset| start + offset))
}

type Server = (Range<usize>, Option<i32>);

fn server(scanner: &Scanner<'_>, start: usize, end: usize) -> Result<Server, String> {
    let mut at = start;
    let user_end = scanner.until(at, end, b"@");
    if user_end < end {
        scanner.check(at, user_end, USER, "user info")?;
        at = user_end + 1;
    }
    let host = if scanner.at(at, end, b'[') {
        let close = scanner.until(at, end, b"]");
        if close >= end {
            return Err(scanner.fault("Expected closing bracket for IPv6 address", end));
        }
        if !is_ipv6(&scanner.text[at + 1..close]) {
            return Err(scanner.fault("Malformed IPv6 address", at + 1));
        }
        at..close + 1
    } else {
        match ipv4(scanner, at, end) {
            Some(stop) => at..stop,
            None => at..hostname(scanner, at, end)?,
        }
    };
    at = host.end;
    let mut port = None;
    if scanner.at(at, end, b':') {
        at += 1;
        let stop = scanner.ascii_run(at, end, DIGIT);
        if stop > at {
            port = Some(scanner.text[at..stop].parse().map_err(|_| scanner.fault("Malformed port number", at))?);
        }
        at = stop;
    }
    if at < end { Err(scanner.fault("Illegal character in port number", at)) } else { Ok((host, port)) }
}

/// Four decimal numbers up to 255 joined by dots, at the end of the authority or before a port.
fn ipv4(scanner: &Scanner<'_>, start: usize, end: usize) -> Option<usize> {
    let stop = scanner.until(start, end, b":");
    let text = &scanner.text[start..stop];
    let byte = |part: &str| part.bytes().all(|b| b.is_ascii_digit()) && part.parse::<u8>().is_ok();
    (text.split('.').count() == 4 && text.split('.').all(byte)).then_some(stop)
}

/// Labels of letters, digits and inner hyphens; the last of several starts with a letter.
fn hostname(scanner: &Scanner<'_>, start: usize, end: usize) -> Result<usize, String> {
    let illegal = |at| Err(scanner.fault("Illegal character in hostname", at));
    let mut at = start;
    let mut label = None;
    while at < end {
        let first = scanner.ascii_run(at, end, ALPHANUM);
        if first <= at {
            break;
        }
        label = Some(at);
        at = scanner.ascii_run(first, end, ALPHANUM | DASH);
        if scanner.bytes[at - 1] == b'-' {
            return illegal(at - 1);
        }
        if !scanner.at(at, end, b'.') {
            break;
        }
        at += 1;
    }
    if at < end && !scanner.at(at, end, b':') {
        return illegal(at);
    }
    match label {
        None => Err(scanner.fault("Expected hostname", start)),
        Some(label) if label > start && !is(scanner.bytes[label], ALPHA) => illegal(label),
        Some(_) => Ok(at),
    }
}

fn is_ipv6(text: &str) -> bool {
    let (address, scope) = text.split_once('%').map_or((text, None), |(address, scope)| (address, Some(scope)));
    let scoped = scope.is_none_or(|scope| {
        !scope.is_empty() && scope.bytes().all(|byte| is(byte, ALPHANUM) || byte == b'_' || byte == b'.')
    });
    scoped && address.parse::<std::net::Ipv6Addr>().is_ok()
}

/// Checks a raw query string as part of `http://localhost/?<query>` (enrich-core 1.4). Gives the query without its
/// fragment, or Java's message about the whole address.
pub(crate) fn check_query(query: &str) -> Result<&str, String> {
    let scanner = Scanner { text: query, bytes: query.as_bytes() };
    let end = scanner.until(0, query.len(), b"#");
    let legal = scanner.run(0, end, QUERY);
    let legal_fragment = if end < query.len() { scanner.run(end + 1, query.len(), QUERY) } else { Ok(query.len()) };
    if legal == Ok(end) && legal_fragment == Ok(query.len()) {
        return Ok(&query[..end]);
    }
    match parse(&format!("http://localhost/?{query}")) {
        Err(fault) => Err(fault),
        // Not reachable: the same rules were broken above.
        Ok(_) => Ok(&query[..end]),
    }
}
