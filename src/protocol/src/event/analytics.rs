//! The event as one JSON object: as the analytics SDKs give it, and as the Postgres loader's bad rows show it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Column, EnrichedEvent, Kind, TsvRow};
use crate::json::{ObjectWriter, write_string};
use crate::time;

/// Why the JSON columns of an event can not be taken apart.
#[derive(Debug, thiserror::Error)]
pub enum AnalyticsError {
    /// The column does not hold an envelope of self-describing JSON.
    #[error("column {column}: no envelope of self-describing JSON")]
    Envelope {
        /// Name of the column.
        column: &'static str,
        /// What the JSON parser says.
        source: serde_json::Error,
    },
    /// An entity names something that is no Iglu URI.
    #[error("column {column}: {uri:?} is no iglu uri")]
    SchemaUri {
        /// Name of the column.
        column: &'static str,
        /// The text.
        uri: String,
    },
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Entity<'a> {
    #[serde(borrow)]
    schema: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl TsvRow<'_> {
    /// Appends the event as the analytics SDKs give it: the 128 plain columns with their types (`null` when absent,
    /// flags as booleans, times as ISO instants), then `contexts_<vendor>_<name>_<model>` with the entities of
    /// contexts and derived contexts, then `unstruct_event_<vendor>_<name>_<model>`, then `geo_location`
    /// (`<latitude>,<longitude>`). On an error `out` is as before.
    pub fn write_json(&self, out: &mut String) -> Result<(), AnalyticsError> {
        let mut contexts: Vec<(String, Vec<&RawValue>)> = Vec::new();
        for column in [Column::Contexts, Column::DerivedContexts] {
            let Some(text) = self.get(column) else { continue };
            for entity in envelope::<Vec<Entity<'_>>>(column, text)? {
                let key = entity_key("contexts", &entity.schema, column)?;
                match contexts.iter_mut().find(|(existing, _)| *existing == key) {
                    Some((_, entities)) => entities.push(entity.data),
                    None => contexts.push((key, vec![entity.data])),
                }
            }
        }
        let unstruct = match self.get(Column::UnstructEvent) {
            None => None,
            Some(text) => {
                let event: Entity<'_> = envelope(Column::UnstructEvent, text)?;
                Some((entity_key("unstruct_event", &event.schema, Column::UnstructEvent)?, event.data))
            }
        };

        let mut object = ObjectWriter::begin(out);
        for column in Column::ALL.into_iter().filter(|column| column.kind() != Kind::Json) {
            object = object.with(column.name(), |out| write_typed(column, self.get(column), out));
        }
        for (key, entities) in &contexts {
            object = object.array(key, entities, |entity, out| out.push_str(entity.get()));
        }
        if let Some((key, data)) = unstruct {
            object = object.with(&key, |out| out.push_str(data.get()));
        }
        if let (Some(latitude), Some(longitude)) = (self.get(Column::GeoLatitude), self.get(Column::GeoLongitude)) {
            object = object.text("geo_location", &format!("{latitude},{longitude}"));
        }
        object.end();
        Ok(())
    }

    /// Appends the event as the payload of loader bad rows (postgres-loader 8): 131 members in column order, typed as
    /// in [`write_json`](TsvRow::write_json); `contexts` and `derived_contexts` are `{}` and `unstruct_event` is
    /// `null` when absent, else their JSON.
    pub fn write_loader_json(&self, out: &mut String) {
        let mut object = ObjectWriter::begin(out);
        for column in Column::ALL {
            object = object.with(column.name(), |out| match (column, self.get(column)) {
                (Column::Contexts | Column::DerivedContexts, None) => out.push_str("{}"),
                (column, value) => write_typed(column, value, out),
            });
        }
        object.end();
    }
}

impl EnrichedEvent {
    /// [`TsvRow::write_json`] of this event.
    pub fn to_json(&self) -> Result<String, AnalyticsError> {
        let mut out = String::new();
        TsvRow::from(self).write_json(&mut out)?;
        Ok(out)
    }
}

fn envelope<'a, T: Deserialize<'a>>(column: Column, text: &'a str) -> Result<T, AnalyticsError> {
    serde_json::from_str::<Envelope<T>>(text)
        .map(|envelope| envelope.data)
        .map_err(|source| AnalyticsError::Envelope { column: column.name(), source })
}

/// `contexts_com_acme_user_data_1` for `iglu:com.acme/userData/jsonschema/1-0-2`.
fn entity_key(prefix: &str, uri: &str, column: Column) -> Result<String, AnalyticsError> {
    let parts = uri.strip_prefix("iglu:").map(|path| path.split('/').collect::<Vec<_>>());
    let Some([vendor, name, _format, version]) = parts.as_deref() else {
        return Err(AnalyticsError::SchemaUri { column: column.name(), uri: uri.to_owned() });
    };
    let model = version.split('-').next().unwrap_or(version);
    let vendor = vendor.replace(['.', '-'], "_").to_lowercase();
    Ok(format!("{prefix}_{vendor}_{}_{model}", snake_case(name)))
}

