//! Storing entries (spec 12).

use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, PutRecordsResultEntry};
use snowmelt_streams::{PutEntry, PutOutcome, ShardId, StreamError};
use tokio::time::{Instant, sleep};

use crate::Order;
use crate::admin::DEFAULT_RECORD_BYTES;
use crate::failure::{Failure, Kind};
use crate::metrics::{PUT_BYTES, PUT_FAILURES, PUT_HELD, PUT_RECORDS, PUT_RETRIED, call};
use crate::plan::{Failed, size, waves};
use crate::streams::{KinesisStreams, RecordLimit};

/// How long a stream's record size is believed: it may be raised.
const LIMIT_AGE: Duration = Duration::from_secs(60);
const MAX_KEY_CHARS: usize = 256;
/// Between tries of what was refused.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
const MOST_PAUSE: Duration = Duration::from_secs(1);
const HELD: &str = "an earlier record of its key was not stored";

impl KinesisStreams {
    /// Puts entries; see [`snowmelt_streams::Streams::put`]. What is refused while the rest is stored is put again, alone, for a
    /// while: whoever puts a whole batch again stores those records once more.
    pub(crate) async fn put_entries(
        &self,
        stream: &str,
        entries: Vec<PutEntry>,
    ) -> Result<Vec<PutOutcome>, StreamError> {
        let mut outcomes = self.refusals(stream, &entries).await?;
        let mut put = Put { stream, entries: &entries, failed: Failed::default(), stored: 0, bytes: 0, held: 0 };
        let until = Instant::now() + self.options().retry_parts_for;
        let mut pause = LEAST_PAUSE;
        loop {
            let over = self.pass(&mut put, &mut outcomes).await;
            if let Some(failure) = &over
                && put.stored == 0
            {
                // A refusal for good is found again when the rest is put again.
                return Err(failure.clone().of_stream(stream));
            }
            let wait = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
            let refused = outcomes.iter().filter(|outcome| is_for_now(outcome)).count();
            if refused == 0 || put.stored == 0 || Instant::now() + wait > until {
                put.count();
                let reason = || over.as_ref().map_or_else(|| HELD.to_owned(), |failure| failure.reason.clone());
                let rest = || PutOutcome::Rejected { reason: reason(), retriable: true };
                return Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(rest)).collect());
            }
            sleep(wait).await;
            pause = (pause * 2).min(MOST_PAUSE);
            ::metrics::counter!(PUT_RETRIED, "stream" => stream.to_owned()).increment(refused as u64);
            put.failed = Failed::default();
            for outcome in outcomes.iter_mut().filter(|outcome| is_for_now(outcome)) {
                *outcome = None;
            }
        }
    }

    /// Sends what has no outcome yet. A failure of a whole request ends it: what was not sent then has none still.
    async fn pass<'a>(&self, put: &mut Put<'a>, outcomes: &mut [Option<PutOutcome>]) -> Option<Failure> {
        let order = self.options().order;
        let sent = (0..put.entries.len()).filter(|index| outcomes[*index].is_none());
        for wave in waves(put.entries, sent, order) {
            // What stands behind a failed record of its key is held back.
            let requests: Vec<Vec<usize>> = match order {
                Order::PerKey => wave.into_iter().map(|request| put.cleared(request, outcomes)).collect(),
                Order::None => wave,
            };
            let requests = requests.into_iter().filter(|request| !request.is_empty());
            let mut over = None;
            for (request, answer) in self.send_wave(put.stream, put.entries, requests.collect()).await {
                match answer {
                    Ok(results) => put.take(&request, results, outcomes),
                    Err(failure) => over = Some(failure),
                }
            }
            if over.is_some() {
                return over;
            }
        }
        None
    }

    /// What can never be stored. Sending it would have its whole request refused.
    async fn refusals(&self, stream: &str, entries: &[PutEntry]) -> Result<Vec<Option<PutOutcome>>, StreamError> {
        let largest = entries.iter().map(size).max().unwrap_or(0);
        // Every stream takes this much: nothing is asked for.
        let limit = match largest {
            0..=DEFAULT_RECORD_BYTES => DEFAULT_RECORD_BYTES,
            _ => self.record_bytes(stream).await.map_err(|failure| failure.of_stream(stream))?,
        };
        let refused = |reason: String| Some(PutOutcome::Rejected { reason, retriable: false });
        let outcomes = entries.iter().map(|entry| {
            let size = size(entry);
            if size > limit {
                return refused(format!("a record of {size} bytes is larger than the stream's {limit}"));
            }
            match entry.partition_key.len() {
                1..=MAX_KEY_CHARS => None,
                0 => refused("the partition key is empty".to_owned()),
                _ if entry.partition_key.chars().count() <= MAX_KEY_CHARS => None,
                _ => refused(format!("the partition key has more than {MAX_KEY_CHARS} characters")),
            }
        });
        Ok(outcomes.collect())
    }

    async fn record_bytes(&self, stream: &str) -> Result<usize, Failure> {
        let known = self.record_limit(stream).filter(|limit| limit.asked.elapsed() < LIMIT_AGE);
        if let Some(limit) = known {
            return Ok(limit.bytes);
        }
        let limit = RecordLimit { bytes: self.summary(stream).await?.record_bytes, asked: Instant::now() };
        self.remember_record_limit(stream, limit);
        Ok(limit.bytes)
    }

    /// Sends requests, a few side by side. No key is in two of them.
    async fn send_wave(
        &self,
        stream: &str,
        entries: &[PutEntry],
        mut requests: Vec<Vec<usize>>,
    ) -> Vec<(Vec<usize>, Result<Vec<PutRecordsResultEntry>, Failure>)> {
        let abreast = match self.options().order {
            Order::PerKey => self.options().requests.max(1),
            // One after the other, so that at least requests keep their order.
            Order::None => 1,
        };
        if requests.len() == 1 {
            // What is nearly always so costs no further task.
            let request = requests.remove(0);
            let answer = self.send(stream, entries, &request).await;
            return vec![(request, answer)];
        }
        let mut answers = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter();
        let mut under_way = futures_util::stream::FuturesUnordered::new();
        loop {
            while under_way.len() < abreast
                && !answers.iter().any(|(_, answer): &(_, Result<_, Failure>)| answer.is_err())
                && let Some(request) = requests.next()
            {
                under_way.push(async {
                    let answer = self.send(stream, entries, &request).await;
                    (request, answer)
                });
            }
            match futures_util::StreamExt::next(&mut under_way).await {
                Some(answer) => answers.push(answer),
                None => return answers,
            }
        }
    }

    async fn send(
        &self,
        stream: &str,
        entries: &[PutEntry],
        request: &[usize],
    ) -> Result<Vec<PutRecordsResultEntry>, Failure> {
        let mut records = Vec::with_capacity(request.len());
        for index in request {
            let entry = &entries[*index];
            let record = PutRecordsRequestEntry::builder()
                .partition_key(&entry.partition_key)
                .set_explicit_hash_key(entry.explicit_hash_key.map(|key| key.to_string()))
                // Shares the bytes.
                .data(Blob::from_maybe_shared(entry.data.clone()))
                .build();
            records.push(record.map_err(|error| Failure {
                kind: Kind::Invalid,
                code: "not_sent".into(),
                reason: error.to_string(),
            })?);
        }
        let answer = call!("PutRecords", self.client().put_records().stream_name(stream).set_records(Some(records)))?;
        if answer.records.len() != request.len() {
            let reason = format!("{} results for {} records", answer.records.len(), request.len());
            return Err(Failure::bad_answer(reason));
        }
        Ok(answer.records)
    }
}

