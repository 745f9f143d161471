//! The event as the `enriched` object of bad rows (enrich-core 6.2).

use crate::event::{Column, EnrichedEvent, Kind};
use crate::json::write_string;

impl EnrichedEvent {
    /// Appends all 131 columns as members, in column order, `null` when unset. Integers, flags and floats are numbers;
    /// everything else, also `txn_id`, decimals and the JSON columns, is a string.
    pub fn write_json_partial(&self, out: &mut String) {
        out.reserve(self.size_hint() + 4_096);
        for column in Column::ALL {
            out.push(if column.index() == 0 { '{' } else { ',' });
            out.push('"');
            out.push_str(column.name());
            out.push_str("\":");
            match self.get(column) {
                None => out.push_str("null"),
                Some(value) if is_number(column) => out.push_str(value),
                // An empty envelope is no value.
                Some("") if column.kind() == Kind::Json => out.push_str("null"),
                Some(value) => write_string(value, out),
            }
        }
        out.push('}');
    }
}

fn is_number(column: Column) -> bool {
    column != Column::TxnId && matches!(column.kind(), Kind::Int | Kind::Flag | Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_the_types_of_the_original() {
        let mut event = EnrichedEvent::new();
        event.set(Column::AppId, "shop");
        event.set(Column::TxnId, "7");
        event.set(Column::TrTotal, "1.50");
        event.set(Column::DvceScreenwidth, "800");
        event.set(Column::BrCookies, "1");
        event.set(Column::GeoLatitude, "37.751");
        event.set(Column::Contexts, "{\"a\":1}");
        event.set(Column::Useragent, "");
        let mut out = String::new();
        event.write_json_partial(&mut out);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 131);
        assert!(out.starts_with("{\"app_id\":\"shop\",\"platform\":null,"));
        for expected in [
            "\"txn_id\":\"7\"",
            "\"tr_total\":\"1.50\"",
            "\"dvce_screenwidth\":800",
            "\"br_cookies\":1,",
            "\"geo_latitude\":37.751",
            "\"contexts\":\"{\\\"a\\\":1}\"",
            "\"useragent\":\"\"",
        ] {
            assert!(out.contains(expected), "{expected} is missing in {out}");
        }
    }
}
