//! What a fleet's workers agree on, and what each chooses for itself.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

/// Settings of [`crate::DynamoLeases`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOptions {
    /// The tables' region; as the SDK finds it when absent.
    pub region: Option<String>,
    /// Another service than AWS's own.
    pub endpoint: Option<String>,
    /// The lease table; the application's name when absent. Then one store serves one application.
    pub table: Option<String>,
    /// How long a lease lasts without a renewal. The same on all workers of an application, the Kinesis Client Library's
    /// included (`failoverTimeMillis`): one with a shorter time takes leases that are alive.
    pub failover: Duration,
    /// Time between two looks at the table, ± 20 %; half of `failover` when absent. The Kinesis Client Library looks every 2 ×
    /// `failover`, which makes that the longest part of a take-over; a look is a scan, a quarter of a read unit a kilobyte, and
    /// becomes rarer by itself when a scan takes more than a tenth of the time between two.
    pub scan_every: Option<Duration>,
    /// Most leases of this worker.
    pub max_leases: usize,
    /// Most leases that a look takes from a worker that is alive.
    pub steal_at_once: usize,
    /// Most renewals at the same time.
    pub renewals_at_once: usize,
    /// Who took a lease from a worker that was alive waits so long before it reads, so that the other's writes on the way end.
    pub grace: Duration,
    /// A lease whose group has not been heard of for so many times `failover` is renewed no more: another worker shall take it.
    pub silent_failovers: u32,
    /// What to do beside a fleet of the Kinesis Client Library 3 that assigns leases by a leader.
    pub beside_leader: BesideLeader,
    /// Whether a table that is missing is made.
    pub create_table: bool,
}

/// What to do while a leader of the Kinesis Client Library 3 assigns leases. Spec: kinesis-leases 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BesideLeader {
    /// Take nothing until that fleet has gone.
    Wait,
    /// Take what is free, and a fair share by count, beside the leader.
    Share,
}

impl Default for LeaseOptions {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            region: None,
            endpoint: None,
            table: None,
            failover: Duration::from_secs(10),
            scan_every: None,
            max_leases: usize::MAX,
            steal_at_once: 2 * cores,
            renewals_at_once: 20,
            grace: Duration::from_secs(2),
            silent_failovers: 3,
            beside_leader: BesideLeader::Wait,
            create_table: true,
        }
    }
}

impl LeaseOptions {
    /// Time between two renewals of a lease.
    pub(crate) fn renew_every(&self) -> Duration {
        self.failover / 3
    }

    /// Time between two looks at the table, without jitter.
    pub(crate) fn scan_every(&self) -> Duration {
        self.scan_every.unwrap_or(self.failover / 2)
    }

    /// How long a group may be silent.
    pub(crate) fn silence(&self) -> Duration {
        self.failover * self.silent_failovers
    }
}

/// Whole milliseconds.
pub(crate) fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
