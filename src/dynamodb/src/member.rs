//! This worker as a member of one application's fleet: the leases that it holds, and what it knows of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use snowmelt_leases::{Fence, LeaseError, ListShards, Position};

use crate::codec::{Rows, Stored};
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

#[derive(Default)]
struct State {
    held: BTreeMap<String, Arc<Held>>,
    /// The table as it was last seen, own writes included.
    view: Rows,
    /// Leases that are not to be taken before a time.
    refused: BTreeMap<String, u64>,
    claimed_ms: u64,
    lister: Option<Lister>,
}

/// Who lists the stream's shards, and where one without a history begins.
pub type Lister = (Arc<dyn ListShards>, Position);

impl Member {
    /// A member that holds nothing yet.
    pub fn new(app: &str, me: &str, options: Arc<LeaseOptions>, renewals: Table, table: Table) -> Self {
        let state = State { claimed_ms: Fence::now_ms(), ..State::default() };
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

    /// The table as it was last seen.
    pub fn view(&self) -> Rows {
        self.state().view.clone()
    }

    /// A row as it was last seen.
    pub fn seen(&self, shard: &str) -> Option<Stored> {
        self.state().view.get(shard).cloned()
    }

    /// Replaces the picture of the table. Rows of leases that are held are newer here than in any scan.
    pub fn see(&self, mut rows: Rows) {
        let mut state = self.state();
        for (shard, held) in &state.held {
            if held.lost().is_none() && rows.contains_key(shard) {
                rows.insert(shard.clone(), held.row());
            }
        }
        state.view = rows;
    }

    /// Notes a row that was written or read.
    pub fn note(&self, row: Stored) {
        self.state().view.insert(row.shard.clone(), row);
    }

    /// Notes that a row is gone.
    pub fn forget(&self, shard: &str) {
        let mut state = self.state();
        state.view.remove(shard);
        state.held.remove(shard);
    }

    /// Somebody asks for leases: those that wait for a group go on being renewed.
    pub fn claimed(&self) {
        let mut state = self.state();
        state.claimed_ms = Fence::now_ms();
        for held in state.held.values() {
            held.keep_waiting();
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

    /// How long nobody has asked for leases.
    pub fn unclaimed_ms(&self) -> u64 {
        Fence::now_ms().saturating_sub(self.state().claimed_ms)
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

    /// Takes a lease as it is known. `stolen` says that its owner is alive.
    ///
    /// # Errors
    /// A [`Fault`]; [`Fault::Condition`] when another worker was faster.
    pub async fn take(&self, known: &Stored, stolen: bool) -> Result<Arc<Held>, Fault> {
        let sent_ms = Fence::now_ms();
        let row = self.table.update(&known.shard, &rows::take(known, &self.me)).await?;
        let grace = if stolen { self.options.grace } else { std::time::Duration::ZERO };
        let metric = if stolen { Metric::Stolen } else { Metric::Taken };
        metric.count(&self.app, 1);
        tracing::info!(application = self.app, shard = row.shard, from = known.actual_owner(), stolen, "lease taken");
        let held = Held::new(&self.app, &self.me, self.options.failover, row.clone(), sent_ms, grace);
        let held = Arc::new(held);
        let mut state = self.state();
        state.refused.remove(&row.shard);
        state.held.insert(row.shard.clone(), Arc::clone(&held));
        state.view.insert(row.shard.clone(), row);
        Ok(held)
    }

    /// Gives a lease up, so that anybody may take it at once; a hand-off that has begun is completed instead.
    ///
    /// # Errors
    /// What is known of a lease that stays in the table until it expires.
    pub async fn give_up(&self, held: &Arc<Held>) -> Result<(), Failed> {
        let row = held.row();
        let pending = row.checkpoint_owner.as_deref() == Some(&self.me);
        let (lost, update): (_, fn(&Stored) -> _) =
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

    /// Whether a shard can be read: not done, and the shards before it done or forgotten.
    pub fn is_readable(&self, row: &Stored) -> bool {
        let state = self.state();
        let done = |parent: &String| {
            let held = state.held.get(parent).filter(|held| held.lost().is_none());
            held.map_or_else(|| state.view.get(parent).is_none_or(Stored::is_ended), |held| held.is_ended())
        };
        !row.is_ended() && row.actual_owner() == Some(&self.me) && row.parents.iter().all(done)
    }

    /// The error of a lease that is lost.
    pub fn lost(&self, shard: &str, lost: &Lost) -> LeaseError {
        let now = lost.now().or_else(|| self.seen(shard)?.actual_owner().map(str::to_owned));
        let (app, shard, owner) = (self.app.clone(), shard.to_owned(), self.me.clone());
        LeaseError::Lost { app, shard, owner, now }
    }

    /// The error of a write that failed.
    pub fn failed(&self, shard: &str, failed: &Failed) -> LeaseError {
        match failed {
            Failed::Lost(lost) => self.lost(shard, lost),
            Failed::Fault(fault) => fault.of_lease(&self.app),
        }
    }

    /// How many leases are held, for the gauges.
    pub fn publish(&self) {
        let held = self.all_held();
        let oldest = held.iter().map(|held| held.pulse_age_ms()).max().unwrap_or(0);
        Metric::Held.set(&self.app, held.len() as u64);
        Metric::RenewalAge.set(&self.app, oldest);
    }
}
