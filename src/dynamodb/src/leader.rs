//! What a fleet of the Kinesis Client Library 3 tells of itself, in tables of its own or in the lease table. Spec: kinesis-leases 5.3
//! to 5.5, 6.

use aws_sdk_dynamodb::types::AttributeValue;
use snowmelt_leases::fleet::Coordinator;

use crate::codec::{attribute, text};
use crate::fault::{Fault, Item};
use crate::ops::Table;

/// Takes what a row says, if it says anything here. `key` names its key.
fn note(coordinator: &mut Coordinator, item: &Item, key: &str) {
    let string = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    let Some(id) = string(key) else { return };
    if let Some(version) = string("cv") {
        coordinator.client_version = Some(version.clone());
    }
    if let Some(AttributeValue::N(updated)) = item.get("lut")
        && let Ok(updated) = updated.parse()
    {
        coordinator.updated.insert(id.clone(), updated);
    }
}

/// Takes what a row of the lease table says that is no lease: a fleet may keep everything in one table.
pub fn note_foreign(coordinator: &mut Coordinator, item: &Item) {
    if item.contains_key(attribute::ENTITY_TYPE) {
        note(coordinator, item, attribute::KEY);
    }
}

/// Reads the tables that a fleet keeps beside its lease table; those that are missing say nothing.
pub async fn read(coordinator: &mut Coordinator, app: &str, table: &Table) -> Result<(), Fault> {
    let state = format!("{app}-CoordinatorState");
    let read = table.client.get_item().table_name(&state).key("key", text("Migration3.0")).send().await;
    match read {
        Ok(answer) => {
            if let Some(item) = answer.item {
                note(coordinator, &item, "key");
            }
        }
        Err(error) => return silent(app, Fault::of(&state, &error)),
    }
    if coordinator.client_version.is_none() {
        return Ok(());
    }
    let metrics = format!("{app}-WorkerMetricStats");
    let mut after: Option<Item> = None;
    loop {
        let page = table.client.scan().table_name(&metrics).set_exclusive_start_key(after).send().await;
        let page = match page {
            Ok(page) => page,
            Err(error) => return silent(app, Fault::of(&metrics, &error)),
        };
        for item in page.items.unwrap_or_default() {
            note(coordinator, &item, "wid");
        }
        after = page.last_evaluated_key.filter(|key| !key.is_empty());
        if after.is_none() {
            return Ok(());
        }
    }
}

/// A table that is missing, or that we may not read, says nothing.
fn silent(app: &str, fault: Fault) -> Result<(), Fault> {
    match fault {
        Fault::NoTable { .. } => Ok(()),
        Fault::Refused { .. } => {
            tracing::debug!(application = app, error = %fault, "whether a leader assigns leases can't be read: taken as none");
            Ok(())
        }
        fault => Err(fault),
    }
}
