//! The length check of text columns (enrich-core 4.4).

use snowmelt_protocol::badrow::ValidationReport;
use snowmelt_protocol::event::{Column, EnrichedEvent};

/// Longest texts by column, in UTF-16 units.
#[derive(Debug, Clone)]
pub struct Limits {
    limits: Vec<(Column, u32)>,
}

/// Limits were configured for names that have none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Configured atomic fields: [{}] are not supported.\nSupported fields: [{}]", .unsupported.join(","), supported())]
pub struct UnsupportedLimits {
    /// The names.
    pub unsupported: Vec<String>,
}

fn supported() -> String {
    let names: Vec<&str> =
        Column::ALL.iter().filter(|column| column.max_length().is_some()).map(|c| c.name()).collect();
    names.join(",")
}

impl Default for Limits {
    fn default() -> Self {
        let limits = Column::ALL.iter().filter_map(|&column| Some((column, column.max_length()?))).collect();
        Limits { limits }
    }
}

impl Limits {
    /// The defaults with some limits replaced, by column name.
    pub fn with_overrides<'a>(overrides: impl IntoIterator<Item = (&'a str, u32)>) -> Result<Self, UnsupportedLimits> {
        let mut all = Limits::default();
        let mut unsupported = Vec::new();
        for (name, limit) in overrides {
            match all.limits.iter_mut().find(|(column, _)| column.name() == name) {
                Some(entry) => entry.1 = limit,
                None => unsupported.push(name.to_owned()),
            }
        }
        if unsupported.is_empty() { Ok(all) } else { Err(UnsupportedLimits { unsupported }) }
    }

    /// Whether a text of so many UTF-16 units is never too long for a column.
    pub(crate) fn allow(&self, column: Column, units: usize) -> bool {
        self.limits.iter().all(|&(limited, limit)| limited != column || units <= limit as usize)
    }

    /// Columns whose text is too long, in column order, with their limits.
    pub(crate) fn exceeded(&self, event: &EnrichedEvent) -> Vec<(Column, u32)> {
        let too_long = |&&(column, limit): &&(Column, u32)| {
            // A text has at most as many UTF-16 units as bytes.
            event.len_of(column) > limit as usize && event.text(column).encode_utf16().count() > limit as usize
        };
        self.limits.iter().filter(too_long).copied().collect()
    }
}

/// Columns that keep their text although it is too long: an event is not an event without them.
pub(crate) const KEPT: [Column; 3] = [Column::EventId, Column::VCollector, Column::VEtl];

pub(crate) fn report(column: Column, limit: u32) -> ValidationReport {
    ValidationReport {
        message: format!("Field is longer than maximum allowed size {limit}").into(),
        path: Some(column.name().into()),
        keyword: Some("atomic_field_length_exceeded".into()),
        targets: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_can_be_set_only_for_the_84_text_columns() {
        assert_eq!(Limits::default().limits.len(), 84);
        let error = Limits::with_overrides([("app_id", 1), ("nope", 1), ("contexts", 1)]).unwrap_err();
        assert!(
            error.to_string().starts_with(
                "Configured atomic fields: [nope,contexts] are not supported.\nSupported fields: [app_id,"
            )
        );
    }

    #[test]
    fn lengths_count_utf16_units() {
        let limits = Limits::with_overrides([("app_id", 3)]).unwrap();
        let mut event = EnrichedEvent::new();
        event.set(Column::AppId, "éé\u{e9}");
        assert!(limits.exceeded(&event).is_empty());
        event.set(Column::AppId, "😀😀");
        assert_eq!(limits.exceeded(&event), [(Column::AppId, 3)]);
    }
}
