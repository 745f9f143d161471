//! The enriched event: 131 columns (enrich-core section 4), its TSV line and its JSON forms.

mod analytics;
mod column;
mod enriched;
mod number;
mod partial;
mod tsv;

pub use analytics::AnalyticsError;
pub use column::{COLUMN_COUNT, Column, Kind};
pub use enriched::EnrichedEvent;
pub use number::write_float;
pub use tsv::{TsvError, TsvRow};
