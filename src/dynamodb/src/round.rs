//! A look at the table: who is alive, what is missing, what to take. Spec: kinesis-leases 4.4, 7.4, 19.7.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use snowmelt_leases::fleet::{
    Coordinator, Decision, Holes, Kind, Mode, ModeWatch, Row, Rows, Take, Timing, Watch, adopt, decide,
};
use snowmelt_leases::{Fence, Lease, LeaseError, ListShards, Position, ShardInfo};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cleanup;
use crate::fault::Fault;
use crate::member::Member;
use crate::metric::Metric;
use crate::options::as_ms;
use crate::{leader, sync};

/// Time between two passes that remove rows.
const CLEAN_EVERY: Duration = Duration::from_secs(60);
/// Time between two words about waiting for a leader's fleet to go.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// A scan may take this part of the time between two.
const SCAN_SHARE: u32 = 10;
/// The first wait after a look that failed.
const RETRY: Duration = Duration::from_millis(250);

/// What is kept between two looks. Times are milliseconds of [`Fence::now_ms`].
#[derive(Default)]
pub struct Rounds {
    /// The table is there and a lease table.
    ready: bool,
    /// A look was done in which leases could be taken.
    started: bool,
    watch: Watch,
    holes: Holes,
    leader: ModeWatch,
    mode: Option<Mode>,
    mode_due_ms: u64,
    said_ms: u64,
    due_ms: u64,
    failures: u32,
    clean_due_ms: u64,
    /// Shards as they were last listed.
    listed: Option<Vec<ShardInfo>>,
}

impl Rounds {
    /// Whether the owner of a row as it is now has let it run out, as far as looks have shown.
    pub fn has_expired(&self, row: &Row, member: &Member) -> bool {
        // A counter that has moved since the last look is a renewal.
        let as_seen = member.seen(&row.shard).is_some_and(|seen| seen.counter == row.counter);
        as_seen && self.watch.is_expired(row, as_ms(member.options.failover), Fence::now_ms())
    }
}

/// The leases that this worker holds and can read now; looks at the table when that is due.
pub async fn claim(
    member: &Arc<Member>,
    shards: &Arc<dyn ListShards>,
    initial: &Position,
) -> Result<Vec<Lease>, LeaseError> {
    member.set_lister(shards, initial);
    if member.is_leaving() {
        return Ok(Vec::new());
    }
    member.claimed();
    // A look that is under way is as good as one of our own.
    if let Ok(mut rounds) = member.rounds.try_lock() {
        let wanted = member.take_wanted();
        if wanted || Fence::now_ms() >= rounds.due_ms {
            let every = member.options.scan_every();
            match rounds.look(member, shards, initial).await {
                Ok(took) => {
                    rounds.failures = 0;
                    let period_ms = as_ms(every.max(took * SCAN_SHARE));
                    rounds.due_ms = Timing::next_round_ms(period_ms, Fence::now_ms(), &mut Rng::new());
                }
                Err(error) => {
                    let wait = (RETRY * 2_u32.pow(rounds.failures.min(8))).min(every);
                    rounds.failures += 1;
                    rounds.due_ms = Fence::now_ms() + as_ms(wait.mul_f64(0.5 + 0.5 * fastrand::f64()));
                    return Err(error);
                }
            }
        }
    }
    let mut readable = Vec::new();
    for held in member.all_held().into_iter().filter(|held| held.lost().is_none()) {
        let row = held.row();
        if member.is_readable(&row) && (held.has_group() || parents_are_done(member, &row).await) {
            readable.push(row.to_lease(&member.app, 0));
        }
    }
    Ok(readable)
}

/// Whether the shards before one are done, as the table says at this moment: a scan may leave out rows that were made just before
/// it, and a parent without a row would count as done.
async fn parents_are_done(member: &Member, row: &Row) -> bool {
    for parent in &row.parents {
        if member.held(parent).is_some_and(|held| held.is_ended()) {
            continue;
        }
        match member.table.get(parent).await {
            Ok(None) => {}
            Ok(Some(row)) => {
                let done = row.is_ended();
                member.note(row);
                if !done {
                    return false;
                }
            }
            Err(fault) => {
                tracing::debug!(application = member.app, shard = row.shard, error = %fault, "whether the shards before it are done is not known");
                return false;
            }
        }
    }
    true
}

impl Rounds {
    /// Looks at the table and does what follows; says how long the scan took.
    async fn look(
        &mut self,
        member: &Arc<Member>,
        shards: &Arc<dyn ListShards>,
        initial: &Position,
    ) -> Result<Duration, LeaseError> {
        if !self.ready {
            member.table.ensure(&member.app, member.options.create_table).await?;
            self.ready = true;
        }
        let began = Instant::now();
        let scan = member.table.scan().await.map_err(|fault| {
            self.ready &= !matches!(fault, Fault::NoTable { .. });
            fault.of_lease(&member.app)
        })?;
        let took = began.elapsed();
        Metric::ScanMillis.set(&member.app, as_ms(took));
        Metric::Foreign.set(&member.app, scan.foreign as u64);
        Metric::Malformed.set(&member.app, scan.malformed as u64);
        let mut rows = scan.rows;
        self.watch.see(&rows, Fence::now_ms());
        let mode = self.mode(member, scan.coordinator).await?;
        member.see(rows.clone());
        if mode != Mode::Wait {
            self.list_if_due(member, shards, initial, &mut rows).await?;
            // What was made just now is free at once.
            self.watch.see(&rows, Fence::now_ms());
            member.see(rows.clone());
            self.take(member, &rows, mode, took > member.options.failover / 6).await;
        }
        let now_ms = Fence::now_ms();
        if now_ms >= self.clean_due_ms {
            self.clean_due_ms = now_ms + as_ms(CLEAN_EVERY.min(member.options.failover * 3));
            cleanup::clean_up(member, &rows, self.listed.as_deref().unwrap_or_default()).await;
        }
        Ok(took)
    }

