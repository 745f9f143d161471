//! What each endpoint does: routes and rights in, answers out.

mod auth;
mod drafts;
mod meta;
mod page;
mod publish;
mod read;
mod validate;

pub(crate) use meta::COMPATIBLE_VERSION;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::assets;
use crate::config::ServerConfig;
use crate::core::api_key::{ApiKey, KeyHash};
use crate::core::document;
use crate::core::permission::Permission;
use crate::core::reply::Reply;
use crate::core::route::{Route, Text};
use crate::hooks::Hooks;
use crate::registry::Registry;
use crate::storage::StorageError;

/// Lists with whole schemas that are made at the same time; such a list can be as large as the registry.
const LARGE_LISTS: usize = 4;

/// The server without its sockets.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) config: ServerConfig,
    pub(crate) registry: Arc<Registry>,
    hooks: Hooks,
    super_key: Option<KeyHash>,
    large_lists: Semaphore,
    draining: AtomicBool,
}

/// What an endpoint gives: the answer, which may well be a refusal; an error is the database's.
type Outcome = Result<Reply, StorageError>;

impl Service {
    pub(crate) fn new(config: ServerConfig, registry: Arc<Registry>, hooks: Hooks) -> Self {
        let super_key = config.super_key.map(|key| key.hash());
        let (large_lists, draining) = (Semaphore::new(LARGE_LISTS), AtomicBool::new(false));
        Self { config, registry, hooks, super_key, large_lists, draining }
    }

    /// From now on the health endpoint may say that the end is near.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The rights of whoever sends this header. A key nobody made has those of nobody: which keys exist is not told.
    pub(crate) fn caller(&self, header: Option<&[u8]>) -> Result<Permission, Reply> {
        let Some(header) = header else { return Ok(Permission::anonymous()) };
        let key = std::str::from_utf8(header).ok().and_then(|text| ApiKey::parse(text.trim()));
        let Some(key) = key else { return Err(Reply::bad_request("Invalid UUID for ApiKey")) };
        let hash = key.hash();
        if self.super_key.is_some_and(|known| known.is(&hash)) {
            return Ok(Permission::super_user());
        }
        let catalog = self.registry.catalog();
        Ok(catalog.permission(&hash).cloned().unwrap_or_else(Permission::anonymous))
    }

    /// Whether the endpoint reads a body.
    pub(crate) const fn takes_body(route: &Route) -> bool {
        matches!(
            route,
            Route::Put(..)
                | Route::Post(_)
                | Route::ValidateSchema
                | Route::ValidateInstance
                | Route::CreateKeys
                | Route::PutDraft(..)
        )
    }

    /// Answers a request whose body, if it takes one, is there.
    pub(crate) async fn answer(&self, route: Route, caller: &Permission, body: Bytes) -> Reply {
        match self.outcome(route, caller, &body).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::error!(%error, "a request failed");
                Reply::storage_failed()
            }
        }
    }

    async fn outcome(&self, route: Route, caller: &Permission, body: &[u8]) -> Outcome {
        let parsed = |body: &[u8]| document::parse(body, self.config.json_depth());
        // A body is looked at before anything else.
        macro_rules! json {
            () => {
                match parsed(body) {
                    Ok(value) => value,
                    Err(reply) => return Ok(reply),
                }
            };
        }
        match route {
            Route::List(listed, representation) => self.list(&listed, representation, caller).await,
            Route::Read(identity, representation) => self.read(&identity, representation, caller).await,
            Route::Put(identity, is_public) => self.put(json!(), identity, is_public, caller).await,
            Route::Post(is_public) => self.post(json!(), is_public, caller).await,
            Route::Delete(identity) => self.delete(&identity, caller).await,
            Route::ValidateSchema => Ok(self.validate_schema(json!(), caller).await),
            Route::ValidateInstance => self.validate_instance(json!(), caller).await,
            Route::CreateKeys => self.create_keys(&json!(), caller).await,
            Route::DeleteKey(uuid) => self.delete_key(uuid, caller).await,
            Route::Health => Ok(self.health()),
            Route::DatabaseHealth => Ok(self.database_health().await),
            Route::ServerInfo => Ok(self.server_info(caller)),
            Route::ListDrafts => self.list_drafts(caller).await,
            Route::ReadDraft(id) => self.read_draft(&id, caller).await,
            Route::PutDraft(id, is_public) => self.put_draft(&id, is_public, &json!(), caller).await,
            Route::Debug => Ok(Reply::text(501, "Cannot show the state of a registry that is kept in a database")),
            Route::Description(service, text) => {
                let description: Value = crate::description::describe(service, &self.config.base_url);
                let reply = Reply::json(200, &description);
                Ok(match text {
                    Text::Json => reply,
                    Text::Yaml => Reply { content_type: "text/yaml; charset=UTF-8", ..reply },
                })
            }
            Route::Page(asset) => {
                let reply = Reply { content_type: asset.content_type, ..Reply::text(200, asset.text) };
                Ok(reply.with_etag(assets::etag().to_owned()))
            }
            Route::Details(identity) => self.details(&identity, caller).await,
            Route::Compare(identity, with) => self.compare(&identity, with, caller).await,
        }
    }
}

/// Runs work that takes long for one request beside the event loop.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Reply> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "work on a request did not end");
        Reply::message(500, "The request could not be worked on")
    })
}
