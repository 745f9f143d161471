//! A lease that this worker holds: one serial queue of writes, and how long it may be counted on. Spec: kinesis-leases 3.1, 4.2.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use snowmelt_leases::{Fence, Pending, Position};

use crate::codec::Stored;
use crate::fault::Fault;
use crate::metric::Metric;
use crate::ops::update::Update;
use crate::ops::{Table, rows};
use crate::options::as_ms;

/// Turns of one write: each beyond the first follows what an earlier write, or another worker's, has been found to have done.
const TURNS: u32 = 3;
/// Writes without an answer that are remembered.
const REMEMBERED: usize = 8;

/// A change of the row by its holder.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The counter moves.
    Renew,
    /// How far the shard is done, and what is about to be done beyond.
    Checkpoint {
        /// The position.
        position: Position,
        /// What is noted beside it.
        pending: Option<Pending>,
    },
}

impl Change {
    fn update(&self, known: &Stored, me: &str) -> Update {
        match self {
            Self::Renew => rows::renew(known, me),
            Self::Checkpoint { position, pending } => rows::checkpoint(known, me, position, pending.as_ref()),
        }
    }

    /// Whether the row shows what this change of `known` sets.
    fn shows(&self, known: &Stored, row: &Stored) -> bool {
        match self {
            Self::Renew => row.checkpoint == known.checkpoint && row.pending == known.pending,
            Self::Checkpoint { position, pending } => row.checkpoint == *position && row.pending == *pending,
        }
    }
}

/// How a lease ended here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// Another worker has it, or nobody.
    Taken(Option<String>),
    /// Another process of the same name writes the row.
    Twin,
    /// The row is not there any more.
    Gone,
    /// It was not renewed in time: another worker may take it at any moment.
    RanOut,
    /// It is handed over to this worker.
    HandedOver(Option<String>),
    /// This worker gave it up.
    GivenUp,
}

impl Lost {
    /// Who has the lease now, as far as it is known.
    pub fn now(&self) -> Option<String> {
        match self {
            Self::Taken(now) | Self::HandedOver(now) => now.clone(),
            Self::Twin | Self::Gone | Self::RanOut | Self::GivenUp => None,
        }
    }
}

/// Why a write of the holder failed.
#[derive(Debug, Clone)]
pub enum Failed {
    /// The lease is lost.
    Lost(Lost),
    /// Nothing is known of the lease; the same may succeed later.
    Fault(Fault),
}

/// A lease that is held. Times are milliseconds of [`Fence::now_ms`].
#[derive(Debug)]
pub struct Held {
    app: String,
    shard: String,
    me: String,
    failover_ms: u64,
    /// The queue: whoever has it is the only one who writes the row.
    writes: tokio::sync::Mutex<Writes>,
    state: Mutex<State>,
}

/// What only the writer needs.
#[derive(Debug)]
struct Writes {
    row: Stored,
    /// Writes whose answer is not known, with the time they were sent, oldest first.
    unanswered: Vec<(u64, Change)>,
}

/// What anybody may look at, for a moment.
#[derive(Debug)]
struct State {
    row: Stored,
    renewed_ms: u64,
    due_ms: u64,
    renewing: bool,
    epoch: u64,
    fence: Fence,
    /// When the group, or whoever waits to start one, was last heard of.
    heard_ms: u64,
    grace_until_ms: u64,
    /// The group is to end, though what it has done may still be stored.
    fenced_off: bool,
    /// It was said that the group is silent.
    told_silent: bool,
    lost: Option<Lost>,
}

/// What the renewer wants to know of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// Its renewal is due and under way nowhere.
    pub due: bool,
    /// Milliseconds since the last renewal was sent.
    pub age_ms: u64,
    /// Milliseconds without a word of the group.
    pub silent_ms: u64,
    /// A group processes the shard.
    pub has_group: bool,
    /// The table names another owner, who waits for this one to finish.
    pub hand_over: bool,
    /// It ended here.
    pub lost: bool,
}

