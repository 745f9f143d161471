//! Whether a fleet of the Kinesis Client Library 3 with a leader works on the same table. Spec: kinesis-leases 5.4, 5.5, 6.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::codec::{attribute, text};
use crate::fault::{Fault, Item};
use crate::ops::Table;
use crate::options::as_ms;

/// Without a sign of life for so long, a fleet is gone: its workers give one every 30 s.
const GONE_AFTER: Duration = Duration::from_secs(90);

/// What a table shows of a leader's fleet.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Signs {
    /// The version of clients that the fleet works as (`cv` of `Migration3.0`).
    pub version: Option<String>,
    /// When each worker last published its load, in its own words.
    pub workers: BTreeMap<String, String>,
}

/// What is known of a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leader {
    /// There is none: leases are balanced by count.
    None,
    /// The table belongs to a fleet with a leader; whether it is alive is not known yet.
    Unknown,
    /// It is alive.
    Alive,
}

/// Watches for signs of life. Times are milliseconds of a clock that only grows.
#[derive(Debug, Default)]
pub struct LeaderWatch {
    workers: BTreeMap<String, String>,
    /// When a worker's sign last changed, or was first looked for.
    changed_ms: Option<u64>,
    alive: bool,
}

impl LeaderWatch {
    /// What the signs mean, `me` aside.
    pub fn look(&mut self, signs: Signs, me: &str, now_ms: u64) -> Leader {
        let version = signs.version.as_deref().unwrap_or_default();
        if !matches!(version.strip_prefix("CLIENT_VERSION_").unwrap_or(version), "3X" | "3X_WITH_ROLLBACK") {
            *self = Self::default();
            return Leader::None;
        }
        let mut workers = signs.workers;
        workers.remove(me);
        let Some(changed_ms) = self.changed_ms else {
            (self.workers, self.changed_ms) = (workers, Some(now_ms));
            return Leader::Unknown;
        };
        // A row that is gone is no sign: leaders remove those of workers that are gone.
        let moved = workers.iter().any(|(worker, sign)| self.workers.get(worker) != Some(sign));
        self.workers = workers;
        if moved {
            self.changed_ms = Some(now_ms);
            self.alive = true;
        } else if now_ms.saturating_sub(changed_ms) >= as_ms(GONE_AFTER) {
            self.alive = false;
            return Leader::None;
        }
        if self.alive { Leader::Alive } else { Leader::Unknown }
    }
}

impl Signs {
    /// Takes what a row that is no lease says, if it says anything here. `key` names its key.
    pub fn add(&mut self, item: &Item, key: &str) {
        let name = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
        let Some(id) = name(key) else { return };
        if let Some(version) = name("cv") {
            self.version = Some(version.clone());
        }
        if let Some(AttributeValue::N(lut)) = item.get("lut") {
            self.workers.insert(id.clone(), lut.clone());
        }
    }

    /// Adds what the two tables say that a fleet keeps beside its lease table; tables that are missing say nothing.
    pub async fn read_tables(&mut self, app: &str, table: &Table) -> Result<(), Fault> {
        let state = format!("{app}-CoordinatorState");
        let read = table.client.get_item().table_name(&state).key("key", text("Migration3.0")).send().await;
        match read {
            Ok(answer) => {
                if let Some(item) = answer.item {
                    self.add(&item, "key");
                }
            }
            Err(error) => return silent(app, Fault::of(&state, &error)),
        }
        if self.version.is_none() {
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
                self.add(&item, "wid");
            }
            after = page.last_evaluated_key.filter(|key| !key.is_empty());
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Reads a row of the lease table that is no lease: a fleet may keep everything in one table.
    pub fn add_foreign(&mut self, item: &Item) {
        if item.contains_key(attribute::ENTITY_TYPE) {
            self.add(item, attribute::KEY);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(version: &str, workers: &[(&str, &str)]) -> Signs {
        let workers = workers.iter().map(|(id, lut)| ((*id).to_owned(), (*lut).to_owned())).collect();
        Signs { version: Some(version.to_owned()), workers }
    }

    #[test]
    fn a_fleet_that_works_as_version_2_has_no_leader() {
        let mut watch = LeaderWatch::default();
        assert_eq!(watch.look(Signs::default(), "me", 0), Leader::None);
        for version in ["CLIENT_VERSION_UPGRADE_FROM_2X", "CLIENT_VERSION_2X", "CLIENT_VERSION_INIT"] {
            assert_eq!(watch.look(signs(version, &[("a", "1")]), "me", 0), Leader::None);
        }
    }

    #[test]
    fn a_leader_is_alive_while_a_worker_other_than_this_one_gives_signs() {
        let mut watch = LeaderWatch::default();
        let version = "CLIENT_VERSION_3X_WITH_ROLLBACK";
        assert_eq!(watch.look(signs(version, &[("a", "1"), ("me", "1")]), "me", 0), Leader::Unknown);
        assert_eq!(watch.look(signs(version, &[("a", "1"), ("me", "2")]), "me", 30_000), Leader::Unknown);
        assert_eq!(watch.look(signs(version, &[("a", "2"), ("me", "2")]), "me", 60_000), Leader::Alive);
        assert_eq!(watch.look(signs(version, &[("a", "2")]), "me", 140_000), Leader::Alive);
        assert_eq!(watch.look(signs(version, &[("a", "2")]), "me", 150_000), Leader::None);
        assert_eq!(watch.look(signs(version, &[("a", "3")]), "me", 160_000), Leader::Alive);
    }

    #[test]
    fn a_fleet_that_stopped_for_a_take_over_is_none_after_90_seconds() {
        let mut watch = LeaderWatch::default();
        let version = "CLIENT_VERSION_3X";
        assert_eq!(watch.look(signs(version, &[("a", "1")]), "me", 1_000), Leader::Unknown);
        assert_eq!(watch.look(signs(version, &[]), "me", 90_000), Leader::Unknown);
        assert_eq!(watch.look(signs(version, &[]), "me", 91_000), Leader::None);
    }
}
