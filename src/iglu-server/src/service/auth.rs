//! Making and deleting keys (iglu-server spec, section 8).

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Outcome, Service};
use crate::core::api_key::ApiKey;
use crate::core::permission::{Permission, Scope};
use crate::core::reply::Reply;

/// Longest prefix that the database takes.
const LONGEST_PREFIX: usize = 128;

impl Service {
    /// A read key and a write key for a vendor prefix.
    pub(super) async fn create_keys(&self, body: &Value, caller: &Permission) -> Outcome {
        let Some(prefix) = body.get("vendorPrefix").and_then(Value::as_str) else { return Ok(Reply::invalid_body()) };
        if !caller.may_create_keys() {
            return Ok(Reply::message(403, "Not sufficient privileges to create keys"));
        }
        let scope = Scope::of_prefix(prefix);
        let asked = scope.vendor();
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if asked.len() > LONGEST_PREFIX || !asked.bytes().all(legal) {
            return Ok(Reply::invalid_body());
        }
        if !caller.scope.covers_scope(&scope) {
            let asked = if scope == Scope::Everything { "'wildcard vendor'" } else { asked };
            return Ok(Reply::message(403, &format!("Cannot create {asked} using your permissions")));
        }
        let (read, write) = (ApiKey::random(), ApiKey::random());
        let keys = [(read, Permission::read_only(scope.clone())), (write, Permission::write(scope.clone()))];
        self.registry.storage.add_keys(&keys).await?;
        self.registry.refresh_after_write().await;
        tracing::info!(prefix = scope.vendor(), "made a pair of keys");
        Ok(Reply::json(200, &json!({"read": read.reveal(), "write": write.reveal()})))
    }

    /// Deletes one key, of whatever scope; an unknown one is no mistake.
    pub(super) async fn delete_key(&self, uuid: Uuid, caller: &Permission) -> Outcome {
        if !caller.may_delete_keys() {
            return Ok(Reply::message(403, "Not sufficient privileges to delete key"));
        }
        self.registry.storage.delete_key(&ApiKey::new(uuid)).await?;
        self.registry.refresh_after_write().await;
        tracing::info!("deleted a key");
        Ok(Reply::message(200, "Keys have been deleted"))
    }
}
