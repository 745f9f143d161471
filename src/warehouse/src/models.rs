//! The tables of entities: one a schema model, made and migrated while events are loaded
//! (spec postgres-loader, sections 4.2 and 7).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use snowmelt_iglu::ddl::{
    Column, ColumnType, Table, alter_table, columns_of, comment_on_table, create_table, quote_identifier, stored_name,
    table_name,
};
use snowmelt_iglu::{SchemaKey, SchemaVer};
use snowmelt_protocol::badrow::{IgluError, LoaderIgluMessage};
use snowmelt_protocol::json;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::catalog::{self, ExistingTable, lock_name};
use crate::fault::{self, Fault};
use crate::{ListedSchema, SchemaFailure, SchemaProvider, Warehouse};

/// A version that no list has is asked for again after this time at the earliest.
const UNLISTED_RECHECK: Duration = Duration::from_secs(60);
/// Unlisted versions that are remembered for one model.
const MAX_UNLISTED: usize = 1000;
/// Attempts to make a table against others who do not take our lock.
const MAKE_ATTEMPTS: usize = 4;

/// Vendor, name and model: what shares one table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ModelId {
    pub(crate) vendor: String,
    pub(crate) name: String,
    pub(crate) model: u32,
}

impl ModelId {
    pub(crate) fn of(key: &SchemaKey) -> Self {
        Self { vendor: key.vendor().to_owned(), name: key.name().to_owned(), model: key.version().model }
    }
}

/// A table that is ready to be loaded.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) id: ModelId,
    /// Quoted schema and table.
    pub(crate) qualified: String,
    /// `COPY ... FROM STDIN` with all columns below.
    pub(crate) copy: String,
    /// Whether the six meta columns come first.
    pub(crate) meta: bool,
    pub(crate) columns: Vec<ModelColumn>,
    versions: Vec<SchemaVer>,
}

/// A column and where its value is found.
#[derive(Debug)]
pub(crate) struct ModelColumn {
    pub(crate) paths: Vec<Vec<String>>,
    /// What the table really has; `None` is a type of which we know nothing.
    pub(crate) column_type: Option<ColumnType>,
}

/// Why a model's table is not ready.
#[derive(Debug)]
pub(crate) enum NotReady {
    /// Its events become bad rows with this message.
    Bad(LoaderIgluMessage),
    /// A registry did not answer; worth waiting for.
    Registry(LoaderIgluMessage),
    /// The database is to blame; worth waiting for.
    Database(Fault),
}

struct Known {
    model: Arc<Model>,
    /// Versions that arrived and are in no list, and when they were last looked for.
    unlisted: HashMap<SchemaVer, Instant>,
}

/// All tables of one loader.
pub(crate) struct Models {
    warehouse: Warehouse,
    schemas: Arc<dyn SchemaProvider>,
    /// Whether tables have meta columns.
    meta: bool,
    /// How long an unanswering registry is waited for.
    patience: Duration,
    known: RwLock<HashMap<ModelId, Known>>,
    /// Since when the registry has not answered for a model.
    unanswered: Mutex<HashMap<ModelId, Instant>>,
    /// One table at a time within this process; among processes the database's locks decide.
    making: tokio::sync::Mutex<()>,
}

impl Models {
    pub(crate) fn new(warehouse: Warehouse, schemas: Arc<dyn SchemaProvider>, meta: bool, patience: Duration) -> Self {
        Self {
            warehouse,
            schemas,
            meta,
            patience,
            known: RwLock::default(),
            unanswered: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        }
    }

