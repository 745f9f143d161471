//! Leases for shards that have none. Spec: kinesis-leases 7.

use snowmelt_leases::fleet::{self, InconsistentListing, Row, Rows};
use snowmelt_leases::{LeaseError, Position, ShardInfo};

use crate::fault::Fault;
use crate::ops::{Table, rows};

/// Makes the leases that are missing, in the table and in `known`; fills in hash ranges that rows lack.
pub async fn make_missing(
    app: &str,
    table: &Table,
    known: &mut Rows,
    listed: &[ShardInfo],
    initial: &Position,
) -> Result<(), LeaseError> {
    let missing = fleet::missing(known, listed, initial).map_err(inconsistent)?;
    create(app, table, known, missing).await?;
    for (shard, range) in fleet::ranges_to_fill(known, listed) {
        match table.update(&shard, &rows::note_range(range)).await {
            Ok(row) => drop(known.insert(shard, row)),
            // It is gone by now.
            Err(Fault::Condition(_)) => {}
            Err(fault) => return Err(fault.of_lease(app)),
        }
    }
    Ok(())
}

/// Makes leases in order, each if it is absent.
pub async fn create(
    app: &str,
    table: &Table,
    known: &mut Rows,
    leases: Vec<(ShardInfo, Position)>,
) -> Result<(), LeaseError> {
    for (info, position) in leases {
        let row = Row::new(&info, position);
        if table.create(&row).await.map_err(|fault| fault.of_lease(app))? {
            tracing::info!(application = app, shard = row.shard, checkpoint = %row.checkpoint, "lease made");
            known.insert(row.shard.clone(), row);
        } else if let Some(row) = table.get(&info.id).await.map_err(|fault| fault.of_lease(app))? {
            known.insert(row.shard.clone(), row);
        }
    }
    Ok(())
}

/// A listing that can't be; the next one may be well.
pub fn inconsistent(error: InconsistentListing) -> LeaseError {
    LeaseError::Unlisted { reason: error.to_string() }
}
