//! This worker as a member of one application's fleet: the leases that it holds, and what it knows of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use snowmelt_leases::fleet::{Kind, Row, Rows, StealBackoff, Take, unfinished_parent};
use snowmelt_leases::{Fence, LeaseError, ListShards, Position};

use crate::fault::Fault;
use crate::held::{Failed, Held, Lost};
use crate::metric::Metric;
use crate::ops::{Table, rows};
use crate::options::{LeaseOptions, as_ms};
use crate::round::Rounds;

/// A lease that was given up here is not taken again for so many times the failover time, except on request.
const REFUSED_FAILOVERS: u32 = 6;

/// One application's member. Times are milliseconds of [`Fence::now_ms`].
pub struct Member {
    /// The application.
    pub app: String,
    /// This worker's name.
    pub me: String,
    /// Settings.
    pub options: Arc<LeaseOptions>,
    /// The table, for renewals.
    pub renewals: Table,
    /// The table, for everything else.
    pub table: Table,
    /// Looks at the table, one at a time.
    pub rounds: tokio::sync::Mutex<Rounds>,
    state: Mutex<State>,
    epochs: AtomicU64,
    leaving: AtomicBool,
    /// A look at the table is wanted at once.
    wanted: AtomicBool,
}

struct State {
    held: BTreeMap<String, Arc<Held>>,
    /// The table as it was last seen, own writes included.
    view: Rows,
    /// Leases that are not to be taken before a time.
    refused: BTreeMap<String, u64>,
    lister: Option<Lister>,
    /// Rows as takes without an answer would have made them.
    unanswered: Rows,
    backoff: StealBackoff,
    /// A row was found to be gone.
    gone: bool,
}

/// Who lists the stream's shards, and where one without a history begins.
pub type Lister = (Arc<dyn ListShards>, Position);

