//! The formats the reference checks, and only those (iglu-client, section 12).

use std::sync::LazyLock;

use regex::Regex;

/// A known format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    DateTime,
    Date,
    Uuid,
    Email,
    Duration,
    /// Index into [`PATTERNS`].
    Pattern(u8),
}

/// A format that is a regular expression on the whole text. The text of the expression is part of reports.
struct PatternFormat {
    name: &'static str,
    pattern: &'static str,
    check: fn(&str) -> bool,
}

const IPV4: &str =
    r"^(([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])\.){3}([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])$";
const IP_ADDRESS: &str = r"^(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\.){3}(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)$";
const IPV6: &str = r"^\s*((([0-9A-Fa-f]{1,4}:){7}([0-9A-Fa-f]{1,4}|:))|(([0-9A-Fa-f]{1,4}:){6}(:[0-9A-Fa-f]{1,4}|((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3})|:))|(([0-9A-Fa-f]{1,4}:){5}(((:[0-9A-Fa-f]{1,4}){1,2})|:((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3})|:))|(([0-9A-Fa-f]{1,4}:){4}(((:[0-9A-Fa-f]{1,4}){1,3})|((:[0-9A-Fa-f]{1,4})?:((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}))|:))|(([0-9A-Fa-f]{1,4}:){3}(((:[0-9A-Fa-f]{1,4}){1,4})|((:[0-9A-Fa-f]{1,4}){0,2}:((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}))|:))|(([0-9A-Fa-f]{1,4}:){2}(((:[0-9A-Fa-f]{1,4}){1,5})|((:[0-9A-Fa-f]{1,4}){0,3}:((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}))|:))|(([0-9A-Fa-f]{1,4}:){1}(((:[0-9A-Fa-f]{1,4}){1,6})|((:[0-9A-Fa-f]{1,4}){0,4}:((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}))|:))|(:(((:[0-9A-Fa-f]{1,4}){1,7})|((:[0-9A-Fa-f]{1,4}){0,5}:((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}))|:)))(%.+)?\s*$";
const URI: &str = r"^[A-Za-z][A-Za-z0-9+.-]*:(\/\/([A-Za-z0-9._~\-%!$&'()*+,;=:]*@)?[A-Za-z0-9._~\-!$&'()*+,;=%:\[\]]*(:[0-9]*)?)?[A-Za-z0-9._~\-%!$&'()*+,;=:@\/]*([?][A-Za-z0-9._~\-%!$&'()*+,;=:@\/?]*)?([#][A-Za-z0-9._~\-%!$&'()*+,;=:@\/?]*)?";
const HOSTNAME: &str = r"^([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9\-]{0,61}[a-zA-Z0-9])(\.([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9\-]{0,61}[a-zA-Z0-9]))*$";
const TIME: &str = r"^\d{2}:\d{2}:\d{2}(?:\.\d+)?$";
const ALPHA: &str = "^[a-zA-Z]+$";
const ALPHANUMERIC: &str = "^[a-zA-Z0-9]+$";
const PHONE: &str = r"^\+(?:[0-9] ?){6,14}[0-9]$";
const UTC_MILLISEC: &str = r"^[0-9]+(\.?[0-9]+)?$";
const STYLE: &str = r"\s*(.+?):\s*([^;]+);?";
const COLOR: &str = r"(#?([0-9A-Fa-f]{3,6})\b)|(aqua)|(black)|(blue)|(fuchsia)|(gray)|(green)|(lime)|(maroon)|(navy)|(olive)|(orange)|(purple)|(red)|(silver)|(teal)|(white)|(yellow)|(rgb\(\s*\b([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])\b\s*,\s*\b([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])\b\s*,\s*\b([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])\b\s*\))|(rgb\(\s*(\d?\d%|100%)+\s*,\s*(\d?\d%|100%)+\s*,\s*(\d?\d%|100%)+\s*\))";
const DURATION: &str = r"^-?P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)([DW]))?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$";

macro_rules! whole {
    ($pattern:expr) => {
        |text: &str| {
            static COMPILED: LazyLock<Regex> = LazyLock::new(|| compile($pattern));
            COMPILED.is_match(text)
        }
    };
}

