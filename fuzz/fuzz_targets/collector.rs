//! Any request to the collector: its answer can be sent, and what it records keeps its size and can be read by enrichment.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use snowmelt_collector::CollectorConfig;
use snowmelt_collector::decision::{Answer, Core, Flavour, Head, Header, Route};
use snowmelt_protocol::payload::CollectorPayload;

/// So small that a request of the fuzzer's size has to be split.
const MAX_BYTES: usize = 1500;

thread_local! {
    /// As it comes, and with all that can be switched on.
    static CORES: [(Core, usize); 2] = {
        let plain = CollectorConfig::default();
        let all: CollectorConfig = serde_json::from_value(serde_json::json!({
            "enableDefaultRedirect": true,
            "redirectDomains": ["acme.example"],
            "redirectMacro": {"enabled": true},
            "cookieBounce": {"enabled": true, "forwardedProtocolHeader": "X-Forwarded-Proto"},
            "doNotTrackCookie": {"enabled": true, "name": "dnt", "value": "yes"},
            "cookie": {"domains": ["acme.example"], "clientCookieName": "sp2"},
            "paths": {"/com.acme/go": "/r/tp2"},
            "streams": {"useIpAddressAsPartitionKey": true, "good": {"maxBytes": MAX_BYTES}},
        }))
        .expect("the configuration is right");
        [plain, all].map(|config| {
            let most = config.streams.good.max_bytes;
            (Core::new(&config).expect("the configuration is right"), most)
        })
    };
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
    CORES.with(|cores| {
        for (core, most) in cores {
            handle(core, *most, &head, rest);
        }
    });
});

fn handle(core: &Core, most: usize, head: &Head<'_>, body: &[u8]) {
    let tracking = match core.route(head) {
        Route::Track(tracking) => tracking,
        Route::Answer(answer) => return can_be_sent(&answer),
        Route::Health | Route::SinkHealth => return,
    };
    let body = match tracking.flavour {
        Flavour::Post => body,
        Flavour::Pixel => &[],
    };
    let mut new_id = || uuid::Uuid::from_u128(7);
    let decision = core.track(head, &tracking, body, snowmelt_fuzz::NOW_MICROS / 1000, &mut new_id);
    can_be_sent(&decision.answer);
    can_be_sent(&core.unavailable(head));
    for record in decision.good {
        assert!(record.data.len() < most, "{} bytes", record.data.len());
        let payload = CollectorPayload::decode(&record.data).expect("a record can be decoded");
        let mut again = Vec::new();
        payload.encode(&mut again);
        assert_eq!(record.data, again);
        snowmelt_fuzz::enrich(&record.data);
    }
    for row in decision.bad {
        serde_json::from_slice::<serde_json::Value>(&row.data).expect("a bad row is JSON");
    }
}

/// Nothing from the request ends a header line or begins another.
fn can_be_sent(answer: &Answer) {
    for (name, value) in &answer.headers {
        assert!(!value.bytes().any(|byte| byte.is_ascii_control()), "{name}: {value:?}");
    }
}
