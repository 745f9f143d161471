//! The lease table as the service keeps it: conditional writes, each atomic. Spec: kinesis-leases 3.

use snowmelt_leases::Position;
use snowmelt_leases::fleet::{Row, Rows};

/// What a write does to a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Take(String),
    Renew,
    Checkpoint(Position),
    GiveUp,
}

impl Change {
    /// The row that the change makes of `row`.
    pub fn of(&self, row: &Row) -> Row {
        match self {
            Self::Take(worker) => row.taken_by(worker),
            Self::Renew => row.renewed(),
            Self::Checkpoint(position) => row.checkpointed(position.clone(), None),
            Self::GiveUp => row.given_up(),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Request {
    Scan,
    Get(String),
    /// A change of the row, if its counter is as known, and with `owners` its owners too.
    Update {
        known: Row,
        change: Change,
        owners: bool,
    },
    Create(Row),
    NoteChildren {
        shard: String,
        children: Vec<String>,
    },
    /// If counter and checkpoint are as known.
    Delete(Row),
}

#[derive(Clone, Debug)]
pub enum Answer {
    Scanned(Rows),
    Found(Option<Row>),
    Written(Row),
    /// The condition failed; the row as it is.
    Refused(Option<Row>),
    /// Throttled, timed out or lost: nobody knows what happened.
    Unknown,
}

#[derive(Default)]
pub struct Table {
    pub rows: Rows,
}

impl Table {
    pub fn apply(&mut self, request: &Request) -> Answer {
        match request {
            Request::Scan => Answer::Scanned(self.rows.clone()),
            Request::Get(shard) => Answer::Found(self.rows.get(shard).cloned()),
            Request::Update { known, change, owners } => {
                let Some(row) = self.rows.get_mut(&known.shard) else { return Answer::Refused(None) };
                let same_owners = (&row.owner, &row.checkpoint_owner) == (&known.owner, &known.checkpoint_owner);
                if row.counter != known.counter || (*owners && !same_owners) {
                    return Answer::Refused(Some(row.clone()));
                }
                *row = change.of(row);
                Answer::Written(row.clone())
            }
            Request::Create(row) => match self.rows.get(&row.shard) {
                Some(there) => Answer::Refused(Some(there.clone())),
                None => {
                    self.rows.insert(row.shard.clone(), row.clone());
                    Answer::Written(row.clone())
                }
            },
            Request::NoteChildren { shard, children } => {
                let Some(row) = self.rows.get_mut(shard) else { return Answer::Refused(None) };
                row.children = children.clone();
                Answer::Written(row.clone())
            }
            Request::Delete(known) => {
                let same = |row: &&Row| (row.counter, &row.checkpoint) == (known.counter, &known.checkpoint);
                match self.rows.get(&known.shard) {
                    Some(row) if same(&row) => {
                        let row = row.clone();
                        self.rows.remove(&known.shard);
                        Answer::Written(row)
                    }
                    found => Answer::Refused(found.cloned()),
                }
            }
        }
    }
}
