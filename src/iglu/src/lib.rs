//! Iglu schema keys, registries, resolver, validation and Postgres DDL

mod config;
pub mod ddl;
mod error;
mod key;
mod resolver;
mod schema;
mod self_describing;
mod validate;

pub use config::{ConfigError, Connection, Repository, ResolverConfig};
pub use error::{ClientError, LookupHistory, RegistryError, Report, ResolutionError, SchemaIssue};
pub use key::{SchemaCriterion, SchemaKey, SchemaVer};
pub use resolver::{Clock, Resolver, ResolverError, ResolverOptions, ResolverStats, system_clock};
pub use schema::{Lookup, Overlay, Schema, SchemaSource};
pub use self_describing::{META_SCHEMA, ParseError, SelfDescribing, schema_key_of};
pub use validate::is_within_depth;
