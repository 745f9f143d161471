//! Rows of shards that are done. Spec: kinesis-leases 8.4.

use std::sync::Arc;

use snowmelt_leases::{Position, ShardInfo};

use crate::codec::{Rows, Stored};
use crate::fault::Fault;
use crate::held::Held;
use crate::member::Member;

/// Most rows that one pass removes.
const AT_ONCE: usize = 20;

/// Whether nothing depends on a row at its end any more: its parents' rows are gone, and each child's lease has a position of its
/// own. Without that a peer that begins at the newest record would make leases that skip data.
pub fn is_removable(row: &Stored, rows: &Rows, listed: Option<&[ShardInfo]>) -> bool {
    if !row.is_ended() || row.parents.iter().any(|parent| rows.contains_key(parent)) {
        return false;
    }
    let listed_children = || {
        let listed = listed.unwrap_or_default().iter();
        listed.filter(|shard| shard.parents.contains(&row.shard)).map(|shard| shard.id.clone()).collect()
    };
    let children: Vec<String> = if row.children.is_empty() { listed_children() } else { row.children.clone() };
    if children.is_empty() {
        // Past its retention: its children, if it had any, are known by themselves. An empty listing is none.
        return listed.is_some_and(|shards| !shards.is_empty() && shards.iter().all(|shard| shard.id != row.shard));
    }
    let begun = |child: &String| {
        rows.get(child)
            .is_some_and(|child| !matches!(child.checkpoint, Position::TrimHorizon | Position::AtTimestampMs(_)))
    };
    children.iter().all(begun)
}

/// Removes rows of this worker that nothing depends on any more.
pub async fn clean_up(member: &Arc<Member>, rows: &Rows, listed: Option<&[ShardInfo]>) {
    let done = |held: &Arc<Held>| held.lost().is_none() && !held.has_group() && held.is_ended();
    let removable = member.all_held().into_iter().filter(done).filter(|held| is_removable(&held.row(), rows, listed));
    for held in removable.take(AT_ONCE) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(shard: &str, checkpoint: Position, parents: &[&str], children: &[&str]) -> Stored {
        let texts = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let info = ShardInfo { id: shard.to_owned(), parents: texts(parents), range: None, closed: false };
        Stored { children: texts(children), ..Stored::new(&info, checkpoint) }
    }

    fn rows(rows: impl IntoIterator<Item = Stored>) -> Rows {
        rows.into_iter().map(|row| (row.shard.clone(), row)).collect()
    }

    #[test]
    fn a_row_at_its_end_goes_when_each_child_has_a_position_of_its_own() {
        let parent = row("p", Position::ShardEnd, &["gone"], &["a", "b"]);
        let with = |a: Position, b: Option<Position>| {
            let b = b.map(|at| row("b", at, &["p"], &[]));
            rows([parent.clone(), row("a", a, &["p"], &[])].into_iter().chain(b))
        };
        let removable = |rows: &Rows| is_removable(&parent, rows, None);
        assert!(removable(&with(Position::at(5), Some(Position::at(7)))));
        assert!(removable(&with(Position::at(5), Some(Position::ShardEnd))));
        assert!(!removable(&with(Position::at(5), Some(Position::TrimHorizon))));
        assert!(!removable(&with(Position::AtTimestampMs(1), Some(Position::at(7)))));
        assert!(!removable(&with(Position::at(5), None)), "a child without a lease is still to be made");
        let open = row("p", Position::at(3), &[], &["a"]);
        assert!(!is_removable(&open, &rows([row("a", Position::at(1), &["p"], &[])]), None));
    }

    #[test]
    fn a_row_stays_while_its_parents_do() {
        let parent = row("p", Position::ShardEnd, &["g"], &["a"]);
        let mut rows =
            rows([parent.clone(), row("a", Position::at(5), &["p"], &[]), row("g", Position::ShardEnd, &[], &["p"])]);
        assert!(!is_removable(&parent, &rows, None));
        rows.remove("g");
        assert!(is_removable(&parent, &rows, None));
    }

    #[test]
    fn children_that_the_row_does_not_name_come_from_the_listing() {
        let parent = row("p", Position::ShardEnd, &[], &[]);
        let info = |id: &str, parents: &[&str]| ShardInfo {
            id: id.to_owned(),
            parents: parents.iter().map(|id| (*id).to_owned()).collect(),
            range: None,
            closed: false,
        };
        let begun = rows([parent.clone(), row("a", Position::at(5), &["p"], &[])]);
        assert!(!is_removable(&parent, &begun, None));
        assert!(is_removable(&parent, &begun, Some(&[info("p", &[]), info("a", &["p"])])));
        assert!(!is_removable(&parent, &begun, Some(&[info("p", &[])])), "closed, its children not listed yet");
        assert!(is_removable(&parent, &begun, Some(&[info("other", &[])])), "past its retention");
        assert!(!is_removable(&parent, &begun, Some(&[])));
    }
}
