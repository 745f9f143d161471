use super::*;

fn compact(text: &str) -> String {
    Document::new().parse(text, 50).unwrap().to_compact()
}

fn refusal(text: &str) -> String {
    Document::new().parse(text, 50).unwrap_err().to_string()
}

#[test]
fn numbers_keep_their_text() {
    assert_eq!(
        compact(" [1.50, 1E3,-0, 123456789012345678901234567890 ] "),
        "[1.50,1E3,-0,123456789012345678901234567890]"
    );
}

#[test]
fn strings_are_escaped_only_where_needed() {
    assert_eq!(
        compact(r#"["\/\u00e9\u0001\uD83D\uDE00\ud800x","a\"b\\c\n"]"#),
        "[\"/é\\u0001😀\u{fffd}x\",\"a\\\"b\\\\c\\n\"]"
    );
    assert_eq!(compact("\"\u{7f}\u{85}é\""), "\"\\u007f\\u0085é\"");
}

#[test]
fn the_last_of_equal_members_wins_at_the_first_position() {
    assert_eq!(compact(r#"{"a":1,"b":{"x":1,"\u0078":2},"a":3}"#), r#"{"a":3,"b":{"x":2}}"#);
    let members: Vec<String> = (0..200).map(|n| format!("\"k{}\":{n}", n % 150)).collect();
    let text = format!("{{{}}}", members.join(","));
    let mut document = Document::new();
    let root = document.parse(&text, 50).unwrap();
    assert_eq!(root.len(), 150);
    assert_eq!(root.get("k0").unwrap().source(), "150");
}

#[test]
fn errors_say_what_was_expected_and_where() {
    assert_eq!(refusal("body"), "expected json value got 'body' (line 1, column 1)");
    assert_eq!(refusal("{[-"), "expected \" got '[-' (line 1, column 2)");
    assert_eq!(refusal("{test:"), "expected \" got 'test:' (line 1, column 2)");
    assert_eq!(refusal(""), "exhausted input");
    assert_eq!(refusal("{\"a\":1} zzz"), "expected whitespace or eof got 'zzz' (line 1, column 9)");
    assert_eq!(refusal("[\n01234567]"), "expected ] or , got '123456...' (line 2, column 2)");
    assert_eq!(refusal("nope"), "expected null got 'nope' (line 1, column 1)");
    assert_eq!(refusal("\"a\u{1}\""), "control char (1) in string got '\u{1}...' (line 1, column 3)");
    assert_eq!(refusal("\"\\x\""), "illegal escape sequence (\\x) got '\\...' (line 1, column 2)");
}

#[test]
fn depth_counts_scalars_as_one() {
    let depth = |text: &str, limit| Document::new().parse(text, limit).is_ok();
    assert!(depth("1", 1) && depth("{}", 1) && depth("[[]]", 2));
    assert!(!depth("[1]", 1) && !depth("[[1]]", 2) && !depth("{\"a\":{}}", 1));
    assert!(!depth(&"[".repeat(100_000).add_closing(), 50));
}

trait AddClosing {
    fn add_closing(&self) -> String;
}
impl AddClosing for String {
    fn add_closing(&self) -> String {
        format!("{self}{}", "]".repeat(self.len()))
    }
}

proptest::proptest! {
    #[test]
    fn accepts_and_prints_what_serde_json_does(text in r#"[\[\]{}",:0-9.eE+\-truefalsn\\ ab]{0,24}"#) {
        let ours = Document::new().parse(&text, 200).map(|node| node.to_value()).ok();
        let theirs = serde_json::from_str::<serde_json::Value>(&text).ok();
        proptest::prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn never_panics(text in ".{0,40}") {
        if let Ok(node) = Document::new().parse(&text, 50) {
            let printed = node.to_compact();
            proptest::prop_assert_eq!(&compact(&printed), &printed);
        }
    }
}
