//! Base64 as trackers send it: either alphabet, with or without padding, with whatever else in between.

use std::borrow::Cow;

use snowmelt_protocol::payload::decode_text;

/// Decodes as leniently as the original: both alphabets mixed, any other character skipped, padding ends the text, an
/// incomplete last group is ignored. What is not UTF-8 is replaced. `bytes` is emptied first and keeps its memory.
pub(crate) fn decode<'b>(text: &str, bytes: &'b mut Vec<u8>) -> Cow<'b, str> {
    bytes.clear();
    decode_bytes(text.as_bytes(), bytes);
    decode_text(bytes)
}

fn decode_bytes(text: &[u8], out: &mut Vec<u8>) {
    let unpadded = match memchr::memchr(b'=', text) {
        Some(at) => &text[..at],
        None => text,
    };
    let strict = |codec: &base64_simd::Base64, out: &mut Vec<u8>| {
        out.clear();
        unpadded.len() % 4 != 1 && codec.decode_append(unpadded, out).is_ok()
    };
    // Nearly every text is purely of one alphabet.
    if !strict(&base64_simd::URL_SAFE_NO_PAD, out) && !strict(&base64_simd::STANDARD_NO_PAD, out) {
        decode_leniently(unpadded, out);
    }
}

fn decode_leniently(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut group = 0u32;
    let mut count = 0;
    for sextet in text.iter().filter_map(|&byte| sextet(byte)) {
        group = group << 6 | u32::from(sextet);
        count += 1;
        if count == 4 {
            out.extend_from_slice(&group.to_be_bytes()[1..]);
            (group, count) = (0, 0);
        }
    }
    match count {
        2 => out.push((group >> 4) as u8),
        3 => out.extend_from_slice(&((group >> 2) as u16).to_be_bytes()),
        _ => {}
    }
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// URL-safe, unpadded, with a line break after every 76 characters and none at the end.
pub(crate) fn encode_mime(text: &str) -> String {
    let encoded = base64_simd::URL_SAFE_NO_PAD.encode_to_string(text);
    let mut out = String::with_capacity(encoded.len() + encoded.len() / 38);
    for (at, character) in encoded.chars().enumerate() {
        if at > 0 && at % 76 == 0 {
            out.push_str("\r\n");
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> String {
        super::decode(text, &mut b"before".to_vec()).into_owned()
    }

    #[test]
    fn both_alphabets_padding_and_rubbish_are_taken() {
        assert_eq!(decode("eyJhIjoi4oKsPyJ9"), "{\"a\":\"€?\"}");
        assert_eq!(decode("fn5-fn5_"), "~~~~~\u{7f}");
        assert_eq!(decode("fn5+fn5_"), "~~~~~\u{7f}");
        assert_eq!(decode("YQ=="), "a");
        assert_eq!(decode("YWI"), "ab");
        assert_eq!(decode("YWJjZ"), "abc");
        assert_eq!(decode("Y W\r\nJ!j"), "abc");
        assert_eq!(decode("YQ==YQ=="), "a");
        assert_eq!(decode("_w"), "\u{fffd}");
        assert_eq!(decode(""), "");
    }

    #[test]
    fn encoded_lines_are_76_characters_long() {
        let text = "x".repeat(120);
        let encoded = encode_mime(&text);
        assert_eq!(encoded.split("\r\n").map(str::len).collect::<Vec<_>>(), [76, 76, 8]);
        assert_eq!(decode(&encoded), text);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_the_fast_ways_agree_with_the_lenient_one(text in "[A-Za-z0-9+/=_ -]{0,30}") {
            let mut slow = Vec::new();
            let unpadded = text.split('=').next().unwrap_or_default();
            decode_leniently(unpadded.as_bytes(), &mut slow);
            proptest::prop_assert_eq!(decode(&text), String::from_utf8_lossy(&slow));
        }
    }
}