static PATTERNS: &[PatternFormat] = &[
    PatternFormat { name: "uri", pattern: URI, check: whole!(URI) },
    PatternFormat { name: "ipv4", pattern: IPV4, check: is_ipv4 },
    PatternFormat { name: "ipv6", pattern: IPV6, check: is_ipv6 },
    PatternFormat { name: "hostname", pattern: HOSTNAME, check: whole!(HOSTNAME) },
    PatternFormat { name: "time", pattern: TIME, check: whole!(TIME) },
    PatternFormat { name: "ip-address", pattern: IP_ADDRESS, check: whole!(IP_ADDRESS) },
    PatternFormat { name: "alpha", pattern: ALPHA, check: whole!(ALPHA) },
    PatternFormat { name: "alphanumeric", pattern: ALPHANUMERIC, check: whole!(ALPHANUMERIC) },
    PatternFormat { name: "phone", pattern: PHONE, check: whole!(PHONE) },
    PatternFormat { name: "utc-millisec", pattern: UTC_MILLISEC, check: whole!(UTC_MILLISEC) },
    PatternFormat { name: "style", pattern: STYLE, check: whole!(STYLE) },
    PatternFormat { name: "color", pattern: COLOR, check: whole!(COLOR) },
];

/// The pattern on the whole text, with classes over ASCII as the reference has them.
fn compile(pattern: &str) -> Regex {
    let ascii = pattern.replace(r"\d", "[0-9]").replace(r"\s", r"[ \t\n\x0B\f\r]").replace(r"\b", r"(?-u:\b)");
    let dot = ascii.replace("(.+?)", r"([^\n\r\x{85}\x{2028}\x{2029}]+?)");
    Regex::new(&format!("^(?:{dot})$")).expect("the table's patterns compile, which a test checks")
}

impl Format {
    /// `None` for a format that is not checked.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "date-time" => Self::DateTime,
            "date" => Self::Date,
            "uuid" => Self::Uuid,
            "email" => Self::Email,
            "duration" => Self::Duration,
            _ => Self::Pattern(PATTERNS.iter().position(|p| p.name == name)? as u8),
        })
    }

    pub(crate) fn is_valid(self, text: &str) -> bool {
        match self {
            Self::DateTime => is_date_time(text.as_bytes()).is_some(),
            Self::Date => text.len() == 10 && date(text.as_bytes()).is_some(),
            Self::Uuid => is_uuid(text.as_bytes()),
            Self::Email => is_email(text),
            Self::Duration => is_duration(text),
            Self::Pattern(index) => (PATTERNS[usize::from(index)].check)(text),
        }
    }

    /// Keyword, message without the path, and targets of a report.
    pub(crate) fn report(self, value: &str) -> (&'static str, String, Vec<String>) {
        let both = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let date = |name: &str| ("dateTime", format!("{value} is an invalid {name}"), both(value, name));
        let pattern = |name: &str, pattern: &str| {
            ("format", format!("does not match the {name} pattern {pattern}"), both(name, pattern))
        };
        match self {
            Self::DateTime => date("date-time"),
            Self::Date => date("date"),
            Self::Uuid => ("uuid", format!("{value} is an invalid uuid"), both(value, "uuid")),
            Self::Email => pattern(value, "email"),
            Self::Duration => pattern(value, "duration"),
            Self::Pattern(index) => {
                let format = &PATTERNS[usize::from(index)];
                pattern(format.name, format.pattern)
            }
        }
    }
}

