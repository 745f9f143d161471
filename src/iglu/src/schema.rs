//! One schema: its document and everything that is derived from it once, for many validations.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use snowmelt_protocol::document::Node;

use crate::validate::{self, Data, Validator, Violation, is_within_depth};
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

/// Answers of the registries laid over a source, for the second try of work that named what it needs: they count even
/// where the source keeps nothing or has dropped them already.
pub struct Overlay<'s> {
    below: &'s dyn SchemaSource,
    answers: HashMap<SchemaKey, Lookup>,
}

impl<'s> Overlay<'s> {
    /// An empty overlay.
    #[must_use]
    pub fn new(below: &'s dyn SchemaSource) -> Self {
        Self { below, answers: HashMap::new() }
    }

    /// Adds an answer of [`crate::Resolver::resolve`].
    pub fn insert(&mut self, key: SchemaKey, answer: Lookup) {
        self.answers.insert(key, answer);
    }
}

impl SchemaSource for Overlay<'_> {
    fn lookup(&self, key: &SchemaKey) -> Option<Lookup> {
        self.lookup_uri(key.uri())
    }

    fn lookup_uri(&self, uri: &str) -> Option<Lookup> {
        self.answers.get(uri).cloned().or_else(|| self.below.lookup_uri(uri))
    }
}

/// A schema, ready to validate. Cheap to share, immutable.
#[derive(Debug)]
pub struct Schema {
    key: SchemaKey,
    superseded_by: Option<SchemaVer>,
    document: Value,
    validator: Validator,
    issues: Vec<SchemaIssue>,
}

impl Schema {
    /// Checks and compiles a document that was requested as `key`. Never fails: a faulty schema has [`Schema::issues`],
    /// among them one nested deeper than `max_json_depth`.
    #[must_use]
    pub fn new(key: SchemaKey, document: Value, max_json_depth: usize) -> Self {
        let issues = validate::schema_issues(&document, max_json_depth);
        // A faulty document is never walked, and may be too deep to compile.
        let validator = Validator::new(if issues.is_empty() { &document } else { &Value::Null });
        Self { key, superseded_by: None, document, validator, issues }
    }

    /// The same, with the document of a newer version that is used in place of the requested one.
    #[must_use]
    pub fn superseded(key: SchemaKey, by: SchemaVer, document: Value, max_json_depth: usize) -> Self {
        Self { superseded_by: Some(by), ..Self::new(key, document, max_json_depth) }
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

    /// Whether `data` is valid. Allocates nothing. For a schema with [`Schema::issues`] the answer means nothing.
    #[must_use]
    pub fn is_valid(&self, data: &Value) -> bool {
        self.validator.is_valid(data)
    }

    /// Every violation by `data`, each once (at least one in an `Err`), at most 1000. Where the data reaches a part of
    /// the schema that cannot be used (a broken `$ref` or `pattern`), one report with path `$` and no keyword says so.
    /// Looks at neither [`Schema::issues`] nor depth; see [`Schema::check`].
    pub fn validate(&self, data: &Value) -> Result<(), Vec<Report>> {
        self.validator.validate(data).map_err(|violation| match violation {
            Violation::Data(reports) => reports,
            Violation::Schema(SchemaIssue { path, message }) => {
                vec![Report { message, path, keyword: None, targets: Vec::new() }]
            }
        })
    }

    /// All steps of validating one value once its schema is there (iglu-client 9): faults of the schema, depth of the
    /// data (a scalar has depth 1), then violations. Gives the superseding version that was used, if any.
    pub fn check(&self, data: &Value, max_json_depth: usize) -> Result<Option<SchemaVer>, ClientError> {
        let superseded_by = self.superseded_by;
        if self.issues.is_empty() && !is_within_depth(data, max_json_depth) {
            return Err(ClientError::Data { reports: vec![validate::too_deep()], superseded_by });
        }
        self.judge(data)
    }

    /// [`Schema::check`] for a value of a document whose depth the parser has limited already (`None`: it is deeper
    /// than allowed). Makes no tree of it: what is valid costs no allocation.
    pub fn check_document(&self, data: Option<Node<'_>>) -> Result<Option<SchemaVer>, ClientError> {
        match data {
            Some(data) => self.judge(data),
            None if self.issues.is_empty() => {
                Err(ClientError::Data { reports: vec![validate::too_deep()], superseded_by: self.superseded_by })
            }
            None => self.judge(&Value::Null),
        }
    }

    fn judge<'d>(&self, data: impl Data<'d>) -> Result<Option<SchemaVer>, ClientError> {
        let superseded_by = self.superseded_by;
        if !self.issues.is_empty() {
            return Err(ClientError::Schema { issues: self.issues.clone(), superseded_by });
        }
        match self.validator.validate(data) {
            Ok(()) => Ok(superseded_by),
            Err(Violation::Data(reports)) => Err(ClientError::Data { reports, superseded_by }),
            Err(Violation::Schema(issue)) => Err(ClientError::Schema { issues: vec![issue], superseded_by }),
        }
    }
}