    /// The table for data of this schema; `None` when it must be prepared first.
    pub(crate) fn get(&self, id: &ModelId, version: SchemaVer) -> Option<Arc<Model>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(id)?;
        let listed = known.model.versions.contains(&version);
        let checked = || known.unlisted.get(&version).is_some_and(|at| at.elapsed() < UNLISTED_RECHECK);
        (listed || checked()).then(|| Arc::clone(&known.model))
    }

    /// Forgets a table that turned out to be otherwise than we knew it.
    pub(crate) fn forget(&self, id: &ModelId) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Makes the table ready: lists the schemas, creates or migrates the table.
    pub(crate) async fn prepare(&self, key: &SchemaKey) -> Result<Arc<Model>, NotReady> {
        let id = ModelId::of(key);
        let _making = self.making.lock().await;
        if let Some(model) = self.get(&id, key.version()) {
            return Ok(model);
        }
        let listed = match self.schemas.versions(key).await {
            Ok(listed) if listed.is_empty() => return Err(NotReady::Bad(empty_list(&id))),
            Ok(listed) => listed,
            Err(failure) => return Err(self.refuse(&id, failure)),
        };
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let versions: Vec<SchemaVer> = listed.iter().map(|schema| schema.key.version()).collect();
        let same = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.get(&id).filter(|known| known.model.versions == versions).map(|known| Arc::clone(&known.model))
        };
        let model = match same {
            Some(model) => model,
            None => Arc::new(self.make(&id, &listed, versions).await?),
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry(id).or_insert_with(|| Known { model: Arc::clone(&model), unlisted: HashMap::new() });
        entry.model = Arc::clone(&model);
        if !model.versions.contains(&key.version()) {
            if entry.unlisted.len() >= MAX_UNLISTED {
                entry.unlisted.clear();
            }
            entry.unlisted.insert(key.version(), Instant::now());
        }
        Ok(model)
    }

    /// A registry's failure: worth waiting for as long as the patience lasts.
    fn refuse(&self, id: &ModelId, failure: SchemaFailure) -> NotReady {
        if !failure.transient {
            return NotReady::Bad(failure.message);
        }
        let mut unanswered = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *unanswered.entry(id.clone()).or_insert_with(Instant::now);
        if since.elapsed() < self.patience {
            NotReady::Registry(failure.message)
        } else {
            NotReady::Bad(failure.message)
        }
    }

    async fn make(&self, id: &ModelId, listed: &[ListedSchema], versions: Vec<SchemaVer>) -> Result<Model, NotReady> {
        let documents: Vec<&serde_json::Value> = listed.iter().map(|schema| &*schema.document).collect();
        let columns = columns_of(&documents).map_err(|error| {
            let schema = &listed[error.version()];
            NotReady::Bad(LoaderIgluMessage::InvalidSchema {
                schema_key: schema.key.uri().to_owned(),
                message: format!("JSON {} cannot be parsed as JSON Schema", json::to_string(&schema.document)),
            })
        })?;
        let mut attempt = 1;
        let existing = loop {
            match self.make_table(id, listed, &columns).await {
                Ok(made) => break made,
                Err(error) => {
                    let fault = Fault::from(error);
                    if attempt == MAKE_ATTEMPTS || !fault.is_a_race() {
                        return Err(NotReady::Database(fault));
                    }
                    tracing::info!(vendor = id.vendor, name = id.name, fault.message, "somebody else made the table");
                    attempt += 1;
                }
            }
        };
        Ok(self.model_of(id, columns, versions, existing))
    }

    /// Creates or migrates the table, alone under the lock of its name, in one transaction.
    async fn make_table(
        &self,
        id: &ModelId,
        listed: &[ListedSchema],
        columns: &[Column],
    ) -> Result<(Table, ExistingTable), sqlx::Error> {
        let schema = self.warehouse.schema();
        let full_name = table_name(&id.vendor, &id.name, id.model);
        let mut transaction = self.warehouse.pool.begin().await?;
        lock_name(&mut transaction, &full_name).await?;
        let mut name = stored_name(&full_name, |_| false);
        let mut existing = catalog::read_table(&mut transaction, schema, &name).await?;
        let belongs_to_another = |table: &ExistingTable| {
            let owner = table.comment.as_deref().and_then(|comment| comment.parse().ok());
            owner.is_some_and(|owner: SchemaKey| ModelId::of(&owner) != *id)
        };
        if existing.as_ref().is_some_and(belongs_to_another) {
            name = hashed_name(&full_name);
            existing = catalog::read_table(&mut transaction, schema, &name).await?;
        }
        let uri = listed.last().map(|last| last.key.uri().to_owned()).unwrap_or_default();
        let table = Table { schema: schema.to_owned(), name, uri, meta: self.meta, columns: columns.to_vec() };
        let filled = existing.is_some();
        let before = match existing {
            Some(existing) => existing,
            None => {
                sqlx::raw_sql(AssertSqlSafe(create_table(&table))).execute(&mut *transaction).await?;
                catalog::read_table(&mut transaction, schema, &table.name).await?.unwrap_or_default()
            }
        };
        let changes = alter_table(&table, &before.columns, filled);
        let after = if changes.is_empty() { before } else { change(&mut transaction, &table, &changes).await? };
        if comment_is_older(after.comment.as_deref(), listed) {
            // Only the owner may comment; everybody who may insert can load.
            unless_refused(&mut transaction, &comment_on_table(&table)).await?;
        }
        transaction.commit().await?;
        tracing::info!(
            table = table.name,
            uri = table.uri,
            created = !filled,
            changes = changes.len(),
            "table is ready"
        );
        Ok((table, after))
    }

    fn model_of(
        &self,
        id: &ModelId,
        columns: Vec<Column>,
        versions: Vec<SchemaVer>,
        (table, existing): (Table, ExistingTable),
    ) -> Model {
        let qualified = format!("{}.{}", quote_identifier(&table.schema), quote_identifier(&table.name));
        let meta_names = table.meta_columns().iter().map(|(name, _)| *name);
        let names: Vec<String> =
            meta_names.chain(columns.iter().map(|column| column.stored.as_str())).map(quote_identifier).collect();
        let real_type = |name: &str| {
            existing.columns.iter().find(|column| column.name == name).and_then(|column| column.column_type)
        };
        Model {
            id: id.clone(),
            copy: format!("COPY {qualified} ({}) FROM STDIN", names.join(", ")),
            qualified,
            meta: self.meta,
            columns: columns
                .into_iter()
                .map(|column| ModelColumn { column_type: real_type(&column.stored), paths: column.paths })
                .collect(),
            versions,
        }
    }
}

