//! The loader of a Postgres sink: its database, its schemas, its options.

use snowmelt_iglu::ResolverOptions;
use snowmelt_postgres_writer::Loader;
use snowmelt_warehouse::{BadRowLoader, EventLoader, LoaderOptions, Warehouse, WarehouseOptions};

use crate::definition::model::{Purpose, Tables};
use crate::run::backends::{Stores, connect};
use crate::run::settings;
use crate::trouble::{Outcome, Trouble};

/// A loader for all shards of a sink. The database has to answer now; when it is away later it is waited for.
pub async fn loader(purpose: Purpose, tables: &Tables, stores: &Stores) -> Outcome<Loader> {
    let (own, clock) = (stores.registry.as_ref(), &stores.clock);
    let resolver = settings::resolver_with(&tables.resolver, own, clock, ResolverOptions::default())?;
    let warehouse = warehouse(tables, stores).await?;
    let options = LoaderOptions {
        deduplicate: tables.deduplicate,
        ..LoaderOptions::new(settings::processor("snowmelt-postgres-loader"), settings::iglu_clock(clock))
    };
    if purpose == Purpose::Bad {
        return Ok(Loader::BadRows(BadRowLoader::new(warehouse, resolver, options)));
    }
    let loader = EventLoader::new(warehouse, resolver, options);
    // The table is there before the first event, for whoever looks at it.
    match loader.prepare().await {
        Err(error) if error.is_outage() => tracing::warn!(%error, "the database went away; it is waited for"),
        prepared => prepared.map_err(|error| Trouble::caused("the table of events", error))?,
    }
    Ok(Loader::Events(loader))
}

/// The node's own, unless the sink wants another database, schema or pool.
async fn warehouse(tables: &Tables, stores: &Stores) -> Outcome<Warehouse> {
    let schema = tables.schema.as_deref();
    let base = match (&tables.database, &stores.warehouse) {
        (Some(url), _) => WarehouseOptions::new(url, schema.unwrap_or_default()),
        (None, Some(node)) if schema.is_none() && tables.connections.is_none() => return Ok(node.clone()),
        (None, Some(node)) => {
            let options = node.options().clone();
            WarehouseOptions { schema: schema.unwrap_or(node.schema()).to_owned(), ..options }
        }
        (None, None) => return Err(Trouble::user("no database is open")),
    };
    connect(&WarehouseOptions { connections: tables.connections.unwrap_or(base.connections), ..base }).await
}
