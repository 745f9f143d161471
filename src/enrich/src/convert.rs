//! From a parameter's text to a column's (enrich-core 3.2).

use std::borrow::Cow;

use snowmelt_protocol::event::{Column, EnrichedEvent};
use snowmelt_protocol::scan::has_control;
use snowmelt_protocol::time;

use crate::decimal;
use crate::fields::{Conversion, Field};

/// Why a parameter was not taken over: the message of its report.
pub(crate) type Refusal = Cow<'static, str>;

/// Converts `text` into the column of `field`. On refusal the column keeps what it had.
pub(crate) fn apply(event: &mut EnrichedEvent, field: &Field, text: &str) -> Result<(), Refusal> {
    let column = field.column;
    match field.conversion {
        Conversion::Safe => set_safe(event, column, text),
        Conversion::Ip => set_ip(event, text),
        Conversion::Event => event.set(column, event_type(text)?),
        Conversion::Platform => {
            if !PLATFORMS.contains(&text) {
                return Err("Not a valid platform".into());
            }
            event.set(column, text);
        }
        Conversion::Int => {
            if let Some(value) = int(text)? {
                event.set_int(column, i64::from(value));
            }
        }
        Conversion::Decimal => set_decimal(event, column, text)?,
        Conversion::Flag => match text {
            "1" | "0" => event.set(column, text),
            _ => return Err("Cannot be converted to Boolean-like java.lang.Byte".into()),
        },
        Conversion::Uuid => {
            let mut buffer = [0; 36];
            let uuid = lower_uuid(text, &mut buffer).ok_or("Not a valid UUID")?;
            event.set(column, uuid);
        }
        Conversion::Timestamp => set_timestamp(event, column, text)?,
        Conversion::Dimensions(second) => {
            let (width, height) = dimensions(text)?;
            event.set_int(column, i64::from(width));
            event.set_int(second, i64::from(height));
        }
        // Kept for validation, which reads them from the parameters.
        Conversion::Text | Conversion::Base64 => {}
    }
    Ok(())
}

const PLATFORMS: [&str; 9] = ["web", "iot", "app", "mob", "pc", "cnsl", "tv", "srv", "headset"];

fn event_type(text: &str) -> Result<&'static str, Refusal> {
    match text {
        "se" | "ev" => Ok("struct"),
        "ue" => Ok("unstruct"),
        "ad" => Ok("ad_impression"),
        "tr" => Ok("transaction"),
        "ti" => Ok("transaction_item"),
        "pv" => Ok("page_view"),
        "pp" => Ok("page_ping"),
        _ => Err("Not a valid event type".into()),
    }
}

/// Tabs become four spaces, other ASCII controls vanish; a column without text is unset.
pub(crate) fn set_safe(event: &mut EnrichedEvent, column: Column, text: &str) {
    if has_control(text.as_bytes()) {
        set_if_not_empty(event, column, &safe(text));
    } else {
        set_if_not_empty(event, column, text);
    }
}

fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\t' => out.push_str("    "),
            _ if character.is_ascii_control() => {}
            _ => out.push(character),
        }
    }
    out
}

/// Sets a column, or unsets it for the empty text.
pub(crate) fn set_if_not_empty(event: &mut EnrichedEvent, column: Column, text: &str) {
    event.set_or_unset(column, Some(text).filter(|text| !text.is_empty()));
}

/// The first address of a list.
pub(crate) fn set_ip(event: &mut EnrichedEvent, text: &str) {
    let end = memchr::memchr3(b',', b'|', b' ', text.as_bytes()).unwrap_or(text.len());
    set_safe(event, Column::UserIpaddress, &text[..end]);
}

/// What the request or its collector gives, such as the User-Agent header: line breaks vanish, tabs become spaces, all
/// else stays.
pub(crate) fn set_line(event: &mut EnrichedEvent, column: Column, text: &str) {
    if has_control(text.as_bytes()) {
        let text = text.replace(['\r', '\n'], "").replace('\t', "    ");
        event.set(column, &text);
    } else {
        event.set(column, text);
    }
}

/// `None` for the text `null`.
fn int(text: &str) -> Result<Option<i32>, Refusal> {
    if text.eq_ignore_ascii_case("null") {
        return Ok(None);
    }
    // Rust's grammar is the wanted one: an optional sign and decimal digits.
    text.parse().map(Some).map_err(|_| "Cannot be converted to java.lang.Integer".into())
}

fn set_decimal(event: &mut EnrichedEvent, column: Column, text: &str) -> Result<(), Refusal> {
    if text.eq_ignore_ascii_case("null") {
        return Ok(());
    }
    let mut printed = String::with_capacity(text.len());
    decimal::write(text, &mut printed)
        .map_err(|detail| Refusal::Owned(format!("Cannot be converted to java.math.BigDecimal. Error : {detail}")))?;
    event.set(column, &printed);
    Ok(())
}

/// Lower-cases a UUID of exactly the form 8-4-4-4-12 into `buffer`.
pub(crate) fn lower_uuid<'b>(text: &str, buffer: &'b mut [u8; 36]) -> Option<&'b str> {
    let bytes: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let dashes = [8, 13, 18, 23].iter().all(|&at| bytes[at] == b'-');
    // Without a branch per byte the compiler makes vector code of it. Dashes are no digits: 32 of 36 are left.
    let is_hex = |b: u8| u8::from(b.wrapping_sub(b'0') < 10) | u8::from((b | 0x20).wrapping_sub(b'a') < 6);
    if !dashes || bytes.iter().map(|&byte| is_hex(byte)).sum::<u8>() != 32 {
        return None;
    }
    *buffer = bytes.map(|byte| byte.to_ascii_lowercase());
    std::str::from_utf8(buffer).ok()
}

/// Milliseconds since the epoch, printed as a date within the years 0 to 9999.
pub(crate) fn set_timestamp(event: &mut EnrichedEvent, column: Column, text: &str) -> Result<(), Refusal> {
    let millis: i64 = text.parse().map_err(|_| "Not in the expected format: ms since epoch")?;
    if is_storable(millis) {
        event.set_millis(column, millis);
        return Ok(());
    }
    let mut formatted = String::new();
    time::write_tsv(millis, &mut formatted);
    Err(format!("Formatting as {formatted} is not Redshift-compatible").into())
}

/// Whether a time prints with a year of four digits.
pub(crate) fn is_storable(millis: i64) -> bool {
    time::is_four_digit_year(millis)
}

fn dimensions(text: &str) -> Result<(i32, i32), Refusal> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('x') {
        Some((width, height)) if digits(width) && digits(height) => match (width.parse(), height.parse()) {
            (Ok(width), Ok(height)) => Ok((width, height)),
            _ => Err("Could not be converted to java.lang.Integer s".into()),
        },
        _ => Err(r"Does not conform to regex (\d+)x(\d+)".into()),
    }
}
