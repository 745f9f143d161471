//! A look at the table: who is alive, what is missing, what to take. Spec: kinesis-leases 4.4, 7.4, 19.7.

use std::sync::Arc;
use std::time::{Duration, Instant};

use snowmelt_leases::{Fence, Lease, LeaseError, ListShards, Position, ShardInfo};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cleanup;
use crate::codec::{Rows, Stored};
use crate::fault::Fault;
use crate::member::Member;
use crate::metric::Metric;
use crate::mode::{Leader, LeaderWatch};
use crate::options::{BesideLeader, as_ms};
use crate::plan::{Planner, Take};
use crate::sync;

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
    planner: Planner,
    leader: LeaderWatch,
    known_leader: Option<Leader>,
    leader_due_ms: u64,
    said_ms: u64,
    due_ms: u64,
    failures: u32,
    clean_due_ms: u64,
    /// Shards as they were last listed.
    listed: Option<Vec<ShardInfo>>,
}

impl Rounds {
    /// Whether the owner of a row as it is now has let it run out, as far as looks have shown.
    pub fn has_expired(&self, row: &Stored, member: &Member) -> bool {
        self.planner.has_expired(row, Fence::now_ms(), &member.options)
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
                    let wait = every.max(took * SCAN_SHARE).mul_f64(0.8 + 0.4 * fastrand::f64());
                    rounds.due_ms = Fence::now_ms() + as_ms(wait);
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
    let held = member.all_held().into_iter().filter(|held| held.lost().is_none());
    let rows = held.map(|held| held.row()).filter(|row| member.is_readable(row));
    Ok(rows.map(|row| row.lease(&member.app, 0)).collect())
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
        let may_take = self.may_take(member, scan.signs).await?;
        member.see(rows.clone());
        if may_take {
            self.list_if_due(member, shards, initial, &mut rows).await?;
            member.see(rows.clone());
        }
        let now_ms = Fence::now_ms();
        let held = member.held_shards();
        let plan = self.planner.plan(&rows, &held, &member.me, now_ms, &member.options);
        Metric::Wanted.set(&member.app, plan.wanted as u64);
        Metric::Expired.set(&member.app, plan.expired as u64);
        let switches = rows.values().map(|row| row.owner_switches).max().unwrap_or(0);
        Metric::OwnerSwitches.set(&member.app, switches);
        if may_take && !member.is_leaving() {
            let takes = plan.takes.into_iter().filter(|take| !member.refuses(&take.shard)).collect();
            take_all(member, takes, &rows, took > member.options.renew_every() / 2).await;
        }
        if now_ms >= self.clean_due_ms {
            self.clean_due_ms = now_ms + as_ms(CLEAN_EVERY.min(member.options.failover * 6));
            cleanup::clean_up(member, &rows, self.listed.as_deref()).await;
        }
        Ok(took)
    }

    /// Whether leases may be taken: not beside the leader of a fleet of the Kinesis Client Library 3, unless that was asked for.
    async fn may_take(&mut self, member: &Member, mut signs: crate::mode::Signs) -> Result<bool, LeaseError> {
        let now_ms = Fence::now_ms();
        let due = now_ms >= self.leader_due_ms;
        let leader = match self.known_leader {
            Some(leader) if !due => leader,
            _ => {
                signs.read_tables(&member.app, &member.table).await.map_err(|fault| fault.of_lease(&member.app))?;
                self.leader_due_ms = now_ms + as_ms(member.options.failover * 2);
                let leader = self.leader.look(signs, &member.me, now_ms);
                self.known_leader = Some(leader);
                leader
            }
        };
        let waits = leader != Leader::None && member.options.beside_leader == BesideLeader::Wait;
        Metric::Waiting.set(&member.app, u64::from(waits));
        if waits && now_ms >= self.said_ms {
            self.said_ms = now_ms + as_ms(SAY_EVERY);
            let alive = leader == Leader::Alive;
            tracing::warn!(
                application = member.app,
                alive,
                "a fleet of the Kinesis Client Library 3 assigns the leases of this table by a leader: nothing is taken until it has gone"
            );
        }
        Ok(!waits)
    }

    /// Lists the stream's shards at the start and when the table shows a hole, and makes the leases that are missing.
    async fn list_if_due(
        &mut self,
        member: &Arc<Member>,
        shards: &Arc<dyn ListShards>,
        initial: &Position,
        rows: &mut Rows,
    ) -> Result<(), LeaseError> {
        if self.listed.is_some() && !self.planner.wants_listing(rows, Fence::now_ms()) {
            return Ok(());
        }
        let listed = shards.shards().await?;
        sync::make_missing(&member.app, &member.table, rows, &listed, initial).await?;
        self.planner.listed(Fence::now_ms());
        self.listed = Some(listed);
        Ok(())
    }
}

/// Takes leases, side by side. One that another worker takes first is left to it.
async fn take_all(member: &Arc<Member>, takes: Vec<Take>, rows: &Rows, slow: bool) {
    let permits = Arc::new(Semaphore::new(member.options.renewals_at_once.max(1)));
    let mut taking = JoinSet::new();
    for take in takes {
        let Some(known) = rows.get(&take.shard).cloned() else { continue };
        let (member, permits) = (Arc::clone(member), Arc::clone(&permits));
        taking.spawn(async move {
            let permit = permits.acquire_owned().await;
            let taken = take_one(&member, known, &take, slow).await;
            drop(permit);
            match taken {
                Ok(()) | Err(Fault::Condition(_)) => {}
                Err(fault) => {
                    tracing::warn!(application = member.app, shard = take.shard, error = %fault, "the lease was not taken");
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

async fn take_one(member: &Arc<Member>, known: Stored, take: &Take, slow: bool) -> Result<(), Fault> {
    // After a slow scan counters of owners that are alive are old: only the owner tells whether the lease is still the one chosen.
    let known = if take.stolen && slow {
        match member.table.get(&known.shard).await? {
            Some(now) if now.owner == known.owner && now.checkpoint_owner.is_none() => now,
            _ => return Ok(()),
        }
    } else {
        known
    };
    member.take(&known, take.stolen).await.map(drop)
}
