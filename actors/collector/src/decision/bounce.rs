//! Cookie bounce: the address a browser without the cookie is sent to once (2.7).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{form, route::Target};

/// What a re-encoded query keeps as it is: `A-Za-z0-9-_.~?/`.
const QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'?').remove(b'/');

/// The request's own address with `<name>=true` appended. Absolute only for an absolute-form target with a known `scheme`.
pub(super) fn location(target: &[u8], name: &str, scheme: Option<&[u8]>) -> String {
    let target = Target::parse(target);
    let mut location = String::with_capacity(target.path.len() + 64);
    let authority = target.authority.and_then(|authority| std::str::from_utf8(authority).ok());
    match (scheme, authority) {
        (Some(scheme @ (b"http" | b"https")), Some(authority)) if is_authority(authority) => {
            location.push_str(if scheme == b"https" { "https://" } else { "http://" });
            location.push_str(authority);
        }
        // `//host/` would lead to another host (RFC 3986, 4.2).
        _ if target.path.starts_with(b"//") => location.push_str("/."),
        _ => {}
    }
    for &byte in target.path {
        // Browsers take `\` for `/`; what is no path character is encoded.
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte) {
            location.push(char::from(byte));
        } else {
            location.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
    let query = target.query.map(super::route::raw_text).unwrap_or_default();
    let mut separator = '?';
    for (found, value) in form::pairs(&query) {
        let found = form::decode(found);
        if found == name {
            continue;
        }
        location.push(separator);
        location.extend(utf8_percent_encode(&found, QUERY));
        if let Some(value) = value {
            location.push('=');
            location.extend(utf8_percent_encode(&form::decode(value), QUERY));
        }
        separator = '&';
    }
    location.push(separator);
    location.extend(utf8_percent_encode(name, QUERY));
    location.push_str("=true");
    location
}

fn is_authority(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_is_appended_once() {
        assert_eq!(location(b"/i?e=pv&u=a%20b", "n3pc", None), "/i?e=pv&u=a%20b&n3pc=true");
        assert_eq!(location(b"/i?n3pc=false;a&b=", "n3pc", None), "/i?a&b=&n3pc=true");
        assert_eq!(location(b"/i", "n3pc", Some(b"https")), "/i?n3pc=true");
        assert_eq!(location(b"http://c.example/i", "n3pc", Some(b"https")), "https://c.example/i?n3pc=true");
    }

    #[test]
    fn it_never_leads_to_another_host() {
        assert_eq!(location(b"//evil.example", "n", None), "/.//evil.example?n=true");
        assert_eq!(location(b"/\\evil.example/x", "n", None), "/%5Cevil.example/x?n=true");
    }
}