/// Two digits at an offset.
fn two(text: &[u8], at: usize) -> Option<u32> {
    match text.get(at..at + 2)? {
        &[a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(u32::from(a - b'0') * 10 + u32::from(b - b'0')),
        _ => None,
    }
}

/// Year, month and day of a text that starts `YYYY-MM-DD` with a real date.
fn date(text: &[u8]) -> Option<(u32, u32, u32)> {
    let year = two(text, 0)? * 100 + two(text, 2)?;
    let (month, day) = (two(text, 5)?, two(text, 8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (text[4] == b'-' && text[7] == b'-' && (1..=days).contains(&day)).then_some((year, month, day))
}

fn is_date_time(text: &[u8]) -> Option<()> {
    let (_, month, day) = date(text)?;
    let (hour, minute, second) = (two(text, 11)?, two(text, 14)?, two(text, 17)?);
    let separators = matches!(text[10], b'T' | b't' | b' ') && text[13] == b':' && text[16] == b':';
    if !separators || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = &text[19..];
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        rest = fraction.get(digits..).filter(|_| digits > 0)?;
    }
    let offset_minutes = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), offset @ ..] if offset.len() == 5 && offset[2] == b':' => {
            let (hours, minutes) = (two(offset, 0)?, two(offset, 3)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let size = (hours * 60 + minutes) as i32;
            if *sign == b'-' { -size } else { size }
        }
        _ => return None,
    };
    (second < 60 || is_leap_second(month, day, (hour * 60 + minute) as i32 - offset_minutes)).then_some(())
}

/// A leap second ends 30 June or 31 December, at 23:59 UTC.
fn is_leap_second(month: u32, day: u32, utc_minutes: i32) -> bool {
    const LAST_MINUTE: i32 = 23 * 60 + 59;
    const DAY: i32 = 24 * 60;
    match (month, day) {
        (6, 30) | (12, 31) => utc_minutes == LAST_MINUTE,
        // The local date is one ahead.
        (7, 1) | (1, 1) => utc_minutes + DAY == LAST_MINUTE,
        // The local date is one behind.
        (6, 29) | (12, 30) => utc_minutes - DAY == LAST_MINUTE,
        _ => false,
    }
}

fn is_uuid(text: &[u8]) -> bool {
    let Ok(text): Result<&[u8; 36], _> = text.try_into() else { return false };
    let dashes = [8, 13, 18, 23].iter().all(|&at| text[at] == b'-');
    // Without a branch per byte the compiler makes vector code of it. Dashes are no digits: 32 of 36 are left.
    let is_hex = |b: u8| u8::from(b.wrapping_sub(b'0') < 10) | u8::from((b | 0x20).wrapping_sub(b'a') < 6);
    dashes && text.iter().map(|&b| is_hex(b)).sum::<u8>() == 32
}

fn is_ipv4(text: &str) -> bool {
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.len() <= 3
            && bytes.iter().all(u8::is_ascii_digit)
            && (bytes.len() == 1 || bytes.first().is_some_and(|&b| b != b'0'))
            && part.parse::<u16>().is_ok_and(|n| n <= 255)
    };
    text.len() <= 15 && text.split('.').count() == 4 && text.split('.').all(part)
}

/// The pattern allows blanks around and a zone; the reference refuses them all the same.
fn is_ipv6(text: &str) -> bool {
    let pattern: fn(&str) -> bool = whole!(IPV6);
    text.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')) && pattern(text)
}

fn is_duration(text: &str) -> bool {
    let pattern: fn(&str) -> bool = whole!(DURATION);
    let digit = |b: Option<&u8>| b.is_some_and(u8::is_ascii_digit);
    let after = text.strip_prefix('-').unwrap_or(text).as_bytes();
    (digit(after.get(1)) || (after.get(1) == Some(&b'T') && digit(after.get(2)))) && pattern(text)
}

/// A local part (dot-separated atoms, or quoted) at a domain of two labels or more, or at an address in brackets.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    is_local_part(local) && (is_mail_domain(domain) || is_bracketed_address(domain))
}

fn is_local_part(local: &str) -> bool {
    if local.is_empty() || local.chars().count() > 64 {
        return false;
    }
    if let Some(quoted) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return !quoted.is_empty() && !quoted.contains(|c: char| c == '"' || c.is_control());
    }
    let special = |c: char| "()<>@,;:\\\"[]".contains(c) || c.is_whitespace() || c.is_control();
    local.split('.').all(|atom| !atom.is_empty() && !atom.contains(special))
}

