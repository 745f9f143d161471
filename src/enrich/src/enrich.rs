//! The whole of enrichment as one function: a raw record in, records for the output streams out.

use std::sync::Arc;

use bytes::Bytes;
use snowmelt_iglu::{ResolutionError, SchemaCriterion, SchemaKey, SchemaSource};
use snowmelt_protocol::badrow::{
    self, AdapterFailures, CollectorPayloadFormatViolation, FormatMessage, SizeViolation, TrackerProtocolViolations,
};
use snowmelt_protocol::container::{Compression, ContainerError, ContainerReader, Limits, Next};
use snowmelt_protocol::document::Document;
use snowmelt_protocol::event::Column;

use crate::adapters::{self, Refusal, RowKind};
use crate::config::{EnrichConfig, MAX_JSON_DEPTH};
use crate::enrichments::Enrichments;
use crate::event::{self, EventScratch};
use crate::fingerprints::{self, Fingerprints};
use crate::ids::{Purpose, RecordSeed};
use crate::outputs::{Mark, OutRecord, Outputs};
use crate::request::{self, Request};
use crate::selfdescribing::KeyCache;
use crate::validation::{Checker, Envelopes};

/// Enriches records of the raw stream. Immutable: share it between threads, give each a [`Scratch`] of its own.
#[derive(Debug)]
pub struct Enrich {
    pub(crate) config: EnrichConfig,
    pub(crate) enrichments: Enrichments,
    pub(crate) v_etl: String,
    /// Whether fingerprints of good events may be worked out later.
    pub(crate) defers: bool,
    payload_schema: SchemaCriterion,
    envelopes: Envelopes,
}

/// What enrichment may know besides the record.
#[derive(Clone, Copy)]
pub struct Context<'c> {
    /// The time of enrichment in microseconds since the epoch; the same for all records of one batch.
    pub now_micros: i64,
    /// Schemas in memory.
    pub schemas: &'c dyn SchemaSource,
    /// What random-looking identifiers derive from.
    pub seed: RecordSeed,
}

/// What has to be there before a record can be enriched. Look the schemas up and call again.
#[derive(Debug, Clone, Default, thiserror::Error)]
#[error("{}", self.describe())]
pub struct Needs {
    /// Schemas that are not in memory.
    pub schemas: Vec<SchemaKey>,
    /// Schemas that could not be had because a registry did not answer. Nothing is known about events that name them:
    /// wait and look them up again; never acknowledge the record (enrich-core 5.4).
    pub unreachable: Vec<(SchemaKey, Arc<ResolutionError>)>,
}

impl Needs {
    fn is_empty(&self) -> bool {
        self.schemas.is_empty() && self.unreachable.is_empty()
    }

    pub(crate) fn note_schema(&mut self, key: &SchemaKey) {
        self.schemas.push(key.clone());
    }

    pub(crate) fn note_unreachable(&mut self, key: &SchemaKey, error: &Arc<ResolutionError>) {
        self.unreachable.push((key.clone(), Arc::clone(error)));
    }

    /// Each schema once: a record may name one any number of times.
    fn distinct(mut self) -> Self {
        self.schemas.sort_unstable();
        self.schemas.dedup();
        self.unreachable.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.unreachable.dedup_by(|(a, _), (b, _)| a == b);
        self
    }

    fn describe(&self) -> String {
        match self.unreachable.first() {
            Some((key, error)) => format!(
                "Could not reach Iglu Server for schema '{key}'. Check resolver configuration and ensure registries are \
                 available. Resolution errors: {error}"
            ),
            None => format!("{} schemas have to be looked up first", self.schemas.len()),
        }
    }
}

/// Memory that calls reuse. One a thread; holds nothing between calls that matters.
#[derive(Debug, Default)]
pub struct Scratch {
    body: Document,
    payload: Vec<u8>,
    keys: KeyCache,
    event: EventScratch,
    pub(crate) fingerprints: Fingerprints,
}

