//! What was read and not given out yet.

use std::collections::VecDeque;

use aws_sdk_kinesis::types::Record as SdkRecord;
use snowmelt_streams::{ReadLimit, Record, SequenceNumber};

use crate::aggregate::{Aggregate, Payload};
use crate::failure::Failure;
use crate::metrics::ShardMetrics;

/// Records in order. Bounded by one answer of the service: more is asked for only when it is empty.
pub(crate) struct Intake {
    waiting: VecDeque<Waiting>,
    /// User records at or before this are passed over: the rest of an aggregate that was consumed in part.
    after: Option<SequenceNumber>,
    last_arrived_ms: i64,
}

enum Waiting {
    Plain(Record),
    Aggregate { of: Aggregate, next: usize, sequence: SequenceNumber, arrived_ms: i64 },
}

/// An answer's records, understood but not taken yet: an answer is taken whole or not at all.
pub(crate) struct Understood {
    waiting: VecDeque<Waiting>,
    /// The last record's number, as the service spells it.
    pub last: Option<String>,
    arrived_ms: i64,
    records: u64,
    user_records: u64,
    bytes: u64,
    bad_aggregates: u64,
}

impl Intake {
    pub fn new(after: Option<SequenceNumber>) -> Self {
        Self { waiting: VecDeque::new(), after, last_arrived_ms: 0 }
    }

    /// Makes sense of an answer's records.
    pub fn understand(&self, records: Vec<SdkRecord>) -> Result<Understood, Failure> {
        let mut understood = Understood {
            waiting: VecDeque::with_capacity(records.len()),
            last: None,
            arrived_ms: self.last_arrived_ms,
            records: records.len() as u64,
            user_records: 0,
            bytes: 0,
            bad_aggregates: 0,
        };
        let last = records.len().wrapping_sub(1);
        for (index, record) in records.into_iter().enumerate() {
            let sequence: SequenceNumber =
                record.sequence_number.parse().map_err(|error| Failure::bad_answer(format!("a record's {error}")))?;
            if let Some(arrived) = record.approximate_arrival_timestamp {
                understood.arrived_ms = arrived.to_millis().unwrap_or(understood.arrived_ms);
            }
            if index == last {
                understood.last = Some(record.sequence_number);
            }
            let arrived_ms = understood.arrived_ms;
            let data = record.data.into_bytes();
            understood.bytes += data.len() as u64;
            match Payload::of(&data) {
                Payload::Aggregate(of) => {
                    understood.user_records += of.len() as u64;
                    understood.waiting.push_back(Waiting::Aggregate { of, next: 0, sequence, arrived_ms });
                }
                payload => {
                    understood.user_records += 1;
                    understood.bad_aggregates += u64::from(matches!(payload, Payload::Bad));
                    let partition_key = record.partition_key.unwrap_or_default();
                    understood.waiting.push_back(Waiting::Plain(Record { sequence, partition_key, data, arrived_ms }));
                }
            }
        }
        Ok(understood)
    }

