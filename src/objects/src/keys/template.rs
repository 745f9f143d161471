//! Texts with placeholders in braces, read once and filled for each object (spec s3-loader 3.1, 3.2).

use super::java_time::DatePattern;
use crate::schema::Schema;
use jiff::civil::DateTime;
use std::fmt::Write as _;

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Vendor,
    Name,
    Format,
    Model,
    Date(DatePattern),
}

/// Why a template was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("placeholder {{{0}}} is unknown; known are yyyy MM dd HH mm ss vendor schema name format model")]
    Unknown(String),
    #[error("a brace stands alone")]
    LoneBrace,
}

impl Template {
    /// A text without placeholders.
    pub(super) fn text(text: &str) -> Self {
        Template(if text.is_empty() { Vec::new() } else { vec![Piece::Text(text.to_owned())] })
    }

    /// `partitionFormat` of line 2.x: the named placeholders without regard to case, then Java date patterns.
    pub(super) fn v2_partition(text: &str) -> Self {
        Template::lenient(text, |name| {
            let name = name.to_ascii_lowercase();
            schema_piece(&name).or_else(|| {
                let pattern = match name.as_str() {
                    // Two or more give always four digits.
                    years if years.len() >= 2 && years.bytes().all(|byte| byte == b'y') => "yyyy",
                    "mm" => "MM",
                    "dd" => "dd",
                    "hh" => "HH",
                    _ => return None,
                };
                DatePattern::parse(pattern).map(Piece::Date)
            })
        })
    }

    /// Path and prefix of line 2.x: only Java date patterns.
    pub(super) fn java_dates_only(text: &str) -> Self {
        Template::lenient(text, |_| None)
    }

    /// `partitionFormat` of line 3.x: exact names, anything else is refused.
    pub(super) fn v3(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        for part in parts(text) {
            pieces.push(match part {
                Part::Text(text) if text.contains(['{', '}']) => return Err(TemplateError::LoneBrace),
                Part::Text(text) => Piece::Text(text.to_owned()),
                Part::Braced(name @ ("yyyy" | "MM" | "dd" | "HH" | "mm" | "ss")) => {
                    DatePattern::parse(name).map(Piece::Date).ok_or_else(|| TemplateError::Unknown(name.to_owned()))?
                }
                Part::Braced(name) => schema_piece(name).ok_or_else(|| TemplateError::Unknown(name.to_owned()))?,
            });
        }
        Ok(Template(pieces))
    }

    fn lenient(text: &str, named: impl Fn(&str) -> Option<Piece>) -> Self {
        let pieces = parts(text).map(|part| match part {
            Part::Text(text) => Piece::Text(text.to_owned()),
            Part::Braced(name) => named(name)
                .or_else(|| DatePattern::parse(name).map(Piece::Date))
                .unwrap_or_else(|| Piece::Text(name.to_owned())),
        });
        Template(pieces.collect())
    }

    /// Whether nothing would be written.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a placeholder asks for the schema.
    pub(super) fn needs_schema(&self) -> bool {
        self.0.iter().any(|piece| !matches!(piece, Piece::Text(_) | Piece::Date(_)))
    }

    /// The finest unit of the date placeholders in milliseconds, at most a day.
    pub(super) fn time_unit_ms(&self) -> Option<i64> {
        let dates = self.0.iter().filter_map(|piece| match piece {
            Piece::Date(pattern) => Some(pattern.unit_ms()),
            _ => None,
        });
        dates.min()
    }

    /// Appends the filled text.
    pub(super) fn write(&self, schema: Option<&Schema>, moment: DateTime, out: &mut String) {
        for piece in &self.0 {
            match (piece, schema) {
                (Piece::Text(text), _) => out.push_str(text),
                (Piece::Date(pattern), _) => pattern.write(moment, out),
                (Piece::Vendor, Some(schema)) => push_part(&schema.vendor, out),
                (Piece::Name, Some(schema)) => push_part(&schema.name, out),
                (Piece::Format, Some(schema)) => push_part(&schema.format, out),
                (Piece::Model, Some(schema)) => {
                    write!(out, "{}", schema.model).expect("writing to a string cannot fail");
                }
                (Piece::Model, None) => out.push_str("-1"),
                (Piece::Vendor | Piece::Name | Piece::Format, None) => out.push_str("unknown"),
            }
        }
    }
}

/// A vendor may be all dots; as a segment of its own it would climb out of the folder.
fn push_part(part: &str, out: &mut String) {
    if part.bytes().all(|byte| byte == b'.') {
        out.extend(part.bytes().map(|_| '_'));
    } else {
        out.push_str(part);
    }
}

fn schema_piece(name: &str) -> Option<Piece> {
    Some(match name {
        "vendor" => Piece::Vendor,
        "name" | "schema" => Piece::Name,
        "format" => Piece::Format,
        "model" => Piece::Model,
        _ => return None,
    })
}

enum Part<'a> {
    Text(&'a str),
    /// What stands between braces.
    Braced(&'a str),
}

/// Splits a text at its pairs of braces; a brace without its partner stays in the text.
fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let pair = rest.find('}').and_then(|close| rest[..close].rfind('{').map(|open| (open, close)));
        match pair {
            Some((0, close)) => {
                let name = &rest[1..close];
                rest = &rest[close + 1..];
                Some(Part::Braced(name))
            }
            Some((open, _)) => {
                let (text, behind) = rest.split_at(open);
                rest = behind;
                Some(Part::Text(text))
            }
            None => Some(Part::Text(std::mem::take(&mut rest))),
        }
    })
}
