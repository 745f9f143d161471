//! What crosses a mailbox: many records and one acknowledgement.

use crate::ack::Ack;
use crate::port::Weighted;

/// Records that travel together, their size, and the acknowledgement that they share.
#[derive(Debug)]
pub struct Batch<T> {
    /// The records, in the order of their source.
    pub items: Vec<T>,
    /// Their payload bytes; what the mailbox's bound counts.
    pub bytes: usize,
    /// Resolved exactly once, when every record is durable somewhere.
    pub ack: Ack,
}

impl<T> Batch<T> {
    /// A batch; `bytes` is the sum of the records' payload sizes.
    pub const fn new(items: Vec<T>, bytes: usize, ack: Ack) -> Self {
        Self { items, bytes, ack }
    }
}

impl<T> Weighted for Batch<T> {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn records(&self) -> usize {
        self.items.len()
    }
}
