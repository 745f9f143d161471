//! Going on after a crash where a sink names what it writes: the cut that was open is read and written again whole, before
//! anything else, and the sink is then given only what comes after it.

use snowmelt_runtime::{Batch, Failure, Ledger, Port, StageContext};
use snowmelt_streams::{Page, Record, SequenceNumber, ShardCursor};

/// How the reader goes on for one of its outs.
#[derive(Default)]
pub struct Resume {
    /// The out has everything up to this record.
    pub done: Option<SequenceNumber>,
    /// What the out was about to write.
    pub unfinished: Option<Unfinished>,
}

/// A cut that an earlier life of the group declared and may have written.
pub struct Unfinished {
    /// Stands at its first record.
    pub cursor: Box<dyn ShardCursor>,
    /// Its last record.
    pub until: SequenceNumber,
    /// Who writes it, past whoever would cut anew.
    pub writer: Port<Batch<Record>>,
}

/// An unfinished cut and what was read of it.
pub(crate) struct Reopened {
    pub out: usize,
    pub open: Unfinished,
    records: Vec<Record>,
    bytes: usize,
}

impl Reopened {
    pub fn new(out: usize, open: Unfinished) -> Self {
        Self { out, open, records: Vec::new(), bytes: 0 }
    }

    /// Takes a page; true when the cut is read, or as much of it as there still is.
    pub fn take(&mut self, page: Page) -> bool {
        let whole = page.end_of_shard
            || (page.records.is_empty() && page.millis_behind_latest == 0)
            || page.records.last().is_some_and(|last| last.sequence >= self.open.until);
        let until = self.open.until;
        let within = page.records.into_iter().take_while(|record| record.sequence <= until);
        for record in within {
            self.bytes += record.data.len() + record.partition_key.len();
            self.records.push(record);
        }
        whole
    }

    /// Has it written, and waits until it is durable with all that belongs to it. No ticket of the group's ledger is open
    /// meanwhile: a death in here says nothing about records that are still to be read.
    pub async fn write(self, cx: &StageContext) -> Result<(), Failure> {
        let Self { open, records, bytes, .. } = self;
        if let Some(last) = records.last() {
            tracing::info!(group = %cx.group(), records = records.len(), until = %last.sequence, "writing again what was begun");
            let ledger = Ledger::new();
            let ack = ledger.open(last.sequence.to_string(), records.len());
            open.writer.send(Batch::new(records, bytes, ack), cx).await?;
            cx.rest(ledger.settled()).await;
            if let Some(ticket) = ledger.progress().failed {
                return Err(Failure::Unacknowledged { ticket });
            }
        }
        open.writer.close()
    }
}

/// The records behind `after`.
pub(crate) fn behind(mut records: Vec<Record>, after: Option<SequenceNumber>) -> Vec<Record> {
    if let Some(after) = after
        && records.first().is_some_and(|first| first.sequence <= after)
    {
        records.retain(|record| record.sequence > after);
    }
    records
}
