//! What the web page asks for beside the interface of the original.

use std::sync::Arc;

use serde_json::{Value, json};
use snowmelt_iglu::lint::{Level, lint};
use snowmelt_iglu::{SchemaKey, SchemaVer};

use super::read::text_of;
use super::{Outcome, Service, aside};
use crate::core::catalog::Entry;
use crate::core::document::{DEEPEST, Identity};
use crate::core::page::{compare, fields_of, table_of};
use crate::core::permission::Permission;
use crate::core::reply::Reply;
use crate::core::representation::{Representation, instant, write};
use crate::storage::StorageError;

/// Most versions that a table is derived of for the page; the loaders take as many.
const MOST_VERSIONS: usize = 1_000;
/// Most text of schemas that is read for one request.
const MOST_BYTES: usize = 16 << 20;

impl Service {
    /// One schema with its fields, the table of its model up to it, and what the lint says.
    pub(super) async fn details(&self, identity: &Identity, caller: &Permission) -> Outcome {
        let (entry, model) = {
            let catalog = self.registry.catalog();
            let Some(entry) = catalog.get(&identity.uri()).filter(|entry| entry.is_visible_to(caller)).cloned() else {
                return Ok(Reply::schema_not_found());
            };
            let of_model = |other: &&Arc<Entry>| {
                let (own, other) = (&entry.key, &other.key);
                other.format() == own.format()
                    && other.version().model == own.version().model
                    && other.version() <= own.version()
            };
            let group = catalog.group(entry.key.vendor(), entry.key.name());
            let visible = group.iter().filter(of_model).filter(|other| other.is_visible_to(caller));
            let mut model: Vec<Arc<Entry>> = visible.cloned().collect();
            model.sort_by_key(|entry| entry.key.version());
            (entry, model)
        };
        // Never closed, so that there is always a permit some time.
        let _permit = self.large_lists.acquire().await.ok();
        let Some(document) = self.document(&entry).await? else { return Ok(Reply::schema_not_found()) };
        let versions = if entry.key.format() == "jsonschema" { self.documents(&model).await? } else { None };
        let shown = aside(move || details(&entry, &document, versions.as_deref())).await;
        Ok(shown.unwrap_or_else(|reply| reply))
    }

    /// What changed between two versions of a name, whichever is named first.
    pub(super) async fn compare(&self, identity: &Identity, with: SchemaVer, caller: &Permission) -> Outcome {
        let other = Identity { version: with, ..identity.clone() };
        let mut documents = Vec::with_capacity(2);
        for identity in [identity, &other] {
            let entry = self.registry.catalog().get(&identity.uri()).cloned();
            let Some(entry) = entry.filter(|entry| entry.is_visible_to(caller)) else {
                return Ok(Reply::schema_not_found());
            };
            let Some(document) = self.document(&entry).await? else { return Ok(Reply::schema_not_found()) };
            documents.push((identity.version, document));
        }
        documents.sort_by_key(|(version, _)| *version);
        let compared = aside(move || {
            let parsed: Vec<(SchemaVer, Value)> =
                documents.iter().map(|(version, text)| (*version, parse(text))).collect();
            let [(older, before), (newer, after)] = parsed.as_slice() else { return Reply::schema_not_found() };
            let comparison = compare((*older, before), (*newer, after));
            let versions = json!({"older": older.to_string(), "newer": newer.to_string()});
            Reply::json(200, &json!({"versions": versions, "comparison": comparison}))
        });
        Ok(compared.await.unwrap_or_else(|reply| reply))
    }

    /// The canonical text of a schema; `None` when it has gone in this moment.
    async fn document(&self, entry: &Entry) -> Result<Option<String>, StorageError> {
        let Some(body) = self.registry.body(entry).await? else { return Ok(None) };
        let mut text = String::with_capacity(body.len());
        write(&mut text, entry, text_of(&body), Representation::Canonical);
        Ok(Some(text))
    }

    /// The texts of many schemas; `None` when they are too many to look at for one request.
    async fn documents(&self, entries: &[Arc<Entry>]) -> Result<Option<Vec<(SchemaKey, String)>>, StorageError> {
        if entries.len() > MOST_VERSIONS {
            return Ok(None);
        }
        let bodies = self.registry.bodies(entries).await?;
        if bodies.iter().flatten().map(|body| body.len()).sum::<usize>() > MOST_BYTES {
            return Ok(None);
        }
        let text = |body| format!("{{{}}}", text_of(body));
        let found =
            entries.iter().zip(&bodies).filter_map(|(entry, body)| Some((entry.key.clone(), text(body.as_ref()?))));
        Ok(Some(found.collect()))
    }
}

/// What is stored has been JSON.
fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn details(entry: &Entry, document: &str, versions: Option<&[(SchemaKey, String)]>) -> Reply {
    let value = parse(document);
    let table = versions.map(|versions| {
        let parsed: Vec<(SchemaKey, Value)> = versions.iter().map(|(key, text)| (key.clone(), parse(text))).collect();
        let borrowed: Vec<(SchemaKey, &Value)> = parsed.iter().map(|(key, value)| (key.clone(), value)).collect();
        table_of(&borrowed).map_err(|error| {
            let version = borrowed.get(error.version()).map(|(key, _)| key.version().to_string());
            format!("{}: {error}", version.unwrap_or_default())
        })
    });
    let (table, why_not) = match table {
        Some(Ok(table)) => (Some(table), None),
        Some(Err(reason)) => (None, Some(reason)),
        None => (None, None),
    };
    let mut issues = lint(&value, DEEPEST);
    let weight = |level: Level| match level {
        Level::Error => 0,
        Level::Warning => 1,
        Level::Info => 2,
    };
    issues.sort_by(|a, b| (weight(a.level), &a.pointer, &a.message).cmp(&(weight(b.level), &b.pointer, &b.message)));
    let shown = json!({
        "uri": entry.key.uri(),
        "metadata": {
            "createdAt": instant(entry.created_us),
            "updatedAt": instant(entry.updated_us),
            "isPublic": entry.is_public,
        },
        "supersededBy": entry.superseded_by.map(|version| version.to_string()),
        // As a text: browsers would round large numbers.
        "text": format!("{value:#}"),
        "description": value.get("description").and_then(Value::as_str),
        "fields": fields_of(&value),
        "table": table,
        "noTable": why_not,
        "issues": issues,
    });
    Reply::json(200, &shown)
}
