//! The [`LeaseStore`] on DynamoDB.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use snowmelt_leases::fleet::{PendingState, Rows};
use snowmelt_leases::{Application, Fence, Lease, LeaseError, LeaseStore, ListShards, Pending, Position, ShardInfo};

use crate::client::Clients;

use crate::end;
use crate::fault::Fault;
use crate::held::{Change, Failed, Lost};
use crate::io::{Died, Io};
use crate::member::Member;
use crate::metric::Metric;
use crate::ops::Table;
use crate::options::LeaseOptions;
use crate::{acquire, renewer, round, sync};

/// Leases in DynamoDB, in the Kinesis Client Library's layout. Clones share everything.
///
/// Everything runs on a thread of its own, which ends with the last clone: leases are renewed there whatever else the process
/// does, as long as somebody claims and their groups say that they live. A call that is dropped runs to its end.
#[derive(Clone)]
pub struct DynamoLeases {
    inner: Arc<Inner>,
}

struct Inner {
    io: Io,
    clients: Clients,
    options: Arc<LeaseOptions>,
    members: Mutex<BTreeMap<String, Arc<Member>>>,
}

impl DynamoLeases {
    /// A store on the service that `options` name. Nothing is sent yet: a table is looked at, and made, at the first claim.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`] when its thread can't be started, [`LeaseError::Invalid`] for options that can't work.
    pub async fn open(options: LeaseOptions) -> Result<Self, LeaseError> {
        Self::start(options, None).await
    }

    /// The same with a configuration of the SDK that is there already; what `options` name goes before it, and its attempts and
    /// time-outs are replaced.
    ///
    /// # Errors
    /// As [`DynamoLeases::open`].
    pub async fn with_config(options: LeaseOptions, config: &SdkConfig) -> Result<Self, LeaseError> {
        Self::start(options, Some(config.clone())).await
    }

