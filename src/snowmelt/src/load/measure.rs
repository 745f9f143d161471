//! What is measured while a run lasts: completions over time, latency, CPU. Times are microseconds since the clock began.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Most bins of a timeline; when it is full, neighbours are joined and bins become twice as wide.
const MAX_BINS: usize = 256;
/// The width of the first bins.
const FIRST_WIDTH_MICROS: u64 = 1000;
/// Into how many slices a run is cut to see its noise.
const SLICES: usize = 10;
/// The percentiles that are drawn.
const CURVE: [f64; 22] = [
    0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 92.5, 95.0, 97.5, 98.0, 99.0, 99.5, 99.9,
    99.95, 99.99, 100.0,
];

/// Completions in bins of equal width. Memory is bounded, however long the run.
pub struct Timeline {
    width: u64,
    bins: Vec<Bin>,
    latency: Histogram<u64>,
    bytes: u64,
    last: u64,
}

#[derive(Clone)]
struct Bin {
    completions: u64,
    records: f64,
    cpu_micros: u64,
    latency: Histogram<u64>,
}

/// One of the slices of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// Records completed in a second.
    pub records_per_second: f64,
    /// CPU of the process without the load generator, in microseconds a record.
    pub cpu_micros_per_record: f64,
    /// Median latency.
    pub p50_ms: f64,
    /// The slowest hundredth takes longer.
    pub p99_ms: f64,
}

/// Latency of all records, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// Nine of ten are faster.
    pub p90: f64,
    /// 99 of 100 are faster.
    pub p99: f64,
    /// 999 of 1000 are faster.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

/// A point of the curve of throughput over time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The middle of the bin, in seconds since the clock began.
    pub seconds: f64,
    /// Records completed in a second.
    pub records_per_second: f64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// From the clock's begin to the last completion, or the end of the schedule.
    pub seconds: f64,
    /// Records completed.
    pub records: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// CPU of the process without the load generator, in microseconds a record.
    pub cpu_micros_per_record: f64,
    /// Latency.
    pub latency_ms: Latency,
    /// The run in ten slices of equal time; fewer when it was very short.
    pub slices: Vec<Slice>,
    /// Throughput over time.
    pub timeline: Vec<Point>,
    /// Percentiles (0 to 100) and their latency in milliseconds.
    pub percentiles: Vec<(f64, f64)>,
}

impl Measured {
    /// Records a second over the whole run.
    pub fn records_per_second(&self) -> f64 {
        self.records as f64 / self.seconds.max(1e-9)
    }

    /// Megabytes (10^6 bytes) a second over the whole run.
    pub fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds.max(1e-9)
    }
}

fn histogram(digits: u8) -> Histogram<u64> {
    let mut histogram = Histogram::new(digits).expect("2 and 3 digits are allowed");
    histogram.auto(true);
    histogram
}

impl Bin {
    fn new() -> Self {
        Self { completions: 0, records: 0.0, cpu_micros: 0, latency: histogram(2) }
    }

    fn join(mut self, other: &Self) -> Self {
        self.completions += other.completions;
        self.records += other.records;
        self.cpu_micros += other.cpu_micros;
        self.latency.add(&other.latency).expect("a histogram that grows takes every value");
        self
    }

    fn slice(&self, seconds: f64) -> Slice {
        Slice {
            records_per_second: self.records / seconds,
            cpu_micros_per_record: self.cpu_micros as f64 / self.records.max(1.0),
            p50_ms: millis(self.latency.value_at_quantile(0.5)),
            p99_ms: millis(self.latency.value_at_quantile(0.99)),
        }
    }
}

impl Timeline {
    /// An empty timeline.
    pub fn new() -> Self {
        Self { width: FIRST_WIDTH_MICROS, bins: Vec::new(), latency: histogram(3), bytes: 0, last: 0 }
    }

    fn bin(&mut self, at: u64) -> &mut Bin {
        while at / self.width >= MAX_BINS as u64 {
            self.bins = self.bins.chunks(2).map(|pair| pair.iter().skip(1).fold(pair[0].clone(), Bin::join)).collect();
            self.width *= 2;
        }
        let index = (at / self.width) as usize;
        if index >= self.bins.len() {
            self.bins.resize_with(index + 1, Bin::new);
        }
        &mut self.bins[index]
    }

