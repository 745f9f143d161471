//! Which requests go wrong, and how: the plan that a proxy follows, and the counts of what it did.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Refused as too much: `ProvisionedThroughputExceededException`, of S3 `503 SlowDown`; not forwarded.
    Throttle,
    /// Refused with `status` (500) and `code` (`InternalFailure`); not forwarded.
    Error,
    /// Forwarded, its answer thrown away: the caller gets an HTTP 500 for what was done.
    Lost,
    /// PutRecords: each `records`-th record (counted over all requests) is refused with `code`, the others are forwarded.
    Partial,
    /// Waits for `ms` before anything else; other faults of the same request still happen.
    Delay,
    /// Forwarded; the answer ends in its middle, with the connection.
    Cut,
    /// `ExpiredIteratorException`; not forwarded.
    ExpiredIterator,
    /// GetRecords: the answer has no next iterator, as if the shard had ended.
    NullIterator,
    /// GetRecords: the end of a shard comes without its children.
    NoChildren,
    /// The value at `pointer` (RFC 6901) of a JSON answer becomes `value`; without a value it is taken out.
    Edit,
    /// S3: the answer carries the ETag of something else.
    WrongEtag,
}

/// One line of the plan: from the `after`-th matching request on, each `every`-th of them, `times` times at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The operation (`GetRecords`), of S3 method and path (`PUT /bucket/key?partNumber=1`). `*` stands for any text.
    pub action: String,
    /// What happens.
    pub kind: Kind,
    /// Each so many-th.
    #[serde(default = "one")]
    pub every: u64,
    /// So many are spared first.
    #[serde(default)]
    pub after: u64,
    /// No more than so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Of a delay, milliseconds.
    #[serde(default)]
    pub ms: u64,
    /// Of a partial failure: each so many-th record.
    #[serde(default = "two")]
    pub records: u64,
    /// Of an error, its HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The name of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of an edit: where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Of an edit: to what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

const fn one() -> u64 {
    1
}

const fn two() -> u64 {
    2
}

impl Fault {
    /// Each request of this action.
    pub fn new(action: impl Into<String>, kind: Kind) -> Self {
        Self {
            action: action.into(),
            kind,
            every: 1,
            after: 0,
            times: None,
            ms: 0,
            records: 2,
            status: None,
            code: None,
            pointer: None,
            value: None,
        }
    }

    /// Only each so many-th.
    #[must_use]
    pub fn every(self, every: u64) -> Self {
        Self { every: every.max(1), ..self }
    }

    /// Spares so many first.
    #[must_use]
    pub fn after(self, after: u64) -> Self {
        Self { after, ..self }
    }

    /// So often at most.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// How long a delay is.
    #[must_use]
    pub fn ms(self, ms: u64) -> Self {
        Self { ms, ..self }
    }

    /// Which records of a partial failure are refused: each so many-th.
    #[must_use]
    pub fn records(self, records: u64) -> Self {
        Self { records: records.max(1), ..self }
    }

    /// With which status and name an error is answered.
    #[must_use]
    pub fn answer(self, status: u16, code: impl Into<String>) -> Self {
        Self { status: Some(status), code: Some(code.into()), ..self }
    }

    /// What an edit does.
    #[must_use]
    pub fn edit(self, pointer: impl Into<String>, value: Option<Value>) -> Self {
        Self { pointer: Some(pointer.into()), value, ..self }
    }
}

/// How SubscribeToShard behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FanOut {
    /// A subscription ends by itself after so long.
    pub life_ms: u64,
    /// Between two events when there is nothing new.
    pub event_ms: u64,
    /// A call sooner than this after the last one is refused; a later one takes over.
    pub takeover_after_ms: u64,
    /// Subscriptions stay open and silent. Those that are open when it is switched off end.
    pub half_open: bool,
}

impl Default for FanOut {
    fn default() -> Self {
        Self { life_ms: 300_000, event_ms: 500, takeover_after_ms: 5_000, half_open: false }
    }
}

/// A line of the plan and how often it was met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultReport {
    /// The line.
    pub fault: Fault,
    /// Requests that matched.
    pub seen: u64,
    /// How often it happened.
    pub done: u64,
}

/// What a proxy has done since the plan was set; the requests since it was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Each line of the plan.
    pub faults: Vec<FaultReport>,
    /// How SubscribeToShard behaves.
    pub fan_out: FanOut,
    /// Requests by action; of S3 by method.
    pub requests: BTreeMap<String, u64>,
    /// Records refused by partial failures.
    pub refused_records: u64,
}

