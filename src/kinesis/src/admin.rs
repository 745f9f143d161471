//! Making, describing and changing streams (spec 7.1).

use std::future::Future;
use std::time::Duration;

use aws_sdk_kinesis::types::{Shard as SdkShard, StreamStatus};
use snowmelt_streams::{HashKeyRange, Shard, ShardId, StreamDescription, StreamError};
use tokio::time::{Instant, sleep};

use crate::failure::{Failure, Kind};
use crate::metrics::call;
use crate::streams::KinesisStreams;

/// Attempts of a call that is throttled, or fails in passing.
const ATTEMPTS: u32 = 8;
const LEAST_WAIT: Duration = Duration::from_millis(200);
const MOST_WAIT: Duration = Duration::from_secs(5);
/// Shards of a page: the most there are.
const PAGE: i32 = 1000;
/// Pages of one listing: more than any account's shards.
const MOST_PAGES: usize = 1000;
/// What the service keeps records for, in hours.
const RETENTION_HOURS: std::ops::RangeInclusive<u64> = 24..=8760;
/// The largest record of a stream that says nothing else.
pub(crate) const DEFAULT_RECORD_BYTES: usize = 1 << 20;

/// What a stream says of itself, without its shards.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub retention: Duration,
    pub active: bool,
    pub arn: String,
    pub record_bytes: usize,
}

impl KinesisStreams {
    pub(crate) async fn create_stream(
        &self,
        stream: &str,
        shards: u32,
        retention: Duration,
    ) -> Result<(), StreamError> {
        let of_stream = |failure: Failure| failure.of_stream(stream);
        let count = i32::try_from(shards.max(1)).unwrap_or(i32::MAX);
        let created = persist(false, || async {
            call!("CreateStream", self.client().create_stream().stream_name(stream).shard_count(count)).map(drop)
        });
        match created.await {
            Ok(()) => {}
            Err(failure) if failure.kind == Kind::InUse => {}
            Err(failure) => return Err(of_stream(failure)),
        }
        let summary = self.wait_active(stream, true).await.map_err(of_stream)?;
        let hours = retention.as_secs().div_ceil(3600).clamp(*RETENTION_HOURS.start(), *RETENTION_HOURS.end());
        let (wanted, kept) = (hours as i32, summary.retention.as_secs() / 3600);
        if hours == kept {
            return Ok(());
        }
        let changed = persist(true, || async {
            if hours > kept {
                let request = self.client().increase_stream_retention_period().stream_name(stream);
                call!("IncreaseStreamRetentionPeriod", request.retention_period_hours(wanted)).map(drop)
            } else {
                let request = self.client().decrease_stream_retention_period().stream_name(stream);
                call!("DecreaseStreamRetentionPeriod", request.retention_period_hours(wanted)).map(drop)
            }
        });
        if let Err(failure) = changed.await {
            // A call whose answer was lost, or another process that does the same, has had it changed.
            let now = self.summary(stream).await.map_err(of_stream)?;
            if now.retention.as_secs() / 3600 != hours {
                return Err(of_stream(failure));
            }
        }
        self.wait_active(stream, false).await.map(drop).map_err(of_stream)
    }

    pub(crate) async fn describe_stream(&self, stream: &str) -> Result<StreamDescription, StreamError> {
        let of_stream = |failure: Failure| failure.of_stream(stream);
        let retention = self.summary(stream).await.map_err(of_stream)?.retention;
        let shards = self.shards(stream).await.map_err(of_stream)?;
        Ok(StreamDescription { name: stream.to_owned(), shards, retention })
    }