    /// Counts records that were completed at `at` and took `latency`.
    pub fn completed(&mut self, at: u64, latency: u64, records: u64, bytes: u64) {
        let bin = self.bin(at);
        bin.completions += 1;
        bin.latency.record_n(latency.max(1), records).expect("a histogram that grows takes every value");
        self.latency.record_n(latency.max(1), records).expect("a histogram that grows takes every value");
        self.bytes += bytes;
        self.spread(self.last.max(at.saturating_sub(latency)), at, records as f64);
        self.last = self.last.max(at);
    }

    /// Gives the records of a batch to the time since the one before: large batches would make slices uneven.
    fn spread(&mut self, from: u64, at: u64, records: f64) {
        let (first, last) = (from.min(at) / self.width, at / self.width);
        if first == last {
            self.bins[last as usize].records += records;
            return;
        }
        for index in first..=last {
            let (begin, end) = ((index * self.width).max(from), ((index + 1) * self.width).min(at));
            let share = end.saturating_sub(begin) as f64 / (at - from) as f64;
            self.bins[index as usize].records += records * share;
        }
    }

    /// Counts CPU that was used up to `at`.
    pub fn used(&mut self, at: u64, cpu_micros: u64) {
        self.bin(at).cpu_micros += cpu_micros;
    }

    /// The figures of a run whose schedule ended at `end`.
    pub fn measured(&self, end: u64) -> Measured {
        let end = self.last.max(end).max(1);
        let records = self.latency.len();
        let cpu: u64 = self.bins.iter().map(|bin| bin.cpu_micros).sum();
        Measured {
            seconds: end as f64 / 1e6,
            records,
            bytes: self.bytes,
            cpu_micros_per_record: cpu as f64 / records.max(1) as f64,
            latency_ms: self.latency(),
            slices: self.slices(end),
            timeline: self.points(end),
            percentiles: CURVE.map(|percent| (percent, millis(self.latency.value_at_percentile(percent)))).to_vec(),
        }
    }

    fn latency(&self) -> Latency {
        let at = |quantile| millis(self.latency.value_at_quantile(quantile));
        Latency {
            mean: self.latency.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: millis(self.latency.max()),
        }
    }

    /// Seconds that a bin lasted; the last one may be cut short by the end.
    fn span(&self, from: usize, until: usize, end: u64) -> f64 {
        let (from, until) = (from as u64 * self.width, (until as u64 * self.width).min(end.max(self.last)));
        until.saturating_sub(from).max(1) as f64 / 1e6
    }

    fn slices(&self, end: u64) -> Vec<Slice> {
        // The bin in which the run ended is left out where others are enough: it holds what was left over.
        let whole = (end / self.width) as usize;
        let count = if whole >= SLICES { whole } else { self.bins.len() };
        let bins = &self.bins[..count.min(self.bins.len())];
        let slices = SLICES.min(bins.len());
        (0..slices)
            .map(|slice| {
                let (from, until) = (slice * bins.len() / slices, (slice + 1) * bins.len() / slices);
                let joined = bins[from + 1..until].iter().fold(bins[from].clone(), Bin::join);
                joined.slice(self.span(from, until, end))
            })
            .collect()
    }