/// `PerformanceTiming` becomes `performance_timing`, `HTTPRequest` `http_request`, `page2Load-v3` `page2_load_v3`.
fn snake_case(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 4);
    for (index, character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| characters[before]);
        let starts_word = character.is_ascii_uppercase()
            && before.is_some_and(|before| {
                let word_follows = characters.get(index + 1).is_some_and(char::is_ascii_lowercase);
                before.is_ascii_lowercase() || before.is_ascii_digit() || (before.is_ascii_uppercase() && word_follows)
            });
        if starts_word {
            out.push('_');
        }
        out.push(if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '_' });
    }
    out
}

/// A column's value with its JSON type. What does not fit its type stays a string, so that nothing is hidden.
fn write_typed(column: Column, value: Option<&str>, out: &mut String) {
    let Some(value) = value else {
        out.push_str("null");
        return;
    };
    match column.kind() {
        Kind::Flag if value == "1" => out.push_str("true"),
        Kind::Flag if value == "0" => out.push_str("false"),
        Kind::Int | Kind::Decimal | Kind::Float if is_json_number(value) => out.push_str(value),
        Kind::Timestamp => match time::parse_tsv(value) {
            Some(millis) => {
                out.push('"');
                time::write_instant_fixed(millis, out);
                out.push('"');
            }
            None => write_string(value, out),
        },
        // Already compact: enrich wrote it. Anything else is shown as the text it is.
        Kind::Json if serde_json::from_str::<&RawValue>(value).is_ok() => out.push_str(value),
        _ => write_string(value, out),
    }
}

fn is_json_number(text: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(text).is_ok_and(|number| number.as_str().len() == text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> EnrichedEvent {
        let mut event = EnrichedEvent::new();
        event.set(Column::AppId, "shop");
        event.set(Column::CollectorTstamp, "2023-11-14 22:13:20.123");
        event.set(Column::TxnId, "7");
        event.set(Column::TrTotal, "1.50");
        event.set(Column::BrCookies, "0");
        event.set(Column::GeoLatitude, "37.751");
        event.set(Column::GeoLongitude, "-97.0");
        event.set(
            Column::Contexts,
            r#"{"schema":"iglu:c","data":[{"schema":"iglu:com.acme-eu/userData/jsonschema/1-0-2","data":{"a":1.0}},{"schema":"iglu:org.w3/PerformanceTiming/jsonschema/2-0-0","data":{}}]}"#,
        );
        event.set(
            Column::DerivedContexts,
            r#"{"schema":"iglu:c","data":[{"schema":"iglu:com.acme-eu/user_data/jsonschema/1-0-0","data":{"a":2}}]}"#,
        );
        event.set(
            Column::UnstructEvent,
            r#"{"schema":"iglu:u","data":{"schema":"iglu:com.acme/HTTPRequest/jsonschema/1-0-0","data":{"b":[1]}}}"#,
        );
        event
    }

    #[test]
    fn entities_come_under_their_schemas_and_values_typed() {
        let json = event().to_json().unwrap();
        for expected in [
            r#""app_id":"shop","platform":null"#,
            r#""collector_tstamp":"2023-11-14T22:13:20.123Z""#,
            r#""txn_id":7"#,
            r#""tr_total":1.50"#,
            r#""br_cookies":false"#,
            r#""contexts_com_acme_eu_user_data_1":[{"a":1.0},{"a":2}]"#,
            r#""contexts_org_w3_performance_timing_2":[{}]"#,
            r#""unstruct_event_com_acme_http_request_1":{"b":[1]}"#,
            r#""geo_location":"37.751,-97.0"}"#,
        ] {
            assert!(json.contains(expected), "{expected} is missing in {json}");
        }
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    }

    #[test]
    fn a_column_that_is_no_envelope_is_an_error_and_leaves_the_output_alone() {
        let mut event = event();
        event.set(Column::UnstructEvent, "{");
        let mut out = String::from("before");
        assert!(matches!(TsvRow::from(&event).write_json(&mut out), Err(AnalyticsError::Envelope { .. })));
        assert_eq!(out, "before");
    }

    #[test]
    fn the_loader_form_has_131_members() {
        let mut out = String::new();
        TsvRow::from(&EnrichedEvent::new()).write_loader_json(&mut out);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 131);
        assert_eq!(value["contexts"], serde_json::json!({}));
        assert_eq!(value["unstruct_event"], serde_json::Value::Null);
    }

    #[test]
    fn names_become_snake_case() {
        for (name, expected) in [
            ("OrderPlaced", "order_placed"),
            ("page2Load-v3", "page2_load_v3"),
            ("link_click", "link_click"),
            ("HTTPRequest", "http_request"),
        ] {
            assert_eq!(snake_case(name), expected);
        }
    }
}
