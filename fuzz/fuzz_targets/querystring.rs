//! Any text as the query string of a tracker's request.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|query: &str| {
    snowmelt_fuzz::enrich(&snowmelt_fuzz::record(Some(query), None));
});
