//! The client's address from `X-Forwarded-For` and `Forwarded` headers (enrich-core 1.4).

use std::borrow::Cow;

/// The first usable `X-Forwarded-For`, else a `Forwarded: for=` behind which no other header came.
pub(super) fn forwarded(headers: &[Cow<'_, str>]) -> Option<String> {
    let mut remembered = None;
    for header in headers {
        if let Some(value) = after_prefix(header, "x-forwarded-for: ") {
            if let Some(address) = address_in(value) {
                return Some(address);
            }
            remembered = None;
        } else {
            remembered = after_prefix(header, "forwarded: for=").and_then(address_in);
        }
    }
    remembered
}

fn after_prefix<'h>(header: &'h str, prefix: &str) -> Option<&'h str> {
    let start = header.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &header[prefix.len()..])
}

/// An address at the start of the text, perhaps quoted or in brackets; in lower case.
fn address_in(text: &str) -> Option<String> {
    let text = text.strip_prefix('"').unwrap_or(text);
    let text = text.strip_prefix('[').unwrap_or(text);
    let length = match dotted_quad(text.as_bytes()) {
        0 => tokens(text.as_bytes()),
        length => length,
    };
    (length > 0).then(|| text[..length].to_ascii_lowercase())
}

/// Length of four groups of one to three digits joined by dots at the start; 0 without. No range is checked.
fn dotted_quad(bytes: &[u8]) -> usize {
    let mut at = 0;
    for group in 0..4 {
        if group > 0 {
            if bytes.get(at) != Some(&b'.') {
                return 0;
            }
            at += 1;
        }
        let digits = bytes[at..].iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return 0;
        }
        at += digits;
    }
    at
}

/// Length of up to 15 tokens at the start: dots, colons and whole words of one to four hex digits.
fn tokens(bytes: &[u8]) -> usize {
    let mut at = 0;
    for _ in 0..15 {
        match bytes.get(at) {
            Some(b'.' | b':') => at += 1,
            Some(byte) if byte.is_ascii_hexdigit() => {
                let word = bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                if word > 4 || !bytes[at..at + word].iter().all(u8::is_ascii_hexdigit) {
                    break;
                }
                at += word;
            }
            _ => break,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[&str]) -> Option<String> {
        let headers: Vec<Cow<'_, str>> = headers.iter().map(|&header| header.into()).collect();
        forwarded(&headers)
    }

    #[test]
    fn addresses_of_all_shapes_are_found() {
        let cases = [
            ("203.0.113.7:9000", Some("203.0.113.7")),
            ("[2001:DB8::17]:443", Some("2001:db8::17")),
            ("\"[2001:db8::1]\"", Some("2001:db8::1")),
            ("unknown, 203.0.113.7", None),
            ("999.999.999.999", Some("999.999.999.999")),
            ("1.2.3", Some("1.2.3")),
            ("1.2.3.4567", Some("1.2.3.456")),
            ("1:2:3:4:5:6:7:8:9", Some("1:2:3:4:5:6:7:8")),
            ("deadbeef", None),
            ("bee_f", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(found(&[&format!("X-Forwarded-For: {value}")]).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn forwarded_counts_only_when_no_other_header_follows() {
        assert_eq!(found(&["Forwarded: for=1.2.3.4", "Host: x"]), None);
        assert_eq!(found(&["Host: x", "forwarded: FOR=1.2.3.4"]).as_deref(), Some("1.2.3.4"));
        assert_eq!(found(&["X-Forwarded-For:1.2.3.4"]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(header in ".{0,40}", value in "[\"\\[0-9a-g.:_é]{0,30}") {
            let _any = found(&[&header, &format!("X-Forwarded-For: {value}")]);
        }
    }
}
