//! Reading the registry into a [`Catalog`], and schemas' bodies one by one or many at once.

use ahash::HashMap;
use serde_json::{Map, Value};
use snowmelt_iglu::{SchemaKey, SchemaVer};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::{Storage, StorageError, while_};
use crate::core::api_key::{ApiKey, KeyHash};
use crate::core::catalog::{Catalog, Changed, Entry};
use crate::core::permission::{KeyAction, Permission, SchemaAction, Scope};
use crate::core::representation::members_of;

/// Most changed names that are read one by one; more are read as a whole.
const MOST_GROUPS: usize = 500;
/// Bodies read by one statement.
const BODIES_AT_ONCE: usize = 500;

impl Storage {
    /// The picture of now, made of an earlier one and what changed since; `None` when nothing did.
    ///
    /// # Errors
    /// [`StorageError`] when the database fails.
    pub async fn catalog_since(&self, earlier: &Catalog) -> Result<Option<Catalog>, StorageError> {
        let failed = while_("reading what changed");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        // One moment for all that follows.
        sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        let catalog = read_since(&mut transaction, earlier).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(catalog)
    }

    /// The whole picture.
    ///
    /// # Errors
    /// [`StorageError`] when the database fails.
    pub async fn catalog(&self) -> Result<Catalog, StorageError> {
        let nothing = Catalog::unread();
        Ok(self.catalog_since(&nothing).await?.unwrap_or(nothing))
    }

    /// The members of one schema's body as entries keep them, with the version of its row; `None` when it is gone.
    ///
    /// # Errors
    /// [`StorageError`] when the database fails.
    pub async fn body(&self, key: &SchemaKey) -> Result<Option<(String, i64)>, StorageError> {
        let mut bodies = self.bodies_of(&[key]).await?;
        Ok(bodies.pop().map(|(_, members, row_version)| (members, row_version)))
    }

    /// The same of many schemas, in any order, without those that are gone.
    ///
    /// # Errors
    /// [`StorageError`] when the database fails.
    pub async fn bodies(&self, keys: &[&SchemaKey]) -> Result<Vec<(SchemaKey, String, i64)>, StorageError> {
        let mut bodies = Vec::with_capacity(keys.len());
        for some in keys.chunks(BODIES_AT_ONCE) {
            bodies.extend(self.bodies_of(some).await?);
        }
        Ok(bodies)
    }

    async fn bodies_of(&self, keys: &[&SchemaKey]) -> Result<Vec<(SchemaKey, String, i64)>, StorageError> {
        let texts = |part: fn(&SchemaKey) -> &str| keys.iter().map(|key| part(key).to_owned()).collect::<Vec<_>>();
        let numbers = |part: fn(SchemaVer) -> u32| {
            keys.iter().map(|key| i32::try_from(part(key.version())).unwrap_or(i32::MAX)).collect::<Vec<_>>()
        };
        let rows = sqlx::query(
            "SELECT DISTINCT ON (s.vendor, s.name, s.format, s.model, s.revision, s.addition)
                 s.vendor, s.name, s.format, s.model, s.revision, s.addition, s.xmin::text::bigint, s.body::text
             FROM iglu_schemas s
             JOIN unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[], $6::int[]) AS k (v, n, f, m, r, a)
               ON s.vendor = k.v AND s.name = k.n AND s.format = k.f
              AND s.model = k.m AND s.revision = k.r AND s.addition = k.a
             ORDER BY s.vendor, s.name, s.format, s.model, s.revision, s.addition, s.updated_at DESC",
        )
        .bind(texts(SchemaKey::vendor))
        .bind(texts(SchemaKey::name))
        .bind(texts(SchemaKey::format))
        .bind(numbers(|version| version.model))
        .bind(numbers(|version| version.revision))
        .bind(numbers(|version| version.addition))
        .fetch_all(&self.pool)
        .await
        .map_err(while_("reading schemas"))?;
        let mut bodies = Vec::with_capacity(rows.len());
        for row in rows {
            let read = || -> Result<_, sqlx::Error> { Ok((key_of(&row)?, row.try_get(6)?, row.try_get(7)?)) };
            let (key, row_version, body): (Option<SchemaKey>, i64, String) =
                read().map_err(while_("reading schemas"))?;
            // Postgres has checked that it is JSON; only an older row could be something else than an object.
            if let (Some(key), Ok(body)) = (key, serde_json::from_str::<Map<String, Value>>(&body)) {
                bodies.push((key, members_of(body), row_version));
            }
        }
        Ok(bodies)
    }
}

