//! Where events land in Postgres, and what was expected of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use snowmelt_shop::{BadKind, EventKind, Expect, ShopRequest};
use sqlx::{AssertSqlSafe, PgPool, Row};

use crate::eventually;

const BAD_ROW_TABLES: &str = "com_snowplowanalytics_snowplow_badrows_";

/// The tables of a running pipeline.
pub struct Warehouse {
    /// Connections to it.
    pub pool: PgPool,
}

/// One row of a table of bad rows.
#[derive(Debug)]
pub struct BadRow {
    /// The kind, as in the name of its schema: `schema_violations`.
    pub kind: String,
    /// All columns, by name.
    pub columns: Value,
}

/// Everything that has landed.
#[derive(Debug, Default)]
pub struct Landed {
    /// Event id and event type of each row of `events`.
    pub events: Vec<(String, String)>,
    /// Every bad row.
    pub bad: Vec<BadRow>,
}

/// What was sent and what has to come of it, by event id.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    good: HashMap<String, EventKind>,
    bad: HashMap<String, BadKind>,
}

impl Warehouse {
    /// Connects.
    pub async fn connect(url: &str) -> Result<Self> {
        let options = sqlx::postgres::PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_secs(5));
        Ok(Self { pool: options.connect(url).await.with_context(|| format!("connecting to {url}"))? })
    }

    /// How many rows the table `events` and the tables of bad rows have.
    pub async fn counts(&self) -> Result<(u64, u64)> {
        let events = match self.table("events").await? {
            Some(table) => self.count(&table).await?,
            None => 0,
        };
        let mut bad = 0;
        for (_, table) in self.bad_row_tables().await? {
            bad += self.count(&table).await?;
        }
        Ok((events, bad))
    }

    /// Everything that is there.
    pub async fn landed(&self) -> Result<Landed> {
        let mut landed = Landed::default();
        if let Some(table) = self.table("events").await? {
            let sql = format!("select event_id::text, coalesce(event::text, '') from {table}");
            for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.pool).await? {
                landed.events.push((row.try_get(0)?, row.try_get(1)?));
            }
        }
        for (kind, table) in self.bad_row_tables().await? {
            let sql = format!("select to_jsonb(t)::text from {table} t");
            for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.pool).await? {
                let columns = serde_json::from_str(row.try_get::<&str, _>(0)?)?;
                landed.bad.push(BadRow { kind: kind.clone(), columns });
            }
        }
        Ok(landed)
    }

    /// Waits until so many events and bad rows have landed, and a moment longer, so that one too many is noticed too.
    pub async fn wait_for(&self, events: u64, bad: u64, within: Duration) -> Result<()> {
        eventually(within, async || {
            let counts = self.counts().await?;
            ensure!(counts.0 >= events && counts.1 >= bad, "landed {counts:?}, expected {:?}", (events, bad));
            Ok(())
        })
        .await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let counts = self.counts().await?;
        ensure!(counts == (events, bad), "landed {counts:?}, expected {:?}", (events, bad));
        Ok(())
    }

    /// The quoted name of a table, whatever schema it is in; none while there is none.
    pub async fn table(&self, name: &str) -> Result<Option<String>> {
        Ok(self.tables(name).await?.into_iter().next().map(|(_, table)| table))
    }

    /// The rows of a table.
    pub async fn count(&self, table: &str) -> Result<u64> {
        let sql = format!("select count(*) from {table}");
        let count: i64 = sqlx::query(AssertSqlSafe(sql)).fetch_one(&self.pool).await?.try_get(0)?;
        Ok(u64::try_from(count)?)
    }

    /// Kind and quoted name of each table of bad rows. The kind stands in the table's comment, an Iglu URI: PostgreSQL
    /// cuts the names of tables.
    async fn bad_row_tables(&self) -> Result<Vec<(String, String)>> {
        let mut tables = self.tables(&format!("{BAD_ROW_TABLES}%")).await?;
        for (name, table) in &mut tables {
            let comment: Option<String> = sqlx::query("select obj_description($1::regclass, 'pg_class')")
                .bind(table.as_str())
                .fetch_one(&self.pool)
                .await?
                .try_get(0)?;
            let comment = comment.with_context(|| format!("{table} has no comment"))?;
            *name = comment.split('/').nth(1).with_context(|| format!("{table}: {comment}"))?.to_owned();
        }
        Ok(tables)
    }

    async fn tables(&self, pattern: &str) -> Result<Vec<(String, String)>> {
        let rows = sqlx::query(
            "select table_name::text, format('%I.%I', table_schema, table_name) from information_schema.tables \
             where table_name like $1 and table_schema not in ('pg_catalog', 'information_schema') order by 1",
        )
        .bind(pattern)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}