impl Member {
    /// A member that holds nothing yet.
    pub fn new(app: &str, me: &str, options: Arc<LeaseOptions>, renewals: Table, table: Table) -> Self {
        let state = State {
            held: BTreeMap::new(),
            view: Rows::new(),
            refused: BTreeMap::new(),
            lister: None,
            unanswered: Rows::new(),
            backoff: StealBackoff::new(as_ms(options.failover)),
            gone: false,
        };
        Self {
            app: app.to_owned(),
            me: me.to_owned(),
            options,
            renewals,
            table,
            rounds: tokio::sync::Mutex::new(Rounds::default()),
            state: Mutex::new(state),
            epochs: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new period of ownership, never 0.
    pub fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The lease of a shard, if it is held.
    pub fn held(&self, shard: &str) -> Option<Arc<Held>> {
        self.state().held.get(shard).filter(|held| held.lost().is_none()).cloned()
    }

    /// All leases that are held.
    pub fn all_held(&self) -> Vec<Arc<Held>> {
        self.state().held.values().cloned().collect()
    }

    /// The shards whose leases are held.
    pub fn held_shards(&self) -> BTreeSet<String> {
        let state = self.state();
        state.held.values().filter(|held| held.lost().is_none()).map(|held| held.shard().to_owned()).collect()
    }

    /// A row as it was last seen.
    pub fn seen(&self, shard: &str) -> Option<Row> {
        self.state().view.get(shard).cloned()
    }

    /// Replaces the picture of the table. Rows of leases that are held are newer here than in any scan.
    pub fn see(&self, mut rows: Rows) {
        let mut state = self.state();
        for (shard, held) in state.held.iter().filter(|(_, held)| held.lost().is_none()) {
            if let Some(row) = rows.get_mut(shard) {
                held.check(row, &self.me);
                *row = held.row();
            }
        }
        state.view = rows;
    }

    /// Notes a row that was written or read.
    pub fn note(&self, row: Row) {
        self.state().view.insert(row.shard.clone(), row);
    }

    /// Notes that a row is gone.
    pub fn forget(&self, shard: &str) {
        let mut state = self.state();
        state.view.remove(shard);
        state.held.remove(shard);
    }

    /// Somebody asks for leases: those that can't be read yet, or any more, go on being renewed. One that can be read waits for its
    /// group no longer than a group may be silent.
    pub fn claimed(&self) {
        for held in self.all_held() {
            if !self.is_readable(&held.row()) {
                held.keep_waiting();
            }
        }
    }

    /// Keeps who lists the shards.
    pub fn set_lister(&self, shards: &Arc<dyn ListShards>, initial: &Position) {
        self.state().lister = Some((Arc::clone(shards), initial.clone()));
    }

    /// Who lists the shards, once somebody has claimed.
    pub fn lister(&self) -> Option<Lister> {
        self.state().lister.clone()
    }

    /// Wants a look at the table at the next claim.
    pub fn want_look(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    /// Whether a look at the table was wanted; asked once.
    pub fn take_wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::AcqRel)
    }

    /// The worker takes no more leases.
    pub fn set_leaving(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// Whether the worker takes no more leases.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Does not take a lease again for a while.
    pub fn refuse(&self, shard: &str) {
        let until_ms = Fence::now_ms() + as_ms(self.options.failover * REFUSED_FAILOVERS);
        self.state().refused.insert(shard.to_owned(), until_ms);
    }

    /// Whether a lease is not to be taken now.
    pub fn refuses(&self, shard: &str) -> bool {
        let now_ms = Fence::now_ms();
        let mut state = self.state();
        state.refused.retain(|_, until_ms| *until_ms > now_ms);
        state.refused.contains_key(shard)
    }

    /// Takes a lease as it is known.
    ///
    /// # Errors
    /// A [`Fault`]; [`Fault::Condition`] when another worker was faster.
    pub async fn take(&self, take: &Take) -> Result<Arc<Held>, Fault> {
        let known = &take.row;
        let sent_ms = Fence::now_ms();
        let taken = self.table.update(&known.shard, &rows::take(known, &self.me)).await;
        let row = taken.inspect_err(|fault| {
            if fault.is_ambiguous() {
                self.state().unanswered.insert(known.shard.clone(), known.taken_by(&self.me));
            }
        })?;
        let stolen = take.kind == Kind::Steal;
        let grace = if stolen { self.options.grace } else { Duration::ZERO };
        let metric = if stolen { Metric::Stolen } else { Metric::Taken };
        metric.count(&self.app, 1);
        tracing::info!(application = self.app, shard = row.shard, from = known.actual_owner(), kind = ?take.kind, "lease taken");
        let held = Held::new(&self.app, &self.me, self.options.timing(), row.clone(), sent_ms, grace);
        let held = Arc::new(held);
        let mut state = self.state();
        if stolen {
            state.backoff.stole(&row.shard, sent_ms);
        }
        state.refused.remove(&row.shard);
        state.held.insert(row.shard.clone(), Arc::clone(&held));
        state.view.insert(row.shard.clone(), row);
        Ok(held)
    }

    /// The rows that this worker may take though they carry its name already: takes whose answer was lost and that had landed.
    pub fn landed(&self, rows: &Rows) -> Vec<Take> {
        let unanswered = std::mem::take(&mut self.state().unanswered);
        let landed = unanswered.into_iter().filter_map(|(shard, taken)| {
            let row = rows.get(&shard)?;
            let same = (row.counter, row.actual_owner()) == (taken.counter, taken.actual_owner());
            same.then(|| Take { row: row.clone(), kind: Kind::Adopt })
        });
        landed.collect()
    }

    /// How many leases of workers that are alive may be taken now.
    pub fn may_steal(&self) -> usize {
        self.state().backoff.allowed(self.options.steal_at_once, Fence::now_ms())
    }

    /// A lease is lost: it is held no more, and the table is to be looked at.
    pub fn lost_it(&self, held: &Arc<Held>, lost: &Lost) {
        let mut state = self.state();
        match lost {
            Lost::Gone => drop(state.view.remove(held.shard())),
            Lost::Taken(_) => {
                let row = held.row();
                state.view.insert(row.shard.clone(), row);
                state.backoff.lost(held.shard(), Fence::now_ms(), &mut Rng::new());
            }
            Lost::Twin | Lost::RanOut | Lost::HandedOver(_) | Lost::GivenUp => {}
        }
        state.gone |= *lost == Lost::Gone;
        if state.held.get(held.shard()).is_some_and(|known| Arc::ptr_eq(known, held)) {
            state.held.remove(held.shard());
        }
        drop(state);
        self.want_look();
    }

    /// Whether a row was found to be gone; asked once.
    pub fn take_gone(&self) -> bool {
        std::mem::take(&mut self.state().gone)
    }

    /// Gives a lease up, so that anybody may take it at once; a hand-off that has begun is completed instead.
    ///
    /// # Errors
    /// What is known of a lease that stays in the table until it expires.
    pub async fn give_up(&self, held: &Arc<Held>) -> Result<(), Failed> {
        let row = held.row();
        let pending = row.checkpoint_owner.as_deref() == Some(&self.me);
        let (lost, update): (_, fn(&Row) -> _) =
            if pending { (Lost::HandedOver(row.owner), rows::assign) } else { (Lost::GivenUp, rows::evict) };
        let done = held.finish(&self.table, lost, update).await;
        self.drop_held(held);
        if done.is_ok() {
            Metric::GivenUp.count(&self.app, 1);
            tracing::info!(application = self.app, shard = held.shard(), "lease given up");
        }
        done
    }

    /// Forgets a lease that has ended here; one that was taken again meanwhile stays.
    pub fn drop_held(&self, held: &Arc<Held>) {
        let mut state = self.state();
        if state.held.get(held.shard()).is_some_and(|known| Arc::ptr_eq(known, held)) {
            state.held.remove(held.shard());
        }
    }

    /// Whether a shard can be read: not done, the shards before it done or forgotten.
    pub fn is_readable(&self, row: &Row) -> bool {
        let ours = !row.is_ended() && row.actual_owner() == Some(&self.me);
        ours && unfinished_parent(row, &self.state().view).is_none()
    }

    /// The error of a lease that is lost.
    pub fn lost(&self, shard: &str, lost: &Lost) -> LeaseError {
        let now = lost.now().or_else(|| self.seen(shard)?.actual_owner().map(str::to_owned));
        let (app, shard, owner) = (self.app.clone(), shard.to_owned(), self.me.clone());
        LeaseError::Lost { app, shard, owner, now }
    }

    /// The error of a write that failed; a lease that it has lost is held no more.
    pub fn failed(&self, held: &Arc<Held>, failed: &Failed) -> LeaseError {
        match failed {
            Failed::Lost(lost) => {
                self.lost_it(held, lost);
                self.lost(held.shard(), lost)
            }
            Failed::Fault(fault) => fault.of_lease(&self.app),
        }
    }

    /// How many leases are held, for the gauges.
    pub fn publish(&self) {
        let held = self.all_held();
        let oldest = held.iter().map(|held| held.age().0).max().unwrap_or(0);
        Metric::Held.set(&self.app, held.len() as u64);
        Metric::RenewalAge.set(&self.app, oldest);
    }
}
