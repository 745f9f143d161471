//! Cookies: reading the request's, writing the answer's, and what of them a payload keeps (2.2 to 2.6, 3.2).

use std::borrow::Cow;

use regex::Regex;

use super::{
    IdSource,
    answer::Answer,
    head::{Head, latin1},
    origin,
};
use crate::{CollectorConfig, CollectorError, config::SameSite};

/// What the request's cookies say.
#[derive(Debug, Default)]
pub(super) struct RequestCookies<'a> {
    pub(super) id: Option<Cow<'a, str>>,
    /// Whether the id cookie came, also for an anonymous request, which does not use it.
    pub(super) had_id: bool,
    pub(super) do_not_track: bool,
}

/// The configured cookies.
#[derive(Debug)]
pub(super) struct CookieRules {
    enabled: bool,
    name: String,
    client_name: Option<String>,
    expiration_ms: i64,
    domains: Vec<String>,
    fallback_domain: Option<String>,
    /// `; Path=/` and what follows, but for `HttpOnly`.
    tail: String,
    http_only: bool,
    do_not_track: Option<(String, Regex)>,
}

impl CookieRules {
    pub(super) fn new(config: &CollectorConfig) -> Result<Self, CollectorError> {
        let cookie = &config.cookie;
        let mut tail = "; Path=/".to_owned();
        if let Some(same_site) = cookie.same_site {
            tail.push_str("; SameSite=");
            tail.push_str(same_site.as_str());
        }
        if cookie.secure || cookie.same_site == Some(SameSite::None) {
            tail.push_str("; Secure");
        }
        let do_not_track = &config.do_not_track_cookie;
        let do_not_track = if do_not_track.enabled {
            // The whole value must match.
            let pattern = Regex::new(&format!(r"\A(?:{})\z", do_not_track.value)).map_err(|error| {
                CollectorError::Config { key: "doNotTrackCookie.value".to_owned(), reason: error.to_string() }
            })?;
            Some((do_not_track.name.clone(), pattern))
        } else {
            None
        };
        Ok(Self {
            enabled: cookie.enabled,
            name: cookie.name.clone(),
            client_name: cookie.client_cookie_name.clone(),
            expiration_ms: i64::try_from(cookie.expiration.as_millis()).unwrap_or(i64::MAX),
            domains: cookie.domains.clone(),
            // Browsers read an empty Domain as host-only, and so do we: it is left out.
            fallback_domain: cookie.fallback_domain.clone().filter(|domain| !domain.is_empty()),
            tail,
            http_only: cookie.http_only,
            do_not_track,
        })
    }

    /// Reads the request's cookies leniently: one odd cookie of another application does not hide the others (2.2, advice).
    pub(super) fn read<'a>(&self, head: &Head<'a>) -> RequestCookies<'a> {
        let mut found = RequestCookies::default();
        let mut do_not_track = None;
        for (name, value) in head.all("Cookie").flat_map(pairs) {
            if found.id.is_none() && name == self.name.as_bytes() {
                found.id = Some(latin1(value));
            }
            if let Some((wanted, pattern)) = &self.do_not_track
                && do_not_track.is_none()
                && name == wanted.as_bytes()
            {
                do_not_track = Some(pattern.is_match(&latin1(value)));
            }
        }
        found.had_id = found.id.is_some();
        found.do_not_track = do_not_track.unwrap_or(false);
        found
    }

    /// Adds the `Set-Cookie` headers of a tracking answer (2.3 to 2.5).
    pub(super) fn write(
        &self,
        answer: &mut Answer,
        head: &Head<'_>,
        id: &str,
        source: IdSource,
        had_id: bool,
        now_ms: i64,
    ) {
        let (value, expires_ms) = match source {
            IdSource::Anonymous if had_id => ("", now_ms.saturating_sub(self.expiration_ms)),
            IdSource::Anonymous => return,
            _ => (id, now_ms.saturating_add(self.expiration_ms)),
        };
        if !self.enabled || !settable(value, source) {
            return;
        }
        let domain = self.domain(head);
        let mut line = |name: &str, http_only: bool| {
            let domain_length = domain.map_or(0, |domain| "; Domain=".len() + domain.len());
            let length = name.len() + value.len() + "=; Expires=".len() + DATE_LENGTH + domain_length + self.tail.len();
            // Exactly: it becomes the header's value as it is.
            let mut text = String::with_capacity(length + if http_only { "; HttpOnly".len() } else { 0 });
            text.push_str(name);
            text.push('=');
            text.push_str(value);
            text.push_str("; Expires=");
            write_http_date(expires_ms, &mut text);
            if let Some(domain) = domain {
                text.push_str("; Domain=");
                text.push_str(domain);
            }
            text.push_str(&self.tail);
            if http_only {
                text.push_str("; HttpOnly");
            }
            answer.push("Set-Cookie", text);
        };
        line(&self.name, self.http_only);
        if let Some(name) = &self.client_name {
            line(name, false);
        }
    }

    fn domain(&self, head: &Head<'_>) -> Option<&str> {
        self.domains
            .iter()
            .find(|domain| origin::origins(head).any(|origin| is_or_is_below(origin.host, domain)))
            .or(self.fallback_domain.as_ref())
            .map(String::as_str)
    }
}

