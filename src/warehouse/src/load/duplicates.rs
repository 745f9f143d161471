//! Removal of duplicates, where it is asked for: of events with one id that are loaded within a window the first stays.
//!
//! Ids are remembered in a table of our own, `snowmelt.event_ids_<schema>`, since `events` has no index and ids may repeat
//! there for good reasons (spec postgres-loader, section 9). They are claimed in the transaction that loads their events:
//! of two loaders with the same id the second waits for the first, and whatever is rolled back is forgotten again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use snowmelt_iglu::ddl::{quote_identifier, stored_name};
use sqlx::{AssertSqlSafe, PgConnection};

use super::batch::Batch;
use super::copying::Refused;
use crate::fault::Fault;
use crate::{Warehouse, WarehouseError};

/// Ids that are forgotten in one go, so that the statement stays short.
const FORGOTTEN_AT_ONCE: i64 = 50_000;
/// Old ids are looked for so often in a window.
const LOOKS_A_WINDOW: u32 = 8;
/// And not more often than this.
const LOOK_AFTER: Duration = Duration::from_secs(10);

/// The ids of one database schema.
pub(super) struct EventIds {
    /// Within what time an id counts once.
    window: Duration,
    name: String,
    /// The same with its schema, quoted.
    table: String,
    /// When old ids were last forgotten.
    tidied: Mutex<Instant>,
}

/// The records of a batch that are not loaded since their id is known.
#[derive(Default)]
pub(super) struct Repeats {
    /// How many.
    pub(super) count: u64,
    /// Those whose first is in the batch too: place in the input and id.
    twins: Vec<(usize, String)>,
}

impl EventIds {
    pub(super) fn new(schema: &str, window: Duration) -> Self {
        let name = stored_name(&format!("event_ids_{schema}"), |_| false);
        let table = format!("snowmelt.{}", quote_identifier(&name));
        Self { window, name, table, tidied: Mutex::new(Instant::now()) }
    }

    /// Makes the table if it is missing.
    pub(super) async fn prepare(&self, warehouse: &Warehouse) -> Result<(), WarehouseError> {
        let table = &self.table;
        let statement = format!(
            "CREATE TABLE IF NOT EXISTS {table} (event_id UUID PRIMARY KEY, loaded_at TIMESTAMPTZ NOT NULL DEFAULT now()); \
             CREATE INDEX ON {table} USING brin (loaded_at); \
             COMMENT ON TABLE {table} IS 'ids of events that were loaded of late, for the removal of duplicates'"
        );
        warehouse.prepare("creating the table of event ids", "snowmelt", Some((&self.name, &statement))).await
    }

    /// Claims the ids of the batch in the transaction, and takes out of it what others have or what it has twice.
    pub(super) async fn claim(
        &self,
        connection: &mut PgConnection,
        batch: &mut Batch<'_>,
    ) -> Result<Repeats, sqlx::Error> {
        let mut ids: Vec<&str> = batch.event_ids.iter().map(String::as_str).collect();
        // In one order everywhere, so that two loaders with the same ids don't wait for each other.
        ids.sort_unstable();
        ids.dedup();
        let sql = format!(
            "INSERT INTO {} AS known (event_id) SELECT unnest($1::text[])::uuid ON CONFLICT (event_id) DO UPDATE \
             SET loaded_at = now() WHERE known.loaded_at < now() - make_interval(secs => $2) RETURNING event_id::text",
            self.table
        );
        let claimed: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(&ids)
            .bind(self.window.as_secs_f64())
            .fetch_all(connection)
            .await?;
        if claimed.len() == batch.event_ids.len() {
            return Ok(Repeats::default());
        }
        let mut ours: HashMap<&str, bool> = claimed.iter().map(|id| (id.as_str(), false)).collect();
        let mut repeats = Repeats::default();
        let keep: Vec<bool> = batch
            .event_ids
            .iter()
            .zip(&batch.loaded)
            .map(|(id, place)| match ours.get_mut(id.as_str()) {
                Some(seen @ false) => {
                    *seen = true;
                    true
                }
                Some(true) => {
                    repeats.twins.push((*place, id.clone()));
                    false
                }
                None => false,
            })
            .collect();
        repeats.count = keep.iter().filter(|keep| !**keep).count() as u64;
        batch.retain(&keep);
        Ok(repeats)
    }

    /// Gives the ids of refused records back: they are not loaded, so that an event with such an id is no duplicate. The
    /// twins of a refused record are refused with it.
    pub(super) async fn release(
        &self,
        connection: &mut PgConnection,
        batch: &Batch<'_>,
        repeats: &mut Repeats,
        refused: &mut Vec<Refused>,
    ) -> Result<(), sqlx::Error> {
        let at: HashMap<usize, &Fault> = refused.iter().map(|refused| (refused.place, &refused.fault)).collect();
        let ids: HashMap<&str, &Fault> = batch
            .event_ids
            .iter()
            .zip(&batch.loaded)
            .filter_map(|(id, place)| Some((id.as_str(), *at.get(place)?)))
            .collect();
        let names: Vec<&str> = ids.keys().copied().collect();
        let sql = format!("DELETE FROM {} WHERE event_id = ANY($1::text[]::uuid[])", self.table);
        sqlx::query(AssertSqlSafe(sql)).bind(&names).execute(connection).await?;
        let twins = repeats.twins.iter().filter_map(|(place, id)| {
            let fault = Fault::clone(ids.get(id.as_str())?);
            Some(Refused { place: *place, fault })
        });
        let twins: Vec<Refused> = twins.collect();
        repeats.count -= twins.len() as u64;
        refused.extend(twins);
        Ok(())
    }

    /// Forgets ids that are older than the window, now and then. A failure is only told: the next time will do.
    pub(super) async fn tidy(&self, warehouse: &Warehouse) {
        let every = (self.window / LOOKS_A_WINDOW).max(LOOK_AFTER);
        {
            let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
            if tidied.elapsed() < every {
                return;
            }
            *tidied = Instant::now();
        }
        let table = &self.table;
        let sql = format!(
            "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} \
             WHERE loaded_at < now() - make_interval(secs => $1) LIMIT $2 FOR UPDATE SKIP LOCKED))"
        );
        loop {
            let forgotten = sqlx::query(AssertSqlSafe(sql.clone()))
                .bind(self.window.as_secs_f64())
                .bind(FORGOTTEN_AT_ONCE)
                .execute(&warehouse.pool)
                .await;
            match forgotten {
                Ok(done) if done.rows_affected() == FORGOTTEN_AT_ONCE.unsigned_abs() => {}
                Ok(_) => return,
                Err(error) => return tracing::warn!(%error, "old event ids could not be forgotten"),
            }
        }
    }
}
