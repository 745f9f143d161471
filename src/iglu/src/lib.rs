//! Iglu: what schemas are called, where they are found, what they say of data, and which tables they become.
//!
//! * [`SchemaKey`], [`SchemaVer`], [`SchemaCriterion`], [`SelfDescribing`]: names of schemas and how data carries them.
//! * [`Resolver`]: finds schemas in the built-in registry, in directories and over HTTP, and remembers the answers.
//! * [`Schema`]: one schema, compiled; [`Schema::check`] gives the verdict and the words of the reference validator.
//! * [`SchemaSource`]: all that pure code sees of the above, schemas that are in memory.
//! * [`ddl`]: schemas as columns and statements of Postgres.
//! * [`lint`]: what is wrong or doubtful about a schema, before it is published.
//!
//! Validation is a walk of our own over a compiled schema and not the `jsonschema` crate: the reference reads draft 4
//! in ways no general crate does (`$ref` with siblings, Java's regular expressions, its own formats, `1` apart from
//! `1.0`, broken parts that matter only when data reaches them). One generic walk gives both the fast answer and the
//! reports, so they cannot disagree; tests hold it against `jsonschema` where the two mean the same.

mod config;
pub mod ddl;
mod error;
mod key;
pub mod lint;
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
