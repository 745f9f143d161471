//! Our Thrift codec against the `thrift` crate's binary protocol.

use std::borrow::Cow;

use proptest::prelude::*;
use snowmelt_protocol::payload::{CollectorPayload, DecodeError};
use thrift::protocol::{
    TBinaryInputProtocol, TBinaryOutputProtocol, TFieldIdentifier, TInputProtocol, TListIdentifier, TOutputProtocol,
    TStructIdentifier, TType,
};

const TEXT_IDS: [i16; 11] = [100, 210, 220, 300, 310, 320, 330, 360, 400, 410, 31337];

fn texts<'p, 'a>(payload: &'p CollectorPayload<'a>) -> [&'p Option<Cow<'a, str>>; 11] {
    [
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
    ]
}

/// The payload as the crate writes it, in the same field order.
fn reference_encode(payload: &CollectorPayload<'_>) -> thrift::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut out = TBinaryOutputProtocol::new(&mut bytes, true);
    out.write_struct_begin(&TStructIdentifier::new("CollectorPayload"))?;
    let mut fields: Vec<(i16, Option<&str>)> =
        TEXT_IDS.into_iter().zip(texts(payload)).map(|(id, text)| (id, text.as_deref())).collect();
    fields.extend([(200, None), (340, None), (350, None)]);
    fields.sort();
    for (id, text) in fields {
        match (id, text) {
            (200, _) => {
                out.write_field_begin(&TFieldIdentifier::new("timestamp", TType::I64, 200))?;
                out.write_i64(payload.timestamp)?;
            }
            (340, _) => {
                if let Some(body) = &payload.body {
                    out.write_field_begin(&TFieldIdentifier::new("body", TType::String, 340))?;
                    out.write_bytes(body)?;
                }
            }
            (350, _) => {
                if let Some(headers) = &payload.headers {
                    out.write_field_begin(&TFieldIdentifier::new("headers", TType::List, 350))?;
                    out.write_list_begin(&TListIdentifier::new(TType::String, headers.len() as i32))?;
                    for line in headers {
                        out.write_string(line)?;
                    }
                }
            }
            (id, Some(text)) => {
                out.write_field_begin(&TFieldIdentifier::new("text", TType::String, id))?;
                out.write_string(text)?;
            }
            (_, None) => {}
        }
    }
    out.write_field_stop()?;
    Ok(bytes)
}

/// What the crate reads from bytes: every text field and the body by id, the timestamp, the headers.
type Read = (Vec<(i16, Vec<u8>)>, i64, Option<Vec<String>>);

fn reference_decode(bytes: &[u8]) -> thrift::Result<Read> {
    let mut input = TBinaryInputProtocol::new(bytes, true);
    let (mut texts, mut timestamp, mut headers) = (Vec::new(), 0, None);
    input.read_struct_begin()?;
    loop {
        let field = input.read_field_begin()?;
        match (field.field_type, field.id) {
            (TType::Stop, _) => break,
            (TType::I64, Some(200)) => timestamp = input.read_i64()?,
            (TType::List, Some(350)) => {
                let list = input.read_list_begin()?;
                headers = Some((0..list.size).map(|_| input.read_string()).collect::<thrift::Result<_>>()?);
            }
            (TType::String, Some(id)) if id == 340 || TEXT_IDS.contains(&id) => texts.push((id, input.read_bytes()?)),
            (kind, _) => input.skip(kind)?,
        }
    }
    texts.sort();
    Ok((texts, timestamp, headers))
}

fn text() -> impl Strategy<Value = Option<Cow<'static, str>>> {
    proptest::option::of(any::<String>().prop_map(Cow::Owned))
}

fn payload() -> impl Strategy<Value = CollectorPayload<'static>> {
    let body = proptest::option::of(any::<Vec<u8>>().prop_map(Cow::Owned));
    let headers = proptest::option::of(proptest::collection::vec(any::<String>().prop_map(Cow::Owned), 0..4));
    let first = (text(), text(), text(), text(), text(), text());
    let second = (text(), text(), text(), text(), text());
    (first, second, any::<i64>(), body, headers).prop_map(|(first, second, timestamp, body, headers)| {
        let (schema, ip_address, encoding, collector, user_agent, referer_uri) = first;
        let (path, querystring, content_type, hostname, network_userid) = second;
        CollectorPayload {
            schema,
            ip_address,
            timestamp,
            encoding,
            collector,
            user_agent,
            referer_uri,
            path,
            querystring,
            body,
            headers,
            content_type,
            hostname,
            network_userid,
        }
    })
}

