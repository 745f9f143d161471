//! From collector payloads to enriched events and bad rows: adapters, transformation, validation, enrichments
//! (spec: enrich-core, enrich-adapters, enrichments).
//!
//! Pure: [`Enrich::record`] takes bytes, the time and the schemas in memory, and gives records for the output streams.
//! It knows no clock and no network and draws no random number: event ids come from the record's seed, so that a
//! record read again after a crash gives the same events. Only [`config`] reads files.

mod adapters;
mod base64;
mod batch;
pub mod config;
mod convert;
mod decimal;
mod derived;
mod enrich;
pub mod enrichments;
mod event;
mod failed;
mod fields;
mod fingerprints;
mod ids;
mod lengths;
mod outputs;
mod parameters;
mod querystring;
mod request;
mod selfdescribing;
mod uri;
mod validation;

pub use batch::Batch;
pub use config::EnrichConfig;
pub use enrich::{Context, Enrich, MAX_OUTPUT_BYTES, Needs, OUTPUT_FACTOR, SPARE_OUTPUT_BYTES, Scratch};
pub use ids::RecordSeed;
pub use lengths::{Limits, UnsupportedLimits};
pub use outputs::{Counts, Lengths, OutRecord, Outputs};
pub use parameters::{Pair, Parameters};
pub use request::{Request, Source};
pub use uri::{Uri, UriError};
