//! Any bytes as a record of the raw stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use snowmelt_protocol::payload::CollectorPayload;

fuzz_target!(|record: &[u8]| {
    if let Ok(payload) = CollectorPayload::decode(record) {
        let mut again = Vec::new();
        payload.encode(&mut again);
        let decoded = CollectorPayload::decode(&again).expect("what was encoded can be decoded");
        assert_eq!(format!("{decoded:?}"), format!("{payload:?}"));
    }
    snowmelt_fuzz::enrich(record);
});