/// Whether an entry is still to be stored.
fn is_for_now(outcome: &Option<PutOutcome>) -> bool {
    matches!(outcome, None | Some(PutOutcome::Rejected { retriable: true, .. }))
}

/// One put as it goes on.
struct Put<'a> {
    stream: &'a str,
    entries: &'a [PutEntry],
    failed: Failed<'a>,
    stored: usize,
    bytes: usize,
    held: usize,
}

impl<'a> Put<'a> {
    /// Those of a request that no failed entry stands before; the others are rejected for now.
    fn cleared(&mut self, mut request: Vec<usize>, outcomes: &mut [Option<PutOutcome>]) -> Vec<usize> {
        if self.failed.is_empty() {
            return request;
        }
        request.retain(|index| {
            let held = self.failed.holds(&self.entries[*index]);
            if held {
                outcomes[*index] = Some(PutOutcome::Rejected { reason: HELD.to_owned(), retriable: true });
                // By its other key it may stand before further ones.
                self.failed.add(&self.entries[*index]);
                self.held += 1;
            }
            !held
        });
        request
    }

    /// Takes the results of a request that was accepted.
    fn take(&mut self, request: &[usize], results: Vec<PutRecordsResultEntry>, outcomes: &mut [Option<PutOutcome>]) {
        for (index, result) in request.iter().zip(results) {
            outcomes[*index] = Some(match stored(&result) {
                Ok(outcome) => {
                    self.stored += 1;
                    self.bytes += size(&self.entries[*index]);
                    outcome
                }
                Err(code) => {
                    let labels = [("stream", self.stream.to_owned()), ("code", code.clone())];
                    ::metrics::counter!(PUT_FAILURES, &labels).increment(1);
                    self.failed.add(&self.entries[*index]);
                    let reason = match result.error_message {
                        Some(message) => format!("{code}: {message}"),
                        None => code,
                    };
                    PutOutcome::Rejected { reason, retriable: true }
                }
            });
        }
    }

    fn count(&self) {
        let add = |name, amount: usize| {
            if amount > 0 {
                ::metrics::counter!(name, "stream" => self.stream.to_owned()).increment(amount as u64);
            }
        };
        add(PUT_RECORDS, self.stored);
        add(PUT_BYTES, self.bytes);
        add(PUT_HELD, self.held);
    }
}

/// What became of one record; else the error's code.
fn stored(result: &PutRecordsResultEntry) -> Result<PutOutcome, String> {
    match (&result.shard_id, &result.sequence_number, &result.error_code) {
        (Some(shard), Some(sequence), None) => match sequence.parse() {
            Ok(sequence) => Ok(PutOutcome::Stored { shard: ShardId::new(shard), sequence }),
            Err(_) => Err("bad_answer".to_owned()),
        },
        (_, _, Some(code)) => Err(code.clone()),
        _ => Err("bad_answer".to_owned()),
    }
}
