//! Answers, and those that are always the same.

use std::{borrow::Cow, fmt::Write};

use bytes::Bytes;

use super::route::Flavour;
use crate::CollectorConfig;

/// A transparent GIF of one pixel.
const PIXEL: &[u8] = &[
    0x47, 0x49, 0x46, 0x38, 0x39, 0x61, 0x01, 0x00, 0x01, 0x00, 0xf0, 0x00, 0x00, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00,
    0x21, 0xf9, 0x04, 0x05, 0x00, 0x00, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x01, 0x00, 0x00, 0x02,
    0x02, 0x44, 0x01, 0x00, 0x3b,
];

const ROBOTS: &str =
    "User-agent: *\nDisallow: /\n\nUser-agent: Googlebot\nDisallow: /\n\nUser-agent: AdsBot-Google\nDisallow: /";

/// A response, without what the HTTP library adds (`Date`, `Content-Length`, `Connection`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers in order; no value holds a control character.
    pub headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// The body; not to be sent in answer to HEAD.
    pub body: Bytes,
}

impl Answer {
    pub(super) fn push(&mut self, name: &'static str, value: String) {
        self.headers.push((Cow::Borrowed(name), Cow::Owned(value)));
    }

    pub(super) fn push_origin(&mut self, origin: &str) {
        let origin = if origin == "*" { Cow::Borrowed("*") } else { Cow::Owned(origin.to_owned()) };
        self.headers.push((Cow::Borrowed("Access-Control-Allow-Origin"), origin));
    }

    pub(super) fn push_static(&mut self, name: &'static str, value: &'static str) {
        self.headers.push((Cow::Borrowed(name), Cow::Borrowed(value)));
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }
}

/// What answers are made of.
#[derive(Debug)]
pub(super) struct Templates {
    strict_transport: Option<String>,
    response_headers: Vec<(String, String)>,
    preflight_headers: String,
    preflight_max_age: String,
    retry_after: String,
    cross_domain: Option<Bytes>,
    root: Option<Answer>,
}

impl Templates {
    pub(super) fn new(config: &CollectorConfig) -> Self {
        let root = &config.root_response;
        Self {
            strict_transport: config
                .hsts
                .enable
                .then(|| format!("max-age={}; includeSubDomains", config.hsts.max_age.as_secs())),
            response_headers: config.response_headers.clone().into_iter().collect(),
            preflight_headers: config.cors.allowed_headers.join(", "),
            preflight_max_age: (config.cors.access_control_max_age / 1000).to_string(),
            retry_after: config.group_commit.retry_after.as_secs().max(1).to_string(),
            cross_domain: config.cross_domain.enabled.then(|| cross_domain(config)),
            root: root.enabled.then(|| Answer {
                status: root.status_code,
                headers: root.headers.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect(),
                body: Bytes::from(root.body.clone()),
            }),
        }
    }

    /// An answer that carries only what every answer does.
    pub(super) fn empty(&self, status: u16) -> Answer {
        // Room for what a tracking answer gets; one allocation.
        let mut answer = Answer { status, headers: Vec::with_capacity(8), body: Bytes::new() };
        self.add_to_all(&mut answer);
        answer
    }

    pub(super) fn text(&self, status: u16, body: &'static str) -> Answer {
        let mut answer = self.empty(status);
        answer.push_static("Content-Type", "text/plain; charset=UTF-8");
        answer.body = Bytes::from_static(body.as_bytes());
        answer
    }

    pub(super) fn health(&self, healthy: bool) -> Answer {
        if healthy { self.text(200, "ok") } else { self.text(503, "Service Unavailable") }
    }

    pub(super) fn robots(&self) -> Answer {
        self.text(200, ROBOTS)
    }

    pub(super) fn cross_domain(&self) -> Option<Answer> {
        let mut answer = self.empty(200);
        answer.push_static("Content-Type", "text/xml");
        answer.body = self.cross_domain.clone()?;
        Some(answer)
    }

    pub(super) fn root(&self) -> Option<Answer> {
        let mut answer = self.root.clone()?;
        self.add_to_all(&mut answer);
        Some(answer)
    }

    pub(super) fn preflight(&self, origin: &str) -> Answer {
        let mut answer = self.empty(200);
        answer.push_origin(origin);
        answer.push_static("Access-Control-Allow-Credentials", "true");
        answer.push("Access-Control-Allow-Headers", self.preflight_headers.clone());
        answer.push("Access-Control-Max-Age", self.preflight_max_age.clone());
        answer
    }

    pub(super) fn tracked(&self, flavour: Flavour) -> Answer {
        let mut answer = self.empty(200);
        match flavour {
            Flavour::Pixel => {
                answer.push_static("Content-Type", "image/gif");
                answer.body = Bytes::from_static(PIXEL);
            }
            Flavour::Post => {
                answer.push_static("Content-Type", "text/plain");
                answer.body = Bytes::from_static(b"ok");
            }
        }
        answer
    }

    pub(super) fn unavailable(&self, origin: &str) -> Answer {
        let mut answer = self.text(503, "Service Unavailable");
        answer.push("Retry-After", self.retry_after.clone());
        answer.push_origin(origin);
        answer.push_static("Access-Control-Allow-Credentials", "true");
        answer
    }

    /// Adds what every answer carries.
    fn add_to_all(&self, answer: &mut Answer) {
        if let Some(value) = &self.strict_transport {
            answer.push("Strict-Transport-Security", value.clone());
        }
        for (name, value) in &self.response_headers {
            answer.headers.push((Cow::Owned(name.clone()), Cow::Owned(value.clone())));
        }
    }
}

/// The policy file (1.9). Domains are the operator's own text and not escaped, as in the original.
fn cross_domain(config: &CollectorConfig) -> Bytes {
    let mut xml = "<?xml version=\"1.0\"?>\n<cross-domain-policy>\n".to_owned();
    let mut entries = String::new();
    for (index, domain) in config.cross_domain.domains.iter().enumerate() {
        let separator = if index > 0 { "\n" } else { "" };
        write!(
            entries,
            "{separator}<allow-access-from domain=\"{domain}\" secure=\"{}\" />",
            config.cross_domain.secure
        )
        .expect("writing to a String cannot fail");
    }
    xml.push_str(&entries);
    xml.push_str("\n</cross-domain-policy>");
    Bytes::from(xml)
}
