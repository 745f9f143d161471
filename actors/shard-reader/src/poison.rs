//! Reading with care, and what becomes of a record that is known to kill its group.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use snowmelt_protocol::badrow::{GenericError, Processor};
use snowmelt_runtime::isolate::{Care, Condemned, POISON_RECORDS};
use snowmelt_runtime::{Batch, Failure, Ledger, Port, StageContext};
use snowmelt_streams::{Origin, PutEntry, Record};

/// Payload bytes of a bad row past which it is cut, so that the row fits every stream: 1 MiB holds this as base64.
const MAX_PAYLOAD_BYTES: usize = 700_000;

/// How a careful reader reads, and where condemned records go.
pub struct Careful {
    care: Care,
    bad: Port<Batch<PutEntry>>,
    processor: Processor,
}

impl Careful {
    /// Reads as `care` says; condemned records become bad rows of `processor` and go to `bad`.
    pub const fn new(care: Care, bad: Port<Batch<PutEntry>>, processor: Processor) -> Self {
        Self { care, bad, processor }
    }

    pub(crate) const fn limit(&self) -> usize {
        self.care.limit
    }

    pub(crate) fn is_passed_by(&self, record: &Record) -> bool {
        self.care.is_passed_by(&record.sequence.to_string())
    }

    /// Why a record is not to be handled.
    pub(crate) fn condemns(&self, record: &Record) -> Option<&Condemned> {
        if self.care.condemned.is_empty() {
            return None;
        }
        let position = record.sequence.to_string();
        self.care.condemned.iter().find(|condemned| condemned.position == position)
    }

    /// Sends a record to the bad stream instead of handling it; its acknowledgement goes along.
    pub(crate) async fn quarantine(
        &self,
        record: &Record,
        condemned: &Condemned,
        ledger: &Ledger,
        cx: &StageContext,
    ) -> Result<(), Failure> {
        let row = self.bad_row(record, condemned, cx.clock().now_micros());
        let origin = Some(Origin { sequence: record.sequence, index: 0 });
        let entry = PutEntry { origin, ..PutEntry::new(record.sequence.to_string(), row) };
        let group = cx.group().clone();
        tracing::error!(group = %group, position = condemned.position, reason = condemned.reason, "a record kills its group: sent to the bad stream");
        metrics::counter!(POISON_RECORDS, "pipeline" => group.pipeline, "shard" => group.shard).increment(1);
        let ack = ledger.open(record.sequence.to_string(), 1);
        self.bad.send(Batch::new(vec![entry], record.data.len(), ack), cx).await
    }

    fn bad_row(&self, record: &Record, condemned: &Condemned, now_micros: i64) -> String {
        let kept = &record.data[..record.data.len().min(MAX_PAYLOAD_BYTES)];
        let mut errors = vec![format!("the record at {} was not processed: {}", condemned.position, condemned.reason)];
        if kept.len() < record.data.len() {
            errors.push(format!("the payload is cut to its first {} of {} bytes", kept.len(), record.data.len()));
        }
        let payload = BASE64.encode(kept);
        let row = GenericError {
            processor: &self.processor,
            timestamp_micros: now_micros,
            errors: &errors,
            payload: &payload,
        };
        let mut out = String::with_capacity(payload.len() + 512);
        row.write(&mut out);
        out
    }

    pub(crate) fn close(self) -> Result<(), Failure> {
        self.bad.close()
    }
}