fn is_mail_domain(domain: &str) -> bool {
    let label = |label: &str| {
        let allowed = |c: char| c == '-' || c.is_alphanumeric();
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(allowed)
    };
    let Some((_, top)) = domain.rsplit_once('.') else { return false };
    let plausible = top.starts_with("xn--") || (top.chars().count() >= 2 && top.chars().all(char::is_alphabetic));
    domain.len() <= 253 && plausible && domain.split('.').all(label)
}

fn is_bracketed_address(domain: &str) -> bool {
    let Some(inside) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return false };
    inside.strip_prefix("IPv6:").map_or_else(|| is_ipv4(inside), is_ipv6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, good: &[&str], bad: &[&str]) {
        let format = Format::named(format).unwrap();
        good.iter().for_each(|text| assert!(format.is_valid(text), "{format:?} should accept {text:?}"));
        bad.iter().for_each(|text| assert!(!format.is_valid(text), "{format:?} should refuse {text:?}"));
    }

    #[test]
    fn dates_and_times() {
        check(
            "date-time",
            &[
                "2024-02-03T04:05:06Z",
                "2024-02-03 04:05:06.123456789+05:30",
                "2024-02-29t00:00:00z",
                "2016-12-31T23:59:60Z",
                "2017-01-01T00:59:60+01:00",
            ],
            &[
                "2024-02-03T04:05:06",
                "2024-02-03T04:05Z",
                "2023-02-29T00:00:00Z",
                "2024-02-03T24:00:00Z",
                "2024-02-03T04:05:06.Z",
                "2024-05-31T23:59:60Z",
                "2024-02-03T04:05:06+0530",
                "",
                "2024-02-03T04:05:06Z\n",
                "２024-02-03T04:05:06Z",
            ],
        );
        check("date", &["2024-02-29"], &["2023-02-29", "2024-2-9", "2024-02-29Z", "2024-13-01", "2024-00-01"]);
        check("time", &["12:30:45", "25:00:00", "12:30:45.5"], &["12:30", "12:30:45Z", "12:30:45\n"]);
        check("duration", &["P1DT2H", "-P1Y", "PT0.5S"], &["1 day", "P", "PT", "P1S", "PTT1H"]);
    }

    #[test]
    fn identifiers_and_addresses() {
        check(
            "uuid",
            &["123E4567-e89b-12d3-A456-426614174000"],
            &["123e4567e89b12d3a456426614174000", "nope", "123e4567-e89b-12d3-a456-42661417400g"],
        );
        check(
            "email",
            &["a@b.co", "\"a b\"@x.org", "a.b+c@d-e.example", "ü@bücher.de", "a@[1.2.3.4]"],
            &["a@b", "no-at", "a@b..co", ".a@b.co", "a b@c.de", "a@b.c1", "@b.co", "a@-b.co"],
        );
        check("ipv4", &["1.2.3.4", "255.255.255.255"], &["256.1.1.1", "1.2.3", "01.2.3.4", "1.2.3.4 ", "1.2.3."]);
        check("ip-address", &["001.2.3.4"], &["256.1.1.1"]);
        check(
            "ipv6",
            &["::1", "2001:db8::1", "::ffff:1.2.3.4", "::"],
            &["1.2.3.4", " ::1", "fe80::1%eth0", "1:2:3:4:5:6:7:8:9"],
        );
        check("hostname", &["a-b.example.com", "x"], &["-bad.com", "under_score.com", ""]);
        check(
            "uri",
            &["http://example.com/a?b#c", "mailto:a@b", "urn:x"],
            &["example.com", "/relative", "http://exa mple.com", "http://x/é", "http://x/\n"],
        );
        check("phone", &["+49 30 1234567"], &["abc"]);
    }

    #[test]
    fn the_rest() {
        check("alpha", &["abc"], &["a1", ""]);
        check("alphanumeric", &["a1"], &["a-1"]);
        check("utc-millisec", &["123", "1.5"], &["1.", "-1"]);
        check("style", &["color: red;"], &["red"]);
        check("color", &["#fff", "red", "rgb(1, 2, 3)", "rgb(10%,20%,30%)"], &["#ggg", "reddish", "rgb(300,0,0)"]);
        assert!(["regex", "json-pointer", "something-else"].iter().all(|name| Format::named(name).is_none()));
    }
}