    async fn start(options: LeaseOptions, config: Option<SdkConfig>) -> Result<Self, LeaseError> {
        let app = options.table.clone().unwrap_or_default();
        if options.failover < Duration::from_millis(300) {
            let reason = "a failover time below 300 ms leaves no time for renewals".to_owned();
            return Err(LeaseError::Invalid { app, reason });
        }
        let unavailable = |reason: String| LeaseError::Unavailable { app: app.clone(), reason };
        let io = Io::start().map_err(|error| unavailable(error.to_string()))?;
        let options = Arc::new(options);
        let given = Arc::clone(&options);
        // On the thread that uses them: what the SDK starts for credentials belongs there too.
        let clients = io
            .run(async move {
                match config {
                    Some(config) => Clients::of(&config, &given),
                    None => Clients::open(&given).await,
                }
            })
            .await;
        let clients = clients.map_err(|died| unavailable(died.to_string()))?;
        Ok(Self { inner: Arc::new(Inner { io, clients, options, members: Mutex::default() }) })
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Member>>> {
        self.inner.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The application's table, for everything but renewals.
    pub(crate) fn table_of(&self, app: &str) -> Table {
        self.table(app, &self.inner.clients.others, 0)
    }

    fn table(&self, app: &str, client: &aws_sdk_dynamodb::Client, timestamp_ms: i64) -> Table {
        let name = self.inner.options.table.as_deref().unwrap_or(app).to_owned();
        Table { client: client.clone(), name, timestamp_ms }
    }

    /// The member of an application; made, with its renewals, when it is first asked for.
    fn member(&self, app: &str, owner: &str, initial: Option<&Position>) -> Result<Arc<Member>, LeaseError> {
        check_owner(app, owner)?;
        let mut members = self.members();
        if let Some(member) = members.get(app) {
            if member.me != owner {
                let reason = format!("the store's worker is {}, not {owner}", member.me);
                return Err(LeaseError::Invalid { app: app.to_owned(), reason });
            }
            return Ok(Arc::clone(member));
        }
        let timestamp_ms = match initial {
            Some(Position::AtTimestampMs(at)) => *at,
            _ => 0,
        };
        let clients = &self.inner.clients;
        let (renewals, others) =
            (self.table(app, &clients.renewals, timestamp_ms), self.table(app, &clients.others, timestamp_ms));
        let member = Arc::new(Member::new(app, owner, Arc::clone(&self.inner.options), renewals, others));
        self.inner.io.spawn(renewer::keep_running(Arc::downgrade(&member)));
        members.insert(app.to_owned(), Arc::clone(&member));
        Ok(member)
    }

    fn known_member(&self, lease: &Lease) -> Result<Arc<Member>, LeaseError> {
        let not_held = || LeaseError::Lost {
            app: lease.app.clone(),
            shard: lease.shard.clone(),
            owner: lease.owner.clone().unwrap_or_default(),
            now: None,
        };
        self.members().get(&lease.app).cloned().ok_or_else(not_held)
    }

    /// Runs on the lease thread, to its end.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        app: &str,
        task: impl Future<Output = Result<T, LeaseError>> + Send + 'static,
    ) -> Result<T, LeaseError> {
        let died = |died: Died| LeaseError::Unavailable { app: app.to_owned(), reason: died.to_string() };
        self.inner.io.run(task).await.map_err(died)?
    }
}

/// An owner's name that the table can hold: it is a key of the index that the Kinesis Client Library 3 makes.
fn check_owner(app: &str, owner: &str) -> Result<(), LeaseError> {
    if (1..=1024).contains(&owner.len()) {
        return Ok(());
    }
    let reason = "a worker's name has 1 to 1024 bytes".to_owned();
    Err(LeaseError::Invalid { app: app.to_owned(), reason })
}

/// All rows as callers see them.
fn leases(app: &str, rows: &Rows) -> Vec<Lease> {
    rows.values().map(|row| row.to_lease(app, 0)).collect()
}

#[async_trait]
impl LeaseStore for DynamoLeases {
    async fn sync(
        &self,
        app: &str,
        _stream: &str,
        shards: &[ShardInfo],
        initial: &Position,
    ) -> Result<Vec<Lease>, LeaseError> {
        let timestamp_ms = if let Position::AtTimestampMs(at) = initial { *at } else { 0 };
        let table = self.table(app, &self.inner.clients.others, timestamp_ms);
        let create = self.inner.options.create_table;
        let (app, shards, initial) = (app.to_owned(), shards.to_vec(), initial.clone());
        let name = app.clone();
        self.run(&name, async move {
            table.ensure(&app, create).await?;
            let mut rows = table.scan().await.map_err(|fault| fault.of_lease(&app))?.rows;
            // An empty listing is none.
            if !shards.is_empty() {
                sync::make_missing(&app, &table, &mut rows, &shards, &initial).await?;
            }
            Ok(leases(&app, &rows))
        })
        .await
    }

    async fn list(&self, app: &str) -> Result<Vec<Lease>, LeaseError> {
        let member = self.members().get(app).cloned();
        let table =
            member.map_or_else(|| self.table(app, &self.inner.clients.others, 0), |member| member.table.clone());
        let name = app.to_owned();
        self.run(app, async move {
            match table.scan().await {
                Ok(scan) => Ok(leases(&name, &scan.rows)),
                Err(Fault::NoTable { .. }) => Ok(Vec::new()),
                Err(fault) => Err(fault.of_lease(&name)),
            }
        })
        .await
    }

    async fn claim(&self, app: &Application) -> Result<Vec<Lease>, LeaseError> {
        let member = self.member(&app.name, &app.owner, Some(&app.initial))?;
        let (shards, initial): (Arc<dyn ListShards>, _) = (Arc::clone(&app.shards), app.initial.clone());
        self.run(&app.name, async move { round::claim(&member, &shards, &initial).await }).await
    }

    fn fence(&self, lease: &Lease) -> Fence {
        let member = self.members().get(&lease.app).cloned();
        let fence = member.and_then(|member| member.held(&lease.shard)?.fence(lease.epoch));
        // Past already: whatever period of ownership this was, it is over.
        fence.unwrap_or_else(|| Fence::until(0))
    }

