//! Reading and writing rows.

use std::time::Duration;

use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use snowmelt_leases::{Pending, Position};

use super::Table;
use super::update::Update;
use crate::codec::{self, Decoded, Rows, Stored, attribute};
use crate::fault::{Fault, Item};
use crate::mode::Signs;

/// Attempts of one page of a scan.
const PAGE_ATTEMPTS: u32 = 3;

/// All rows of a table.
#[derive(Debug, Default)]
pub struct Scan {
    /// The leases.
    pub rows: Rows,
    /// Rows of other kinds.
    pub foreign: usize,
    /// Leases that can't be read.
    pub malformed: usize,
    /// What rows of other kinds say of a leader.
    pub signs: Signs,
}

impl Table {
    /// Reads all rows, or fails: a part of the table would make counts wrong.
    pub async fn scan(&self) -> Result<Scan, Fault> {
        let mut scan = Scan::default();
        let mut after: Option<Item> = None;
        loop {
            let page = self.page(after).await?;
            for item in page.items.unwrap_or_default() {
                match codec::decode(&item, self.timestamp_ms) {
                    Decoded::Lease(row) => {
                        scan.rows.insert(row.shard.clone(), *row);
                    }
                    Decoded::Foreign => {
                        scan.foreign += 1;
                        scan.signs.add_foreign(&item);
                    }
                    Decoded::Malformed(reason) => {
                        tracing::warn!(table = self.name, reason, "a row of the lease table can't be read");
                        scan.malformed += 1;
                    }
                }
            }
            after = page.last_evaluated_key.filter(|key| !key.is_empty());
            if after.is_none() {
                return Ok(scan);
            }
        }
    }

    async fn page(&self, after: Option<Item>) -> Result<aws_sdk_dynamodb::operation::scan::ScanOutput, Fault> {
        let mut attempt = 1;
        loop {
            let sent = self.client.scan().table_name(&self.name).set_exclusive_start_key(after.clone()).send().await;
            let fault = match sent {
                Ok(page) => return Ok(page),
                Err(error) => Fault::of(&self.name, &error),
            };
            if attempt == PAGE_ATTEMPTS || !matches!(fault, Fault::Throttled { .. } | Fault::Unknown { .. }) {
                return Err(fault);
            }
            tokio::time::sleep(Duration::from_millis(100 << attempt).mul_f64(0.5 + fastrand::f64())).await;
            attempt += 1;
        }
    }

    /// Reads one row as it is at this moment; nothing when it is missing or no lease.
    pub async fn get(&self, shard: &str) -> Result<Option<Stored>, Fault> {
        let read = self.client.get_item().table_name(&self.name).consistent_read(true);
        let read = read.key(attribute::KEY, codec::text(shard)).send().await;
        let item = read.map_err(|error| Fault::of(&self.name, &error))?.item;
        Ok(item.and_then(|item| self.row(&item)))
    }

    /// Reads a lease; anything else is none.
    pub fn row(&self, item: &Item) -> Option<Stored> {
        match codec::decode(item, self.timestamp_ms) {
            Decoded::Lease(row) => Some(*row),
            Decoded::Foreign | Decoded::Malformed(_) => None,
        }
    }

    /// Makes a row; false when there is one.
    pub async fn create(&self, row: &Stored) -> Result<bool, Fault> {
        let put = self.client.put_item().table_name(&self.name).set_item(Some(codec::encode(row)));
        let put = put.condition_expression("attribute_not_exists(#k)").expression_attribute_names("#k", attribute::KEY);
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) => match Fault::of(&self.name, &error) {
                Fault::Condition(_) => Ok(false),
                fault => Err(fault),
            },
        }
    }

    /// Changes a row; gives it as it is then.
    pub async fn update(&self, shard: &str, update: &Update) -> Result<Stored, Fault> {
        let sent = self
            .client
            .update_item()
            .table_name(&self.name)
            .key(attribute::KEY, codec::text(shard))
            .update_expression(update.expression())
            .set_condition_expression(update.condition())
            .set_expression_attribute_names(Some(update.names()))
            .set_expression_attribute_values(update.values())
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await
            .map_err(|error| Fault::of_update(&self.name, error))?;
        sent.attributes.as_ref().and_then(|item| self.row(item)).ok_or_else(|| Fault::Unknown {
            table: self.name.clone(),
            reason: format!("shard {shard}: the answer to an update holds no lease"),
        })
    }

    /// Removes a row that is at its end and as it is known.
    pub async fn delete(&self, row: &Stored) -> Result<(), Fault> {
        let condition = Update::default()
            .when(attribute::COUNTER, Some(codec::number(row.counter)))
            .when(attribute::CHECKPOINT, Some(codec::text(row.checkpoint.text().0)));
        self.client
            .delete_item()
            .table_name(&self.name)
            .key(attribute::KEY, codec::text(&row.shard))
            .set_condition_expression(condition.condition())
            .set_expression_attribute_names(Some(condition.names()))
            .set_expression_attribute_values(condition.values())
            .send()
            .await
            .map(drop)
            .map_err(|error| Fault::of(&self.name, &error))
    }
}

