//! The collector payload: what the collector knows of one request, as a Thrift struct (enrich-core 1.3, collector 3.1).

mod error;
mod text;
mod thrift;
mod writer;

use std::borrow::Cow;

pub use error::DecodeError;
pub use writer::{PayloadWriter, StringsWriter};

/// The schema that every payload we write names; readers accept `1-0-<any>`.
pub const SCHEMA: &str = "iglu:com.snowplowanalytics.snowplow/CollectorPayload/thrift/1-0-0";

/// One tracked request. Borrowed from the record it was decoded from wherever that is valid UTF-8.
///
/// Absent is `None`, which is not the same as empty. No field is required to decode; enrich checks what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CollectorPayload<'a> {
    /// Field 31337: the Iglu URI of this struct's schema.
    pub schema: Option<Cow<'a, str>>,
    /// Field 100: the client's address.
    pub ip_address: Option<Cow<'a, str>>,
    /// Field 200: milliseconds since the epoch, collector time; 0 when absent.
    pub timestamp: i64,
    /// Field 210: charset of the request, in practice `UTF-8`.
    pub encoding: Option<Cow<'a, str>>,
    /// Field 220: name and version of the collector.
    pub collector: Option<Cow<'a, str>>,
    /// Field 300: the `User-Agent` header.
    pub user_agent: Option<Cow<'a, str>>,
    /// Field 310: the `Referer` header.
    pub referer_uri: Option<Cow<'a, str>>,
    /// Field 320: path of the request after mapping.
    pub path: Option<Cow<'a, str>>,
    /// Field 330: raw query string without `?`, still percent-encoded.
    pub querystring: Option<Cow<'a, str>>,
    /// Field 340: the body's bytes; read as text with [`body_text`](CollectorPayload::body_text).
    pub body: Option<Cow<'a, [u8]>>,
    /// Field 350: one `Name: value` a header line; `None` when the list is absent.
    pub headers: Option<Vec<Cow<'a, str>>>,
    /// Field 360: content type of the body.
    pub content_type: Option<Cow<'a, str>>,
    /// Field 400: host of the request.
    pub hostname: Option<Cow<'a, str>>,
    /// Field 410: the network user id.
    pub network_userid: Option<Cow<'a, str>>,
}

/// Bytes as text, invalid UTF-8 replaced. Nearly all text is valid, for which this is several times faster than
/// `String::from_utf8_lossy`.
pub fn decode_text(bytes: &[u8]) -> Cow<'_, str> {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

impl<'a> CollectorPayload<'a> {
    /// Decodes one Thrift struct. Bytes after its stop byte are ignored, unknown fields and fields of another type
    /// are skipped, invalid UTF-8 is replaced. Allocates at most in proportion to the record's length.
    pub fn decode(record: &'a [u8]) -> Result<Self, DecodeError> {
        thrift::decode(record)
    }

    /// Appends the payload as a Thrift struct: fields in ascending id order, absent ones left out. `timestamp` is
    /// always written.
    ///
    /// # Panics
    /// When one field is longer than 2 GiB, which the wire can not express.
    pub fn encode(&self, out: &mut Vec<u8>) {
        thrift::encode(self, out);
    }

    /// The exact number of bytes [`encode`](CollectorPayload::encode) appends.
    pub fn encoded_len(&self) -> usize {
        thrift::encoded_len(self)
    }

    /// The body as text, invalid UTF-8 replaced.
    pub fn body_text(&self) -> Option<Cow<'_, str>> {
        self.body.as_deref().map(decode_text)
    }

    /// The header lines, none when the list is absent.
    pub fn headers(&self) -> &[Cow<'a, str>] {
        self.headers.as_deref().unwrap_or(&[])
    }

    /// Appends the payload's text form, for people, as it stands in the collector's size violations (collector 4.3).
    pub fn write_text(&self, out: &mut String) {
        text::write(self, out);
    }
}