impl Held {
    /// A lease that was taken by a write sent at `sent_ms`.
    pub fn new(app: &str, me: &str, failover: Duration, row: Stored, sent_ms: u64, grace: Duration) -> Self {
        let failover_ms = as_ms(failover);
        let state = State {
            row: row.clone(),
            renewed_ms: sent_ms,
            // Spread from the start: leases taken at once are not renewed at once.
            due_ms: sent_ms + fastrand::u64(failover_ms / 6..=failover_ms / 3),
            renewing: false,
            epoch: 0,
            fence: Fence::until(sent_ms + failover_ms),
            heard_ms: sent_ms,
            grace_until_ms: if grace.is_zero() { 0 } else { Fence::now_ms() + as_ms(grace) },
            fenced_off: false,
            told_silent: false,
            lost: None,
        };
        Self {
            app: app.to_owned(),
            shard: row.shard.clone(),
            me: me.to_owned(),
            failover_ms,
            writes: tokio::sync::Mutex::new(Writes { row, unanswered: Vec::new() }),
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard.
    pub fn shard(&self) -> &str {
        &self.shard
    }

    /// The row as it was last read or written.
    pub fn row(&self) -> Stored {
        self.state().row.clone()
    }

    /// Whether the shard was read to its end.
    pub fn is_ended(&self) -> bool {
        self.state().row.is_ended()
    }

    /// Whether a group processes the shard.
    pub fn has_group(&self) -> bool {
        self.state().epoch != 0
    }

    /// How the lease ended here, if it did.
    pub fn lost(&self) -> Option<Lost> {
        self.state().lost.clone()
    }

    /// How long nobody may read yet, since the lease came from a worker that was alive.
    pub fn grace_left(&self) -> Duration {
        Duration::from_millis(self.state().grace_until_ms.saturating_sub(Fence::now_ms()))
    }

    /// Begins a period of ownership: whoever had an earlier one finds its fence shut.
    pub fn begin(&self, epoch: u64) -> Result<(), Lost> {
        let mut state = self.state();
        if let Some(lost) = &state.lost {
            return Err(lost.clone());
        }
        if state.fenced_off {
            return Err(Lost::HandedOver(state.row.owner.clone()));
        }
        state.fence.shut();
        state.fence = Fence::until(state.renewed_ms + self.failover_ms);
        state.epoch = epoch;
        state.heard_ms = Fence::now_ms();
        Ok(())
    }

    /// The fence of a period of ownership; none when another one, or the lease's end, came after it.
    pub fn fence(&self, epoch: u64) -> Option<Fence> {
        let state = self.state();
        (epoch != 0 && state.epoch == epoch).then(|| state.fence.clone())
    }

    /// The group of a period of ownership is alive and asks whether the lease is still its own.
    pub fn heard(&self, epoch: u64) -> Result<(), Lost> {
        let now_ms = Fence::now_ms();
        let mut state = self.state();
        if let Some(lost) = &state.lost {
            return Err(lost.clone());
        }
        if epoch == 0 || state.epoch != epoch {
            return Err(Lost::Taken(Some(self.me.clone())));
        }
        if state.fenced_off {
            return Err(Lost::HandedOver(state.row.owner.clone()));
        }
        if now_ms >= state.renewed_ms + self.failover_ms {
            return Err(Lost::RanOut);
        }
        state.heard_ms = now_ms;
        state.told_silent = false;
        Ok(())
    }

    /// Nobody processes the shard any more, or yet; the lease stays.
    pub fn leave_group(&self) {
        let mut state = self.state();
        state.fence.shut();
        state.epoch = 0;
        state.heard_ms = Fence::now_ms();
        state.fence = Fence::until(state.renewed_ms + self.failover_ms);
    }

    /// A lease that nobody processes is not forgotten: somebody asks for leases.
    pub fn keep_waiting(&self) {
        let mut state = self.state();
        if state.epoch == 0 {
            state.heard_ms = Fence::now_ms();
        }
    }

    /// What the renewer wants to know. A renewal that is due is the caller's to make.
    pub fn pulse(&self) -> Pulse {
        let now_ms = Fence::now_ms();
        let mut state = self.state();
        let due = state.lost.is_none() && !state.renewing && now_ms >= state.due_ms;
        state.renewing |= due;
        Pulse {
            due,
            age_ms: now_ms.saturating_sub(state.renewed_ms),
            silent_ms: now_ms.saturating_sub(state.heard_ms),
            has_group: state.epoch != 0,
            hand_over: state.row.checkpoint_owner.as_deref() == Some(&self.me)
                && state.row.owner.as_deref() != Some(&self.me),
            lost: state.lost.is_some(),
        }
    }

    /// The renewal that [`Held::pulse`] asked for is over; after a failure the next one comes soon.
    pub fn renewed(&self, well: bool) {
        let mut state = self.state();
        state.renewing = false;
        if !well {
            let soon = self.failover_ms / 12;
            state.due_ms = Fence::now_ms() + fastrand::u64(soon / 2..=soon);
        }
    }

    /// Ends the lease here; every group of it is fenced off. False when it had ended before.
    pub fn lose(&self, lost: Lost) -> bool {
        let mut state = self.state();
        state.fence.shut();
        if state.lost.is_some() {
            return false;
        }
        state.lost = Some(lost);
        true
    }

    /// Milliseconds since the last renewal was sent.
    pub fn pulse_age_ms(&self) -> u64 {
        Fence::now_ms().saturating_sub(self.state().renewed_ms)
    }

    /// The lease was not renewed in time.
    pub fn run_out(&self) {
        self.ended(&Lost::RanOut);
    }

    /// The group shall end; what it has done by now may still be stored. True the first time.
    pub fn fence_off(&self) -> bool {
        let mut state = self.state();
        state.fence.shut();
        !std::mem::replace(&mut state.fenced_off, true)
    }

    /// True once for each time that the group falls silent.
    pub fn warn_silent(&self) -> bool {
        !std::mem::replace(&mut self.state().told_silent, true)
    }

    /// Writes a change, after the writes before it. What a lost answer left open is settled first (spec: kinesis-leases 3.1).
    pub async fn write(&self, table: &Table, change: &Change) -> Result<Stored, Failed> {
        let mut writes = self.writes.lock().await;
        let mut last = None;
        for _ in 0..TURNS {
            let sent_ms = self.may_write()?;
            let fault = match table.update(&self.shard, &change.update(&writes.row, &self.me)).await {
                Ok(row) => {
                    self.adopt(&mut writes, row.clone(), sent_ms);
                    return Ok(row);
                }
                Err(fault) => fault,
            };
            let Fault::Condition(item) = fault else {
                if fault.is_ambiguous() && writes.unanswered.len() < REMEMBERED {
                    writes.unanswered.push((sent_ms, change.clone()));
                }
                return Err(Failed::Fault(fault));
            };
            let found = match item.as_deref().and_then(|item| table.row(item)) {
                Some(found) => Some(found),
                None => table.get(&self.shard).await.map_err(Failed::Fault)?,
            };
            match judge(&writes, found, &self.me) {
                Verdict::Ours { row, sent_ms } => {
                    Metric::Recovered.count(&self.app, 1);
                    tracing::info!(
                        application = self.app,
                        shard = self.shard,
                        counter = row.counter,
                        "a write whose answer was lost had landed"
                    );
                    let landed = change.shows(&writes.row, &row);
                    self.adopt(&mut writes, row.clone(), sent_ms);
                    if landed {
                        return Ok(row);
                    }
                }
                Verdict::Again => last = Some(Fault::Condition(None)),
                Verdict::Lost(lost) => {
                    self.ended(&lost);
                    return Err(Failed::Lost(lost));
                }
            }
        }
        Err(Failed::Fault(last.unwrap_or(Fault::Condition(None))))
    }

    /// Reads the row anew, after the writes before; finds out what a lost answer left open, and whether the lease is still ours.
    pub async fn read(&self, table: &Table) -> Result<Stored, Failed> {
        let mut writes = self.writes.lock().await;
        self.may_write()?;
        let found = table.get(&self.shard).await.map_err(Failed::Fault)?;
        if let Some(row) = &found
            && row.counter == writes.row.counter
            && row.actual_owner() == Some(&self.me)
        {
            writes.row = row.clone();
            self.state().row = row.clone();
            return Ok(row.clone());
        }
        match judge(&writes, found, &self.me) {
            Verdict::Ours { row, sent_ms } => {
                self.adopt(&mut writes, row.clone(), sent_ms);
                Ok(row)
            }
            Verdict::Again => Err(Failed::Fault(Fault::Condition(None))),
            Verdict::Lost(lost) => {
                self.ended(&lost);
                Err(Failed::Lost(lost))
            }
        }
    }

    /// Writes what ends this worker's ownership, after the writes before; the lease has ended here whatever comes of it.
    pub async fn finish(&self, table: &Table, lost: Lost, update: fn(&Stored) -> Update) -> Result<(), Failed> {
        let writes = self.writes.lock().await;
        if let Some(lost) = self.lost().filter(|known| *known != lost) {
            return Err(Failed::Lost(lost));
        }
        self.lose(lost);
        match table.update(&self.shard, &update(&writes.row)).await {
            // An owner that is another by now is what was wanted.
            Ok(_) | Err(Fault::Condition(_)) => Ok(()),
            Err(fault) => Err(Failed::Fault(fault)),
        }
    }

    /// Removes the row, after the writes before.
    pub async fn delete(&self, table: &Table) -> Result<(), Fault> {
        let writes = self.writes.lock().await;
        table.delete(&writes.row).await?;
        self.lose(Lost::Gone);
        Ok(())
    }

    /// When a write is sent now, unless the lease is over.
    fn may_write(&self) -> Result<u64, Failed> {
        if let Some(lost) = self.lost() {
            return Err(Failed::Lost(lost));
        }
        let now_ms = Fence::now_ms();
        let until_ms = self.state().renewed_ms + self.failover_ms;
        if now_ms >= until_ms {
            self.ended(&Lost::RanOut);
            return Err(Failed::Lost(Lost::RanOut));
        }
        Ok(now_ms)
    }

    fn adopt(&self, writes: &mut Writes, row: Stored, sent_ms: u64) {
        writes.row = row.clone();
        writes.unanswered.clear();
        let mut state = self.state();
        state.row = row;
        state.renewed_ms = state.renewed_ms.max(sent_ms);
        let every = self.failover_ms / 3;
        state.due_ms = sent_ms + every - fastrand::u64(0..=every / 10);
        state.fence.extend(sent_ms + self.failover_ms);
    }

    fn ended(&self, lost: &Lost) {
        if !self.lose(lost.clone()) {
            return;
        }
        Metric::Lost.count(&self.app, 1);
        let (application, shard) = (&self.app, &self.shard);
        match lost {
            Lost::Twin => tracing::error!(
                application,
                shard,
                worker = self.me,
                "another process of the same worker name writes this lease: it is given up here; names must be unique"
            ),
            Lost::RanOut => tracing::warn!(application, shard, "the lease was not renewed in time"),
            Lost::Gone => tracing::warn!(application, shard, "the lease's row is gone"),
            lost => tracing::info!(application, shard, now = lost.now(), "lease lost"),
        }
    }
}

/// What a row that is not as known means.
enum Verdict {
    /// A write of ours without an answer has made it so.
    Ours { row: Stored, sent_ms: u64 },
    /// It is as known: the condition failed for what is over.
    Again,
    /// The lease is not ours any more.
    Lost(Lost),
}

fn judge(writes: &Writes, found: Option<Stored>, me: &str) -> Verdict {
    let Some(row) = found else { return Verdict::Lost(Lost::Gone) };
    if row.actual_owner() != Some(me) {
        return Verdict::Lost(Lost::Taken(row.actual_owner().map(str::to_owned)));
    }
    if row.counter == writes.row.counter {
        return Verdict::Again;
    }
    let made = |(_, change): &&(u64, Change)| change.shows(&writes.row, &row);
    match writes.unanswered.iter().find(made) {
        Some((sent_ms, _)) if row.counter == writes.row.counter + 1 => Verdict::Ours { sent_ms: *sent_ms, row },
        _ => Verdict::Lost(Lost::Twin),
    }
}
