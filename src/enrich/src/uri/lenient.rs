//! The second try for addresses that are no legal URI: split, decode and encode each part again (enrich-core 3.5).

/// A text whose parts are encoded as the strict grammar wants them. What is not a part (authority, scheme) stays.
pub(super) fn reencode(text: &str) -> String {
    let (rest, fragment) = split(text, '#');
    let (rest, query) = split(rest, '?');
    let (scheme, rest) = split_scheme(rest);
    let mut out = String::with_capacity(text.len() * 2);
    out.push_str(scheme);
    let path = match rest.strip_prefix("//") {
        Some(after) => {
            let end = after.find('/').unwrap_or(after.len());
            out.push_str("//");
            out.push_str(&after[..end]);
            &after[end..]
        }
        None => rest,
    };
    for (nth, part) in path.split('/').enumerate() {
        if nth > 0 {
            out.push('/');
        }
        recode(part, &mut out);
    }
    if let Some(query) = query {
        out.push('?');
        for (nth, piece) in query.split('&').enumerate() {
            if nth > 0 {
                out.push('&');
            }
            let (name, value) = split(piece, '=');
            recode(name, &mut out);
            if let Some(value) = value {
                out.push('=');
                recode(value, &mut out);
            }
        }
    }
    if let Some(fragment) = fragment {
        out.push('#');
        recode(fragment, &mut out);
    }
    out
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// The scheme with its colon, and the rest.
fn split_scheme(text: &str) -> (&str, &str) {
    let Some(colon) = text.find(':') else { return ("", text) };
    let scheme = &text.as_bytes()[..colon];
    let legal = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    if legal { text.split_at(colon + 1) } else { ("", text) }
}

/// Decodes valid escapes as UTF-8 and encodes every byte that is not plainly legal.
fn recode(part: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(part).collect();
    for byte in String::from_utf8_lossy(&decoded).bytes() {
        let printable = (0x21..0x7F).contains(&byte);
        if printable && !b":/?#[]@!$&'()*,;=%<>{}^|\\\"`".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}
