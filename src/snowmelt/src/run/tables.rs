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
    loader.prepare().await.map_err(|error| Trouble::caused("the table of events", error))?;
    Ok(Loader::Events(loader))
}

/// The node's own, unless the sink wants another database, schema or pool.
async fn warehouse(tables: &Tables, stores: &Stores) -> Outcome<Warehouse> {
    let url = match (&tables.database, &stores.warehouse) {
        (Some(url), _) => url,
        (None, Some(node)) if tables.schema == node.schema() && tables.connections == node.options().connections => {
            return Ok(node.clone());
        }
        (None, Some(node)) => &node.options().url,
        (None, None) => return Err(Trouble::user("no database is open")),
    };
    let options = WarehouseOptions::new(url, &tables.schema);
    connect(&WarehouseOptions { connections: tables.connections, ..options }).await
}