impl Report {
    /// How often faults of this kind happened.
    pub fn done(&self, kind: Kind) -> u64 {
        self.faults.iter().filter(|line| line.fault.kind == kind).map(|line| line.done).sum()
    }

    /// How many requests of this action came.
    pub fn requests(&self, action: &str) -> u64 {
        self.requests.get(action).copied().unwrap_or(0)
    }
}

/// The plan of one proxy. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    report: Report,
    records: u64,
}

/// What is to happen to a request.
#[derive(Debug, PartialEq)]
pub(crate) struct Due {
    pub delay: Duration,
    pub fault: Option<Fault>,
}

impl Faults {
    /// Replaces the plan, and its counts.
    pub fn set(&self, faults: Vec<Fault>) {
        let lines = faults.into_iter().map(|fault| FaultReport { fault, seen: 0, done: 0 });
        self.lock().report.faults = lines.collect();
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.set(Vec::new());
    }

    /// Sets how SubscribeToShard behaves, open subscriptions included.
    pub fn set_fan_out(&self, fan_out: FanOut) {
        self.lock().report.fan_out = fan_out;
    }

    /// How SubscribeToShard behaves.
    pub fn fan_out(&self) -> FanOut {
        self.lock().report.fan_out
    }

    /// What was done up to now.
    pub fn report(&self) -> Report {
        self.lock().report.clone()
    }

    /// Counts a request and says what happens to it: all delays that are due, and the first other fault that is.
    pub(crate) fn due(&self, action: &str) -> Due {
        let mut state = self.lock();
        // Paths are without end; the plan still sees them.
        let counted = if action.contains('/') { action.split(' ').next().unwrap_or(action) } else { action };
        *state.report.requests.entry(counted.to_owned()).or_default() += 1;
        let mut due = Due { delay: Duration::ZERO, fault: None };
        for line in &mut state.report.faults {
            if !matches(&line.fault.action, action) {
                continue;
            }
            line.seen += 1;
            let turn =
                line.seen > line.fault.after && (line.seen - line.fault.after).is_multiple_of(line.fault.every.max(1));
            if !turn || line.fault.times.is_some_and(|times| line.done >= times) {
                continue;
            }
            if line.fault.kind == Kind::Delay {
                line.done += 1;
                due.delay += Duration::from_millis(line.fault.ms);
            } else if due.fault.is_none() {
                line.done += 1;
                due.fault = Some(line.fault.clone());
            }
        }
        due
    }

    /// Which of the next `count` records are refused, when each `every`-th is.
    pub(crate) fn refuse(&self, count: usize, every: u64) -> Vec<bool> {
        let mut state = self.lock();
        let refused: Vec<bool> = (0..count)
            .map(|_| {
                state.records += 1;
                state.records.is_multiple_of(every.max(1))
            })
            .collect();
        state.report.refused_records += refused.iter().filter(|refused| **refused).map(|_| 1).sum::<u64>();
        refused
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counts are whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a text matches a pattern in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("*", "GetRecords"));
        assert!(matches("PUT /b/*partNumber=2*", "PUT /b/key?partNumber=2&uploadId=1"));
        assert!(!matches("PUT /b/*partNumber=3*", "PUT /b/key?partNumber=2&uploadId=1"));
        assert!(!matches("Get", "GetRecords"));
    }

    #[test]
    fn a_fault_comes_each_so_many_th_time_after_those_spared_and_not_too_often() {
        let faults = Faults::default();
        faults.set(vec![Fault::new("A", Kind::Throttle).every(2).after(1).times(2)]);
        let due: Vec<bool> = (0..8).map(|_| faults.due("A").fault.is_some()).collect();
        assert_eq!(due, [false, false, true, false, true, false, false, false]);
        assert_eq!(faults.due("B"), Due { delay: Duration::ZERO, fault: None });
        let report = faults.report();
        assert_eq!((report.faults[0].seen, report.done(Kind::Throttle)), (8, 2));
        assert_eq!((report.requests("A"), report.requests("B")), (8, 1));
    }

    #[test]
    fn delays_add_up_and_leave_room_for_one_other_fault() {
        let faults = Faults::default();
        let delay = |ms| Fault::new("*", Kind::Delay).ms(ms);
        faults.set(vec![delay(10), delay(20), Fault::new("A", Kind::Lost), Fault::new("A", Kind::Cut)]);
        let due = faults.due("A");
        assert_eq!((due.delay.as_millis(), due.fault.map(|fault| fault.kind)), (30, Some(Kind::Lost)));
        assert_eq!(faults.report().done(Kind::Cut), 0);
    }
}
