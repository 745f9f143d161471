//! The client's address (3.3).

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::head::Head;

/// What stands for an address that is not known, or not to be known.
pub(super) const UNKNOWN: &str = "unknown";

/// The address in the header that is chosen for it, as `X-Forwarded-For` has it; none when it has none.
pub(super) fn chosen_address<'a>(head: &Head<'a>, header: &str) -> Option<Cow<'a, str>> {
    listed(head, header).filter(|address| address != UNKNOWN)
}

/// The first element of the first `X-Forwarded-For` line when the whole line is well formed, else the TCP peer.
///
/// Ours: `ip:port` and `[v6]:port`, which some proxies write, are well formed too.
pub(super) fn client_address<'a>(head: &Head<'a>) -> Cow<'a, str> {
    listed(head, "X-Forwarded-For").unwrap_or_else(|| Cow::Owned(text(head.peer.to_canonical())))
}

fn listed<'a>(head: &Head<'a>, header: &str) -> Option<Cow<'a, str>> {
    let line = std::str::from_utf8(head.first(header)?).ok()?;
    let mut first = None;
    for element in line.split(',') {
        let address = element_text(element.trim_matches([' ', '\t']))?;
        first.get_or_insert(address);
    }
    first
}

fn element_text(element: &str) -> Option<Cow<'_, str>> {
    // What is read as IPv4 is written as it is read: no leading zeros, no short forms.
    if element == UNKNOWN || element.parse::<Ipv4Addr>().is_ok() {
        return Some(Cow::Borrowed(element));
    }
    if let Ok(address) = element.parse::<Ipv6Addr>() {
        return Some(Cow::Owned(text(address.into())));
    }
    if let Some(rest) = element.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_ok = port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok();
        return address.parse::<Ipv6Addr>().ok().filter(|_| port_ok).map(|address| Cow::Owned(text(address.into())));
    }
    let (address, port) = element.split_once(':')?;
    let known = address.parse::<Ipv4Addr>().is_ok() && port.parse::<u16>().is_ok();
    known.then_some(Cow::Borrowed(address))
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
