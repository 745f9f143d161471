//! The end of a shard, and of a worker. Spec: kinesis-leases 8.3, 19.7.

use std::sync::Arc;

use snowmelt_leases::{LeaseError, Position, ShardInfo};
use tokio::task::JoinSet;

use crate::codec::Stored;
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
/// after a crash between any two repeats them.
pub async fn end_shard(
    member: &Arc<Member>,
    shard: &str,
    epoch: u64,
    children: Vec<ShardInfo>,
) -> Result<Stored, LeaseError> {
    let held = of_epoch(member, shard, epoch)?;
    if held.is_ended() {
        return Ok(held.row());
    }
    let children = if children.is_empty() { list_children(member, shard).await? } else { children };
    for child in &children {
        make_child(member, shard, child).await?;
    }
    let ids: Vec<String> = children.into_iter().map(|child| child.id).collect();
    if let Some(update) = rows::note_children(&ids) {
        match member.table.update(shard, &update).await {
            // A row that is gone shows at the write of the end.
            Ok(_) | Err(crate::fault::Fault::Condition(_)) => {}
            Err(fault) => return Err(fault.of_lease(&member.app)),
        }
    }
    let end = Change::Checkpoint { position: Position::ShardEnd, pending: None };
    let row = held.write(&member.table, &end).await.map_err(|failed| member.failed(shard, &failed))?;
    tracing::info!(application = member.app, shard, children = ids.join(" "), "the shard's end is stored");
    member.note(row.clone());
    // The children may be taken here at once.
    member.want_look();
    Ok(row)
}

/// The shards that follow, as the stream lists them now: when the group began this one may have been open.
async fn list_children(member: &Arc<Member>, shard: &str) -> Result<Vec<ShardInfo>, LeaseError> {
    let Some((lister, _)) = member.lister() else { return Ok(Vec::new()) };
    let listed = lister.shards().await?;
    let children: Vec<_> =
        listed.iter().filter(|other| other.parents.iter().any(|parent| parent == shard)).cloned().collect();
    let open = listed.iter().any(|other| other.id == shard && !other.closed);
    if children.is_empty() && open {
        let reason = format!("shard {shard} was read to its end, and is listed as open without shards that follow");
        return Err(LeaseError::Unlisted { reason });
    }
    Ok(children)
}

/// Makes the lease of a shard that follows, at its first record. That of a merge waits for both parents: one whose lease is
/// missing though it is listed gets one first, else the child would be read while it is still to be read.
async fn make_child(member: &Arc<Member>, shard: &str, child: &ShardInfo) -> Result<(), LeaseError> {
    let fail = |fault: crate::fault::Fault| fault.of_lease(&member.app);
    for parent in child.parents.iter().filter(|parent| *parent != shard) {
        if member.table.get(parent).await.map_err(fail)?.is_some() {
            continue;
        }
        if let Some((lister, initial)) = member.lister() {
            let listed = lister.shards().await?;
            if listed.iter().any(|other| other.id == *parent) {
                let mut rows = member.table.scan().await.map_err(fail)?.rows;
                sync::make_missing(&member.app, &member.table, &mut rows, &listed, &initial).await?;
            }
        }
    }
    let row = Stored::new(child, Position::TrimHorizon);
    if member.table.create(&row).await.map_err(fail)? {
        member.note(row);
    }
    Ok(())
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
