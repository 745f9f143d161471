//! Beginning to process a shard. Spec: kinesis-leases 4.5, 19.4.

use std::sync::Arc;
use std::time::Duration;

use snowmelt_leases::{Lease, LeaseError};

use crate::codec::Stored;
use crate::fault::Fault;
use crate::held::{Failed, Held};
use crate::member::Member;

/// Attempts of the read before a group begins.
const ATTEMPTS: u32 = 3;

/// Begins a period of ownership: takes the lease if it is not held and free, waits until its last owner is silent, reads the row as
/// it is then. Every earlier period ends.
pub async fn acquire(member: &Arc<Member>, shard: &str) -> Result<Lease, LeaseError> {
    let held = match member.held(shard) {
        Some(held) => held,
        None => take_free(member, shard).await?,
    };
    tokio::time::sleep(held.grace_left()).await;
    let row = read(member, &held).await.map_err(|failed| member.failed(shard, &failed))?;
    let epoch = member.next_epoch();
    held.begin(epoch).map_err(|lost| member.lost(shard, &lost))?;
    member.note(row.clone());
    Ok(row.lease(&member.app, epoch))
}

async fn read(member: &Member, held: &Held) -> Result<Stored, Failed> {
    let mut attempt = 1;
    loop {
        match held.read(&member.table).await {
            Err(Failed::Fault(fault)) if attempt < ATTEMPTS => {
                tracing::debug!(application = member.app, shard = held.shard(), error = %fault, "the lease was not read, trying again");
                tokio::time::sleep(Duration::from_millis(50 << attempt).mul_f64(0.5 + fastrand::f64())).await;
                attempt += 1;
            }
            other => return other,
        }
    }
}

/// Takes a lease that this worker does not hold, if nobody else does.
async fn take_free(member: &Arc<Member>, shard: &str) -> Result<Arc<Held>, LeaseError> {
    let fail = |fault: Fault| fault.of_lease(&member.app);
    let row = match member.table.get(shard).await {
        Ok(Some(row)) => row,
        Ok(None) | Err(Fault::NoTable { .. }) => {
            return Err(LeaseError::NotFound { app: member.app.clone(), shard: shard.to_owned() });
        }
        Err(fault) => return Err(fail(fault)),
    };
    let held_by =
        |owner: &str| LeaseError::Held { app: member.app.clone(), shard: shard.to_owned(), owner: owner.to_owned() };
    if let Some(owner) = row.actual_owner()
        && owner != member.me
        && !member.rounds.lock().await.has_expired(&row, member)
    {
        return Err(held_by(owner));
    }
    match member.take(&row, false).await {
        Ok(held) => Ok(held),
        Err(Fault::Condition(item)) => {
            let now = item.and_then(|item| member.table.row(&item));
            Err(held_by(now.as_ref().and_then(Stored::actual_owner).unwrap_or("another worker")))
        }
        Err(fault) => Err(fail(fault)),
    }
}
