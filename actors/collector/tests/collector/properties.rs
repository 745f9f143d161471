//! The pure core with any request: it never panics, answers are well formed, records decode and keep their limit.

use std::net::IpAddr;

use proptest::{collection::vec, prelude::*, sample::select};
use snowmelt_collector::{
    CollectorConfig,
    decision::{Core, Flavour, Head, Header, Limits, Route, check_size, payload_cookie_header, split_list},
};
use snowmelt_protocol::{badrow::Processor, payload::CollectorPayload};

const MAX_BYTES: usize = 1500;

fn core() -> Core {
    let config: CollectorConfig = serde_json::from_value(serde_json::json!({
        "enableDefaultRedirect": true,
        "redirectMacro": {"enabled": true},
        "cookieBounce": {"enabled": true, "forwardedProtocolHeader": "X-Forwarded-Proto"},
        "doNotTrackCookie": {"enabled": true, "name": "dnt", "value": "yes"},
        "cookie": {"domains": ["acme.example"], "clientCookieName": "sp2"},
        "paths": {"/com.acme/go": "/r/tp2"},
        "streams": {"useIpAddressAsPartitionKey": true, "good": {"maxBytes": MAX_BYTES}},
    }))
    .unwrap();
    Core::new(&config).unwrap()
}

/// Pieces that mean something, and any bytes.
fn bytes(pieces: &'static [&'static str], length: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>().prop_filter("no control", |byte| *byte >= 0x20 && *byte != 0x7f), 0..6),
    ];
    vec(piece, 0..length).prop_map(|pieces| pieces.concat())
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    bytes(
        &[
            "/",
            "r",
            "tp2",
            "i",
            "com.acme",
            "go",
            "?",
            "&",
            ";",
            "=",
            "u",
            "nuid",
            "n3pc",
            "%2F",
            "%",
            "http://",
            "https://acme.example",
            "@",
            ":",
            "//",
            "\\",
            "${SP_NUID}",
            "%0D%0A",
            "health",
            "..",
            "[",
            "]",
            "#",
            "é",
        ],
        12,
    )
}