    async fn acquire(&self, app: &str, shard: &str, owner: &str, _now_ms: i64) -> Result<Lease, LeaseError> {
        let member = self.member(app, owner, None)?;
        let shard = shard.to_owned();
        self.run(app, async move { acquire::acquire(&member, &shard).await }).await
    }

    /// Writes nothing: the lease is renewed in the background. Says that the group is alive, without which it would not be, and
    /// finds out at once whether the lease is lost.
    async fn renew(&self, lease: &mut Lease, _now_ms: i64) -> Result<(), LeaseError> {
        let member = self.known_member(lease)?;
        let Some(held) = member.held(&lease.shard) else {
            return Err(member.lost(&lease.shard, &Lost::Taken(None)));
        };
        held.heard(lease.epoch).map_err(|lost| member.lost(&lease.shard, &lost))?;
        lease.counter = held.row().counter;
        Ok(())
    }

    async fn checkpoint(
        &self,
        lease: &mut Lease,
        position: &Position,
        pending: Option<&Pending>,
    ) -> Result<(), LeaseError> {
        let member = self.known_member(lease)?;
        let (shard, epoch) = (lease.shard.clone(), lease.epoch);
        let (position, pending) = (position.clone(), pending.map(PendingState::from));
        let row = self
            .run(&lease.app, async move {
                let held = end::of_epoch(&member, &shard, epoch)?;
                // A sign of life. Whether the group is to end it hears when it renews: what is done may be stored until then.
                held.heard(epoch).ok();
                let known = held.row();
                if position < known.checkpoint {
                    let (app, stored) = (member.app.clone(), known.checkpoint);
                    return Err(LeaseError::Backwards { app, shard, stored, offered: position });
                }
                if position == known.checkpoint && pending == known.pending {
                    return Ok(known);
                }
                let written = held.write(&member.table, &Change::Checkpoint { position, pending }).await;
                count(&member, &written);
                let row = written.map_err(|failed| member.failed(&held, &failed))?;
                member.note(row.clone());
                Ok(row)
            })
            .await?;
        *lease = row.to_lease(&lease.app, epoch);
        Ok(())
    }

    async fn end_shard(&self, lease: &mut Lease, children: &[ShardInfo]) -> Result<(), LeaseError> {
        let member = self.known_member(lease)?;
        let (shard, epoch, children) = (lease.shard.clone(), lease.epoch, children.to_vec());
        let row = self.run(&lease.app, async move { end::end_shard(&member, &shard, epoch, children).await }).await?;
        *lease = row.to_lease(&lease.app, epoch);
        Ok(())
    }

    /// At the shard's end the lease is kept, and renewed, until its row is cleaned up.
    async fn release(&self, lease: Lease) -> Result<(), LeaseError> {
        let member = self.known_member(&lease)?;
        let app = lease.app.clone();
        self.run(&app, async move {
            let held = end::of_epoch(&member, &lease.shard, lease.epoch)?;
            if held.is_ended() && !member.is_leaving() {
                held.leave_group();
                return Ok(());
            }
            member.refuse(&lease.shard);
            member.give_up(&held).await.map_err(|failed| member.failed(&held, &failed))
        })
        .await
    }

    async fn leave(&self, app: &str) -> Result<(), LeaseError> {
        let Some(member) = self.members().get(app).cloned() else { return Ok(()) };
        member.set_leaving();
        self.run(app, async move { end::leave(&member).await }).await
    }
}

fn count<T>(member: &Member, written: &Result<T, Failed>) {
    let metric = match written {
        Ok(_) => Metric::Checkpoints,
        Err(Failed::Fault(Fault::Throttled { .. })) => Metric::CheckpointsThrottled,
        Err(Failed::Fault(_)) => Metric::CheckpointsFailed,
        Err(Failed::Lost(_)) => return,
    };
    metric.count(&member.app, 1);
}
