//! Rows of shards that are done. Spec: kinesis-leases 8.4.

use std::sync::Arc;

use snowmelt_leases::ShardInfo;
use snowmelt_leases::fleet::{Cleaning, Rows, clean};

use crate::fault::Fault;
use crate::held::Held;
use crate::member::Member;

/// Most rows that one pass removes.
const AT_ONCE: usize = 20;

/// Removes rows of this worker that nothing depends on any more. A shard that names no children is asked of the listing, not by
/// reading it: who lists it late keeps its row longer.
pub async fn clean_up(member: &Arc<Member>, rows: &Rows, listed: &[ShardInfo]) {
    let done = |held: &Arc<Held>| held.lost().is_none() && !held.has_group() && held.is_ended();
    let deletable = |held: &Arc<Held>| clean(&held.row(), rows, listed) == Cleaning::Delete;
    for held in member.all_held().into_iter().filter(done).filter(deletable).take(AT_ONCE) {
        match held.delete(&member.table).await {
            Ok(()) => {
                tracing::info!(
                    application = member.app,
                    shard = held.shard(),
                    "the row of a shard that is done is removed"
                );
                member.forget(held.shard());
            }
            // Renewed meanwhile, or lost: another pass finds out.
            Err(Fault::Condition(_)) => {}
            Err(fault) => {
                tracing::warn!(application = member.app, shard = held.shard(), error = %fault, "a row was not removed");
                return;
            }
        }
    }
}