fn header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let name = select(
        &[
            "Host",
            "host",
            "Cookie",
            "Origin",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "SP-Anonymous",
            "Content-Type",
            "Referer",
            "Forwarded",
        ][..],
    );
    let value = bytes(
        &[
            "sp",
            "=",
            ";",
            "; ",
            "dnt=yes",
            "6f0e6d0a-3c1e-4b43-9a55-0c7f1f2d9b11",
            "https://www.acme.example",
            " ",
            "198.51.100.7",
            ",",
            "[::1]",
            ":80",
            "unknown",
            "application/json",
            "; charset=",
            "utf-8",
            "latin1",
            "\"",
            "https",
        ],
        8,
    );
    (name, value)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let events = vec(prop_oneof![4 => 0_usize..600, 1 => 1000_usize..4000], 0..20).prop_map(|sizes| {
        let events: Vec<String> =
            sizes.iter().map(|&size| format!(" {{ \"e\" : \"{}\" }} ", "x".repeat(size))).collect();
        format!("{{\"schema\":\"iglu:com.acme/x/jsonschema/1-0-0\", \"data\":[{}]}}", events.join(",")).into_bytes()
    });
    prop_oneof![3 => events, 1 => vec(any::<u8>(), 0..3000)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_request_gets_a_well_formed_answer_and_sound_records(
        method in select(&["GET", "HEAD", "POST", "OPTIONS", "PUT"][..]),
        target in target(),
        lines in vec(header(), 0..8),
        body in body(),
    ) {
        let core = core();
        let headers: Vec<Header<'_>> = lines.iter().map(|(name, value)| Header { name, value: value.trim_ascii() }).collect();
        let peer: IpAddr = "203.0.113.9".parse().unwrap();
        let head = Head { method, target: &target, headers: &headers, peer };
        let (answer, good, bad) = match core.route(&head) {
            Route::Answer(answer) => (answer, Vec::new(), Vec::new()),
            Route::Health | Route::SinkHealth => (core.health(true), Vec::new(), Vec::new()),
            Route::Track(tracking) => {
                let body = if tracking.flavour == Flavour::Post { &body[..] } else { &[] };
                let decision = core.track(&head, &tracking, body, 1_775_210_400_123, &mut || uuid::Uuid::from_u128(7));
                (decision.answer, decision.good, decision.bad)
            }
        };
        prop_assert!((200..500).contains(&answer.status));
        for (name, value) in &answer.headers {
            prop_assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{}: {:?}", name, value);
        }
        if let Some(location) = answer.header("Location")
            && answer.headers.iter().any(|(_, value)| value.contains("n3pc=true"))
        {
            prop_assert!(!location.starts_with("//"), "{}", location);
        }
        for record in &good {
            prop_assert!(record.data.len() < MAX_BYTES);
            let payload = CollectorPayload::decode(&record.data).unwrap();
            prop_assert_eq!(payload.body.is_some(), method == "POST");
        }
        for row in &bad {
            let row: serde_json::Value = serde_json::from_slice(&row.data).unwrap();
            prop_assert!(row["data"]["failure"]["expectation"].as_str().unwrap().chars().count() <= 256);
        }
    }

    #[test]
    fn splitting_loses_no_event_and_keeps_the_limit(sizes in vec(0_usize..700, 1..60), max_bytes in 200_usize..2000) {
        let events: Vec<String> = sizes.iter().enumerate().map(|(index, &size)| format!("{{\"i\":{index},\"x\":\"{}\"}}", "é".repeat(size / 2))).collect();
        let body = format!("{{\"schema\":\"iglu:com.acme/x/jsonschema/1-0-0\",\"data\":[{}]}}", events.join(","));
        let payload = CollectorPayload { body: Some(body.as_bytes().into()), ..CollectorPayload::default() };
        let limits = Limits { max_bytes, max_payload_size: 10_000_000 };
        let checked = check_size(&payload, limits, &Processor::new("snowmelt-collector", "0.1.0"), 0);
        let mut found = checked.bad.len();
        for record in &checked.good {
            prop_assert!(record.len() < max_bytes);
            let payload = CollectorPayload::decode(record).unwrap();
            let part: serde_json::Value = serde_json::from_str(&payload.body_text().unwrap()).unwrap();
            found += part["data"].as_array().unwrap().len();
        }
        prop_assert_eq!(found, events.len());
    }

    #[test]
    fn lists_are_divided_within_the_limit(sizes in vec(0_usize..50, 0..100), maximum in 1_usize..120) {
        let (batches, too_big) = split_list(sizes.clone(), maximum, 1, |size| *size);
        for batch in &batches {
            prop_assert!(!batch.is_empty() && batch.iter().map(|size| size + 1).sum::<usize>() <= maximum);
        }
        prop_assert!(too_big.iter().all(|size| size + 1 > maximum));
        // Last batch first, reversed inside: read backwards, it is the list.
        let kept: Vec<usize> = batches.concat().into_iter().rev().collect();
        let expected: Vec<usize> = sizes.into_iter().filter(|&size| size < maximum).collect();
        prop_assert_eq!(kept, expected);
    }

    #[test]
    fn payload_cookies_are_cookie_octets(value in vec(any::<u8>(), 0..60)) {
        if let Some(kept) = payload_cookie_header(&value) {
            prop_assert!(kept.bytes().all(|byte| byte > 0x20 && byte < 0x7f && !b"\",\\".contains(&byte)));
        }
    }
}

#[test]
fn a_batch_that_grows_by_escapes_keeps_its_limit() {
    // Found by fuzzing: DEL may stand in JSON as it is, and is written as an escape of six bytes.
    let event = format!("{{\"e\":\"{}\"}}", "\u{7f}".repeat(40));
    let body = format!(
        "{{\"schema\":\"iglu:com.acme/batch/jsonschema/1-0-0\",\"data\":[{}]}}",
        [event.as_str(); 40].join(",")
    );
    let payload = CollectorPayload { body: Some(body.as_bytes().into()), ..CollectorPayload::default() };
    let limits = Limits { max_bytes: MAX_BYTES, max_payload_size: 1_000_000 };
    let checked = check_size(&payload, limits, &Processor::new("test", "0.0.0"), 0);
    assert!(!checked.good.is_empty());
    for record in checked.good {
        assert!(record.len() < MAX_BYTES, "{}", record.len());
    }
}