    fn points(&self, end: u64) -> Vec<Point> {
        // At most a hundred points, and fewer, but not below twenty, where one would hold few batches and only show those.
        let completions: u64 = self.bins.iter().map(|bin| bin.completions).sum();
        let wanted = (completions / 10).clamp(20, 100) as usize;
        let step = self.bins.len().div_ceil(wanted).max(1);
        let mut points = Vec::new();
        for from in (0..self.bins.len()).step_by(step) {
            let until = (from + step).min(self.bins.len());
            let span = self.span(from, until, end);
            // What is left at the end is too short to be a rate.
            if until == self.bins.len() && from > 0 && span * 1e6 < (step as u64 * self.width) as f64 / 2.0 {
                break;
            }
            let records: f64 = self.bins[from..until].iter().map(|bin| bin.records).sum();
            let seconds = from as f64 * self.width as f64 / 1e6 + span / 2.0;
            points.push(Point { seconds, records_per_second: records / span });
        }
        points
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

/// A timeline that threads share, on the machine's clock. Counts nothing before it was started.
#[derive(Clone)]
pub struct Meter {
    inner: Arc<Mutex<Running>>,
}

struct Running {
    started: Option<Instant>,
    ended: Option<Instant>,
    timeline: Timeline,
}

impl Meter {
    /// A meter that stands still.
    pub fn new() -> Self {
        Self { inner: Arc::new(Mutex::new(Running { started: None, ended: None, timeline: Timeline::new() })) }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock begins.
    pub fn start(&self, at: Instant) {
        self.lock().started = Some(at);
    }

    /// The schedule is over; what is under way still counts.
    pub fn schedule_ended(&self, at: Instant) {
        self.lock().ended = Some(at);
    }

    /// When the clock began.
    pub fn started(&self) -> Option<Instant> {
        self.lock().started
    }

    /// When the schedule ended.
    pub fn ended(&self) -> Option<Instant> {
        self.lock().ended
    }

    /// Counts records that were due at `due` and are done now.
    pub fn completed(&self, due: Instant, records: u64, bytes: u64) {
        let now = Instant::now();
        let mut running = self.lock();
        if let Some(started) = running.started.filter(|started| *started <= due) {
            running.timeline.completed(micros(now - started), micros(now - due), records, bytes);
        }
    }

    /// Counts CPU that was used up to now.
    pub fn used(&self, cpu_micros: u64) {
        let mut running = self.lock();
        if let Some(started) = running.started {
            running.timeline.used(micros(started.elapsed()), cpu_micros);
        }
    }

    /// Records completed so far.
    pub fn records(&self) -> u64 {
        self.lock().timeline.latency.len()
    }

    /// The figures; `None` when the clock never began. The end of the schedule counts as the run's end only with a
    /// rate: without, it is over when the last record is.
    pub fn measured(&self, paced: bool) -> Option<Measured> {
        let running = self.lock();
        let started = running.started?;
        let end = running.ended.filter(|_| paced).map_or(0, |ended| micros(ended - started));
        Some(running.timeline.measured(end))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1,000 records a second for `seconds`, each taking `latency` microseconds.
    fn steady(seconds: u64, latency: u64) -> Timeline {
        let mut timeline = Timeline::new();
        for n in 0..seconds * 100 {
            timeline.completed(n * 10_000 + 9_999, latency, 10, 1000);
            timeline.used(n * 10_000 + 9_999, 50);
        }
        timeline
    }

    #[test]
    fn a_steady_run_has_ten_equal_slices_however_long_it_is() {
        for seconds in [1, 10, 100, 3600] {
            let measured = steady(seconds, 2000).measured(seconds * 1_000_000);
            assert_eq!(measured.records, seconds * 1000);
            assert_eq!(measured.slices.len(), SLICES);
            for slice in &measured.slices {
                assert!((slice.records_per_second - 1000.0).abs() < 20.0, "{seconds} s: {slice:?}");
                assert!((slice.cpu_micros_per_record - 5.0).abs() < 0.01, "{slice:?}");
                assert!((slice.p50_ms - 2.0).abs() < 0.05, "{slice:?}");
            }
            assert!((measured.records_per_second() - 1000.0).abs() < 1.0);
            assert!((10..=101).contains(&measured.timeline.len()));
        }
    }

    #[test]
    fn percentiles_are_those_of_records_not_of_batches() {
        let mut timeline = Timeline::new();
        timeline.completed(1000, 1_000, 90, 0);
        timeline.completed(2000, 100_000, 10, 0);
        let latency = timeline.measured(0).latency_ms;
        assert!((latency.p50 - 1.0).abs() < 0.01 && (latency.p99 - 100.0).abs() < 0.2, "{latency:?}");
        assert!((latency.mean - 10.9).abs() < 0.1, "{latency:?}");
    }

    #[test]
    fn few_large_batches_make_even_slices() {
        let mut timeline = Timeline::new();
        for n in 1..=13 {
            timeline.completed(n * 770_000, 3_000_000, 2000, 0);
        }
        let measured = timeline.measured(0);
        assert_eq!((measured.records, measured.slices.len()), (26_000, SLICES));
        for slice in &measured.slices {
            assert!((slice.records_per_second - 2597.4).abs() < 1.0, "{slice:?}");
        }
    }

    #[test]
    fn a_run_without_a_record_has_figures_too() {
        let measured = Timeline::new().measured(1_000_000);
        assert_eq!((measured.records, measured.slices.len()), (0, 0));
        assert!(measured.records_per_second() < f64::EPSILON);
    }

    #[test]
    fn what_was_due_before_the_clock_began_is_not_counted() {
        let meter = Meter::new();
        let before = Instant::now();
        meter.completed(before, 5, 5);
        meter.start(before + Duration::from_micros(1));
        meter.completed(before, 5, 5);
        assert_eq!(meter.records(), 0);
        meter.completed(Instant::now(), 7, 7);
        assert_eq!(meter.measured(false).unwrap().records, 7);
    }
}
