//! Values as the original's Java reads them: UUIDs, instants, doubles (spec postgres-loader, sections 3.1 and 6).

use std::borrow::Cow;

/// Appends the UUID that Java's `UUID.fromString` makes of the text: five groups of hex digits, short ones padded, long
/// ones cut to their last digits, lower case. `None` for anything else.
pub(crate) fn write_uuid(text: &str, out: &mut Vec<u8>) -> Option<()> {
    const WIDTHS: [usize; 5] = [8, 4, 4, 4, 12];
    let at = out.len();
    let mut groups = text.split('-');
    for (index, width) in WIDTHS.into_iter().enumerate() {
        let Some(group) = groups.next().filter(|group| is_hex_group(group)) else {
            out.truncate(at);
            return None;
        };
        if index > 0 {
            out.push(b'-');
        }
        let digits = group.as_bytes();
        let kept = &digits[digits.len().saturating_sub(width)..];
        out.extend(std::iter::repeat_n(b'0', width - kept.len()));
        out.extend(kept.iter().map(u8::to_ascii_lowercase));
    }
    if groups.next().is_some() {
        out.truncate(at);
        return None;
    }
    Some(())
}

/// At least one hex digit and no more than fit a Java long.
fn is_hex_group(group: &str) -> bool {
    let significant = group.trim_start_matches('0').len();
    !group.is_empty() && significant <= 15 && group.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether the text is `yyyy-MM-ddTHH:mm:ss` with up to nine fraction digits, `T` or a space between the halves, and a
/// date of the calendar. The error is the place from which it is not.
pub(crate) fn check_timestamp(text: &str) -> Result<(), usize> {
    let end = date_time(text.as_bytes(), b" T")?;
    if end == text.len() { Ok(()) } else { Err(end) }
}

/// An ISO instant as PostgreSQL's TIMESTAMP (UTC) takes it. `Z` is read as it stands; other offsets, which the original
/// refuses, are converted. The error is the text of the original.
pub(crate) fn instant(text: &str) -> Result<Cow<'_, str>, String> {
    let refuse = |at: usize| format!("Text '{text}' could not be parsed at index {at}");
    let end = date_time(text.as_bytes(), b"T").map_err(refuse)?;
    match &text[end..] {
        "Z" => Ok(Cow::Borrowed(&text[..end])),
        _ => {
            let timestamp: jiff::Timestamp = text.parse().map_err(|_| refuse(end))?;
            Ok(Cow::Owned(timestamp.to_string()))
        }
    }
}

/// Whether the text is `yyyy-MM-dd` and a day of the calendar.
pub(crate) fn is_date(text: &str) -> bool {
    date(text.as_bytes()) == Ok(10) && text.len() == 10
}

/// Where the date ends, or where it breaks off.
fn date(bytes: &[u8]) -> Result<usize, usize> {
    let year = digits(bytes, 0, 4)?;
    expect(bytes, 4, b"-")?;
    let month = digits(bytes, 5, 2)?;
    expect(bytes, 7, b"-")?;
    let day = digits(bytes, 8, 2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(0),
    };
    // PostgreSQL knows no year 0.
    if (1..=days).contains(&day) && year > 0 { Ok(10) } else { Err(0) }
}

fn date_time(bytes: &[u8], between: &[u8]) -> Result<usize, usize> {
    date(bytes)?;
    expect(bytes, 10, between)?;
    let hour = digits(bytes, 11, 2)?;
    expect(bytes, 13, b":")?;
    let minute = digits(bytes, 14, 2)?;
    expect(bytes, 16, b":")?;
    let second = digits(bytes, 17, 2)?;
    let fraction = match bytes.get(19) {
        Some(b'.') => {
            let count = bytes[20..].iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
            if count == 0 {
                return Err(20);
            }
            count + 1
        }
        _ => 0,
    };
    if hour < 24 && minute < 60 && second < 60 { Ok(19 + fraction) } else { Err(0) }
}

fn digits(bytes: &[u8], from: usize, count: usize) -> Result<u32, usize> {
    let mut value = 0;
    for at in from..from + count {
        match bytes.get(at) {
            Some(byte) if byte.is_ascii_digit() => value = value * 10 + u32::from(byte - b'0'),
            _ => return Err(from),
        }
    }
    Ok(value)
}

fn expect(bytes: &[u8], at: usize, one_of: &[u8]) -> Result<(), usize> {
    match bytes.get(at) {
        Some(byte) if one_of.contains(byte) => Ok(()),
        _ => Err(at),
    }
}

/// The value of Java's `Double.parseDouble`, without hexadecimal ones: white space around and a type suffix are allowed,
/// `NaN` and `Infinity` have a sign or none.
pub(crate) fn double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        _ => {}
    }
    // Rust also reads "inf" and "nan".
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(text: &str) -> Option<String> {
        let mut out = Vec::new();
        write_uuid(text, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn uuids_are_padded_and_lowered_as_java_does() {
        assert_eq!(uuid("1-2-3-4-5").unwrap(), "00000001-0002-0003-0004-000000000005");
        assert_eq!(uuid("3F1C2B7E-6A4D-4C7E-9B1F-0D2E8A5C6B71").unwrap(), "3f1c2b7e-6a4d-4c7e-9b1f-0d2e8a5c6b71");
        for bad in ["", "nope", "1-2-3-4", "1-2-3-4-5-6", "1-2-3--5", "g-2-3-4-5", "1-2-3-4-é"] {
            assert_eq!(uuid(bad), None, "{bad}");
        }
    }

    #[test]
    fn timestamps_are_calendar_dates_with_up_to_nine_digits() {
        for good in ["2024-03-05 10:15:30", "2024-02-29T00:00:00.1", "2024-12-31 23:59:59.123456789"] {
            assert_eq!(check_timestamp(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "2024-03-05",
            "2023-02-29 00:00:00",
            "2024-13-01 00:00:00",
            "2024-03-05 24:00:00",
            "2024-03-05 10:15:30.",
        ] {
            assert!(check_timestamp(bad).is_err(), "{bad}");
        }
        assert!(check_timestamp("2024-03-05 10:15:30.1234567890").is_err());
    }

    #[test]
    fn instants_say_where_they_break_off() {
        assert_eq!(instant("2024-03-05T10:15:30.25Z").unwrap(), "2024-03-05T10:15:30.25");
        assert_eq!(instant("2024-03-05T10:15:30+01:00").unwrap(), "2024-03-05T09:15:30Z");
        assert_eq!(instant("yesterday").unwrap_err(), "Text 'yesterday' could not be parsed at index 0");
        assert!(instant("2024-03-05 10:15:30").unwrap_err().ends_with("index 10"));
        assert!(instant("2024-03-05T10:15:30").unwrap_err().ends_with("index 19"));
    }

    #[test]
    fn doubles_have_java_syntax() {
        assert_eq!(double("1e3"), Some(1000.0));
        assert_eq!(double(" 10.50 "), Some(10.5));
        assert_eq!(double("1d"), Some(1.0));
        assert!(double("NaN").is_some_and(f64::is_nan));
        assert_eq!(double("-Infinity"), Some(f64::NEG_INFINITY));
        for bad in ["", "inf", "nan", "x", "1,5"] {
            assert_eq!(double(bad), None, "{bad}");
        }
    }
}
