//! One builder a kind: borrowed parts, and `write`, which appends the line (without a line break).

use crate::badrow::message::envelope;
use crate::badrow::{
    CollectorPayloadObject, EnrichmentMessage, FailureMessage, FormatMessage, Kind, LoaderIgluMessage, ParsingFailure,
    Processor, RawEventObject,
};
use crate::event::EnrichedEvent;
use crate::json::{ObjectWriter, write_string};
use crate::time;

/// Something larger than a limit.
#[derive(Debug, Clone)]
pub struct SizeViolation<'a> {
    /// Who refused it.
    pub processor: &'a Processor,
    /// When, microseconds since the epoch.
    pub timestamp_micros: i64,
    /// The limit, bytes.
    pub maximum_allowed_size_bytes: u64,
    /// The size, bytes.
    pub actual_size_bytes: u64,
    /// What the limit is about.
    pub expectation: &'a str,
    /// The beginning of the thing, see [`head`](crate::badrow::head).
    pub payload: &'a str,
}

/// A record that is no collector payload.
#[derive(Debug, Clone)]
pub struct CollectorPayloadFormatViolation<'a> {
    /// Who refused it.
    pub processor: &'a Processor,
    /// When, microseconds since the epoch.
    pub timestamp_micros: i64,
    /// `thrift`, or the name of a decompressor.
    pub loader: &'a str,
    /// What is wrong.
    pub message: &'a FormatMessage,
    /// The whole record; printed as base64.
    pub record: &'a [u8],
}

/// A payload that a webhook adapter (or tracker protocol 1) refused.
#[derive(Debug, Clone)]
pub struct AdapterFailures<'a> {
    /// Who refused it.
    pub processor: &'a Processor,
    /// When, milliseconds since the epoch.
    pub timestamp_millis: i64,
    /// What is wrong; never empty.
    pub messages: &'a [FailureMessage],
    /// The payload; its vendor and version are the failure's too.
    pub payload: &'a CollectorPayloadObject<'a>,
}

/// A payload that is not in the tracker protocol.
#[derive(Debug, Clone)]
pub struct TrackerProtocolViolations<'a> {
    /// Who refused it.
    pub processor: &'a Processor,
    /// When, milliseconds since the epoch.
    pub timestamp_millis: i64,
    /// What is wrong; never empty.
    pub messages: &'a [FailureMessage],
    /// The payload; its vendor and version are the failure's too.
    pub payload: &'a CollectorPayloadObject<'a>,
}

/// An event whose data do not fit their schemas.
#[derive(Debug, Clone)]
pub struct SchemaViolations<'a> {
    /// Who refused it.
    pub processor: &'a Processor,
    /// When, milliseconds since the epoch.
    pub timestamp_millis: i64,
    /// What is wrong; never empty.
    pub messages: &'a [FailureMessage],
    /// The event as far as it came.
    pub enriched: &'a EnrichedEvent,
    /// What it was made from.
    pub raw: &'a RawEventObject<'a>,
}

/// An event that enrichments refused.
#[derive(Debug, Clone)]
pub struct EnrichmentFailures<'a> {
    /// Who refused it.
    pub processor: &'a Processor,
    /// When, milliseconds since the epoch.
    pub timestamp_millis: i64,
    /// What is wrong; never empty.
    pub messages: &'a [EnrichmentMessage],
    /// The event as far as it came.
    pub enriched: &'a EnrichedEvent,
    /// What it was made from.
    pub raw: &'a RawEventObject<'a>,
}

/// Whatever has no better kind.
#[derive(Debug, Clone)]
pub struct GenericError<'a> {
    /// Who refused it.
    pub processor: &'a Processor,
    /// When, microseconds since the epoch.
    pub timestamp_micros: i64,
    /// What is wrong; never empty.
    pub errors: &'a [String],
    /// The thing as text; bytes are given as base64 ([`base64`]).
    pub payload: &'a str,
}

/// A bad row that a recovery job could not repair.
#[derive(Debug, Clone)]
pub struct RecoveryError<'a> {
    /// Who tried.
    pub processor: &'a Processor,
    /// What is wrong.
    pub error: &'a str,
    /// The recovery configuration that was used.
    pub config_name: Option<&'a str>,
    /// The bad row, a line of JSON.
    pub bad_row: &'a str,
    /// How often a recovery was tried before.
    pub recoveries: u32,
}

/// A line that is no enriched event.
#[derive(Debug, Clone)]
pub struct LoaderParsingError<'a> {
    /// Who refused it.
    pub processor: &'a Processor,
    /// What is wrong.
    pub failure: &'a ParsingFailure,
    /// The line.
    pub payload: &'a str,
}

/// An event whose schemas a loader could not get or use.
#[derive(Debug, Clone)]
pub struct LoaderIgluError<'a> {
    /// Who refused it.
    pub processor: &'a Processor,
    /// What is wrong; never empty.
    pub failures: &'a [LoaderIgluMessage],
    /// The event as JSON, see `TsvRow::write_loader_json`.
    pub event_json: &'a str,
}

/// An event that a database refused.
#[derive(Debug, Clone)]
pub struct LoaderRuntimeError<'a> {
    /// Who refused it.
    pub processor: &'a Processor,
    /// What the database said.
    pub error: &'a str,
    /// The event as JSON, see `TsvRow::write_loader_json`.
    pub event_json: &'a str,
}

impl SizeViolation<'_> {
    /// Appends the line.
    pub fn write(&self, out: &mut String) {
        envelope(Kind::SizeViolation, out, self.processor)
            .with("failure", |out| {
                ObjectWriter::begin(out)
                    .with("timestamp", |out| write_micros(self.timestamp_micros, out))
                    .with("maximumAllowedSizeBytes", |out| out.push_str(&self.maximum_allowed_size_bytes.to_string()))
                    .with("actualSizeBytes", |out| out.push_str(&self.actual_size_bytes.to_string()))
                    .text("expectation", self.expectation)
                    .end();
            })
            .text("payload", self.payload)
            .end();
        out.push('}');
    }
}

