//! Publishing and deleting schemas (iglu-server spec, section 5).

use serde_json::{Value, json};
use snowmelt_iglu::lint::{Issue, Level, lint};

use super::{Outcome, Service, aside};
use crate::core::document::{Identity, Submitted};
use crate::core::permission::Permission;
use crate::core::reply::Reply;
use crate::core::representation::members_of;
use crate::storage::{Publication, Published};

/// Depth of a document that is nothing but its identity.
const IDENTITY_DEPTH: usize = 3;

impl Service {
    /// Publishes under the identity of the path.
    pub(super) async fn put(&self, body: Value, identity: Identity, is_public: bool, caller: &Permission) -> Outcome {
        let submitted = match Submitted::read(body) {
            Ok(submitted) => submitted,
            Err(reply) => return Ok(reply),
        };
        if let Some(own) = submitted.key.as_ref().filter(|own| own.uri() != identity.uri()) {
            let mismatch = json!({
                "uriSchemaKey": identity.uri(),
                "payloadSchemaKey": own.uri(),
                "message": "Mismatch: the schema metadata does not match the payload and URI",
            });
            return Ok(Reply::json(400, &mismatch));
        }
        self.publish(submitted, identity, is_public, caller).await
    }

    /// Publishes under the identity of the body.
    pub(super) async fn post(&self, body: Value, is_public: bool, caller: &Permission) -> Outcome {
        let submitted = match Submitted::read(body) {
            Ok(submitted) => submitted,
            Err(reply) => return Ok(reply),
        };
        let Some(identity) = submitted.key.as_ref().map(Identity::of) else {
            return Ok(Reply::bad_request("Cannot decode JSON schema"));
        };
        self.publish(submitted, identity, is_public, caller).await
    }

    async fn publish(&self, submitted: Submitted, identity: Identity, is_public: bool, caller: &Permission) -> Outcome {
        if !caller.may_create(&identity.vendor) {
            return Ok(Reply::not_authorized());
        }
        let document = submitted.document(&identity);
        let max_depth = self.config.json_depth().max(IDENTITY_DEPTH);
        let issues = match aside(move || lint(&document, max_depth)).await {
            Ok(issues) => issues,
            Err(reply) => return Ok(reply),
        };
        if issues.iter().any(|issue| issue.level == Level::Error) {
            return Ok(refused(&issues));
        }
        let Some(key) = identity.key() else {
            return Ok(Reply::bad_request("Vendor, name and format of a schema may have at most 128 characters each"));
        };
        let supersedes = submitted.supersedes.clone();
        let body = format!("{{{}}}", members_of(submitted.into_members()));
        let publication = Publication { key: &key, is_public, supersedes: &supersedes, body: &body };
        let published = self.registry.storage.publish(&publication, self.config.patches_allowed).await?;
        let (message, status) = match published {
            Published::Refused(conflict) => return Ok(Reply::message(409, &conflict.to_string())),
            Published::Created => ("Schema created", 201),
            Published::Patched => ("Schema updated", 200),
        };
        self.registry.refresh_after_write().await;
        let updated = published == Published::Patched;
        self.hooks.published(&key, updated);
        tracing::info!(schema = %key, updated, public = is_public, "published");
        let answer = json!({"message": message, "updated": updated, "location": key.uri(), "status": status});
        Ok(Reply::json(status, &answer))
    }

    /// Removes a schema, where versions may change at all.
    pub(super) async fn delete(&self, identity: &Identity, caller: &Permission) -> Outcome {
        if !caller.is_super() {
            return Ok(Reply::message(401, "Not enough permissions"));
        }
        if !self.config.patches_allowed {
            return Ok(Reply::message(405, "DELETE is forbidden on production registry"));
        }
        if let Some(key) = identity.key() {
            self.registry.storage.delete(&key).await?;
            self.registry.refresh_after_write().await;
            tracing::info!(schema = %key, "deleted");
        }
        Ok(Reply::message(200, "Schema deleted"))
    }
}

/// A schema with what is wrong with it, at this status.
pub(super) fn report(status: u16, issues: &[Issue]) -> Reply {
    let message = "The schema does not conform to a JSON Schema v4 specification";
    Reply::json(status, &json!({"message": message, "report": issues}))
}

fn refused(issues: &[Issue]) -> Reply {
    report(400, issues)
}
