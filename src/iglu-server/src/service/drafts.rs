//! Drafts (iglu-server spec, section 10). The original stores one and answers 501, and lists them without brackets;
//! here they work.

use serde_json::value::RawValue;
use serde_json::{Value, json};
use snowmelt_iglu::{SchemaKey, SchemaVer};

use super::{Outcome, Service};
use crate::core::permission::Permission;
use crate::core::reply::Reply;
use crate::core::representation::instant;
use crate::core::route::DraftId;
use crate::storage::Draft;

impl Service {
    /// Every draft that the caller may see.
    pub(super) async fn list_drafts(&self, caller: &Permission) -> Outcome {
        let drafts = self.registry.storage.drafts().await?;
        let visible = drafts.iter().filter(|draft| draft.is_public || caller.may_read(&draft.id.vendor));
        let shown: Vec<Box<RawValue>> = visible.filter_map(shown).collect();
        Ok(Reply::json(200, &shown))
    }

    /// One draft. That it is public is not enough here.
    pub(super) async fn read_draft(&self, id: &DraftId, caller: &Permission) -> Outcome {
        if !caller.may_read(&id.vendor) || !is_legal(id) {
            return Ok(Reply::schema_not_found());
        }
        let draft = self.registry.storage.draft(id).await?;
        let found = draft.as_ref().and_then(shown);
        Ok(found.map_or_else(Reply::schema_not_found, |draft| Reply::json(200, &draft)))
    }

    /// Stores a draft, over an earlier one.
    pub(super) async fn put_draft(&self, id: &DraftId, is_public: bool, body: &Value, caller: &Permission) -> Outcome {
        if !caller.may_create(&id.vendor) {
            return Ok(Reply::not_authorized());
        }
        if !is_legal(id) {
            return Ok(Reply::bad_request("Vendor, name and format of a draft must be those of a schema"));
        }
        let is_new = self.registry.storage.put_draft(id, is_public, &body.to_string()).await?;
        let (message, status) = if is_new { ("Draft created", 201) } else { ("Draft updated", 200) };
        let location = format!("{}/{}/{}/{}", id.vendor, id.name, id.format, id.version);
        let answer = json!({"message": message, "updated": !is_new, "location": location, "status": status});
        Ok(Reply::json(status, &answer))
    }
}

/// Whether the names are ones that a schema can have.
fn is_legal(id: &DraftId) -> bool {
    SchemaKey::new(&id.vendor, &id.name, &id.format, SchemaVer::new(1, 0, 0)).is_ok()
}

/// The body stays as it is stored.
fn shown(draft: &Draft) -> Option<Box<RawValue>> {
    let id = &draft.id;
    let head = json!({
        "schemaMap": {"vendor": id.vendor, "name": id.name, "format": id.format, "version": id.version},
        "metadata": {
            "createdAt": instant(draft.created_us),
            "updatedAt": instant(draft.updated_us),
            "isPublic": draft.is_public,
        },
    })
    .to_string();
    let text = format!("{},\"body\":{}}}", &head[..head.len() - 1], draft.body);
    RawValue::from_string(text).ok()
}
