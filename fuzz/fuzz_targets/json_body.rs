//! Any bytes as the body of a tracker's request, and any text as the entities of its event.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    snowmelt_fuzz::enrich(&snowmelt_fuzz::record(None, Some(body)));
    let Ok(contexts) = std::str::from_utf8(body) else { return };
    let event = serde_json::json!({
        "schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
        "data": [{"e": "pv", "p": "web", "tv": "fuzz", "co": contexts, "url": contexts}],
    });
    snowmelt_fuzz::enrich(&snowmelt_fuzz::record(None, Some(event.to_string().as_bytes())));
});