    /// Takes an answer's records.
    pub fn take(&mut self, understood: Understood, metrics: &ShardMetrics) {
        if understood.bad_aggregates > 0 {
            tracing::warn!(
                aggregates = understood.bad_aggregates,
                "aggregated records point outside their tables; delivered whole"
            );
        }
        metrics.records.increment(understood.records);
        metrics.user_records.increment(understood.user_records);
        metrics.bytes.increment(understood.bytes);
        metrics.bad_aggregates.increment(understood.bad_aggregates);
        self.last_arrived_ms = understood.arrived_ms;
        if self.waiting.is_empty() {
            self.waiting = understood.waiting;
        } else {
            self.waiting.extend(understood.waiting);
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next records, as many as `limit` allows, at least one if there are any.
    pub fn page(&mut self, limit: ReadLimit) -> Vec<Record> {
        let mut records = Vec::with_capacity(self.waiting.len().min(limit.records.max(1)));
        let mut bytes = 0;
        while let Some(record) = self.pop_within(records.is_empty(), limit.bytes.saturating_sub(bytes)) {
            if self.after.is_some_and(|after| record.sequence <= after) {
                continue;
            }
            self.after = None;
            bytes += record.data.len() + record.partition_key.len();
            records.push(record);
            if records.len() >= limit.records {
                break;
            }
        }
        records
    }

    /// The next record, if it has no more than `room` bytes or is the `first` of its page.
    fn pop_within(&mut self, first: bool, room: usize) -> Option<Record> {
        loop {
            match self.waiting.front_mut()? {
                Waiting::Plain(record) => {
                    if !first && record.data.len() + record.partition_key.len() > room {
                        return None;
                    }
                    let Some(Waiting::Plain(record)) = self.waiting.pop_front() else { return None };
                    return Some(record);
                }
                Waiting::Aggregate { of, next, sequence, arrived_ms } => {
                    let Some((key, data)) = of.record(*next) else {
                        self.waiting.pop_front();
                        continue;
                    };
                    if !first && data.len() + key.len() > room {
                        return None;
                    }
                    // An aggregate's entries are fewer than its bytes.
                    let sub = u32::try_from(*next).unwrap_or(u32::MAX);
                    let record = Record {
                        sequence: sequence.part(sub),
                        partition_key: key.into_owned(),
                        data,
                        arrived_ms: *arrived_ms,
                    };
                    *next += 1;
                    if *next == of.len() {
                        self.waiting.pop_front();
                    }
                    return Some(record);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::encode::aggregate;
    use aws_sdk_kinesis::primitives::{Blob, DateTime};
    use snowmelt_streams::ShardId;

    fn sdk(sequence: &str, data: &[u8]) -> SdkRecord {
        SdkRecord::builder()
            .sequence_number(sequence)
            .partition_key("key")
            .data(Blob::new(data))
            .approximate_arrival_timestamp(DateTime::from_millis(1_700_000_000_123))
            .build()
            .unwrap()
    }

    fn intake(after: Option<&str>, records: Vec<SdkRecord>) -> Intake {
        let mut intake = Intake::new(after.map(|text| text.parse().unwrap()));
        let understood = intake.understand(records).unwrap();
        intake.take(understood, &ShardMetrics::new("s", &ShardId::from_index(0)));
        intake
    }

    fn sequences(records: &[Record]) -> Vec<String> {
        records.iter().map(|record| record.sequence.to_string()).collect()
    }

    const ANY: ReadLimit = ReadLimit { records: 100, bytes: 1000 };

    fn mixed() -> Vec<SdkRecord> {
        let three = aggregate(&["a", "b"], &[], &[(0, None, b"x"), (1, None, b"yy"), (0, None, b"zzz")]);
        vec![sdk("10", b"plain"), sdk("11", &three), sdk("12", &aggregate(&[], &[], &[])), sdk("13", b"end")]
    }

    #[test]
    fn user_records_have_parts_and_their_own_keys() {
        let records = intake(None, mixed()).page(ANY);
        assert_eq!(sequences(&records), ["10", "11", "11:1", "11:2", "13"]);
        assert_eq!(records.iter().map(|r| r.partition_key.as_str()).collect::<String>(), "keyabakey");
        assert!(records.iter().all(|record| record.arrived_ms == 1_700_000_000_123));
    }

    #[test]
    fn pages_keep_both_limits_and_lose_nothing() {
        for (count, bytes) in [(1, 1000), (2, 1000), (100, 1), (100, 7), (3, 9)] {
            let mut intake = intake(None, mixed());
            let mut all = Vec::new();
            while !intake.is_empty() {
                let page = intake.page(ReadLimit { records: count, bytes });
                let size: usize = page.iter().map(|record| record.data.len() + record.partition_key.len()).sum();
                assert!(page.len() <= count && (size <= bytes || page.len() == 1), "{count} {bytes}");
                all.extend(page);
            }
            assert_eq!(sequences(&all), ["10", "11", "11:1", "11:2", "13"]);
        }
    }

    #[test]
    fn a_start_within_an_aggregate_passes_over_what_was_consumed() {
        for (after, first) in
            [("10", "11"), ("11", "11:1"), ("11:1", "11:2"), ("11:2", "13"), ("11:9", "13"), ("9", "10")]
        {
            assert_eq!(sequences(&intake(Some(after), mixed()).page(ANY))[0], first, "{after}");
        }
        assert!(intake(Some("13"), mixed()).page(ANY).is_empty());
    }

    #[test]
    fn a_bad_aggregate_is_delivered_whole() {
        let bad = aggregate(&["a"], &[], &[(0, None, b"x"), (9, None, b"y")]);
        let records = intake(None, vec![sdk("1", &bad)]).page(ANY);
        assert_eq!((sequences(&records), &records[0].data), (vec!["1".to_owned()], &bad));
    }

    #[test]
    fn a_number_that_is_none_spoils_the_answer_and_nothing_else() {
        assert!(Intake::new(None).understand(vec![sdk("1", b""), sdk("x", b"")]).is_err());
    }
}
