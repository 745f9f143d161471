//! Health, and what the server is (iglu-server spec, section 9).

use std::sync::atomic::Ordering;

use serde_json::json;

use super::Service;
use crate::core::permission::Permission;
use crate::core::reply::{Reply, TEXT};

/// The release of the original whose interface this is: clients look at it.
pub const COMPATIBLE_VERSION: &str = "0.14.0";

impl Service {
    pub(super) fn health(&self) -> Reply {
        if self.config.pre_termination_unhealthy && self.draining.load(Ordering::Relaxed) {
            return Reply::text(503, "Service Unavailable");
        }
        Reply::text(200, "OK")
    }

    pub(super) async fn database_health(&self) -> Reply {
        match self.registry.storage.ping().await {
            Ok(()) => Reply::text(200, "OK"),
            Err(error) => {
                tracing::warn!(%error, "the database does not answer");
                Reply { content_type: TEXT, ..Reply::text(500, "") }
            }
        }
    }

    pub(super) fn server_info(&self, caller: &Permission) -> Reply {
        let catalog = self.registry.catalog();
        let readable = catalog.all().iter().filter(|entry| caller.may_read(entry.key.vendor())).count();
        let info = json!({
            "version": COMPATIBLE_VERSION,
            "authInfo": {"vendor": caller.scope.vendor(), "schema": caller.schema, "key": caller.keys},
            "database": "postgres",
            "schemaCount": readable,
            "debug": self.config.debug,
            "patchesAllowed": self.config.patches_allowed,
        });
        Reply::json(200, &info)
    }
}
