//! Which rule answers a request (1.1, 1.2), and path mapping (1.5).

use std::{borrow::Cow, collections::BTreeMap};

use percent_encoding::percent_decode;

use super::{answer::Answer, answer::Templates, head::Head, origin};
use crate::CollectorConfig;

/// How a tracking request is answered and what of it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// GET and HEAD: the body is ignored, the answer is a pixel.
    Pixel,
    /// POST: the body is recorded, the answer is `ok`.
    Post,
}

/// A request to be tracked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracking<'a> {
    /// How.
    pub flavour: Flavour,
    /// The effective path: decoded and mapped.
    pub path: Cow<'a, str>,
    /// The raw query string; none = no `?`.
    pub query: Option<Cow<'a, str>>,
    /// Whether the answer sends the client on to `u` (1.7).
    pub redirect: bool,
    /// Host of an absolute-form request target.
    pub authority_host: Option<String>,
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Route<'a> {
    /// Answer at once.
    Answer(Answer),
    /// `/health`.
    Health,
    /// `/sink-health`.
    SinkHealth,
    /// Track; for [`Flavour::Post`] the body is to be read first.
    Track(Tracking<'a>),
}

/// The parts of a request target.
pub(super) struct Target<'a> {
    /// `host[:port]` of an absolute-form target.
    pub(super) authority: Option<&'a [u8]>,
    /// The path, raw.
    pub(super) path: &'a [u8],
    /// The query string, raw.
    pub(super) query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    pub(super) fn parse(target: &'a [u8]) -> Self {
        let (authority, rest) = match scheme_end(target) {
            Some(start) => {
                let rest = &target[start..];
                let end = rest.iter().position(|&byte| byte == b'/' || byte == b'?').unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, target),
        };
        match memchr::memchr(b'?', rest) {
            Some(at) => Self { authority, path: &rest[..at], query: Some(&rest[at + 1..]) },
            None => Self { authority, path: rest, query: None },
        }
    }
}

fn scheme_end(target: &[u8]) -> Option<usize> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.len() >= scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme))
        .map(<[u8]>::len)
}

/// Raw bytes of a target as text: nothing is lost, since a byte that is not UTF-8 gets percent-encoded.
pub(super) fn raw_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for &byte in chunk.invalid() {
            text.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
    Cow::Owned(text)
}

/// The routing table of a configuration.
#[derive(Debug)]
pub(super) struct Router {
    default_redirect: bool,
    paths: BTreeMap<String, String>,
}

impl Router {
    pub(super) fn new(config: &CollectorConfig) -> Self {
        Self { default_redirect: config.enable_default_redirect, paths: config.paths.clone() }
    }

    /// The rule for a request. What it gives borrows from the request or, where a path is mapped, from the table.
    pub(super) fn route<'a>(&'a self, head: &Head<'a>, templates: &Templates) -> Route<'a> {
        let target = Target::parse(head.target);
        let segments = Segments::of(target.path);
        if matches!(&segments, Segments::Two(first, _) if first == "r") && !self.default_redirect {
            return Route::Answer(templates.text(404, "redirects disabled"));
        }
        let answer = match (head.method, segments) {
            ("OPTIONS", _) => Some(templates.preflight(origin::allowed_origin(head))),
            ("POST", Segments::Two(vendor, version)) => {
                return Route::Track(self.tracking(Flavour::Post, &vendor, &version, &target));
            }
            ("GET" | "HEAD", Segments::Two(vendor, version)) => {
                return Route::Track(self.tracking(Flavour::Pixel, &vendor, &version, &target));
            }
            ("GET" | "HEAD", Segments::One(name)) if name == "i" || name == "ice.png" => {
                return Route::Track(tracking(Flavour::Pixel, raw_text(target.path), false, &target));
            }
            ("GET", Segments::Root) => templates.root(),
            ("GET", Segments::One(name)) => match name.as_ref() {
                "health" => return Route::Health,
                "sink-health" => return Route::SinkHealth,
                "crossdomain.xml" => templates.cross_domain(),
                "robots.txt" => Some(templates.robots()),
                _ => None,
            },
            _ => None,
        };
        Route::Answer(answer.unwrap_or_else(|| templates.text(404, "Not found")))
    }

    fn tracking<'a>(&'a self, flavour: Flavour, vendor: &str, version: &str, target: &Target<'a>) -> Tracking<'a> {
        let path = match std::str::from_utf8(target.path) {
            // What holds no escape is decoded already.
            Ok(path) if !path.contains('%') => Cow::Borrowed(path),
            _ => Cow::Owned(format!("/{vendor}/{version}")),
        };
        match self.paths.get(path.as_ref()) {
            Some(mapped) => tracking(flavour, Cow::Borrowed(mapped), mapped.starts_with("/r/"), target),
            // By its segment, not by the decoded path: `/r%2Ftp2/x` must not slip past `enableDefaultRedirect` (8.2, 1).
            None => tracking(flavour, path, vendor == "r", target),
        }
    }
}

fn tracking<'a>(flavour: Flavour, path: Cow<'a, str>, redirect: bool, target: &Target<'a>) -> Tracking<'a> {
    let authority_host = target.authority.map(|authority| host_of(&raw_text(authority)).to_owned());
    Tracking { flavour, path, query: target.query.map(raw_text), redirect, authority_host }
}

/// `host[:port]` without its port and user.
pub(super) fn host_of(authority: &str) -> &str {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.split_once(':').map_or(host, |(host, _)| host)
}

/// A path's segments, decoded. A trailing slash is one more, empty segment.
enum Segments<'a> {
    Root,
    One(Cow<'a, str>),
    Two(Cow<'a, str>, Cow<'a, str>),
    Other,
}

impl<'a> Segments<'a> {
    fn of(path: &'a [u8]) -> Self {
        let Some(path) = path.strip_prefix(b"/") else {
            return if path.is_empty() { Self::Root } else { Self::Other };
        };
        if path.is_empty() {
            return Self::Root;
        }
        let mut segments = path.split(|&byte| byte == b'/');
        let decode = |segment: &'a [u8]| percent_decode(segment).decode_utf8_lossy();
        match (segments.next(), segments.next(), segments.next()) {
            (Some(one), None, _) => Self::One(decode(one)),
            (Some(one), Some(two), None) => Self::Two(decode(one), decode(two)),
            _ => Self::Other,
        }
    }
}
