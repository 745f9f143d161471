//! Path and network user id of a request (enrich-core 1.4).

use std::borrow::Cow;

use snowmelt_protocol::badrow::FormatMessage;

use crate::convert::lower_uuid;

type Api<'a> = (Cow<'a, str>, Cow<'a, str>);

const SNOWPLOW: &str = "com.snowplowanalytics.snowplow";

/// Vendor and version of a path: `(/)vendor/version(/)`, or a legacy pixel.
pub(super) fn api(path: Option<Cow<'_, str>>) -> Result<Api<'_>, FormatMessage> {
    let Some(path) = path else {
        return Err(refusal("path", None, "request does not contain a path"));
    };
    let bounds = vendor_and_version(&path);
    match (bounds, path) {
        (Some([vendor, version]), Cow::Borrowed(path)) => Ok((path[vendor].into(), path[version].into())),
        (Some([vendor, version]), Cow::Owned(path)) => {
            Ok((path[vendor].to_owned().into(), path[version].to_owned().into()))
        }
        (None, path) if path == "/i" || path.starts_with("/i?") || path.starts_with("/ice.png") => {
            Ok((SNOWPLOW.into(), "tp1".into()))
        }
        (None, path) => {
            let expectation = "path does not match (/)vendor/version(/) nor is a legacy /i(ce.png) request";
            Err(refusal("path", Some(path.into_owned()), expectation))
        }
    }
}

/// Where vendor and version lie, when nothing else is there.
fn vendor_and_version(path: &str) -> Option<[std::ops::Range<usize>; 2]> {
    let start = usize::from(path.starts_with('/'));
    let end = path.len() - usize::from(path.len() > start && path.ends_with('/'));
    let slash = start + path[start..end].find('/')?;
    let (vendor, version) = (start..slash, slash + 1..end);
    let sound = !vendor.is_empty() && !version.is_empty() && !path[version.clone()].contains('/');
    sound.then_some([vendor, version])
}

/// The id as a canonical UUID, read as leniently as Java reads one.
pub(super) fn network_userid(text: Option<&str>) -> Result<Option<String>, FormatMessage> {
    let Some(text) = text else { return Ok(None) };
    match canonical_uuid(text) {
        Some(uuid) => Ok(Some(uuid)),
        None => Err(refusal("networkUserId", Some(text.to_owned()), "not valid UUID")),
    }
}

/// Five groups of hex digits, of which the low ones count.
fn canonical_uuid(text: &str) -> Option<String> {
    // Nearly every one is canonical but for its case.
    if let Some(uuid) = lower_uuid(text, &mut [0; 36]) {
        return Some(uuid.to_owned());
    }
    if text.len() > 36 {
        return None;
    }
    let mut groups = text.split('-').map(|group| {
        let digits = group.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits { i64::from_str_radix(group, 16).ok() } else { None }
    });
    let mut next = || groups.next().flatten();
    let (a, b, c, d, e) = (next()?, next()?, next()?, next()?, next()?);
    if groups.next().is_some() {
        return None;
    }
    let (a, b, c, d) = (a & 0xFFFF_FFFF, b & 0xFFFF, c & 0xFFFF, d & 0xFFFF);
    Some(format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{:012x}", e & 0xFFFF_FFFF_FFFF))
}

fn refusal(field: &'static str, value: Option<String>, expectation: &'static str) -> FormatMessage {
    FormatMessage::Field { payload_field: field.into(), value, expectation: expectation.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_vendor_and_version_or_are_a_pixel() {
        let read = |path: &str| api(Some(path.into())).ok().map(|(vendor, version)| format!("{vendor} {version}"));
        for tp1 in ["/i", "/i?x", "/ice.png", "/ice.png/x/y", "com.snowplowanalytics.snowplow/tp1/"] {
            assert_eq!(read(tp1).as_deref(), Some("com.snowplowanalytics.snowplow tp1"), "{tp1}");
        }
        assert_eq!(read("/blah/i").as_deref(), Some("blah i"));
        for refused in ["", "/", "//", "i", "/a", "/a/", "/blah/i/x", "/a//b", "//a/b", "/a/b//"] {
            assert_eq!(read(refused), None, "{refused}");
        }
    }

    #[test]
    fn uuids_are_read_as_java_reads_them() {
        assert_eq!(canonical_uuid("1-1-1-1-1").as_deref(), Some("00000001-0001-0001-0001-000000000001"));
        let canonical = "6d7d6a5c-1e4b-4d0c-9d7e-2f4f5b8c9a10";
        assert_eq!(canonical_uuid(&canonical.to_uppercase()).as_deref(), Some(canonical));
        assert_eq!(canonical_uuid("123456789-1-1-1-1").as_deref(), Some("23456789-0001-0001-0001-000000000001"));
        for refused in
            ["", "1-1-1-1", "1-1-1-1-1-1", "1--1-1-1", "+1-1-1-1-1", "g-1-1-1-1", "1-1-1-1-fffffffffffffffff"]
        {
            assert_eq!(canonical_uuid(refused), None, "{refused}");
        }
    }
}
