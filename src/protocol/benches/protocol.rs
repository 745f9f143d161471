//! Cost of the wire formats: `cargo bench -p snowmelt-protocol`.

use std::borrow::Cow;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use snowmelt_protocol::event::{Column, EnrichedEvent, Kind, TsvRow};
use snowmelt_protocol::payload::{CollectorPayload, SCHEMA};
use thrift::protocol::{
    TBinaryInputProtocol, TBinaryOutputProtocol, TFieldIdentifier, TInputProtocol, TListIdentifier, TOutputProtocol,
    TType,
};

fn main() {
    divan::main();
}

/// 1.8 KB: a body of 938 bytes, ten headers.
fn payload() -> CollectorPayload<'static> {
    CollectorPayload {
        schema: Some(SCHEMA.into()),
        ip_address: Some("203.0.113.77".into()),
        timestamp: 1_700_000_000_123,
        encoding: Some("UTF-8".into()),
        collector: Some("ssc-3.4.0-kinesissink".into()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)".into()),
        referer_uri: Some("https://shop.example.com/products/4711?colour=blue".into()),
        path: Some("/com.snowplowanalytics.snowplow/tp2".into()),
        querystring: Some("".into()),
        body: Some(Cow::Owned(vec![b'x'; 938])),
        headers: Some((0..10).map(|n| format!("X-Header-{n}: some value of a usual length").into()).collect()),
        content_type: Some("application/json; charset=utf-8".into()),
        hostname: Some("collector.example.com".into()),
        network_userid: Some("6d7d6a5c-1e4b-4d0c-9d7e-2f4f5b8c9a10".into()),
    }
}

fn encoded() -> Vec<u8> {
    let mut bytes = Vec::new();
    payload().encode(&mut bytes);
    bytes
}

#[divan::bench]
fn thrift_encode_ours(bencher: Bencher<'_, '_>) {
    let payload = payload();
    let mut out = Vec::new();
    bencher.counter(BytesCount::new(payload.encoded_len())).bench_local(|| {
        out.clear();
        black_box(&payload).encode(&mut out);
        out.len()
    });
}

#[divan::bench]
fn thrift_encode_crate(bencher: Bencher<'_, '_>) {
    let payload = payload();
    let mut out = Vec::new();
    bencher.counter(BytesCount::new(payload.encoded_len())).bench_local(|| {
        out.clear();
        crate_encode(black_box(&payload), &mut out).expect("writes into memory");
        out.len()
    });
}

#[divan::bench]
fn thrift_decode_ours(bencher: Bencher<'_, '_>) {
    let bytes = encoded();
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| CollectorPayload::decode(black_box(&bytes)).expect("our own bytes").timestamp);
}

#[divan::bench]
fn thrift_decode_crate(bencher: Bencher<'_, '_>) {
    let bytes = encoded();
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| crate_decode(black_box(&bytes)).expect("our own bytes"));
}

fn event() -> EnrichedEvent {
    let mut event = EnrichedEvent::new();
    for column in Column::ALL.into_iter().step_by(2) {
        match column.kind() {
            Kind::Text => event.set(column, "a text of a usual length"),
            Kind::Timestamp => event.set_millis(column, 1_700_000_000_123),
            Kind::Int | Kind::Flag => event.set_int(column, 1),
            Kind::Decimal | Kind::Float => event.set(column, "1.50"),
            Kind::Json => {}
        }
    }
    event.set(Column::Contexts, &format!("{{\"schema\":\"iglu:c\",\"data\":[{}]}}", "1,".repeat(600)));
    event
}

fn line() -> String {
    let mut line = String::new();
    event().write_tsv(&mut line);
    line
}

#[divan::bench]
fn tsv_write(bencher: Bencher<'_, '_>) {
    let event = event();
    let mut out = String::new();
    bencher.counter(BytesCount::new(line().len())).bench_local(|| {
        out.clear();
        black_box(&event).write_tsv(&mut out);
        out.len()
    });
}

#[divan::bench]
fn tsv_read_borrowed(bencher: Bencher<'_, '_>) {
    let line = line();
    bencher
        .counter(BytesCount::new(line.len()))
        .bench_local(|| TsvRow::parse(black_box(&line)).expect("131 columns").text(Column::TrueTstamp).len());
}

#[divan::bench]
fn event_fill(bencher: Bencher<'_, '_>) {
    let mut event = EnrichedEvent::new();
    bencher.bench_local(|| {
        event.clear();
        for column in Column::ALL.into_iter().step_by(2) {
            event.set(column, black_box("a text of a usual length"));
        }
    });
}

fn crate_encode(payload: &CollectorPayload<'_>, out: &mut Vec<u8>) -> thrift::Result<()> {
    let mut out = TBinaryOutputProtocol::new(out, true);
    let text = |out: &mut TBinaryOutputProtocol<&mut Vec<u8>>, id, text: &Option<Cow<'_, str>>| {
        let Some(text) = text else { return Ok(()) };
        out.write_field_begin(&TFieldIdentifier::new("text", TType::String, id))?;
        out.write_string(text)
    };
    text(&mut out, 100, &payload.ip_address)?;
    out.write_field_begin(&TFieldIdentifier::new("timestamp", TType::I64, 200))?;
    out.write_i64(payload.timestamp)?;
    text(&mut out, 210, &payload.encoding)?;
    text(&mut out, 220, &payload.collector)?;
    text(&mut out, 300, &payload.user_agent)?;
    text(&mut out, 310, &payload.referer_uri)?;
    text(&mut out, 320, &payload.path)?;
    text(&mut out, 330, &payload.querystring)?;
    out.write_field_begin(&TFieldIdentifier::new("body", TType::String, 340))?;
    out.write_bytes(payload.body.as_deref().unwrap_or_default())?;
    out.write_field_begin(&TFieldIdentifier::new("headers", TType::List, 350))?;
    out.write_list_begin(&TListIdentifier::new(TType::String, payload.headers().len() as i32))?;
    for line in payload.headers() {
        out.write_string(line)?;
    }
    text(&mut out, 360, &payload.content_type)?;
    text(&mut out, 400, &payload.hostname)?;
    text(&mut out, 410, &payload.network_userid)?;
    text(&mut out, 31337, &payload.schema)?;
    out.write_field_stop()
}

fn crate_decode(bytes: &[u8]) -> thrift::Result<(i64, Vec<String>, Vec<String>)> {
    let mut input = TBinaryInputProtocol::new(bytes, true);
    let (mut timestamp, mut texts, mut headers) = (0, Vec::with_capacity(12), Vec::new());
    loop {
        let field = input.read_field_begin()?;
        match field.field_type {
            TType::Stop => return Ok((timestamp, texts, headers)),
            TType::I64 => timestamp = input.read_i64()?,
            TType::List => {
                let list = input.read_list_begin()?;
                for _ in 0..list.size {
                    headers.push(input.read_string()?);
                }
            }
            _ => texts.push(input.read_string()?),
        }
    }
}
