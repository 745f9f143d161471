//! Where records go.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use snowmelt_streams::{Origin, Producer, PutEntry, PutOutcome};

/// One record on its way to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What decides the shard: the client's address or a random UUID (spec 4.1).
    pub partition_key: String,
    /// A Thrift `CollectorPayload` (good) or one line of bad-row JSON without its newline (bad).
    pub data: Bytes,
    /// Its place in a durable log, when it comes out of one: the same record put again has the same origin.
    pub origin: Option<Origin>,
}

impl Outgoing {
    /// A record that comes straight from a request.
    pub fn new(partition_key: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self { partition_key: partition_key.into(), data: data.into(), origin: None }
    }
}

impl From<Outgoing> for PutEntry {
    fn from(record: Outgoing) -> Self {
        Self { origin: record.origin, ..Self::new(record.partition_key, record.data) }
    }
}

/// Why a batch did not become durable. Some of its records may be stored all the same: delivery is at least once.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The sink cannot take records now; the same batch may succeed later.
    #[error("sink is unavailable: {reason}")]
    Unavailable {
        /// What the sink's backend said.
        reason: String,
    },
    /// The sink did not answer in time; whether the records are stored is unknown.
    #[error("sink did not answer within {millis} ms")]
    TimedOut {
        /// How long the collector waited.
        millis: u64,
    },
    /// Some records can never be stored, however often they are put. **All others of the batch are durable.**
    #[error("sink refuses {} records for good, the first: {}", .0.len(), .0.first().map_or("", |refused| refused.reason.as_str()))]
    Refused(Vec<Refused>),
}

/// A record that a sink will never take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the batch.
    pub index: usize,
    /// Why.
    pub reason: String,
}

/// A destination of records. The good and the bad stream are one each.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Stores the batch. Resolves with `Ok` only when *every* record of it is durable; with an error when any may be missing.
    /// At most 500 records and 4 MiB come in one call. Calls may overlap.
    ///
    /// With a `producer`, records have origins that ascend over its calls, one of which is under way at a time: a sink that can
    /// tell by them what it has stored before stores nothing twice. Sinks in front of another hand both on.
    async fn put(&self, batch: Vec<Outgoing>, producer: Option<&Producer>) -> Result<(), SinkError>;

    /// Whether the next `put` is likely to succeed; answers `/sink-health` and must not block.
    fn healthy(&self) -> bool;

    /// Called once, when no `put` will follow: hands on what it keeps on its way to somewhere else, for up to `deadline`. What is
    /// left then stays as durable as `put` promised, so that leaving it is no loss. A sink that keeps nothing has nothing to do.
    async fn close(&self, _deadline: Duration) {}
}

/// What a stream's outcomes of a batch mean to who put it.
///
/// # Errors
/// [`SinkError::Unavailable`] when any record may succeed later; else [`SinkError::Refused`] when any never will.
pub fn settle(outcomes: Vec<PutOutcome>) -> Result<(), SinkError> {
    let mut refused = Vec::new();
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            PutOutcome::Stored { .. } | PutOutcome::Duplicate => {}
            PutOutcome::Rejected { reason, retriable: true } => return Err(SinkError::Unavailable { reason }),
            PutOutcome::Rejected { reason, retriable: false } => refused.push(Refused { index, reason }),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(SinkError::Refused(refused)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_succeed_later_comes_before_what_never_will() {
        let rejected = |retriable| PutOutcome::Rejected { reason: format!("retriable {retriable}"), retriable };
        assert!(settle(vec![PutOutcome::Duplicate]).is_ok());
        let mixed = settle(vec![rejected(false), PutOutcome::Duplicate, rejected(true)]);
        assert!(matches!(mixed, Err(SinkError::Unavailable { .. })), "{mixed:?}");
        let refused = settle(vec![PutOutcome::Duplicate, rejected(false)]).unwrap_err();
        assert_eq!(refused.to_string(), "sink refuses 1 records for good, the first: retriable false");
        assert!(matches!(refused, SinkError::Refused(refused) if refused[0].index == 1));
    }
}
