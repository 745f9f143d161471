//! Where the loaders get the schemas of an entity from: every version of one model, in the registry's order.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

/// One version in a registry's list.
#[derive(Debug, Clone)]
pub struct ListedSchema {
    /// `iglu:vendor/name/format/version`.
    pub uri: String,
    /// The schema's document.
    pub document: Arc<Value>,
}

/// Why the versions of a model are not to be had.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaFailure {
    /// The member of `loader_iglu_error`'s `failure` list, without the key that names the schema:
    /// `{"error":"ResolutionError","lookupHistory":[...]}`.
    pub error: Value,
    /// The version which could not be fetched; absent when the list itself was missing.
    pub uri: Option<String>,
    /// Waiting can help: a registry did not answer. Such a failure is retried before it becomes a bad row.
    pub transient: bool,
}

/// Lists the schemas of one model. Called once a model and again when an unknown version arrives, never per event.
#[async_trait]
pub trait SchemaProvider: Send + Sync + 'static {
    /// Every version of `vendor/name/jsonschema/model-*-*` in the registry's order, documents included.
    ///
    /// # Errors
    /// [`SchemaFailure`] when no registry has a list or one of its schemas cannot be fetched.
    async fn versions(
        &self,
        vendor: &str,
        name: &str,
        model: u32,
    ) -> Result<Vec<ListedSchema>, SchemaFailure>;
}
