//! Where the loaders get the schemas of an entity from: every version of one model, in the registry's order.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use snowmelt_iglu::{RegistryError, ResolutionError, Resolver, Schema, SchemaKey};
use snowmelt_protocol::badrow::{IgluError, LoaderIgluMessage, LookupHistory, RegistryError as BadRowRegistryError};

/// One version in a registry's list.
#[derive(Debug, Clone)]
pub struct ListedSchema {
    /// The schema's key.
    pub key: SchemaKey,
    /// The schema's document.
    pub document: Arc<Value>,
}

/// Why the versions of a model are not to be had.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaFailure {
    /// What stands in the bad row.
    pub message: LoaderIgluMessage,
    /// Waiting can help: a registry did not answer. Such a failure is retried before it becomes a bad row.
    pub transient: bool,
}

/// Lists the schemas of one model. Called once a model and again when an unknown version arrives, never per event.
#[async_trait]
pub trait SchemaProvider: Send + Sync + 'static {
    /// Every version of the key's model in the registry's order, documents included.
    ///
    /// # Errors
    /// [`SchemaFailure`] when no registry has a list or one of its schemas cannot be fetched.
    async fn versions(&self, key: &SchemaKey) -> Result<Vec<ListedSchema>, SchemaFailure>;
}

#[async_trait]
impl SchemaProvider for Resolver {
    async fn versions(&self, key: &SchemaKey) -> Result<Vec<ListedSchema>, SchemaFailure> {
        let model = key.version().model;
        let versions = match self.list(key.vendor(), key.name(), model).await {
            Ok(versions) => versions,
            Err(error) => {
                // Registries without lists: the versions that can be found by their numbers.
                if !error.is_system_failure()
                    && let Ok(schemas) = self.schemas_up_to(key).await
                    && !schemas.is_empty()
                {
                    return Ok(schemas.iter().map(listed).collect());
                }
                let criterion = format!("iglu:{}/{}/jsonschema/{model}-*-*", key.vendor(), key.name());
                let transient = error.is_system_failure();
                let message = LoaderIgluMessage::SchemaListNotFound { criterion, error: iglu_error(&error) };
                return Err(SchemaFailure { message, transient });
            }
        };
        let mut all = Vec::with_capacity(versions.len());
        for version in versions.iter() {
            let key = key.with_version(*version);
            let schema = self.resolve(&key).await.map_err(|error| SchemaFailure {
                transient: error.is_system_failure(),
                message: LoaderIgluMessage::Iglu { schema_key: key.uri().to_owned(), error: iglu_error(&error) },
            })?;
            all.push(ListedSchema { key, document: Arc::new(schema.document().clone()) });
        }
        Ok(all)
    }
}

fn listed(schema: &Arc<Schema>) -> ListedSchema {
    ListedSchema { key: schema.key().clone(), document: Arc::new(schema.document().clone()) }
}

/// The resolver's error as it stands in bad rows.
fn iglu_error(error: &ResolutionError) -> IgluError {
    let history = error.history.iter().map(|(repository, history)| LookupHistory {
        repository: repository.clone(),
        errors: history.errors.iter().map(registry_error).collect(),
        attempts: history.attempts,
        last_attempt_millis: history.last_attempt_ms,
    });
    IgluError::Resolution(history.collect())
}

fn registry_error(error: &RegistryError) -> BadRowRegistryError {
    match error {
        RegistryError::NotFound => BadRowRegistryError::NotFound,
        RegistryError::RepoFailure(message) => BadRowRegistryError::RepoFailure(message.clone()),
        RegistryError::ClientFailure(message) => BadRowRegistryError::ClientFailure(message.clone()),
    }
}
