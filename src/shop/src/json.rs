//! Writing JSON objects straight into a text, member by member.

use std::fmt::{Display, Write};

/// An object under construction.
pub(crate) struct Object<'a> {
    out: &'a mut String,
    empty: bool,
}

/// The object that `fill` writes.
pub(crate) fn object(fill: impl FnOnce(&mut Object<'_>)) -> String {
    let mut out = String::with_capacity(160);
    write_object(&mut out, fill);
    out
}

/// `{"schema":<uri>,"data":{...}}`
pub(crate) fn self_describing(uri: &str, fill: impl FnOnce(&mut Object<'_>)) -> String {
    object(|o| {
        o.text("schema", uri);
        o.object("data", fill);
    })
}

/// Appends `text` as a JSON string.
pub(crate) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{0}'..='\u{1f}' => write(out, format_args!("\\u{:04x}", c as u32)),
            _ => out.push(c),
        }
    }
    out.push('"');
}

impl Object<'_> {
    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        write_text(self.out, value);
        self
    }

    /// A number, `true` or `false`; or JSON that is written already.
    pub(crate) fn plain(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.name(name);
        write(self.out, format_args!("{value}"));
        self
    }

    /// An amount of money with two decimals.
    pub(crate) fn cents(&mut self, name: &str, cents: u32) -> &mut Self {
        self.plain(name, Cents(cents))
    }

    pub(crate) fn texts(&mut self, name: &str, values: &[&str]) -> &mut Self {
        self.name(name);
        self.out.push('[');
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            write_text(self.out, value);
        }
        self.out.push(']');
        self
    }

    pub(crate) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        self.name(name);
        write_object(self.out, fill);
        self
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        write_text(self.out, name);
        self.out.push(':');
    }
}

/// Prints a number of cents as a decimal: `1999` as `19.99`.
#[derive(Clone, Copy)]
pub(crate) struct Cents(pub(crate) u32);

impl Display for Cents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

fn write_object(out: &mut String, fill: impl FnOnce(&mut Object<'_>)) {
    out.push('{');
    fill(&mut Object { out, empty: true });
    out.push('}');
}

fn write(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to a text cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_members_separated() {
        let made = self_describing("iglu:a/b/jsonschema/1-0-0", |o| {
            o.text("q", "a\"b\\c\n").cents("price", 1905).plain("n", 7).texts("tags", &["x", "y"]).object("o", |_| {});
        });
        let read: serde_json::Value = serde_json::from_str(&made).unwrap();
        assert_eq!(read["data"]["q"], "a\"b\\c\n");
        assert!(made.ends_with(r#""price":19.05,"n":7,"tags":["x","y"],"o":{}}}"#), "{made}");
    }
}
