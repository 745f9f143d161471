//! Columns that are computed from others: derived_tstamp, and what the event is called (enrich-core 3.6, 3.7).

use snowmelt_iglu::SchemaKey;
use snowmelt_protocol::event::{Column, EnrichedEvent};

/// When the event happened, as well as it can be known: the true time, else the collector's time less what passed on
/// the device between the event and its sending, else the collector's time.
pub(crate) fn derive_tstamp(event: &mut EnrichedEvent) {
    if event.is_set(Column::TrueTstamp) {
        event.copy(Column::TrueTstamp, Column::DerivedTstamp);
        return;
    }
    let times = [Column::DvceCreatedTstamp, Column::DvceSentTstamp, Column::CollectorTstamp];
    if let [Some(created), Some(sent), Some(collected)] = times.map(|column| event.millis(column))
        && created < sent
    {
        event.set_millis(Column::DerivedTstamp, collected - (sent - created));
    } else {
        event.copy(Column::CollectorTstamp, Column::DerivedTstamp);
    }
}

/// Sets event_vendor, event_name, event_format and event_version. The error is the event type that has no name.
pub(crate) fn name_event(event: &mut EnrichedEvent, unstruct: Option<&SchemaKey>) -> Result<(), Option<String>> {
    let (vendor, name) = match event.get(Column::Event) {
        Some("page_view") => (SNOWPLOW, "page_view"),
        Some("page_ping") => (SNOWPLOW, "page_ping"),
        Some("transaction") => (SNOWPLOW, "transaction"),
        Some("transaction_item") => (SNOWPLOW, "transaction_item"),
        Some("struct") => ("com.google.analytics", "event"),
        Some("unstruct") => {
            if let Some(schema) = unstruct {
                event.set(Column::EventVendor, schema.vendor());
                event.set(Column::EventName, schema.name());
                event.set(Column::EventFormat, schema.format());
                // The version is what stands behind the last slash.
                event.set(Column::EventVersion, schema.uri().rsplit('/').next().unwrap_or_default());
            }
            return Ok(());
        }
        other => return Err(other.map(str::to_owned)),
    };
    event.set(Column::EventVendor, vendor);
    event.set(Column::EventName, name);
    event.set(Column::EventFormat, "jsonschema");
    event.set(Column::EventVersion, "1-0-0");
    Ok(())
}

const SNOWPLOW: &str = "com.snowplowanalytics.snowplow";

/// What is told about an event type without a name.
pub(crate) fn unknown_event(kind: Option<&str>) -> String {
    let kind = kind.unwrap_or("null");
    let indent = " ".repeat(10);
    format!(
        "trying to extract the schema of the enriched event but event type [{kind}] doesn't match\n{indent}any of \
         page_view, page_ping, struct, transaction, transaction_item and unstruct\n{indent}"
    )
}