impl BadRow {
    /// The `eid` of the event that it is about, out of whatever was kept of it.
    pub fn event_id(&self) -> Option<String> {
        for list in ["payload.raw.parameters", "payload.querystring"] {
            let pairs = self.columns[list].as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(pair) = pairs.iter().find(|pair| pair["name"] == "eid") {
                return pair["value"].as_str().map(str::to_owned);
            }
        }
        let (_, rest) = self.columns["payload.body"].as_str()?.split_once("\"eid\":\"")?;
        rest.split('"').next().map(str::to_owned)
    }

    /// Why it is bad, as JSON text.
    pub fn why(&self) -> String {
        self.columns["failure.messages"].to_string()
    }
}

impl Ledger {
    /// What has to come of these requests.
    pub fn of<'a>(requests: impl IntoIterator<Item = &'a ShopRequest>) -> Self {
        let mut ledger = Self::default();
        for event in requests.into_iter().flat_map(|request| &request.events) {
            match event.expect {
                Expect::Good => drop(ledger.good.insert(event.event_id.clone(), event.kind)),
                Expect::Bad(kind) => drop(ledger.bad.insert(event.event_id.clone(), kind)),
            }
        }
        ledger
    }

    /// Takes in another one.
    pub fn add(&mut self, other: Self) {
        self.good.extend(other.good);
        self.bad.extend(other.bad);
    }

    /// How many good and bad ones.
    pub fn counts(&self) -> (u64, u64) {
        (self.good.len() as u64, self.bad.len() as u64)
    }

    /// Good event ids.
    pub fn good_ids(&self) -> HashSet<&str> {
        self.good.keys().map(String::as_str).collect()
    }

    /// Everything in the ledger has landed once, as what it should be. What landed besides must be in `besides`.
    pub fn check(&self, landed: &Landed, besides: &Self) -> Result<()> {
        let mut wrong = Vec::new();
        let mut seen = HashSet::new();
        for (id, event) in &landed.events {
            if !seen.insert(id.clone()) {
                wrong.push(format!("{id}: twice in events"));
            }
            match self.good.get(id).or_else(|| besides.good.get(id)) {
                Some(kind) if kind.event_column() == event => {}
                Some(kind) => wrong.push(format!("{id}: {event}, should be {}", kind.event_column())),
                None => wrong.push(format!("{id}: an event that nobody sent, or a bad one ({:?})", self.bad.get(id))),
            }
        }
        for row in &landed.bad {
            let Some(id) = row.event_id() else {
                wrong.push(format!("a {} that names no event: {}", row.kind, row.why()));
                continue;
            };
            if !seen.insert(id.clone()) {
                wrong.push(format!("{id}: twice, the second time in {}", row.kind));
            }
            match self.bad.get(&id).or_else(|| besides.bad.get(&id)) {
                Some(kind) if kind.bad_row() != row.kind => {
                    wrong.push(format!("{id}: {}, should be {}", row.kind, kind.bad_row()));
                }
                Some(kind) if !row.why().contains(kind.says()) => {
                    wrong.push(format!("{id}: {kind:?} does not say {:?}: {}", kind.says(), row.why()));
                }
                Some(_) => {}
                None => wrong.push(format!("{id}: a {} of a good event: {}", row.kind, row.why())),
            }
        }
        let lost = self.good.keys().chain(self.bad.keys()).filter(|id| !seen.contains(*id));
        wrong.extend(lost.map(|id| format!("{id}: lost")));
        let shown = wrong.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
        ensure!(wrong.is_empty(), "{} events are not accounted for:\n{shown}", wrong.len());
        Ok(())
    }
}
