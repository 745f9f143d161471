//! Any request to the collector: what it records, enrichment must be able to read.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use snowmelt_collector::CollectorConfig;
use snowmelt_collector::decision::{Core, Flavour, Head, Header, Route};
use snowmelt_protocol::payload::CollectorPayload;

thread_local! {
    static CORE: Core = Core::new(&CollectorConfig::default()).expect("the defaults are right");
}

// Lines: method, target, headers as `name: value`, an empty line, the body.
fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        line
    };
    let (method, target) = (String::from_utf8_lossy(line()).into_owned(), line());
    let mut lines = Vec::new();
    loop {
        let header = line();
        let Some(colon) = header.iter().position(|byte| *byte == b':') else { break };
        let (name, value) = header.split_at(colon);
        // The HTTP parser lets no other names and values through.
        let Ok(name) = std::str::from_utf8(name) else { break };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') || name.is_empty() {
            break;
        }
        let value = value[1..].trim_ascii();
        if value.iter().any(|byte| byte.is_ascii_control()) {
            break;
        }
        lines.push((name, value));
    }
    let headers: Vec<Header<'_>> = lines.iter().map(|(name, value)| Header { name, value }).collect();
    let head = Head { method: &method, target, headers: &headers, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) };
    CORE.with(|core| {
        let Route::Track(tracking) = core.route(&head) else { return };
        let body = match tracking.flavour {
            Flavour::Post => rest,
            Flavour::Pixel => &[],
        };
        let mut new_id = || uuid::Uuid::from_u128(7);
        let decision = core.track(&head, &tracking, body, snowmelt_fuzz::NOW_MICROS / 1000, &mut new_id);
        for record in decision.good {
            CollectorPayload::decode(&record.data).expect("a record can be decoded");
            snowmelt_fuzz::enrich(&record.data);
        }
    });
});
