//! A lease as a table stores it.

use std::collections::BTreeMap;

use crate::{Lease, Pending, Position, ShardInfo};

/// Rows by shard: a whole table, as one scan found it.
pub type Rows = BTreeMap<String, Row>;

/// A lease's row. Spec: kinesis-leases 2.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its key, `leaseKey`: the shard.
    pub shard: String,
    /// `leaseOwner`; `None` when nobody has it, never empty.
    pub owner: Option<String>,
    /// `checkpointOwner`: who has the shard until it is handed over to `owner`.
    pub checkpoint_owner: Option<String>,
    /// `leaseCounter`, which fences writers off: it goes up with nearly every write.
    pub counter: u64,
    /// How far the shard is done.
    pub checkpoint: Position,
    /// What a holder was about to do beyond.
    pub pending: Option<PendingState>,
    /// Changes of owner since the last checkpoint.
    pub owner_switches: u64,
    /// The shards it was split or merged from.
    pub parents: Vec<String>,
    /// The shards it was split or merged into; empty until its end was reached.
    pub children: Vec<String>,
    /// First and last hash key; absent in old rows.
    pub range: Option<(u128, u128)>,
}

/// The first phase of a two-phase checkpoint as it is stored: a worker of the Kinesis Client Library may have put any bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingState {
    /// `pendingCheckpoint` and its sub-sequence number.
    pub position: Position,
    /// `pendingCheckpointState`.
    pub state: Vec<u8>,
}

impl From<&Pending> for PendingState {
    fn from(pending: &Pending) -> Self {
        Self { position: pending.position.clone(), state: pending.state.clone().into_bytes() }
    }
}

impl Row {
    /// A new row that nobody owns.
    pub fn new(shard: &ShardInfo, checkpoint: Position) -> Self {
        Self {
            shard: shard.id.clone(),
            owner: None,
            checkpoint_owner: None,
            counter: 0,
            checkpoint,
            pending: None,
            owner_switches: 0,
            parents: shard.parents.clone(),
            children: Vec::new(),
            range: shard.range,
        }
    }

    /// Who may process the shard now: during a hand-off still the old owner.
    pub fn actual_owner(&self) -> Option<&str> {
        self.checkpoint_owner.as_deref().or(self.owner.as_deref())
    }

    /// Whether `worker` has the shard only until it is handed over to another.
    pub fn is_handed_over_by(&self, worker: &str) -> bool {
        self.checkpoint_owner.as_deref() == Some(worker) && self.owner.as_deref() != Some(worker)
    }

    /// Whether the shard was processed to its end.
    pub fn is_ended(&self) -> bool {
        self.checkpoint == Position::ShardEnd
    }

    /// The row after `worker` has taken it: what the write sets beside its conditions (counter and both owners as in `self`).
    /// Spec: kinesis-leases 3, 6 rule 2.
    #[must_use]
    pub fn taken_by(&self, worker: &str) -> Self {
        let moved = self.actual_owner().is_some_and(|owner| owner != worker);
        Self {
            owner: Some(worker.to_owned()),
            checkpoint_owner: None,
            counter: self.counter + 1,
            owner_switches: self.owner_switches + u64::from(moved),
            ..self.clone()
        }
    }

    /// The row after its holder has renewed it.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self { counter: self.counter + 1, ..self.clone() }
    }

    /// The row after its holder has stored a position; what was pending before goes.
    #[must_use]
    pub fn checkpointed(&self, position: Position, pending: Option<PendingState>) -> Self {
        Self { counter: self.counter + 1, checkpoint: position, pending, owner_switches: 0, ..self.clone() }
    }

    /// The row after its holder has given it up; a hand-off under way is completed by it.
    #[must_use]
    pub fn given_up(&self) -> Self {
        let owner = self.checkpoint_owner.as_ref().and(self.owner.clone());
        let moved = u64::from(owner.is_some());
        let owner_switches = self.owner_switches + moved;
        Self { owner, checkpoint_owner: None, counter: self.counter + 1, owner_switches, ..self.clone() }
    }

    /// The row as callers of a store see it. A pending state that is not text, which is not ours, is left out.
    pub fn to_lease(&self, app: &str, epoch: u64) -> Lease {
        let pending = self.pending.as_ref().and_then(|pending| {
            let state = String::from_utf8(pending.state.clone()).ok()?;
            Some(Pending { position: pending.position.clone(), state })
        });
        Lease {
            app: app.to_owned(),
            shard: self.shard.clone(),
            owner: self.owner.clone(),
            counter: self.counter,
            checkpoint: self.checkpoint.clone(),
            pending,
            owner_switches: self.owner_switches,
            parents: self.parents.clone(),
            children: self.children.clone(),
            range: self.range,
            epoch,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row of `shard` with an owner (`""`: none) and a counter.
    pub(crate) fn row(shard: &str, owner: &str, counter: u64) -> Row {
        let info = ShardInfo { id: shard.to_owned(), parents: Vec::new(), range: None, closed: false };
        let owner = Some(owner.to_owned()).filter(|owner| !owner.is_empty());
        Row { owner, counter, ..Row::new(&info, Position::TrimHorizon) }
    }

    /// Rows by their shards.
    pub(crate) fn rows(rows: impl IntoIterator<Item = Row>) -> Rows {
        rows.into_iter().map(|row| (row.shard.clone(), row)).collect()
    }

    #[test]
    fn during_a_hand_off_the_old_owner_has_the_shard() {
        let mut handed = row("a", "new", 3);
        assert_eq!(handed.actual_owner(), Some("new"));
        handed.checkpoint_owner = Some("old".to_owned());
        assert_eq!(handed.actual_owner(), Some("old"));
        assert!(handed.is_handed_over_by("old") && !handed.is_handed_over_by("new"));
        let given = handed.given_up();
        assert_eq!((given.owner.as_deref(), given.checkpoint_owner.as_deref(), given.counter), (Some("new"), None, 4));
        assert_eq!(given.owner_switches, 1);
        assert_eq!(given.given_up().owner, None);
        let taken = handed.taken_by("me");
        assert_eq!((taken.actual_owner(), taken.owner_switches), (Some("me"), 1));
        assert_eq!(row("a", "me", 1).taken_by("me").owner_switches, 0, "only a change of owner counts");
    }

    #[test]
    fn a_pending_state_of_bytes_that_are_no_text_is_kept_in_the_row_and_not_shown() {
        let mut kept = row("a", "me", 1);
        kept.pending = Some(PendingState { position: Position::at(5), state: vec![0xff, 0] });
        assert_eq!(kept.to_lease("app", 7).pending, None);
        kept.pending = Some(PendingState { position: Position::at(5), state: b"{}".to_vec() });
        let lease = kept.to_lease("app", 7);
        assert_eq!(lease.pending, Some(Pending { position: Position::at(5), state: "{}".to_owned() }));
        assert_eq!(lease.pending.as_ref().map(PendingState::from), kept.pending);
        assert_eq!((lease.epoch, lease.counter), (7, 1));
    }
}
