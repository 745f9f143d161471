//! Enriched events through their TSV line and back.

use proptest::prelude::*;
use snowmelt_protocol::event::{COLUMN_COUNT, Column, EnrichedEvent, TsvError, TsvRow};

fn values() -> impl Strategy<Value = Vec<Option<String>>> {
    proptest::collection::vec(proptest::option::weighted(0.3, "[^\t\n\r]{1,12}"), COLUMN_COUNT)
}

proptest! {
    #[test]
    fn an_event_reads_back_from_its_line(values in values()) {
        let mut event = EnrichedEvent::new();
        for (column, value) in Column::ALL.into_iter().zip(&values) {
            event.set_or_unset(column, value.as_deref());
        }
        let mut line = String::new();
        event.write_tsv(&mut line);
        prop_assert_eq!(line.matches('\t').count(), 130);
        prop_assert_eq!(&EnrichedEvent::parse_tsv(&line).expect("131 columns"), &event);
        let row = TsvRow::parse(&line).expect("131 columns");
        prop_assert_eq!(&row, &TsvRow::from(&event));
        for (column, value) in Column::ALL.into_iter().zip(&values) {
            prop_assert_eq!(row.get(column), value.as_deref());
        }
        let mut again = String::new();
        EnrichedEvent::parse_tsv(&line).expect("131 columns").write_tsv(&mut again);
        prop_assert_eq!(again, line);
    }

    #[test]
    fn only_lines_of_131_columns_are_events(tabs in 0usize..300) {
        let line = "\t".repeat(tabs);
        let expected = if tabs == 130 { Ok(()) } else { Err(TsvError::ColumnCount { found: tabs + 1 }) };
        prop_assert_eq!(TsvRow::parse(&line).map(drop), expected);
    }
}

#[test]
fn a_reused_event_shows_nothing_of_the_one_before() {
    let mut event = EnrichedEvent::new();
    event.set(Column::AppId, "first");
    event.set_int(Column::TxnId, 12);
    event.clear();
    event.set(Column::Platform, "web");
    let mut line = String::new();
    event.write_tsv(&mut line);
    assert_eq!(line, format!("\tweb{}", "\t".repeat(129)));
}
