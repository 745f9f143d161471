//! Reading schemas, one or many (iglu-server spec, section 4).

use std::sync::Arc;

use bytes::Bytes;

use super::{Outcome, Service};
use crate::core::catalog::{Catalog, Entry};
use crate::core::document::Identity;
use crate::core::permission::Permission;
use crate::core::reply::{Reply, TEXT};
use crate::core::representation::{OVERHEAD, Representation, write};
use crate::core::route::Listed;
use crate::storage::StorageError;

impl Service {
    /// One schema; missing and forbidden look the same.
    pub(super) async fn read(
        &self,
        identity: &Identity,
        representation: Representation,
        caller: &Permission,
    ) -> Outcome {
        let entry = self.registry.catalog().get(&identity.uri()).cloned();
        let Some(entry) = entry.filter(|entry| entry.is_visible_to(caller)) else {
            return Ok(Reply::schema_not_found());
        };
        // Alone it is a plain text, unlike in lists.
        if representation == Representation::Uri {
            let uri = Bytes::copy_from_slice(entry.key.uri().as_bytes());
            return Ok(Reply { content_type: TEXT, ..Reply::json_text(200, uri) });
        }
        let form = representation as u8;
        let etag = format!("\"{:x}-{:x}-{form}\"", entry.updated_us, entry.row_version);
        if let Some(text) = entry.canonical().filter(|_| representation == Representation::Canonical) {
            return Ok(Reply::json_text(200, text).with_etag(etag));
        }
        let Some(body) = self.registry.body(&entry).await? else { return Ok(Reply::schema_not_found()) };
        let mut out = String::with_capacity(body.len() + OVERHEAD);
        write(&mut out, &entry, text_of(&body), representation);
        Ok(Reply::json_text(200, out).with_etag(etag))
    }

    /// The schemas of a list that the caller may see.
    pub(super) async fn list(&self, listed: &Listed, representation: Representation, caller: &Permission) -> Outcome {
        let entries = visible(&self.registry.catalog(), listed, caller);
        if entries.is_empty() && *listed != Listed::All {
            return Ok(Reply::no_schemas());
        }
        let out = match representation {
            Representation::Uri => {
                let mut out = String::with_capacity(entries.iter().map(|entry| entry.key.uri().len() + 3).sum());
                out.push('[');
                for (at, entry) in entries.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    write(&mut out, entry, "", representation);
                }
                out.push(']');
                out
            }
            Representation::Canonical | Representation::Meta => self.whole(&entries, representation).await?,
        };
        Ok(Reply::json_text(200, out))
    }

    async fn whole(&self, entries: &[Arc<Entry>], representation: Representation) -> Result<String, StorageError> {
        // Never closed, so that there is always a permit some time.
        let _permit = self.large_lists.acquire().await.ok();
        let bodies = self.registry.bodies(entries).await?;
        let room = bodies.iter().flatten().map(|body| body.len() + OVERHEAD).sum::<usize>();
        let mut out = String::with_capacity(room + 2);
        out.push('[');
        for (entry, body) in entries.iter().zip(&bodies) {
            let Some(body) = body else { continue };
            if out.len() > 1 {
                out.push(',');
            }
            write(&mut out, entry, text_of(body), representation);
        }
        out.push(']');
        Ok(out)
    }
}

/// Bodies are kept as bytes for being shared; they were texts.
pub(super) fn text_of(body: &Bytes) -> &str {
    std::str::from_utf8(body).unwrap_or_default()
}

fn visible(catalog: &Catalog, listed: &Listed, caller: &Permission) -> Vec<Arc<Entry>> {
    let entries = match listed {
        Listed::All | Listed::Vendor(_) => catalog.all(),
        Listed::Name(vendor, name, _) => catalog.group(vendor, name),
    };
    let wanted = |entry: &Entry| match listed {
        Listed::Vendor(vendor) => entry.key.vendor() == vendor,
        Listed::Name(_, _, Some(model)) => i64::from(entry.key.version().model) == *model,
        Listed::All | Listed::Name(_, _, None) => true,
    };
    entries.iter().filter(|entry| wanted(entry) && entry.is_visible_to(caller)).cloned().collect()
}