fn is_or_is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether a value may go into `Set-Cookie`. A text from the query string must be a UUID: it can hold anything, also attributes.
fn settable(value: &str, source: IdSource) -> bool {
    match source {
        IdSource::Query => uuid::Uuid::try_parse(value).is_ok(),
        _ => value.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b';'),
    }
}

/// The cookies of one header line: pieces between `;`, white space around them removed, split at the first `=`.
fn pairs(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|&byte| byte == b';').filter_map(|piece| {
        let piece = piece.trim_ascii();
        let at = memchr::memchr(b'=', piece)?;
        Some((piece[..at].trim_ascii_end(), piece[at + 1..].trim_ascii_start()))
    })
}

/// What a payload keeps of a `Cookie` header: spaces removed, pieces of cookie octets only, joined by `;`. None = nothing is left.
pub fn payload_cookie_header(value: &[u8]) -> Option<String> {
    let mut kept = Vec::with_capacity(value.len());
    let any = push_payload_cookies(value, &mut kept);
    any.then(|| String::from_utf8(kept).expect("cookie octets are ASCII"))
}

/// Appends what a payload keeps of a `Cookie` header; whether that is anything.
pub(super) fn push_payload_cookies(value: &[u8], out: &mut Vec<u8>) -> bool {
    // Empty pieces count between others, but not at the end.
    let end = value.iter().rposition(|&byte| byte != b' ' && byte != b';').map_or(0, |last| last + 1);
    let start = out.len();
    let mut first = true;
    for piece in value[..end].split(|&byte| byte == b';') {
        if !piece.iter().all(|&byte| byte == b' ' || COOKIE_OCTETS[usize::from(byte)]) {
            continue;
        }
        if !first {
            out.push(b';');
        }
        first = false;
        match memchr::memchr(b' ', piece) {
            None => out.extend_from_slice(piece),
            Some(_) => out.extend(piece.iter().filter(|&&byte| byte != b' ')),
        }
    }
    out.len() > start
}

/// Which bytes are cookie octets (RFC 6265, 4.1.1).
const COOKIE_OCTETS: [bool; 256] = {
    let mut octets = [false; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        octets[byte as usize] = !matches!(byte, b'"' | b',' | b';' | b'\\');
        byte += 1;
    }
    octets
};

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Length of a date.
const DATE_LENGTH: usize = "Fri, 03 Apr 2026 10:00:00 GMT".len();

/// Appends an RFC 1123 date in whole seconds: `Fri, 03 Apr 2026 10:00:00 GMT`.
fn write_http_date(millis: i64, out: &mut String) {
    // Four-digit years only; no browser reads others.
    let seconds = millis.div_euclid(1000).clamp(-62_135_596_800, 253_402_300_799);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil from days (Howard Hinnant): eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    // By hand: `write!` takes as long as all else that is done for an answer.
    let two = |out: &mut String, number: i64, after: &str| {
        out.push(char::from(b'0' + (number / 10) as u8));
        out.push(char::from(b'0' + (number % 10) as u8));
        out.push_str(after);
    };
    out.push_str(DAYS[days.rem_euclid(7) as usize]);
    out.push_str(", ");
    two(out, day, " ");
    out.push_str(MONTHS[month as usize]);
    out.push(' ');
    two(out, year / 100, "");
    two(out, year % 100, " ");
    two(out, second / 3600, ":");
    two(out, second / 60 % 60, ":");
    two(out, second % 60, " GMT");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_in_the_http_form() {
        for (millis, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_775_210_400_999, "Fri, 03 Apr 2026 10:00:00 GMT"),
            (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let mut out = String::new();
            write_http_date(millis, &mut out);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn odd_cookies_do_not_hide_others() {
        let found: Vec<_> = pairs(b"x[y]={\"a\": 1};nothing; ; sp = v=w ;last=").collect();
        let expected: Vec<(&[u8], &[u8])> = vec![(b"x[y]", b"{\"a\": 1}"), (b"sp", b"v=w"), (b"last", b"")];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_domain_matches_itself_and_what_is_below() {
        assert!(is_or_is_below("acme.example", "acme.example"));
        assert!(is_or_is_below("www.acme.example", "acme.example"));
        assert!(!is_or_is_below("notacme.example", "acme.example"));
    }
}
