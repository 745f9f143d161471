//! The client's address (3.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::head::Head;

/// What stands for an address that is not known, or not to be known.
pub(super) const UNKNOWN: &str = "unknown";

/// The first element of the first `X-Forwarded-For` line when the whole line is well formed, else the TCP peer.
///
/// Ours: `ip:port` and `[v6]:port`, which some proxies write, are well formed too.
pub(super) fn client_address(head: &Head<'_>) -> String {
    forwarded(head).unwrap_or_else(|| text(head.peer.to_canonical()))
}

fn forwarded(head: &Head<'_>) -> Option<String> {
    let line = std::str::from_utf8(head.first("X-Forwarded-For")?).ok()?;
    let mut first = None;
    for element in line.split(',') {
        let address = element_text(element.trim_matches([' ', '\t']))?;
        first.get_or_insert(address);
    }
    first
}

fn element_text(element: &str) -> Option<String> {
    if element == UNKNOWN {
        return Some(UNKNOWN.to_owned());
    }
    if let Ok(address) = element.parse::<IpAddr>() {
        return Some(text(address));
    }
    if let Some(rest) = element.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_ok = port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok();
        return address.parse::<Ipv6Addr>().ok().filter(|_| port_ok).map(|address| text(address.into()));
    }
    let (address, port) = element.split_once(':')?;
    let address = address.parse::<Ipv4Addr>().ok()?;
    port.parse::<u16>().ok().map(|_| text(address.into()))
}

/// IPv4 dotted; IPv6 condensed and in brackets.
fn text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::Header;
    use super::*;

    #[test]
    fn a_line_with_junk_is_not_trusted() {
        for (line, expected) in [
            ("198.51.100.7, 10.0.0.1", "198.51.100.7"),
            ("198.51.100.7:4711", "198.51.100.7"),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
            ("2001:db8:0:0:0:0:0:1", "[2001:db8::1]"),
            ("unknown, 10.0.0.1", "unknown"),
            ("198.51.100.7, _hidden", "203.0.113.9"),
            ("198.51.100.7,", "203.0.113.9"),
            ("\"198.51.100.7\"", "203.0.113.9"),
            ("", "203.0.113.9"),
        ] {
            let headers = [Header { name: "x-forwarded-for", value: line.as_bytes() }];
            let peer = "::ffff:203.0.113.9".parse().unwrap();
            let head = Head { method: "GET", target: b"/i", headers: &headers, peer };
            assert_eq!(client_address(&head), expected, "{line}");
        }
    }
}
