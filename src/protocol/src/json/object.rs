//! A small writer for objects whose members are known: commas in the right place, nothing else.

use crate::json::{write_optional_string, write_string};

/// Writes one object member by member. [`end`](ObjectWriter::end) must be called.
#[must_use]
pub(crate) struct ObjectWriter<'o> {
    out: &'o mut String,
    empty: bool,
}

impl<'o> ObjectWriter<'o> {
    pub(crate) fn begin(out: &'o mut String) -> Self {
        out.push('{');
        ObjectWriter { out, empty: true }
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        write_string(name, self.out);
        self.out.push(':');
    }

    /// A text.
    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        write_string(value, self.out);
        self
    }

    /// A text or `null`.
    pub(crate) fn optional(mut self, name: &str, value: Option<&str>) -> Self {
        self.name(name);
        write_optional_string(value, self.out);
        self
    }

    /// Whatever `write` appends: it must be one JSON value.
    pub(crate) fn with(mut self, name: &str, write: impl FnOnce(&mut String)) -> Self {
        self.name(name);
        write(self.out);
        self
    }

    /// An array of what `write` appends for each item.
    pub(crate) fn array<T>(self, name: &str, items: &[T], mut write: impl FnMut(&T, &mut String)) -> Self {
        self.with(name, |out| {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        })
    }

    pub(crate) fn end(self) {
        self.out.push('}');
    }
}
