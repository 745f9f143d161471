//! How much company a batch waits for before it is written.
//!
//! A write costs much the same for one record as for a hundred, so a batch waits a little. Waiting out a fixed time costs every request
//! that time, though, also when all who could send wait already. So what came last is taken for what will come: a batch goes as soon as
//! it has as many records as the one before; only when fewer come, the time is waited out. Now and then it is in any case, to find out
//! whether more would come.

/// Every so many batches the whole time is waited out: rarely enough that the hundredth slowest request is not one of those.
const PROBE_EVERY: u32 = 256;

/// What a batch waits for.
#[derive(Debug)]
pub(super) struct Company {
    /// Records of a full batch.
    full: usize,
    /// Records that the last batch had; always `full` where requests do not wait for their batch.
    expected: usize,
    learns: bool,
    /// Batches until the next probe.
    probe_in: u32,
}

impl Company {
    /// Of batches of `full` records. One that does not learn waits for full batches.
    pub(super) fn new(full: usize, learns: bool) -> Self {
        Self { full, expected: full, learns, probe_in: 0 }
    }

    /// The number of records with which the next batch goes at once.
    pub(super) fn wanted(&self) -> usize {
        if self.learns && self.probe_in > 0 { self.expected } else { self.full }
    }

    /// A batch went with `records`.
    pub(super) fn came(&mut self, records: usize) {
        self.expected = records.clamp(1, self.full);
        self.probe_in = self.probe_in.checked_sub(1).unwrap_or(PROBE_EVERY - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_for_as_many_as_came_last_and_now_and_then_for_more() {
        let mut company = Company::new(500, true);
        assert_eq!(company.wanted(), 500, "nothing is known yet");
        company.came(64);
        for _ in 1..PROBE_EVERY {
            assert_eq!(company.wanted(), 64);
            company.came(64);
        }
        assert_eq!(company.wanted(), 500, "a probe");
        company.came(3);
        assert_eq!(company.wanted(), 3);
        company.came(2000);
        assert_eq!(company.wanted(), 500, "no more than a batch");
    }

    #[test]
    fn without_learning_batches_are_full() {
        let mut company = Company::new(500, false);
        company.came(7);
        assert_eq!(company.wanted(), 500);
    }
}
