//! The `Origin` header: what CORS answers allow, and the hosts that choose a cookie domain (1.6, 2.3).

use super::head::Head;

/// One usable origin: its text, and its host.
pub(super) struct Origin<'a> {
    pub(super) text: &'a str,
    pub(super) host: &'a str,
}

/// The usable origins of a request: pieces of the first `Origin` header of the form `scheme://host[:port]`.
pub(super) fn origins<'a>(head: &Head<'a>) -> impl Iterator<Item = Origin<'a>> + use<'a> {
    let value = head.first("Origin").and_then(|value| std::str::from_utf8(value).ok()).unwrap_or("");
    value.split(' ').filter_map(parse)
}

/// `Access-Control-Allow-Origin`: the first usable origin, else `*`.
pub(super) fn allowed_origin<'a>(head: &Head<'a>) -> &'a str {
    origins(head).next().map_or("*", |origin| origin.text)
}

fn parse(text: &str) -> Option<Origin<'_>> {
    let (scheme, authority) = text.split_once("://")?;
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        let (host, rest) = authority.split_at(end);
        host[1..end - 1].parse::<std::net::Ipv6Addr>().ok()?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let host_ok = host.starts_with('[')
        || (!host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte)));
    let port_ok = port.is_none_or(|port| !port.is_empty() && port.parse::<u16>().is_ok());
    (scheme_ok && host_ok && port_ok).then_some(Origin { text, host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_origins_are_usable() {
        for text in ["https://a.example", "http://localhost:3000", "chrome-extension://abc", "http://[::1]:80"] {
            assert_eq!(parse(text).map(|origin| origin.text), Some(text));
        }
        for text in
            ["null", "file://", "https://a/b", "https://u@a", "https://a:", "https://a:x", "https://[x]", "://a", ""]
        {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
