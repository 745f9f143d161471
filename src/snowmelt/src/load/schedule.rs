//! When the next batch is due: pure, so that a rate can be tested without waiting for it.

use std::time::{Duration, Instant};

use super::args::Until;

/// Gives out batches of records, at a rate or as fast as they are taken.
#[derive(Debug)]
pub struct Schedule {
    batch: u64,
    rate: Option<f64>,
    until: Until,
    started: Instant,
    given: u64,
}

/// One batch to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Its records.
    pub records: usize,
    /// When it was due; latency counts from here.
    pub due: Instant,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send this batch.
    Send(Turn),
    /// Ask again at this time.
    At(Instant),
    /// Nothing more.
    Over,
}

impl Schedule {
    /// A schedule that begins at `started`. `rate` is records a second.
    pub fn new(batch: u32, rate: Option<u32>, until: Until, started: Instant) -> Self {
        Self { batch: u64::from(batch.max(1)), rate: rate.map(f64::from), until, started, given: 0 }
    }

    /// The most records of one batch.
    pub const fn batch(&self) -> u64 {
        self.batch
    }

    /// Begins anew at `started`.
    pub const fn restart(&mut self, started: Instant) {
        self.started = started;
        self.given = 0;
    }

    /// What to do at `now`. A batch that is late keeps the time at which it was due; at the end of the time nothing more is
    /// sent, however late the sender is.
    pub fn next(&mut self, now: Instant) -> Next {
        let left = match self.until {
            Until::Records(records) => records.saturating_sub(self.given),
            Until::Elapsed(duration) if now.saturating_duration_since(self.started) >= duration => 0,
            Until::Elapsed(_) => self.batch,
        };
        if left == 0 {
            return Next::Over;
        }
        let due = match self.rate {
            None => now,
            Some(rate) => self.started + Duration::from_secs_f64(self.given as f64 / rate),
        };
        if due > now {
            return match self.until {
                Until::Elapsed(duration) => Next::At(due.min(self.started + duration)),
                Until::Records(_) => Next::At(due),
            };
        }
        let records = left.min(self.batch);
        self.given += records;
        Next::Send(Turn { records: usize::try_from(records).unwrap_or(usize::MAX), due })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(records: usize, due: Instant) -> Next {
        Next::Send(Turn { records, due })
    }

    #[test]
    fn records_end_with_a_last_small_batch() {
        let start = Instant::now();
        let mut schedule = Schedule::new(400, None, Until::Records(1000), start);
        let later = start + Duration::from_secs(5);
        assert_eq!(schedule.next(start), send(400, start));
        assert_eq!(schedule.next(later), send(400, later));
        assert_eq!(schedule.next(later), send(200, later));
        assert_eq!(schedule.next(later), Next::Over);
    }

    #[test]
    fn a_late_batch_keeps_the_time_at_which_it_was_due() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut schedule = Schedule::new(100, Some(1000), Until::Elapsed(Duration::from_secs(1)), start);
        assert_eq!(schedule.next(at(0)), send(100, at(0)));
        assert_eq!(schedule.next(at(1)), Next::At(at(100)));
        assert_eq!(schedule.next(at(350)), send(100, at(100)));
        assert_eq!(schedule.next(at(350)), send(100, at(200)));
        assert_eq!(schedule.next(at(350)), send(100, at(300)));
        assert_eq!(schedule.next(at(350)), Next::At(at(400)));
        assert_eq!(schedule.next(at(1000)), Next::Over);
    }

    #[test]
    fn nothing_waits_past_the_end_of_the_time() {
        let start = Instant::now();
        let mut schedule = Schedule::new(100, Some(10), Until::Elapsed(Duration::from_secs(1)), start);
        assert_eq!(schedule.next(start), send(100, start));
        assert_eq!(schedule.next(start), Next::At(start + Duration::from_secs(1)));
    }
}