/// A renewal: the counter moves. Valid while the row is as known and ours; a hand-off that has begun shows in the answer.
pub fn renew(known: &Stored, me: &str) -> Update {
    let next = codec::number(known.counter + 1);
    Update::default()
        .set(attribute::COUNTER, next)
        .when(attribute::COUNTER, Some(codec::number(known.counter)))
        .when_either([attribute::OWNER, attribute::CHECKPOINT_OWNER], codec::text(me))
}

/// A checkpoint, with what is about to be done beyond; whatever was pending before goes.
pub fn checkpoint(known: &Stored, me: &str, position: &Position, pending: Option<&Pending>) -> Update {
    let (at, sub_sequence) = position.text();
    let beyond = pending.map(|pending| pending.position.text());
    renew(known, me)
        .set(attribute::CHECKPOINT, codec::text(at))
        .set(attribute::SUB_SEQUENCE, codec::number(sub_sequence))
        .set(attribute::OWNER_SWITCHES, codec::number(0))
        .put(attribute::PENDING, beyond.map(|(at, _)| codec::text(at)))
        .put(attribute::PENDING_SUB_SEQUENCE, beyond.map(|(_, sub_sequence)| codec::number(sub_sequence)))
        .put(attribute::PENDING_STATE, pending.map(|pending| codec::state(&pending.state)))
}

/// Takes a lease: stricter than the Kinesis Client Library, which looks at the counter alone (spec: kinesis-leases 6, rule 2).
pub fn take(known: &Stored, me: &str) -> Update {
    let update = as_seen(known)
        .set(attribute::OWNER, codec::text(me))
        .set(attribute::COUNTER, codec::number(known.counter + 1))
        .remove(attribute::CHECKPOINT_OWNER)
        .when(attribute::COUNTER, Some(codec::number(known.counter)));
    match known.actual_owner() {
        Some(owner) if owner != me => update.add_one(attribute::OWNER_SWITCHES),
        _ => update,
    }
}

/// Gives a lease up: nobody owns it.
pub fn evict(known: &Stored) -> Update {
    as_seen(known).remove(attribute::OWNER).add_one(attribute::COUNTER).when_there(attribute::KEY)
}

/// Ends a hand-off: the new owner has it alone.
pub fn assign(known: &Stored) -> Update {
    as_seen(known)
        .remove(attribute::CHECKPOINT_OWNER)
        .add_one(attribute::COUNTER)
        .add_one(attribute::OWNER_SWITCHES)
        .when_there(attribute::KEY)
}

/// Notes which shards follow.
pub fn note_children(children: &[String]) -> Option<Update> {
    Some(Update::default().set(attribute::CHILDREN, codec::texts(children)?).when_there(attribute::KEY))
}

/// Notes a shard's hash range.
pub fn note_range((first, last): (u128, u128)) -> Update {
    Update::default()
        .set(attribute::RANGE_START, codec::text(first.to_string()))
        .set(attribute::RANGE_END, codec::text(last.to_string()))
        .when_there(attribute::KEY)
}

/// Wants both owners as they were seen.
fn as_seen(known: &Stored) -> Update {
    Update::default()
        .when(attribute::OWNER, known.owner.clone().map(codec::text))
        .when(attribute::CHECKPOINT_OWNER, known.checkpoint_owner.clone().map(codec::text))
}
