//! Iglu schema keys, registries, resolver, validation and Postgres DDL
