//! The Thrift binary protocol for this one struct: strict about lengths, borrowed, without the `thrift` crate's cost.

use std::borrow::Cow;

use crate::payload::{CollectorPayload, DecodeError};

pub(super) const STOP: u8 = 0;
const BOOL: u8 = 2;
const BYTE: u8 = 3;
const DOUBLE: u8 = 4;
const I16: u8 = 6;
const I32: u8 = 8;
pub(super) const I64: u8 = 10;
pub(super) const STRING: u8 = 11;
const STRUCT: u8 = 12;
const MAP: u8 = 13;
const SET: u8 = 14;
pub(super) const LIST: u8 = 15;

/// Unknown fields nested deeper are refused: skipping recurses.
const MAX_SKIP_DEPTH: u32 = 64;

/// A list on the wire is `Some` only if complete; no more room than this is reserved before its elements are seen.
const MAX_RESERVED_HEADERS: usize = 128;

pub(super) fn decode(record: &[u8]) -> Result<CollectorPayload<'_>, DecodeError> {
    let mut reader = Reader { rest: record, record_len: record.len() };
    let mut payload = CollectorPayload::default();
    loop {
        let kind = reader.byte()?;
        if kind == STOP {
            return Ok(payload);
        }
        let id = reader.i16()?;
        match (id, kind) {
            (100, STRING) => payload.ip_address = Some(reader.text()?),
            (200, I64) => payload.timestamp = reader.i64()?,
            (210, STRING) => payload.encoding = Some(reader.text()?),
            (220, STRING) => payload.collector = Some(reader.text()?),
            (300, STRING) => payload.user_agent = Some(reader.text()?),
            (310, STRING) => payload.referer_uri = Some(reader.text()?),
            (320, STRING) => payload.path = Some(reader.text()?),
            (330, STRING) => payload.querystring = Some(reader.text()?),
            (340, STRING) => payload.body = Some(Cow::Borrowed(reader.string()?)),
            (350, LIST) => {
                if let Some(headers) = reader.texts()? {
                    payload.headers = Some(headers);
                }
            }
            (360, STRING) => payload.content_type = Some(reader.text()?),
            (400, STRING) => payload.hostname = Some(reader.text()?),
            (410, STRING) => payload.network_userid = Some(reader.text()?),
            (31337, STRING) => payload.schema = Some(reader.text()?),
            _ => reader.skip(kind, MAX_SKIP_DEPTH)?,
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    record_len: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        // A single byte is never "longer than the record", not even in the empty record.
        let (byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated { wanted: 1, left: 0 })?;
        self.rest = rest;
        Ok(*byte)
    }

    fn bytes(&mut self, wanted: usize) -> Result<&'a [u8], DecodeError> {
        if let Some((taken, rest)) = self.rest.split_at_checked(wanted) {
            self.rest = rest;
            return Ok(taken);
        }
        self.fits_record(wanted)?;
        Err(DecodeError::Truncated { wanted, left: self.rest.len() })
    }

    fn fits_record(&self, wanted: usize) -> Result<(), DecodeError> {
        if wanted > self.record_len { Err(DecodeError::LongerThanRecord { wanted }) } else { Ok(()) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.bytes(N)?.try_into().expect("bytes gives exactly the length asked for"))
    }

    fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn length(&mut self) -> Result<usize, DecodeError> {
        let length = self.i32()?;
        usize::try_from(length).map_err(|_| DecodeError::NegativeLength(length))
    }

    fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.bytes(length)
    }

    fn text(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        Ok(super::decode_text(self.string()?))
    }

    /// Element type and number of a list or set; refuses a number whose elements can not fit into the record.
    fn elements(&mut self) -> Result<(u8, usize), DecodeError> {
        let kind = self.byte()?;
        let count = self.length()?;
        self.fits_record(count.saturating_mul(min_size(kind)))?;
        Ok((kind, count))
    }

    /// A list of texts; `None` (skipped) when its elements are something else.
    fn texts(&mut self) -> Result<Option<Vec<Cow<'a, str>>>, DecodeError> {
        let (kind, count) = self.elements()?;
        if kind != STRING {
            self.skip_many(kind, count, MAX_SKIP_DEPTH)?;
            return Ok(None);
        }
        let mut texts = Vec::with_capacity(count.min(MAX_RESERVED_HEADERS));
        for _ in 0..count {
            texts.push(self.text()?);
        }
        Ok(Some(texts))
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Result<(), DecodeError> {
        let depth = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
        match kind {
            BOOL | BYTE => self.byte().map(drop),
            I16 => self.bytes(2).map(drop),
            I32 => self.bytes(4).map(drop),
            I64 | DOUBLE => self.bytes(8).map(drop),
            STRING => self.string().map(drop),
            STRUCT => loop {
                let kind = self.byte()?;
                if kind == STOP {
                    return Ok(());
                }
                self.i16()?;
                self.skip(kind, depth)?;
            },
            MAP => {
                let (key, value) = (self.byte()?, self.byte()?);
                let count = self.length()?;
                self.fits_record(count.saturating_mul(min_size(key) + min_size(value)))?;
                for _ in 0..count {
                    self.skip(key, depth)?;
                    self.skip(value, depth)?;
                }
                Ok(())
            }
            SET | LIST => {
                let (kind, count) = self.elements()?;
                self.skip_many(kind, count, depth)
            }
            _ => Err(DecodeError::UnrecognizedType(kind)),
        }
    }

    fn skip_many(&mut self, kind: u8, count: usize, depth: u32) -> Result<(), DecodeError> {
        for _ in 0..count {
            self.skip(kind, depth)?;
        }
        Ok(())
    }
}

