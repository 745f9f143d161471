//! Leases for shards that have none. Spec: kinesis-leases 7.

use snowmelt_leases::{LeaseError, Position, ShardInfo};

use crate::codec::{Rows, Stored};
use crate::ops::Table;

/// Makes the leases that are missing, in the table and in `rows`.
pub async fn make_missing(
    app: &str,
    table: &Table,
    rows: &mut Rows,
    shards: &[ShardInfo],
    initial: &Position,
) -> Result<(), LeaseError> {
    let first = rows.is_empty();
    for shard in shards {
        if rows.contains_key(&shard.id) || (!first && shard.parents.iter().any(|parent| rows.contains_key(parent))) {
            continue;
        }
        let row = Stored::new(shard, initial.clone());
        table.create(&row).await.map_err(|fault| fault.of_lease(app))?;
        rows.insert(row.shard.clone(), row);
    }
    Ok(())
}