/// Runs the changes of a migration. One that the database refuses (a longer VARCHAR under a view, say) is only reported:
/// rows that need it become bad rows. A column that is still missing afterwards is an error.
async fn change(
    connection: &mut PgConnection,
    table: &Table,
    changes: &[String],
) -> Result<ExistingTable, sqlx::Error> {
    let mut refused = None;
    for sql in changes {
        refused = unless_refused(connection, sql).await?.or(refused);
    }
    let after = catalog::read_table(connection, &table.schema, &table.name).await?.unwrap_or_default();
    let has = |name: &str| after.columns.iter().any(|column| column.name == name);
    let complete = table.columns.iter().all(|column| has(&column.stored))
        && table.meta_columns().iter().all(|(name, _)| has(name));
    match refused {
        Some(error) if !complete => Err(error),
        _ => Ok(after),
    }
}

/// Runs a statement that the table can do without, and gives the database's refusal. Other failures are errors.
async fn unless_refused(connection: &mut PgConnection, sql: &str) -> Result<Option<sqlx::Error>, sqlx::Error> {
    sqlx::raw_sql("SAVEPOINT change").execute(&mut *connection).await?;
    let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *connection).await else {
        sqlx::raw_sql("RELEASE SAVEPOINT change").execute(&mut *connection).await?;
        return Ok(None);
    };
    let code = error.as_database_error().and_then(|error| error.code());
    if !code.is_some_and(|code| fault::is_refusal(&code)) {
        return Err(error);
    }
    sqlx::raw_sql("ROLLBACK TO SAVEPOINT change; RELEASE SAVEPOINT change").execute(&mut *connection).await?;
    tracing::warn!(statement = sql, %error, "the database refuses a migration");
    Ok(Some(error))
}

/// Whether the comment says less than this list: a newer one was left by somebody with a newer list.
fn comment_is_older(comment: Option<&str>, listed: &[ListedSchema]) -> bool {
    let Some(key) = comment.and_then(|comment| comment.parse::<SchemaKey>().ok()) else {
        return true;
    };
    match listed.iter().position(|schema| schema.key.version() == key.version()) {
        Some(place) => place + 1 < listed.len(),
        None => false,
    }
}

fn empty_list(id: &ModelId) -> LoaderIgluMessage {
    LoaderIgluMessage::SchemaListNotFound {
        criterion: format!("iglu:{}/{}/jsonschema/{}-*-*", id.vendor, id.name, id.model),
        error: IgluError::Resolution(Vec::new()),
    }
}

/// The name of a table whose plain name belongs to another model.
fn hashed_name(full_name: &str) -> String {
    let plain = stored_name(full_name, |_| false);
    stored_name(full_name, |name| name == plain)
}
