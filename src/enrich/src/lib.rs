//! From collector payloads to enriched events and bad rows: adapters, transformation, validation, enrichments
