//! What the lease table's users count. Spec: kinesis-leases 16.

/// A measure, with the label `application`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Leases that this worker holds.
    Held,
    /// Leases that would be its share.
    Wanted,
    /// Leases lost to another worker, or run out.
    Lost,
    /// Leases taken that nobody held.
    Taken,
    /// Leases taken from a worker that was alive.
    Stolen,
    /// Leases given up.
    GivenUp,
    /// Leases that nobody renews, seen by the last look.
    Expired,
    /// Most changes of owner since a checkpoint of any lease.
    OwnerSwitches,
    /// Milliseconds since the oldest renewal of a lease that is held.
    RenewalAge,
    /// Renewals that failed, lost leases aside.
    RenewalsFailed,
    /// Checkpoints stored.
    Checkpoints,
    /// Checkpoints that failed, for another reason than throttling.
    CheckpointsFailed,
    /// Checkpoints that were throttled.
    CheckpointsThrottled,
    /// Writes that had landed though their answer was lost.
    Recovered,
    /// How long the last scan took, in milliseconds.
    ScanMillis,
    /// Rows of the table that are no leases.
    Foreign,
    /// Leases that can't be read.
    Malformed,
    /// 1 while the worker waits for a fleet of the Kinesis Client Library 3 to go.
    Waiting,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Held,
        Self::Wanted,
        Self::Lost,
        Self::Taken,
        Self::Stolen,
        Self::GivenUp,
        Self::Expired,
        Self::OwnerSwitches,
        Self::RenewalAge,
        Self::RenewalsFailed,
        Self::Checkpoints,
        Self::CheckpointsFailed,
        Self::CheckpointsThrottled,
        Self::Recovered,
        Self::ScanMillis,
        Self::Foreign,
        Self::Malformed,
        Self::Waiting,
    ];

    /// Whether it only grows.
    pub fn is_counter(self) -> bool {
        self.name().ends_with("_total")
    }

    /// The metric's name as exporters see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "snowmelt_leases_held",
            Self::Wanted => "snowmelt_leases_wanted",
            Self::Lost => "snowmelt_leases_lost_total",
            Self::Taken => "snowmelt_leases_taken_total",
            Self::Stolen => "snowmelt_leases_stolen_total",
            Self::GivenUp => "snowmelt_leases_given_up_total",
            Self::Expired => "snowmelt_leases_expired",
            Self::OwnerSwitches => "snowmelt_leases_owner_switches",
            Self::RenewalAge => "snowmelt_leases_renewal_age_millis",
            Self::RenewalsFailed => "snowmelt_leases_renewals_failed_total",
            Self::Checkpoints => "snowmelt_leases_checkpoints_total",
            Self::CheckpointsFailed => "snowmelt_leases_checkpoints_failed_total",
            Self::CheckpointsThrottled => "snowmelt_leases_checkpoints_throttled_total",
            Self::Recovered => "snowmelt_leases_recovered_total",
            Self::ScanMillis => "snowmelt_leases_scan_millis",
            Self::Foreign => "snowmelt_leases_foreign_rows",
            Self::Malformed => "snowmelt_leases_malformed_rows",
            Self::Waiting => "snowmelt_leases_waiting",
        }
    }

    /// What it says, for whoever looks at it.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Held => "Leases that this worker holds",
            Self::Wanted => "Leases that would be this worker's share",
            Self::Lost => "Leases lost to another worker, or run out",
            Self::Taken => "Leases taken that nobody held",
            Self::Stolen => "Leases taken from a worker that was alive, for balance",
            Self::GivenUp => "Leases given up in good order",
            Self::Expired => "Leases that nobody renews; above 0 for long means a shard that nobody reads",
            Self::OwnerSwitches => "Most changes of owner since a checkpoint of any lease; above 3 means a crash loop",
            Self::RenewalAge => "Milliseconds since the oldest renewal of a lease that this worker holds",
            Self::RenewalsFailed => "Renewals that failed and are tried again",
            Self::Checkpoints => "Checkpoints stored",
            Self::CheckpointsFailed => "Checkpoints that failed and are tried again, throttled ones aside",
            Self::CheckpointsThrottled => "Checkpoints that were throttled and are tried again",
            Self::Recovered => "Writes that had landed though their answer was lost",
            Self::ScanMillis => "How long the last scan of the lease table took, in milliseconds",
            Self::Foreign => "Rows of the lease table that are no leases of this application",
            Self::Malformed => "Leases in the table that can't be read",
            Self::Waiting => "1 while this worker waits for a fleet of the Kinesis Client Library 3 to go",
        }
    }

    /// Counts.
    pub(crate) fn count(self, app: &str, by: u64) {
        metrics::counter!(self.name(), "application" => app.to_owned()).increment(by);
    }

    /// Says what it is now.
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    pub(crate) fn set(self, app: &str, value: u64) {
        metrics::gauge!(self.name(), "application" => app.to_owned()).set(value as f64);
    }
}
