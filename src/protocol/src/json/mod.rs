//! JSON printing by the rules of enrich-core 4.2: no white space, member order kept, strings escape only what must be
//! (and U+007F to U+009F), numbers keep their text.

mod compact;
mod object;

use memchr::memchr2_iter;
use serde_json::Value;

use crate::scan::plain_run;

pub use compact::{MAX_DEPTH, compact};
pub(crate) use object::ObjectWriter;

/// Appends a text as a JSON string with its quotes.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    write_escaped(text, out);
    out.push('"');
}

/// Appends a text escaped for the inside of a JSON string.
pub fn write_escaped(text: &str, out: &mut String) {
    let bytes = text.as_bytes();
    let mut clean_from = 0;
    let mut index = 0;
    let mut escape = |at: usize, code: u8, width: usize, clean_from: &mut usize| {
        out.push_str(&text[*clean_from..at]);
        push_escape(code, out);
        *clean_from = at + width;
    };
    while index < bytes.len() {
        let (end, odd) = plain_run(bytes, index);
        if odd {
            // Among what is not ASCII there may be controls; 0xC2 leads U+0080 to U+00BF, of which the first half are.
            for at in memchr2_iter(0x7f, 0xc2, &bytes[index..end]).map(|offset| index + offset) {
                match bytes[at..] {
                    [0x7f, ..] => escape(at, 0x7f, 1, &mut clean_from),
                    [0xc2, code @ ..=0x9f, ..] => escape(at, code, 2, &mut clean_from),
                    _ => {}
                }
            }
        }
        if let Some(&code) = bytes.get(end) {
            escape(end, code, 1, &mut clean_from);
        }
        index = end + 1;
    }
    out.push_str(&text[clean_from..]);
}

fn push_escape(code: u8, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match code {
        b'"' => "\\\"",
        b'\\' => "\\\\",
        0x08 => "\\b",
        0x0c => "\\f",
        b'\n' => "\\n",
        b'\r' => "\\r",
        b'\t' => "\\t",
        _ => {
            out.push_str("\\u00");
            out.push(char::from(HEX[usize::from(code >> 4)]));
            out.push(char::from(HEX[usize::from(code & 15)]));
            return;
        }
    };
    out.push_str(short);
}

/// Appends a JSON string, or `null`.
pub fn write_optional_string(text: Option<&str>, out: &mut String) {
    match text {
        Some(text) => write_string(text, out),
        None => out.push_str("null"),
    }
}

/// Appends a value without white space, members in their order. Numbers print as `serde_json` keeps them, which is their
/// text but for exponents (it reads `1E3` as `1e+3`): what must keep every character goes through
/// [`document`](crate::document).
pub fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(number.as_str()),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, item)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(name, out);
                out.push(':');
                write_value(item, out);
            }
            out.push('}');
        }
    }
}

/// The value printed by [`write_value`].
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_escape_controls_and_nothing_else() {
        let mut out = String::new();
        write_string("a\"\\/\u{8}\u{c}\n\r\t\u{1}\u{7f}\u{80}\u{9f}\u{a0}é€😀", &mut out);
        assert_eq!(out, "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u007f\\u0080\\u009f\u{a0}é€😀\"");
    }

    #[test]
    fn values_keep_the_text_of_numbers_and_the_first_place_of_names() {
        let text = r#"{"a":1.50,"b":1000,"c":-0,"d":123456789012345678901234567890,"a":0.10}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(to_string(&value), r#"{"a":0.10,"b":1000,"c":-0,"d":123456789012345678901234567890}"#);
    }
}