impl CollectorPayloadFormatViolation<'_> {
    /// Appends the line.
    pub fn write(&self, out: &mut String) {
        envelope(Kind::CollectorPayloadFormatViolation, out, self.processor)
            .with("failure", |out| {
                ObjectWriter::begin(out)
                    .with("timestamp", |out| write_micros(self.timestamp_micros, out))
                    .text("loader", self.loader)
                    .with("message", |out| self.message.write(out))
                    .end();
            })
            .text("payload", &base64(self.record))
            .end();
        out.push('}');
    }
}

impl AdapterFailures<'_> {
    /// Appends the line.
    pub fn write(&self, out: &mut String) {
        write_payload_failure(
            Kind::AdapterFailures,
            self.processor,
            self.timestamp_millis,
            self.messages,
            self.payload,
            out,
        );
    }
}

impl TrackerProtocolViolations<'_> {
    /// Appends the line.
    pub fn write(&self, out: &mut String) {
        write_payload_failure(
            Kind::TrackerProtocolViolations,
            self.processor,
            self.timestamp_millis,
            self.messages,
            self.payload,
            out,
        );
    }
}

fn write_payload_failure(
    kind: Kind,
    processor: &Processor,
    timestamp_millis: i64,
    messages: &[FailureMessage],
    payload: &CollectorPayloadObject<'_>,
    out: &mut String,
) {
    envelope(kind, out, processor)
        .with("failure", |out| {
            ObjectWriter::begin(out)
                .with("timestamp", |out| write_millis(timestamp_millis, out))
                .text("vendor", payload.vendor)
                .text("version", payload.version)
                .array("messages", messages, |message, out| message.write(out))
                .end();
        })
        .with("payload", |out| payload.write(out))
        .end();
    out.push('}');
}

impl SchemaViolations<'_> {
    /// Appends the line.
    pub fn write(&self, out: &mut String) {
        envelope(Kind::SchemaViolations, out, self.processor)
            .with("failure", |out| {
                ObjectWriter::begin(out)
                    .with("timestamp", |out| write_millis(self.timestamp_millis, out))
                    .array("messages", self.messages, |message, out| message.write(out))
                    .end();
            })
            .with("payload", |out| write_event_payload(self.enriched, self.raw, out))
            .end();
        out.push('}');
    }
}

impl EnrichmentFailures<'_> {
    /// Appends the line.
    pub fn write(&self, out: &mut String) {
        envelope(Kind::EnrichmentFailures, out, self.processor)
            .with("failure", |out| {
                ObjectWriter::begin(out)
                    .with("timestamp", |out| write_millis(self.timestamp_millis, out))
                    .array("messages", self.messages, |message, out| message.write(out))
                    .end();
            })
            .with("payload", |out| write_event_payload(self.enriched, self.raw, out))
            .end();
        out.push('}');
    }
}

fn write_event_payload(enriched: &EnrichedEvent, raw: &RawEventObject<'_>, out: &mut String) {
    ObjectWriter::begin(out)
        .with("enriched", |out| enriched.write_json_partial(out))
        .with("raw", |out| raw.write(out))
        .end();
}

impl GenericError<'_> {
    /// Appends the line.
    pub fn write(&self, out: &mut String) {
        envelope(Kind::GenericError, out, self.processor)
            .with("failure", |out| {
                ObjectWriter::begin(out)
                    .with("timestamp", |out| write_micros(self.timestamp_micros, out))
                    .array("errors", self.errors, |error, out| write_string(error, out))
                    .end();
            })
            .text("payload", self.payload)
            .end();
        out.push('}');
    }
}

impl RecoveryError<'_> {
    /// Appends the line.
    pub fn write(&self, out: &mut String) {
        envelope(Kind::RecoveryError, out, self.processor)
            .with("failure", |out| {
                ObjectWriter::begin(out).text("error", self.error).optional("configName", self.config_name).end();
            })
            .with("payload", |out| out.push_str(self.bad_row))
            .with("recoveries", |out| out.push_str(&self.recoveries.to_string()))
            .end();
        out.push('}');
    }
}

impl LoaderParsingError<'_> {
    /// Appends the line.
    pub fn write(&self, out: &mut String) {
        envelope(Kind::LoaderParsingError, out, self.processor)
            .with("failure", |out| self.failure.write(out))
            .text("payload", self.payload)
            .end();
        out.push('}');
    }
}

impl LoaderIgluError<'_> {
    /// Appends the line.
    pub fn write(&self, out: &mut String) {
        envelope(Kind::LoaderIgluError, out, self.processor)
            .array("failure", self.failures, |failure, out| failure.write(out))
            .with("payload", |out| out.push_str(self.event_json))
            .end();
        out.push('}');
    }
}

impl LoaderRuntimeError<'_> {
    /// Appends the line.
    pub fn write(&self, out: &mut String) {
        envelope(Kind::LoaderRuntimeError, out, self.processor)
            .text("failure", self.error)
            .with("payload", |out| out.push_str(self.event_json))
            .end();
        out.push('}');
    }
}

/// Bytes as base64, standard alphabet, padded.
pub fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

fn write_micros(micros: i64, out: &mut String) {
    out.push('"');
    time::write_instant_micros(micros, out);
    out.push('"');
}

fn write_millis(millis: i64, out: &mut String) {
    out.push('"');
    time::write_instant_millis(millis, out);
    out.push('"');
}