fn encoded(payload: &CollectorPayload<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    payload.encode(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn our_bytes_are_the_crates_bytes_and_decode_to_the_same(payload in payload()) {
        let bytes = encoded(&payload);
        prop_assert_eq!(&bytes, &reference_encode(&payload).expect("the crate writes it"));
        prop_assert_eq!(bytes.len(), payload.encoded_len());
        prop_assert_eq!(CollectorPayload::decode(&bytes).expect("our own bytes"), payload.clone());
        let (read, timestamp, headers) = reference_decode(&bytes).expect("the crate reads it");
        let mut expected: Vec<(i16, Vec<u8>)> = TEXT_IDS
            .into_iter()
            .zip(texts(&payload))
            .filter_map(|(id, text)| Some((id, text.as_deref()?.as_bytes().to_vec())))
            .collect();
        expected.extend(payload.body.iter().map(|body| (340, body.to_vec())));
        expected.sort();
        prop_assert_eq!(read, expected);
        prop_assert_eq!(timestamp, payload.timestamp);
        prop_assert_eq!(headers.as_deref().unwrap_or(&[]), payload.headers());
    }

    #[test]
    fn every_cut_record_is_refused(payload in payload(), cut in any::<proptest::sample::Index>()) {
        let bytes = encoded(&payload);
        prop_assert!(CollectorPayload::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn any_bytes_give_an_answer(bytes in any::<Vec<u8>>()) {
        if let Ok(payload) = CollectorPayload::decode(&bytes) {
            prop_assert!(payload.encoded_len() <= 12 + bytes.len() * 3);
        }
    }

    #[test]
    fn what_the_crate_skips_we_skip(payload in payload(), extra in any::<i64>(), name in ".{0,8}") {
        let mut bytes = Vec::new();
        let mut out = TBinaryOutputProtocol::new(&mut bytes, true);
        let write = |out: &mut TBinaryOutputProtocol<&mut Vec<u8>>| -> thrift::Result<()> {
            // A struct with a double and a list of integers, a known id with another type, a map.
            out.write_field_begin(&TFieldIdentifier::new("extra", TType::Struct, 500))?;
            out.write_field_begin(&TFieldIdentifier::new("double", TType::Double, 1))?;
            out.write_double(extra as f64)?;
            out.write_field_begin(&TFieldIdentifier::new("list", TType::List, 2))?;
            out.write_list_begin(&TListIdentifier::new(TType::I32, 2))?;
            out.write_i32(1)?;
            out.write_i32(2)?;
            out.write_field_stop()?;
            out.write_field_begin(&TFieldIdentifier::new("path", TType::I64, 320))?;
            out.write_i64(extra)?;
            out.write_field_begin(&TFieldIdentifier::new("map", TType::Map, 501))?;
            out.write_map_begin(&thrift::protocol::TMapIdentifier::new(TType::String, TType::Bool, 1))?;
            out.write_string(&name)?;
            out.write_bool(true)
        };
        write(&mut out).expect("the crate writes it");
        bytes.extend(encoded(&payload));
        bytes.extend_from_slice(b"trailing");
        prop_assert_eq!(CollectorPayload::decode(&bytes).expect("skips"), payload);
    }
}

#[test]
fn hostile_lengths_are_refused_with_the_originals_texts() {
    let cases: [(&[u8], DecodeError); 8] = [
        (&[], DecodeError::Truncated { wanted: 1, left: 0 }),
        // A string of 2 GiB, and of -2 bytes.
        (&[11, 0, 100, 0x7f, 0xff, 0xff, 0xff], DecodeError::LongerThanRecord { wanted: 0x7fff_ffff }),
        (&[11, 0, 100, 0xff, 0xff, 0xff, 0xfe], DecodeError::NegativeLength(-2)),
        // Five bytes announced, three left, in a record of ten.
        (&[11, 0, 100, 0, 0, 0, 5, b'a', b'b', b'c'], DecodeError::Truncated { wanted: 5, left: 3 }),
        // A list of 2^30 texts, of which each takes four bytes.
        (&[15, 1, 94, 11, 0x40, 0, 0, 0], DecodeError::LongerThanRecord { wanted: 1 << 32 }),
        // A set of 2^30 booleans under an unknown id: nothing is walked.
        (&[14, 9, 9, 2, 0x40, 0, 0, 0], DecodeError::LongerThanRecord { wanted: 1 << 30 }),
        (&[77, 9, 9], DecodeError::UnrecognizedType(77)),
        (&[11], DecodeError::LongerThanRecord { wanted: 2 }),
    ];
    for (record, expected) in cases {
        assert_eq!(CollectorPayload::decode(record), Err(expected), "{record:?}");
    }
    let text = DecodeError::Truncated { wanted: 5, left: 3 }.to_string();
    assert!(
        text.starts_with("Cannot read. Remote side has closed. Tried to read 5 bytes, but only got 3 bytes. (This")
    );
}

#[test]
fn nested_structs_are_refused_before_the_stack_ends() {
    let record: Vec<u8> = [12, 0, 9].into_iter().cycle().take(300_000).collect();
    assert_eq!(CollectorPayload::decode(&record), Err(DecodeError::TooDeep));
}

#[test]
fn a_list_of_something_else_stays_absent_and_bad_utf8_is_replaced() {
    let record = [15, 1, 94, 3, 0, 0, 0, 2, 7, 7, 11, 0, 100, 0, 0, 0, 2, 0xff, b'a', 0];
    let payload = CollectorPayload::decode(&record).expect("a sound struct");
    assert_eq!(payload.headers, None);
    assert_eq!(payload.ip_address.as_deref(), Some("\u{fffd}a"));
    let empty = CollectorPayload::decode(&[0]).expect("an empty struct");
    assert_eq!(empty, CollectorPayload::default());
}
