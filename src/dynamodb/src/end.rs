//! The end of a shard, and of a worker. Spec: kinesis-leases 8.3, 19.7.

use std::sync::Arc;

use snowmelt_leases::fleet::{AtEnd, Row, at_shard_end};
use snowmelt_leases::{LeaseError, Position, ShardInfo};
use tokio::task::JoinSet;

use crate::fault::Fault;
use crate::held::{Change, Failed, Held, Lost};
use crate::member::Member;
use crate::ops::rows;
use crate::sync;

/// The held lease of a period of ownership.
///
/// # Errors
/// [`LeaseError::Lost`] when it is over.
pub fn of_epoch(member: &Member, shard: &str, epoch: u64) -> Result<Arc<Held>, LeaseError> {
    let held = member.held(shard).ok_or_else(|| member.lost(shard, &Lost::Taken(None)))?;
    match held.fence(epoch) {
        Some(_) => Ok(held),
        None => Err(member.lost(shard, &Lost::Taken(Some(member.me.clone())))),
    }
}

/// Makes the leases of the shards that follow, notes them on this one, and stores that it is done, in this order: whoever comes
/// after a crash between any two repeats them. Without `children` the stream is asked: when the group began the shard may have
/// been open.
pub async fn end_shard(
    member: &Arc<Member>,
    shard: &str,
    epoch: u64,
    children: Vec<ShardInfo>,
) -> Result<Row, LeaseError> {
    let held = of_epoch(member, shard, epoch)?;
    if held.is_ended() {
        return Ok(held.row());
    }
    let children = make_children(member, shard, &children).await?;
    if let Some(update) = rows::note_children(&children) {
        match member.table.update(shard, &update).await {
            // A row that is gone shows at the write of the end.
            Ok(_) | Err(Fault::Condition(_)) => {}
            Err(fault) => return Err(fault.of_lease(&member.app)),
        }
    }
    let end = Change::Checkpoint { position: Position::ShardEnd, pending: None };
    let row = held.write(&member.table, &end).await.map_err(|failed| member.failed(&held, &failed))?;
    tracing::info!(application = member.app, shard, children = children.join(" "), "the shard's end is stored");
    member.note(row.clone());
    // The children may be taken here at once.
    member.want_look();
    Ok(row)
}

/// Makes the leases that a shard's end makes; gives the ids of the shards that follow.
async fn make_children(member: &Arc<Member>, shard: &str, children: &[ShardInfo]) -> Result<Vec<String>, LeaseError> {
    let (listed, initial) = match member.lister() {
        Some((lister, initial)) => (lister.shards().await?, initial),
        None => (Vec::new(), Position::TrimHorizon),
    };
    let mut known = member.table.scan().await.map_err(|fault| fault.of_lease(&member.app))?.rows;
    match at_shard_end(shard, children, &known, &listed, &initial).map_err(sync::inconsistent)? {
        AtEnd::Create { leases, children } => {
            let made: Vec<String> = leases.iter().map(|(info, _)| info.id.clone()).collect();
            sync::create(&member.app, &member.table, &mut known, leases).await?;
            made.iter().filter_map(|id| known.remove(id)).for_each(|row| member.note(row));
            Ok(children)
        }
        AtEnd::WaitFor { parent } => {
            let reason = format!("shard {shard} ends in a merge with {parent}, which has no lease yet");
            Err(LeaseError::Unavailable { app: member.app.clone(), reason })
        }
    }
}

/// Gives up what nobody processes.
pub async fn leave(member: &Arc<Member>) -> Result<(), LeaseError> {
    let mut leaving = JoinSet::new();
    for held in member.all_held().into_iter().filter(|held| !held.has_group()) {
        let member = Arc::clone(member);
        leaving.spawn(async move {
            let given = member.give_up(&held).await;
            match given {
                Err(Failed::Fault(fault)) => Err(fault.of_lease(&member.app)),
                // What is lost needs no giving up.
                Ok(()) | Err(Failed::Lost(_)) => Ok(()),
            }
        });
    }
    let mut failed = Ok(());
    while let Some(left) = leaving.join_next().await {
        let reason = |error: tokio::task::JoinError| error.to_string();
        let left = left
            .unwrap_or_else(|error| Err(LeaseError::Unavailable { app: member.app.clone(), reason: reason(error) }));
        failed = failed.and(left);
    }
    failed
}
