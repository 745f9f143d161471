//! What is counted (spec 16).

use snowmelt_streams::ShardId;
use tokio::time::Instant;

use crate::failure::Failure;

/// The metrics of one kind of thing, each with its help.
macro_rules! metrics {
    ($($name:ident $kind:ident $text:literal $help:literal,)*) => {
        $(pub(crate) const $name: &str = $text;)*
        /// Says what the crate's metrics mean, once a recorder is there.
        pub fn describe() {
            $(metrics!(@ $kind $text $help);)*
        }
    };
    (@ counter $text:literal $help:literal) => { ::metrics::describe_counter!($text, $help) };
    (@ gauge $text:literal $help:literal) => { ::metrics::describe_gauge!($text, $help) };
    (@ histogram $text:literal $help:literal) => { ::metrics::describe_histogram!($text, $help) };
}

metrics! {
    CALL_SECONDS histogram "kinesis_call_seconds" "duration of calls of the service, by operation",
    CALL_FAILURES counter "kinesis_call_failures_total" "failed attempts of calls, by operation and error code; each is tried again or told",
    LAG gauge "kinesis_lag_millis" "age of the last record read when more are there; ages between calls",
    RECORDS counter "kinesis_records_read_total" "records read, before deaggregation",
    USER_RECORDS counter "kinesis_user_records_read_total" "records read, after deaggregation",
    BYTES counter "kinesis_bytes_read_total" "bytes of data read",
    BAD_AGGREGATES counter "kinesis_bad_aggregates_total" "aggregated records that point outside their tables; delivered whole",
    THROTTLES counter "kinesis_read_throttles_total" "reads that were throttled",
    EXPIRED counter "kinesis_expired_iterators_total" "iterators not used within their five minutes: back-pressure or a suspended process",
    NULL_ITERATORS counter "kinesis_false_ends_total" "ends of a shard that was found open",
    TRIMMED counter "kinesis_positions_past_retention_total" "positions older than the retention: records were lost",
    RESUBSCRIBED counter "kinesis_subscription_restarts_total" "fan-out subscriptions that ended, by reason",
    PUT_RECORDS counter "kinesis_records_put_total" "records stored",
    PUT_BYTES counter "kinesis_bytes_put_total" "bytes of keys and data stored",
    PUT_FAILURES counter "kinesis_put_partial_failures_total" "records of an accepted request that were not stored, by error code",
    PUT_RETRIED counter "kinesis_put_retried_total" "records put again within one put, since others of it were stored",
    PUT_HELD counter "kinesis_put_held_total" "records not sent, to keep the order behind a failed one of their key",
}

/// Measures a call.
pub(crate) struct Call {
    operation: &'static str,
    began: Instant,
}

impl Call {
    pub fn begin(operation: &'static str) -> Self {
        Self { operation, began: Instant::now() }
    }

    pub fn end<T>(self, result: Result<T, Failure>) -> Result<T, Failure> {
        ::metrics::histogram!(CALL_SECONDS, "operation" => self.operation).record(self.began.elapsed().as_secs_f64());
        if let Err(failure) = &result {
            let code = failure.code.clone().into_owned();
            ::metrics::counter!(CALL_FAILURES, "operation" => self.operation, "code" => code).increment(1);
        }
        result
    }
}

/// Sends a request of the SDK once, measured.
macro_rules! call {
    ($operation:literal, $request:expr) => {{
        let call = $crate::metrics::Call::begin($operation);
        let answer = $request.send().await;
        call.end(answer.map_err(|error| $crate::failure::Failure::of(&error)))
    }};
}
pub(crate) use call;

/// The metrics of one reader of a shard.
pub(crate) struct ShardMetrics {
    lag: ::metrics::Gauge,
    pub records: ::metrics::Counter,
    pub user_records: ::metrics::Counter,
    pub bytes: ::metrics::Counter,
    pub bad_aggregates: ::metrics::Counter,
    pub throttles: ::metrics::Counter,
    pub expired: ::metrics::Counter,
    pub false_ends: ::metrics::Counter,
    pub trimmed: ::metrics::Counter,
}

impl ShardMetrics {
    pub fn new(stream: &str, shard: &ShardId) -> Self {
        let counter = |name| ::metrics::counter!(name, "stream" => stream.to_owned(), "shard" => shard.to_string());
        Self {
            lag: ::metrics::gauge!(LAG, "stream" => stream.to_owned(), "shard" => shard.to_string()),
            records: counter(RECORDS),
            user_records: counter(USER_RECORDS),
            bytes: counter(BYTES),
            bad_aggregates: counter(BAD_AGGREGATES),
            throttles: counter(THROTTLES),
            expired: counter(EXPIRED),
            false_ends: counter(NULL_ITERATORS),
            trimmed: counter(TRIMMED),
        }
    }

    pub fn lag(&self, millis: u64) {
        self.lag.set(millis as f64);
    }
}
