//! A payload written field by field, for who has its parts and need not put them together first: the collector's event path.

use crate::payload::thrift::{I64, LIST, STOP, STRING};

/// Appends a Thrift struct to a buffer as its parts come. Fields go in ascending order of their ids (collector 3.1), each once, and
/// [`end`](Self::end) is called last: that is for the caller to keep. Strings are UTF-8, but for the body, which may be any bytes.
///
/// # Panics
/// When one field is longer than 2 GiB, which the wire can not express.
#[derive(Debug)]
pub struct PayloadWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> PayloadWriter<'a> {
    /// Begins a struct at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// A field that is a string.
    pub fn string(&mut self, id: i16, bytes: &[u8]) {
        self.field(STRING, id);
        self.length(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// A field that is a string, appended to the buffer by `write`.
    pub fn string_with(&mut self, id: i16, write: impl FnOnce(&mut Vec<u8>)) {
        self.field(STRING, id);
        self.counted(write);
    }

    /// A field that is a 64-bit number.
    pub fn number(&mut self, id: i16, number: i64) {
        self.field(I64, id);
        self.out.extend_from_slice(&number.to_be_bytes());
    }

    /// A field that is a list of strings; `write` adds them.
    pub fn strings(&mut self, id: i16, write: impl FnOnce(&mut StringsWriter<'_, 'a>)) {
        self.field(LIST, id);
        self.out.push(STRING);
        let at = self.out.len();
        self.length(0);
        let mut list = StringsWriter { writer: self, count: 0 };
        write(&mut list);
        let count = list.count;
        self.patch(at, count);
    }

    /// Ends the struct.
    pub fn end(self) {
        self.out.push(STOP);
    }

    fn field(&mut self, kind: u8, id: i16) {
        let id = id.to_be_bytes();
        self.out.extend_from_slice(&[kind, id[0], id[1]]);
    }

    fn length(&mut self, length: usize) {
        self.out.extend_from_slice(&wire_length(length));
    }

    fn counted(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.out.len();
        self.length(0);
        write(self.out);
        let length = self.out.len() - at - 4;
        self.patch(at, length);
    }

    fn patch(&mut self, at: usize, length: usize) {
        self.out[at..at + 4].copy_from_slice(&wire_length(length));
    }
}

/// Adds to a list of strings.
#[derive(Debug)]
pub struct StringsWriter<'w, 'a> {
    writer: &'w mut PayloadWriter<'a>,
    count: usize,
}

impl StringsWriter<'_, '_> {
    /// Adds a string.
    pub fn push(&mut self, text: &str) {
        self.writer.length(text.len());
        self.writer.out.extend_from_slice(text.as_bytes());
        self.count += 1;
    }

    /// Adds a string that `write` appends to the buffer; none when `write` says `false`, having appended nothing that counts.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.writer.out.len();
        let mut keep = false;
        self.writer.counted(|out| keep = write(out));
        if keep {
            self.count += 1;
        } else {
            self.writer.out.truncate(start);
        }
    }
}

fn wire_length(length: usize) -> [u8; 4] {
    i32::try_from(length).expect("a field of a request is shorter than 2 GiB").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{CollectorPayload, SCHEMA};

    #[test]
    fn parts_make_the_same_bytes_as_the_whole() {
        let payload = CollectorPayload {
            schema: Some(SCHEMA.into()),
            ip_address: Some("192.0.2.9".into()),
            timestamp: -5,
            user_agent: Some("\u{e9}".into()),
            body: Some(b"\xff".as_slice().into()),
            headers: Some(vec!["A: 1".into(), "B: 2".into()]),
            ..CollectorPayload::default()
        };
        let (mut whole, mut parts) = (Vec::new(), b"before".to_vec());
        payload.encode(&mut whole);
        let mut writer = PayloadWriter::new(&mut parts);
        writer.string(100, b"192.0.2.9");
        writer.number(200, -5);
        writer.string_with(300, |out| out.extend_from_slice("\u{e9}".as_bytes()));
        writer.string(340, b"\xff");
        writer.strings(350, |list| {
            list.push("A: 1");
            list.push_with(|out| {
                out.extend_from_slice(b"left out");
                false
            });
            list.push_with(|out| {
                out.extend_from_slice(b"B: 2");
                true
            });
        });
        writer.string(31337, SCHEMA.as_bytes());
        writer.end();
        assert_eq!(parts, [b"before".as_slice(), &whole].concat());
    }
}