/// The least bytes a value of this type takes: what bounds the work that a count can ask for.
fn min_size(kind: u8) -> usize {
    match kind {
        I16 => 2,
        I32 | STRING => 4,
        I64 | DOUBLE => 8,
        MAP => 6,
        SET | LIST => 5,
        // An unknown type is refused at its first element, a struct takes at least its stop byte.
        _ => 1,
    }
}

pub(super) fn encoded_len(payload: &CollectorPayload<'_>) -> usize {
    let texts = [
        &payload.ip_address,
        &payload.encoding,
        &payload.collector,
        &payload.user_agent,
        &payload.referer_uri,
        &payload.path,
        &payload.querystring,
        &payload.content_type,
        &payload.hostname,
        &payload.network_userid,
        &payload.schema,
    ];
    let texts: usize = texts.into_iter().flatten().map(|text| 7 + text.len()).sum();
    let body = payload.body.as_ref().map_or(0, |body| 7 + body.len());
    let headers =
        payload.headers.as_ref().map_or(0, |headers| 8 + headers.iter().map(|line| 4 + line.len()).sum::<usize>());
    // The timestamp's 11 bytes and the stop byte.
    texts + body + headers + 12
}

pub(super) fn encode(payload: &CollectorPayload<'_>, out: &mut Vec<u8>) {
    out.reserve(encoded_len(payload));
    text_field(100, &payload.ip_address, out);
    field(I64, 200, out);
    out.extend_from_slice(&payload.timestamp.to_be_bytes());
    text_field(210, &payload.encoding, out);
    text_field(220, &payload.collector, out);
    text_field(300, &payload.user_agent, out);
    text_field(310, &payload.referer_uri, out);
    text_field(320, &payload.path, out);
    text_field(330, &payload.querystring, out);
    if let Some(body) = &payload.body {
        field(STRING, 340, out);
        string(body, out);
    }
    if let Some(headers) = &payload.headers {
        field(LIST, 350, out);
        out.push(STRING);
        length(headers.len(), out);
        for line in headers {
            string(line.as_bytes(), out);
        }
    }
    text_field(360, &payload.content_type, out);
    text_field(400, &payload.hostname, out);
    text_field(410, &payload.network_userid, out);
    text_field(31337, &payload.schema, out);
    out.push(STOP);
}

fn field(kind: u8, id: i16, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&id.to_be_bytes());
}

fn text_field(id: i16, text: &Option<Cow<'_, str>>, out: &mut Vec<u8>) {
    if let Some(text) = text {
        field(STRING, id, out);
        string(text.as_bytes(), out);
    }
}

fn string(bytes: &[u8], out: &mut Vec<u8>) {
    length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn length(length: usize, out: &mut Vec<u8>) {
    let length = i32::try_from(length).expect("a field of a request is shorter than 2 GiB");
    out.extend_from_slice(&length.to_be_bytes());
}
