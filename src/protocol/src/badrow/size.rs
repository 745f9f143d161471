//! Keeping what is written below the limit of its stream (enrich-core 6.4.2).

use crate::badrow::{Processor, SizeViolation};

/// The first `units` UTF-16 code units of a text. A character of two units that would be cut in the middle is left out.
pub fn head(text: &str, units: usize) -> &str {
    let mut left = units;
    for (index, character) in text.char_indices() {
        match left.checked_sub(character.len_utf16()) {
            Some(rest) => left = rest,
            None => return &text[..index],
        }
    }
    text
}

/// Replaces `line`, an enriched event or a bad row, by a size violation when it is longer than `limit` bytes: with its
/// true size in bytes and a tenth of the limit of its text. Tells whether it did.
pub fn trim_to_size(
    line: &mut String,
    limit: usize,
    expectation: &str,
    processor: &Processor,
    timestamp_micros: i64,
) -> bool {
    if line.len() <= limit {
        return false;
    }
    let mut violation = String::new();
    SizeViolation {
        processor,
        timestamp_micros,
        maximum_allowed_size_bytes: limit as u64,
        actual_size_bytes: line.len() as u64,
        expectation,
        payload: head(line, limit / 10),
    }
    .write(&mut violation);
    *line = violation;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_counts_utf16_units_and_cuts_no_character() {
        assert_eq!(head("abc", 2), "ab");
        assert_eq!(head("abc", 5), "abc");
        assert_eq!(head("a😀b", 2), "a");
        assert_eq!(head("a😀b", 3), "a😀");
        assert_eq!(head("éé", 1), "é");
    }

    #[test]
    fn a_line_at_the_limit_stays_and_one_byte_more_does_not() {
        let processor = Processor::new("snowmelt-enrich", "0.1.0");
        let mut line = "x".repeat(100);
        assert!(!trim_to_size(&mut line, 100, "too long", &processor, 0));
        assert_eq!(line.len(), 100);
        line.push('x');
        assert!(trim_to_size(&mut line, 100, "too long", &processor, 0));
        assert_eq!(
            line,
            concat!(
                r#"{"schema":"iglu:com.snowplowanalytics.snowplow.badrows/size_violation/jsonschema/1-0-0","data":"#,
                r#"{"processor":{"artifact":"snowmelt-enrich","version":"0.1.0"},"failure":{"timestamp":"#,
                r#""1970-01-01T00:00:00Z","maximumAllowedSizeBytes":100,"actualSizeBytes":101,"expectation":"#,
                r#""too long"},"payload":"xxxxxxxxxx"}}"#
            )
        );
    }
}
