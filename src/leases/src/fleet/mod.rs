//! What the workers of a fleet decide: the rules of leases shared through one table, without the table.
//!
//! Pure: rows and times come in, decisions go out. Times are milliseconds of the caller's own monotonic clock, which goes on
//! while the machine sleeps; nothing here compares the clocks of two machines. The rules are those of the Kinesis Client
//! Library 1.x and 2.x, so that its workers and ours settle at the same shares; where ours are stricter or quicker the items
//! say so. Spec: kinesis-leases 3 to 9, 17, 19.
//!
//! One round of a worker, every [`Timing::next_round_ms`]: scan all rows, [`Watch::see`] them, [`decide`], write the takes. Beside
//! it each lease that is held is renewed as [`Timing`] says, a write that fails its condition is judged by [`judge`], and the
//! shards are kept in step by [`missing`], [`Holes`], [`at_shard_end`] and [`clean`].
//!
//! # What a fleet of ours promises
//!
//! F is the failover time, S the longest time between two rounds (1.2 × the period), T the longest scan and write.
//!
//! * **Fence.** Two of our workers never both find the same lease's fence open, whatever stops, sleeps or is cut off, as long as
//!   their clocks run equally fast within ±0.7 % ([`Timing::fence_until_ms`], [`Timing::reads_from_ms`]).
//! * **Take-over.** A row that nobody renews is taken after F + 2 S + T when any worker is below its target, and after
//!   3 F + 2 S + T at the latest while a worker with room reaches the table.
//! * **Balance.** Once nothing joins, leaves or fails, the shares settle: every worker has its target or one less, and nothing
//!   is stolen any more. Only caps ([`Rules::max_leases`]) leave others with more.
//! * **Order.** A stored position never moves back; a shard begins after all the shards before it are done.

mod balance;
mod clean;
mod mode;
mod outcome;
mod renewal;
mod row;
mod sync;
mod watch;

pub use balance::{Decision, Kind, Rules, StealBackoff, Take, adopt, decide};
pub use clean::{Cleaning, clean};
pub use mode::{Beside, Coordinator, Mode, ModeWatch};
pub use outcome::{Outcome, judge};
pub use renewal::Timing;
pub use row::{PendingState, Row, Rows};
pub use sync::{
    AtEnd, Cover, Holes, InconsistentListing, at_shard_end, cover, missing, ranges_to_fill, unfinished_parent,
};
pub use watch::Watch;