    /// Takes what this worker's share lacks; at the start its own of an earlier process.
    async fn take(&mut self, member: &Arc<Member>, rows: &Rows, mode: Mode, slow: bool) {
        let now_ms = Fence::now_ms();
        // Beside a leader rows are taken one at a time, so that both see what the other does.
        let at_once = if mode == Mode::Share { 1 } else { usize::MAX };
        let rules = member.options.rules(member.may_steal().min(at_once));
        let decision = decide(rows, &self.watch, &member.me, &rules, now_ms, &mut Rng::new());
        publish(&member.app, rows, &decision);
        let own = if self.started { member.landed(rows) } else { adopt(rows, &member.me, &rules) };
        self.started = true;
        let held = member.held_shards();
        let takes = if own.is_empty() { decision.take } else { own };
        let wanted = |take: &Take| !held.contains(&take.row.shard) && !member.refuses(&take.row.shard);
        let takes: Vec<Take> = takes.into_iter().filter(wanted).collect();
        if !takes.is_empty() && !member.is_leaving() {
            // Own rows come first; the share is decided with them.
            if takes.iter().any(|take| take.kind == Kind::Adopt) {
                member.want_look();
            }
            take_all(member, takes, slow).await;
        }
    }

    /// How leases are to be taken. Spec: kinesis-leases 6.
    async fn mode(&mut self, member: &Member, mut coordinator: Coordinator) -> Result<Mode, LeaseError> {
        let now_ms = Fence::now_ms();
        let mode = match self.mode {
            Some(mode) if now_ms < self.mode_due_ms => mode,
            _ => {
                let read = leader::read(&mut coordinator, &member.app, &member.table).await;
                read.map_err(|fault| fault.of_lease(&member.app))?;
                coordinator.updated.remove(&member.me);
                self.mode_due_ms = now_ms + as_ms(member.options.failover * 2);
                let mode = self.leader.see(coordinator, member.options.beside_leader, now_ms);
                self.mode = Some(mode);
                mode
            }
        };
        Metric::Waiting.set(&member.app, u64::from(mode == Mode::Wait));
        if mode == Mode::Wait && now_ms >= self.said_ms {
            self.said_ms = now_ms + as_ms(SAY_EVERY);
            tracing::warn!(
                application = member.app,
                "a fleet of the Kinesis Client Library 3 assigns the leases of this table by a leader, or did so: nothing is taken until it has been silent for 90 s"
            );
        }
        Ok(mode)
    }

    /// Lists the stream's shards at the start and when the table shows a hole, and makes the leases that are missing.
    async fn list_if_due(
        &mut self,
        member: &Arc<Member>,
        shards: &Arc<dyn ListShards>,
        initial: &Position,
        rows: &mut Rows,
    ) -> Result<(), LeaseError> {
        let hole = self.holes.check(rows);
        let gone = member.take_gone();
        if self.listed.is_some() && !hole && !gone {
            return Ok(());
        }
        let listed = shards.shards().await?;
        sync::make_missing(&member.app, &member.table, rows, &listed, initial).await?;
        self.listed = Some(listed);
        Ok(())
    }
}

fn publish(app: &str, rows: &Rows, decision: &Decision) {
    Metric::Wanted.set(app, decision.target as u64);
    Metric::Expired.set(app, decision.expired as u64);
    let switches = rows.values().map(|row| row.owner_switches).max().unwrap_or(0);
    Metric::OwnerSwitches.set(app, switches);
}

/// Takes leases, side by side. One that another worker takes first is left to it.
async fn take_all(member: &Arc<Member>, takes: Vec<Take>, slow: bool) {
    let permits = Arc::new(Semaphore::new(member.options.renewals_at_once.max(1)));
    let mut taking = JoinSet::new();
    for take in takes {
        let (member, permits) = (Arc::clone(member), Arc::clone(&permits));
        taking.spawn(async move {
            let permit = permits.acquire_owned().await;
            let shard = take.row.shard.clone();
            let taken = take_one(&member, take, slow).await;
            drop(permit);
            match taken {
                Ok(()) | Err(Fault::Condition(_)) => {}
                Err(fault) => {
                    tracing::warn!(application = member.app, shard, error = %fault, "the lease was not taken");
                }
            }
        });
    }
    while let Some(taken) = taking.join_next().await {
        if let Err(error) = taken {
            tracing::error!(application = member.app, %error, "taking a lease failed");
        }
    }
}

async fn take_one(member: &Arc<Member>, mut take: Take, slow: bool) -> Result<(), Fault> {
    // After a slow scan counters of owners that are alive are old.
    if slow && take.kind == Kind::Steal && !take.refresh(member.table.get(&take.row.shard).await?) {
        return Ok(());
    }
    member.take(&take).await.map(drop)
}