async fn read_since(connection: &mut PgConnection, earlier: &Catalog) -> Result<Option<Catalog>, sqlx::Error> {
    let version: i64 =
        sqlx::query_scalar("SELECT version FROM snowmelt_iglu_state").fetch_one(&mut *connection).await?;
    if version == earlier.version {
        return Ok(None);
    }
    let changes = sqlx::query(
        "SELECT DISTINCT what, vendor, name, (SELECT min(version) FROM snowmelt_iglu_changes)
         FROM snowmelt_iglu_changes WHERE version > $1 LIMIT $2",
    )
    .bind(earlier.version)
    .bind(MOST_GROUPS as i64 + 2)
    .fetch_all(&mut *connection)
    .await?;
    let (mut groups, mut keys, mut all) = (Vec::new(), false, changes.is_empty() || changes.len() > MOST_GROUPS);
    for change in &changes {
        let oldest: i64 = change.try_get(3)?;
        all |= oldest > earlier.version + 1;
        match change.try_get::<String, _>(0)?.as_str() {
            "schemas" => groups.push((change.try_get(1)?, change.try_get(2)?)),
            "keys" => keys = true,
            _ => all = true,
        }
    }
    // A database that was restored from a copy counts from an earlier number again.
    all |= version < earlier.version;
    let mut catalog = earlier.clone();
    catalog.version = version;
    catalog.changed = Changed::NoSchema;
    if all || keys {
        catalog.set_permissions(permissions(connection).await?);
    }
    if all {
        catalog.replace(None, entries(connection, None).await?);
        catalog.changed = Changed::Anything;
    } else if !groups.is_empty() {
        catalog.replace(Some(&groups), entries(connection, Some(&groups)).await?);
        catalog.changed = Changed::Names(groups.into());
    }
    Ok(Some(catalog))
}

async fn entries(connection: &mut PgConnection, only: Option<&[(String, String)]>) -> Result<Vec<Entry>, sqlx::Error> {
    let part =
        |at: fn(&(String, String)) -> &String| only.unwrap_or_default().iter().map(at).cloned().collect::<Vec<_>>();
    let rows = sqlx::query(
        "SELECT vendor, name, format, model, revision, addition, is_public,
                (extract(epoch FROM created_at) * 1000000)::bigint, (extract(epoch FROM updated_at) * 1000000)::bigint,
                xmin::text::bigint, superseded_by, supersedes::text[]
         FROM iglu_schemas
         WHERE $1 OR (vendor, name) IN (SELECT v, n FROM unnest($2::text[], $3::text[]) AS changed (v, n))",
    )
    .bind(only.is_none())
    .bind(part(|group| &group.0))
    .bind(part(|group| &group.1))
    .fetch_all(connection)
    .await?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(key) = key_of(row)? else {
            tracing::warn!(row = ?row.try_get::<String, _>(0), "a schema with an impossible identity is not shown");
            continue;
        };
        let mut entry = Entry::new(key, row.try_get(6)?, row.try_get(7)?, row.try_get(8)?, row.try_get(9)?);
        entry.superseded_by = row.try_get::<Option<String>, _>(10)?.and_then(|text| text.parse().ok());
        let supersedes: Option<Vec<Option<String>>> = row.try_get(11)?;
        entry.supersedes = supersedes.into_iter().flatten().flatten().filter_map(|text| text.parse().ok()).collect();
        entries.push(entry);
    }
    Ok(entries)
}

/// The identity in the first six columns; `None` for one that no key can have.
fn key_of(row: &PgRow) -> Result<Option<SchemaKey>, sqlx::Error> {
    let text = |at: usize| row.try_get::<String, _>(at);
    let number = |at: usize| row.try_get::<i32, _>(at).map(u32::try_from);
    let (Ok(model), Ok(revision), Ok(addition)) = (number(3)?, number(4)?, number(5)?) else { return Ok(None) };
    let version = SchemaVer::new(model, revision, addition);
    Ok(SchemaKey::new(&text(0)?, &text(1)?, &text(2)?, version).ok())
}

/// All keys: those of the original's table, which are there in plain text, and ours.
async fn permissions(connection: &mut PgConnection) -> Result<HashMap<KeyHash, Permission>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT apikey::text, NULL::bytea, vendor, wildcard, schema_action::text, key_action::text[]
         FROM iglu_permissions
         UNION ALL
         SELECT NULL, key_hash, vendor, wildcard, schema_action::text, key_action::text[] FROM snowmelt_iglu_keys",
    )
    .fetch_all(connection)
    .await?;
    let mut permissions = HashMap::default();
    for row in rows {
        let plain: Option<String> = row.try_get(0)?;
        let hashed: Option<Vec<u8>> = row.try_get(1)?;
        let hash = match (plain, hashed) {
            (Some(plain), _) => ApiKey::parse(&plain).map(|key| key.hash()),
            (None, hashed) => hashed.and_then(|bytes| bytes.try_into().ok()).map(KeyHash),
        };
        let Some(hash) = hash else { continue };
        let (vendor, wildcard): (Option<String>, bool) = (row.try_get(2)?, row.try_get(3)?);
        let schema = row.try_get::<Option<String>, _>(4)?.and_then(|name| SchemaAction::named(&name));
        let names: Vec<Option<String>> = row.try_get(5)?;
        let mut keys: Vec<KeyAction> = names.iter().flatten().filter_map(|name| KeyAction::named(name)).collect();
        keys.sort_unstable();
        keys.dedup();
        let permission = Permission { scope: Scope::of_row(vendor.as_deref(), wildcard), schema, keys };
        permissions.insert(hash, permission);
    }
    Ok(permissions)
}