    pub(crate) async fn list_streams(&self) -> Result<Vec<String>, StreamError> {
        let mut names: Vec<String> = Vec::new();
        for _ in 0..MOST_PAGES {
            // By the last name: every service knows that, not every one has tokens.
            let after = names.last().cloned();
            let page = persist(false, || async {
                call!("ListStreams", self.client().list_streams().set_exclusive_start_stream_name(after.clone()))
            });
            let page = page.await.map_err(|failure| failure.of_stream("*"))?;
            let more = page.has_more_streams && !page.stream_names.is_empty();
            names.extend(page.stream_names);
            if !more {
                break;
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    pub(crate) async fn split_shard(&self, stream: &str, shard: &ShardId, at: u128) -> Result<(), StreamError> {
        let request = || async {
            let request = self.client().split_shard().stream_name(stream).shard_to_split(shard.as_str());
            call!("SplitShard", request.new_starting_hash_key(at.to_string())).map(drop)
        };
        self.reshard(stream, &[shard], request).await
    }

    pub(crate) async fn merge_shards(&self, stream: &str, a: &ShardId, b: &ShardId) -> Result<(), StreamError> {
        let request = || async {
            let request = self.client().merge_shards().stream_name(stream).shard_to_merge(a.as_str());
            call!("MergeShards", request.adjacent_shard_to_merge(b.as_str())).map(drop)
        };
        self.reshard(stream, &[a, b], request).await
    }

    /// Has a change of shards made, and waits until it is.
    async fn reshard<F>(&self, stream: &str, parents: &[&ShardId], request: impl Fn() -> F) -> Result<(), StreamError>
    where
        F: Future<Output = Result<(), Failure>> + Send,
    {
        let of_stream = |failure: Failure| failure.of_stream(stream);
        // The service calls a shard that is gone, one that was changed before, and a stream that is, by one name.
        let before = self.shards(stream).await.map_err(of_stream)?;
        for parent in parents {
            match before.iter().find(|shard| shard.id == **parent) {
                Some(shard) if shard.closed => {
                    let reason = format!("shard {parent} is closed already");
                    return Err(StreamError::Invalid { stream: stream.to_owned(), reason });
                }
                Some(_) => {}
                None => {
                    let (stream, shard) = (stream.to_owned(), (*parent).clone());
                    return Err(StreamError::ShardNotFound { stream, shard });
                }
            }
        }
        let until = Instant::now() + self.options().active_timeout;
        let asked = loop {
            self.wait_active(stream, false).await.map_err(of_stream)?;
            match persist(false, &request).await {
                // Someone else's change came first.
                Err(failure) if failure.kind == Kind::InUse && Instant::now() < until => sleep(LEAST_WAIT).await,
                asked => break asked,
            }
        };
        self.wait_active(stream, false).await.map_err(of_stream)?;
        if let Err(failure) = asked {
            // A lost answer: the second try finds the shards changed.
            let shards = self.shards(stream).await.map_err(of_stream)?;
            let is_child = |shard: &Shard| parents.iter().all(|parent| shard.parents.contains(parent));
            if !shards.iter().any(is_child) {
                return Err(of_stream(failure));
            }
        }
        Ok(())
    }

    /// A stream's open shards, and closed ones whose records are still kept, in order of their creation.
    pub(crate) async fn shards(&self, stream: &str) -> Result<Vec<Shard>, Failure> {
        let mut shards = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let page = persist(true, || async {
                let request = self.client().list_shards().max_results(PAGE);
                // A token stands for everything that was asked for with the first page.
                let request = match &token {
                    Some(token) => request.next_token(token),
                    None => request.stream_name(stream),
                };
                call!("ListShards", request)
            });
            let page = page.await?;
            for shard in page.shards.unwrap_or_default() {
                shards.push(shard_of(shard)?);
            }
            let next = page.next_token.filter(|next| !next.is_empty());
            if next.is_none() || next == token {
                break;
            }
            token = next;
        }
        // Ids are numbers of the same width, in order of creation.
        shards.sort_by(|a: &Shard, b: &Shard| a.id.cmp(&b.id));
        shards.dedup_by(|a, b| a.id == b.id);
        Ok(shards)
    }

    /// One shard; none when the stream has it no longer.
    pub(crate) async fn shard(&self, stream: &str, id: &ShardId) -> Result<Option<Shard>, Failure> {
        Ok(self.shards(stream).await?.into_iter().find(|shard| shard.id == *id))
    }

    pub(crate) async fn summary(&self, stream: &str) -> Result<Summary, Failure> {
        let answer = persist(false, || async {
            call!("DescribeStreamSummary", self.client().describe_stream_summary().stream_name(stream))
        });
        let summary = answer
            .await?
            .stream_description_summary
            .ok_or_else(|| Failure::bad_answer("DescribeStreamSummary gave no summary"))?;
        if summary.stream_status == StreamStatus::Deleting {
            return Err(Failure::coded("ResourceNotFoundException", format!("stream {stream} is being deleted")));
        }
        let kib = summary.max_record_size_in_kib.and_then(|kib| usize::try_from(kib).ok()).filter(|kib| *kib > 0);
        Ok(Summary {
            retention: Duration::from_secs(u64::try_from(summary.retention_period_hours).unwrap_or(24) * 3600),
            // A stream that is being changed can be read and written, but not changed again.
            active: summary.stream_status == StreamStatus::Active,
            arn: summary.stream_arn,
            record_bytes: kib.map_or(DEFAULT_RECORD_BYTES, |kib| kib * 1024),
        })
    }

    /// Waits until a stream can be changed; `new`: it may take a moment until it is known everywhere.
    async fn wait_active(&self, stream: &str, new: bool) -> Result<Summary, Failure> {
        let patience = self.options().active_timeout;
        let until = Instant::now() + patience;
        let mut wait = LEAST_WAIT / 2;
        loop {
            match self.summary(stream).await {
                Ok(summary) if summary.active => return Ok(summary),
                Ok(_) => {}
                Err(failure) if new && failure.kind == Kind::NotFound => {}
                Err(failure) => return Err(failure),
            }
            if Instant::now() + wait > until {
                return Err(Failure::timeout(format!("not active after {} s", patience.as_secs())));
            }
            sleep(wait).await;
            wait = (wait * 2).min(MOST_WAIT / 2);
        }
    }
}

/// Calls until there is an answer, or a failure that will not pass; waits longer each time, with jitter. `in_use`: so may the
/// stream's being changed.
pub(crate) async fn persist<T, F>(in_use: bool, attempt: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>> + Send,
{
    let mut wait = LEAST_WAIT;
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(failure)
                if matches!(failure.kind, Kind::Throttled | Kind::Passing)
                    || (in_use && failure.kind == Kind::InUse) =>
            {
                sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                wait = (wait * 2).min(MOST_WAIT);
            }
            other => return other,
        }
    }
    attempt().await
}

fn shard_of(shard: SdkShard) -> Result<Shard, Failure> {
    let key = |text: &str| {
        text.parse::<u128>().map_err(|error| Failure::bad_answer(format!("hash key {text:?} of a shard: {error}")))
    };
    let range = shard.hash_key_range.ok_or_else(|| Failure::bad_answer("a shard without hash keys"))?;
    let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id];
    Ok(Shard {
        id: ShardId::from(shard.shard_id),
        parents: parents.into_iter().flatten().filter(|id| !id.is_empty()).map(ShardId::from).collect(),
        range: HashKeyRange { start: key(&range.starting_hash_key)?, end: key(&range.ending_hash_key)? },
        // Only that there is one: its value is no record, and wrong in stand-ins.
        closed: shard.sequence_number_range.is_some_and(|range| range.ending_sequence_number.is_some()),
    })
}