impl Scratch {
    /// Empty; grows to what records need.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Enrich {
    /// Puts configuration and enrichments together.
    pub fn new(config: EnrichConfig, enrichments: Enrichments) -> Self {
        let shown = enrichments.read_fingerprints()
            || config.partition_key == Some(Column::EventFingerprint)
            || !config.limits.allow(Column::EventFingerprint, fingerprints::LEN);
        Enrich {
            defers: !shown,
            v_etl: config.processor.v_etl(),
            config,
            enrichments,
            payload_schema: request::payload_schema(),
            envelopes: Envelopes::default(),
        }
    }

    /// Enriches one record of the raw stream, which may hold several payloads of several events, and appends what
    /// comes of it to `out`. Any bytes give good events or bad rows. When schemas are missing, nothing is appended.
    /// Called again with the same record, seed and schemas it gives the same events with the same ids.
    pub fn record(
        &self,
        record: &[u8],
        cx: &Context<'_>,
        scratch: &mut Scratch,
        out: &mut Outputs,
    ) -> Result<(), Needs> {
        // What a call that panicked has left is not ours.
        scratch.fingerprints.rewind(0);
        let done = self.one(record, cx, scratch, out);
        scratch.fingerprints.settle(&mut out.good);
        done
    }

    /// The same, but lines of good events may lack their fingerprint until those of `scratch` are settled.
    pub(crate) fn one(
        &self,
        record: &[u8],
        cx: &Context<'_>,
        scratch: &mut Scratch,
        out: &mut Outputs,
    ) -> Result<(), Needs> {
        let mark = out.mark();
        let needs = Needs::default();
        let mut fingerprints = std::mem::take(&mut scratch.fingerprints);
        let mut run = Run {
            enrich: self,
            cx,
            out,
            needs,
            payloads: 0,
            keys_drawn: 0,
            fingerprints: &mut fingerprints,
            seen: mark,
            bytes: 0,
            input: 0,
            too_large: false,
        };
        match Compression::detect(record) {
            None => run.payload(record, scratch),
            Some(compression) => run.container(record, compression, scratch),
        }
        let done = if run.too_large {
            run.rewind(mark);
            run.expanded(record);
            Ok(())
        } else if run.needs.is_empty() {
            Ok(())
        } else {
            run.rewind(mark);
            Err(run.needs.distinct())
        };
        scratch.fingerprints = fingerprints;
        done
    }
}

/// One call of [`Enrich::record`].
pub(crate) struct Run<'r> {
    pub enrich: &'r Enrich,
    pub cx: &'r Context<'r>,
    pub out: &'r mut Outputs,
    needs: Needs,
    payloads: u32,
    keys_drawn: u32,
    pub fingerprints: &'r mut Fingerprints,
    /// How far the outputs were measured, and their size so far.
    seen: Mark,
    bytes: usize,
    /// Bytes of the payloads so far.
    input: usize,
    /// The record gives more than it may.
    too_large: bool,
}

/// Most bytes that come of one record of the raw stream, about: so many times the bytes of its payloads, and
/// [`SPARE_OUTPUT_BYTES`] more, but never above [`MAX_OUTPUT_BYTES`]. A short request can hold thousands of events, each of
/// which repeats the request's headers and query string; of a record that would give more, one size violation tells. The
/// original has no such limit. Requests of real trackers give some 20 times their bytes when all their events are bad.
pub const OUTPUT_FACTOR: usize = 64;
/// See [`OUTPUT_FACTOR`].
pub const SPARE_OUTPUT_BYTES: usize = 4 << 20;
/// See [`OUTPUT_FACTOR`].
pub const MAX_OUTPUT_BYTES: usize = 128 << 20;

const LOADER: &str = "thrift";
/// What a bad row that had to be cut says.
const ROW_TOO_LARGE: &str = "Event failed enrichment and resulting bad row";

