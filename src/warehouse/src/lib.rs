//! Postgres: a private cluster, tables made from schemas, loading by COPY
