//! JSON values to column values (spec postgres-loader, section 6).

use std::borrow::Cow;

use snowmelt_iglu::ddl::ColumnType;
use snowmelt_protocol::document::{Kind, Node};

use crate::copy::CopyText;
use crate::java;

/// What becomes of a text that is longer than its VARCHAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LongText {
    /// The database refuses the row, as with the original: an event is not loaded with less than it says.
    Refused,
    /// It is cut: bad rows are there to be looked at, and hold whatever was too long for somebody.
    Cut,
}

/// Adds the value of a column to a row, or says in the original's words why it does not fit. `column_type` is what the
/// table really has; `None` is a type that no schema gives, which gets the text of the value.
pub(crate) fn cast(
    value: Node<'_>,
    column_type: Option<ColumnType>,
    long_text: LongText,
    row: &mut CopyText,
) -> Result<(), String> {
    let Some(column_type) = column_type else {
        row.text(&text_or_json(value));
        return Ok(());
    };
    let mismatch = || Err(format!("Invalid type {column_type} for value Some({})", pretty(value)));
    match column_type {
        ColumnType::Varchar(length) if long_text == LongText::Cut => row.text(head(&text_or_json(value), length)),
        ColumnType::Varchar(_) | ColumnType::Text => row.text(&text_or_json(value)),
        ColumnType::Jsonb => row.text(&value.to_compact()),
        ColumnType::Char(length) => match value.as_str() {
            Some(text) if text.encode_utf16().count() == length as usize => row.text(&text),
            _ => return mismatch(),
        },
        ColumnType::Integer => match integer(value).map(i32::try_from) {
            Some(Ok(number)) => write_integer(value, i64::from(number), row),
            _ => return mismatch(),
        },
        ColumnType::BigInt => match integer(value) {
            Some(number) => write_integer(value, number, row),
            None => return mismatch(),
        },
        ColumnType::Double => match double(value) {
            Some(number) => row.plain(&number),
            None => return mismatch(),
        },
        ColumnType::Boolean => match value.as_bool() {
            Some(flag) => row.plain(if flag { "t" } else { "f" }),
            None => return mismatch(),
        },
        ColumnType::Uuid => match value.as_str() {
            Some(text) if row.with(|out| java::write_uuid(&text, out)).is_some() => {}
            _ => return mismatch(),
        },
        ColumnType::Timestamp => match value.as_str() {
            Some(text) => row.plain(&java::instant(&text)?),
            None => return mismatch(),
        },
        // The original refuses every value here, which is a fault of it.
        ColumnType::Date => match value.as_str() {
            Some(text) if java::is_date(&text) => row.plain(&text),
            _ => return mismatch(),
        },
    }
    Ok(())
}

fn text_or_json(value: Node<'_>) -> Cow<'_, str> {
    value.as_str().unwrap_or_else(|| Cow::Owned(value.to_compact()))
}

/// The first `length` characters.
fn head(text: &str, length: u32) -> &str {
    let length = length as usize;
    match text.char_indices().nth(length) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// A number without fraction within 64 bits; 7.0 and 1e2 are such numbers.
fn integer(value: Node<'_>) -> Option<i64> {
    /// Up to here every whole float is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.kind() != Kind::Number {
        return None;
    }
    if value.is_written_as_integer() {
        return value.source().parse().ok();
    }
    let number: f64 = value.source().parse().ok()?;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

fn write_integer(value: Node<'_>, number: i64, row: &mut CopyText) {
    if value.is_written_as_integer() { row.plain(value.source()) } else { row.plain(&number.to_string()) }
}

/// A number as PostgreSQL reads it into DOUBLE PRECISION: as it is written, except where the server would complain of
/// a loss that Java does not mind.
fn double<'a>(value: Node<'a>) -> Option<Cow<'a, str>> {
    /// Neither exponent nor digits of such a short number leave the range of a float.
    const SHORT: usize = 17;
    if value.kind() != Kind::Number {
        return None;
    }
    let source = value.source();
    if source.len() <= SHORT && !source.contains(['e', 'E']) {
        return Some(Cow::Borrowed(source));
    }
    source.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| Cow::Owned(format!("{number:e}")))
}

/// The value as the original prints it into messages: two spaces a level, spaces around the colon.
fn pretty(value: Node<'_>) -> String {
    let mut out = String::new();
    write_pretty(value, 0, &mut out);
    out
}

fn write_pretty(value: Node<'_>, depth: usize, out: &mut String) {
    let indent = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    let (open, close) = match value.kind() {
        Kind::Object => ('{', '}'),
        Kind::Array => ('[', ']'),
        _ => return value.write_compact(out),
    };
    out.push(open);
    indent(out, depth + 1);
    for (at, (name, member)) in value.members().enumerate() {
        if at > 0 {
            out.push(',');
            indent(out, depth + 1);
        }
        snowmelt_protocol::json::write_string(&name, out);
        out.push_str(" : ");
        write_pretty(member, depth + 1, out);
    }
    for (at, element) in value.elements().enumerate() {
        if at > 0 {
            out.push(',');
            indent(out, depth + 1);
        }
        write_pretty(element, depth + 1, out);
    }
    indent(out, depth);
    out.push(close);
}

#[cfg(test)]
mod tests {
    use snowmelt_protocol::document::Document;

    use super::*;

    fn cast_text(json: &str, column_type: ColumnType) -> Result<String, String> {
        let mut document = Document::new();
        let mut row = CopyText::default();
        row.begin_row();
        cast(document.parse(json, 64).unwrap(), Some(column_type), LongText::Refused, &mut row)?;
        Ok(String::from_utf8(row.bytes().to_vec()).unwrap())
    }

    #[test]
    fn numbers_keep_their_value() {
        assert_eq!(cast_text("7.0", ColumnType::Integer).unwrap(), "7");
        assert_eq!(cast_text("1e2", ColumnType::BigInt).unwrap(), "100");
        assert_eq!(cast_text("9223372036854775807", ColumnType::BigInt).unwrap(), "9223372036854775807");
        assert!(cast_text("9223372036854775808", ColumnType::BigInt).is_err());
        assert!(cast_text("7.5", ColumnType::Integer).is_err());
        assert_eq!(cast_text("10.50", ColumnType::Double).unwrap(), "10.50");
        assert_eq!(cast_text("1e-400", ColumnType::Double).unwrap(), "0e0");
        assert!(cast_text("1e400", ColumnType::Double).is_err());
    }

    #[test]
    fn dates_and_offsets_are_stored() {
        assert_eq!(cast_text("\"2024-03-05\"", ColumnType::Date).unwrap(), "2024-03-05");
        assert_eq!(cast_text("\"2024-03-05T10:15:30+01:00\"", ColumnType::Timestamp).unwrap(), "2024-03-05T09:15:30Z");
    }

    #[test]
    fn mismatches_show_the_value_indented() {
        assert_eq!(
            cast_text(r#"{"a":[1,"x"]}"#, ColumnType::Boolean).unwrap_err(),
            "Invalid type BOOLEAN for value Some({\n  \"a\" : [\n    1,\n    \"x\"\n  ]\n})"
        );
        assert_eq!(cast_text("\"nope\"", ColumnType::Uuid).unwrap_err(), "Invalid type UUID for value Some(\"nope\")");
    }
}