impl Run<'_> {
    pub(crate) fn now_millis(&self) -> i64 {
        self.cx.now_micros.div_euclid(1_000)
    }

    fn rewind(&mut self, mark: Mark) {
        self.out.rewind(mark);
        self.fingerprints.rewind(self.out.good.len());
    }

    fn container(&mut self, record: &[u8], compression: Compression, scratch: &mut Scratch) {
        let limits = Limits { max_payload_bytes: self.enrich.config.max_payload_bytes, ..Limits::default() };
        let mut reader = match ContainerReader::open(record, compression, limits) {
            Ok(reader) => reader,
            Err(error) => return self.corrupt(record, compression, &error),
        };
        let mut payload = std::mem::take(&mut scratch.payload);
        while !self.too_large {
            match reader.next_payload(&mut payload) {
                Ok(Next::Payload) => self.payload(&payload, scratch),
                Ok(Next::Skipped { announced }) => {
                    self.skipped(record, compression, announced);
                    self.measure();
                }
                Ok(Next::End) => break,
                Err(error) => {
                    self.corrupt(record, compression, &error);
                    break;
                }
            }
        }
        scratch.payload = payload;
    }

    fn corrupt(&mut self, record: &[u8], compression: Compression, error: &ContainerError) {
        let byte = |byte: &Option<u8>| byte.map_or(-1, i32::from);
        let (loader, text) = match error {
            ContainerError::UnsupportedVersions { format, payload } => {
                let versions = format!("{}, {}", byte(format), byte(payload));
                (compression.name(), format!("Unsupported versions in compressed record header: {versions}"))
            }
            ContainerError::Corrupt(_) => ("", "corrupt compressed payload".to_owned()),
            ContainerError::TooLarge { .. } => (compression.name(), error.to_string()),
        };
        self.malformed(record, loader, &FormatMessage::Error(text));
    }

    fn skipped(&mut self, record: &[u8], compression: Compression, announced: usize) {
        self.out.counts.raw += 1;
        let limit = self.enrich.config.max_payload_bytes;
        let name = compression.name();
        let mut line = String::new();
        SizeViolation {
            processor: &self.enrich.config.processor,
            timestamp_micros: self.cx.now_micros,
            maximum_allowed_size_bytes: limit as u64,
            actual_size_bytes: announced as u64,
            expectation: &format!(
                "Collector payload will exceed maximum allowed size of {limit} after {name} decompression"
            ),
            payload: &badrow::base64(record),
        }
        .write(&mut line);
        self.bad(line);
    }

    fn malformed(&mut self, record: &[u8], loader: &str, message: &FormatMessage) {
        self.out.counts.raw += 1;
        let mut line = String::new();
        CollectorPayloadFormatViolation {
            processor: &self.enrich.config.processor,
            timestamp_micros: self.cx.now_micros,
            loader,
            message,
            record,
        }
        .write(&mut line);
        self.bad(line);
    }

    /// The record as one bad row, in place of all that would come of it.
    fn expanded(&mut self, record: &[u8]) {
        self.out.counts.raw += 1;
        let limit = self.output_limit();
        let mut line = String::new();
        SizeViolation {
            processor: &self.enrich.config.processor,
            timestamp_micros: self.cx.now_micros,
            maximum_allowed_size_bytes: limit as u64,
            actual_size_bytes: self.bytes as u64,
            expectation: &format!("Collector payload expands to more than {limit} bytes of events"),
            payload: &badrow::base64(record),
        }
        .write(&mut line);
        self.bad(line);
    }

    fn output_limit(&self) -> usize {
        SPARE_OUTPUT_BYTES.saturating_add(self.input.saturating_mul(OUTPUT_FACTOR)).min(MAX_OUTPUT_BYTES)
    }

    /// Adds what was put out since the last time, and tells whether it is too much.
    fn measure(&mut self) -> bool {
        self.bytes += self.out.bytes_since(self.seen);
        self.seen = self.out.mark();
        self.too_large |= self.bytes > self.output_limit();
        self.too_large
    }

    fn payload(&mut self, record: &[u8], scratch: &mut Scratch) {
        let index = self.payloads;
        self.payloads += 1;
        self.input += record.len();
        match Request::read(record, &self.enrich.payload_schema) {
            Ok(request) => {
                self.out.counts.raw += 1;
                self.request(&request, index, scratch);
            }
            Err(messages) => {
                messages.iter().for_each(|message| self.malformed(record, LOADER, message));
                self.measure();
            }
        }
    }

    fn request(&mut self, request: &Request<'_>, index: u32, scratch: &mut Scratch) {
        let Scratch { body, keys, event: memory, .. } = scratch;
        let mut needs = std::mem::take(&mut self.needs);
        let mut checker = Checker {
            schemas: self.cx.schemas,
            keys,
            needs: &mut needs,
            envelopes: &self.enrich.envelopes,
            max_depth: self.enrich.config.max_json_depth.min(MAX_JSON_DEPTH),
        };
        match adapters::adapt(request, body, &mut checker) {
            Ok(events) => {
                for (nth, parameters) in events.iter().enumerate() {
                    event::enrich(self, request, parameters, (index, nth as u32), &mut checker, memory);
                    if self.measure() {
                        break;
                    }
                }
            }
            Err((_, Refusal::Pending)) => {}
            Err((_, Refusal::TooLarge(bytes))) => {
                self.bytes += bytes;
                self.too_large = true;
            }
            Err((kind, Refusal::Failed(messages))) => {
                self.refused(request, kind, &messages);
                self.measure();
            }
        }
        self.needs = needs;
    }

    fn refused(&mut self, request: &Request<'_>, kind: RowKind, messages: &[badrow::FailureMessage]) {
        let (processor, timestamp_millis) = (&self.enrich.config.processor, self.now_millis());
        let payload = &request.to_payload_object();
        let mut line = String::new();
        match kind {
            RowKind::AdapterFailures => {
                AdapterFailures { processor, timestamp_millis, messages, payload }.write(&mut line);
            }
            RowKind::TrackerProtocolViolations => {
                TrackerProtocolViolations { processor, timestamp_millis, messages, payload }.write(&mut line);
            }
        }
        self.bad(line);
    }

    /// A partition key for a record that has none of its own.
    pub(crate) fn random_key(&mut self) -> String {
        self.keys_drawn += 1;
        let key = self.cx.seed.uuid(Purpose::PartitionKey, 0, self.keys_drawn);
        key.hyphenated().encode_lower(&mut [0; 36]).to_owned()
    }

    /// Puts a bad row out, cut down to a size violation when it is too large.
    pub(crate) fn bad(&mut self, mut line: String) {
        self.trim(&mut line, ROW_TOO_LARGE);
        let partition_key = self.random_key();
        self.out.bad.push(OutRecord { partition_key, data: Bytes::from(line) });
    }

    /// Tells of an event about pseudonymisation that is too large, without a part of it: it holds original values, which
    /// are to be in its stream only.
    pub(crate) fn too_large_pii(&mut self, size: usize) {
        let limit = self.enrich.config.max_record_bytes;
        let mut line = String::new();
        SizeViolation {
            processor: &self.enrich.config.processor,
            timestamp_micros: self.cx.now_micros,
            maximum_allowed_size_bytes: limit as u64,
            actual_size_bytes: size as u64,
            expectation: &format!("PII event exceeds the maximum allowed size of {limit} bytes"),
            payload: "",
        }
        .write(&mut line);
        self.bad(line);
    }

    /// Replaces a line that is longer than a record may be; tells whether it did.
    pub(crate) fn trim(&self, line: &mut String, what: &str) -> bool {
        let limit = self.enrich.config.max_record_bytes;
        // Spares the text of the expectation, which is hardly ever needed.
        line.len() > limit && {
            let expectation = format!("{what} exceeds the maximum allowed size of {limit} bytes");
            badrow::trim_to_size(line, limit, &expectation, &self.enrich.config.processor, self.cx.now_micros)
        }
    }
}
