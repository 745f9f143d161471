//! Minifying JSON text: the reader of [`crate::document`] with the printing rules of enrich-core 4.2.

use crate::document::{Document, SyntaxError};

/// How deep a document may be; the same as `serde_json` reads, so that what passes here parses there.
pub const MAX_DEPTH: usize = 127;

/// Appends `source` without white space, with normalised strings and the numbers' own text. Of members with one name
/// the last value stands at the first place. Lone surrogate escapes become U+FFFD, since they have no UTF-8 form.
///
/// On an error `out` is as before. Whoever prints many documents keeps a [`Document`] instead and reuses it.
pub fn compact(source: &str, out: &mut String) -> Result<(), SyntaxError> {
    Document::new().parse(source, MAX_DEPTH)?.write_compact(out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;
    use crate::json;

    fn compacted(source: &str) -> Result<String, SyntaxError> {
        let mut out = String::new();
        compact(source, &mut out).map(|()| out)
    }

    fn value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        scalar.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn compaction_of_any_layout_is_what_serde_json_reads(value in value()) {
            let pretty = serde_json::to_string_pretty(&value).expect("a value prints");
            let out = compacted(&pretty).expect("serde_json wrote it");
            prop_assert_eq!(serde_json::from_str::<Value>(&out).expect("it parses"), value.clone());
            prop_assert_eq!(json::to_string(&value), out);
        }

        #[test]
        fn escaped_and_plain_text_compact_alike(text in any::<String>()) {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
            let mut plain = String::new();
            json::write_string(&text, &mut plain);
            prop_assert_eq!(compacted(&format!(" \"{escaped}\" ")).expect("a string"), plain);
        }
    }

    #[test]
    fn an_error_leaves_the_output_alone() {
        let mut out = String::from("before");
        assert!(compact("[1,", &mut out).is_err());
        assert_eq!(out, "before");
    }
}
