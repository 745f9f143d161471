//! Any text as a line of the enriched stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use snowmelt_protocol::event::{EnrichedEvent, TsvRow};

fuzz_target!(|line: &str| {
    // A line with few tabs is no line: fill it up, so that what stands in the columns is seen too.
    let tabs = line.bytes().filter(|byte| *byte == b'\t').count();
    let filled = format!("{line}{}", "\t".repeat(130_usize.saturating_sub(tabs)));
    for line in [line, &filled] {
        let row = TsvRow::parse(line);
        let Ok(event) = EnrichedEvent::parse_tsv(line) else {
            assert!(row.is_err(), "two readers of one line disagree");
            continue;
        };
        assert!(row.is_ok(), "two readers of one line disagree");
        let mut again = String::new();
        event.write_tsv(&mut again);
        let parsed = EnrichedEvent::parse_tsv(&again).expect("what was written can be read");
        let mut third = String::new();
        parsed.write_tsv(&mut third);
        assert_eq!(again, third);
    }
});
