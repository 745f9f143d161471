//! The difference between two runs, and whether it is more than noise.
//!
//! A run is cut into ten slices. Their median stands for the run, half the distance between their quartiles for its noise.
//! A difference of medians counts when it is larger than the noise of both runs together: for slices that scatter by
//! chance that is about two and a half standard errors.

use std::fmt::Write;

use super::measure::Slice;
use super::report::{Report, ms, thousands};

/// Median and spread of slices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// Half the distance between the quartiles.
    pub noise: f64,
}

impl Spread {
    /// The spread of these values.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |quantile: f64| {
            let place = quantile * values.len().saturating_sub(1) as f64;
            let (low, high) = (place.floor() as usize, place.ceil() as usize);
            let value = |index: usize| values.get(index).copied().unwrap_or_default();
            value(low) + (value(high) - value(low)) * place.fract()
        };
        Self { median: at(0.5), noise: (at(0.75) - at(0.25)) / 2.0 }
    }

    /// The noise as a share of the median, in percent.
    pub fn percent(&self) -> f64 {
        if self.median > 0.0 { self.noise / self.median * 100.0 } else { 0.0 }
    }

    /// Median ± noise with its unit.
    pub fn show(&self, unit: &str) -> String {
        let number = if self.median >= 100.0 { thousands(self.median) } else { format!("{:.2}", self.median) };
        format!("{number} {unit} ± {:.1} %", self.percent())
    }
}

/// What a difference means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Better,
    Worse,
    Noise,
}

impl Verdict {
    fn of(old: Spread, new: Spread, more_is_better: bool) -> Self {
        let difference = new.median - old.median;
        if difference.abs() <= old.noise + new.noise {
            Self::Noise
        } else if (difference > 0.0) == more_is_better {
            Self::Better
        } else {
            Self::Worse
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Noise => "within the noise",
        }
    }
}

type Figure = (&'static str, fn(&Slice) -> f64, fn(f64) -> String, bool);

const FIGURES: [Figure; 4] = [
    ("records/s", |slice| slice.records_per_second, thousands, true),
    ("CPU a record", |slice| slice.cpu_micros_per_record, |micros| format!("{micros:.2} µs"), false),
    ("latency p50", |slice| slice.p50_ms, ms, false),
    ("latency p99", |slice| slice.p99_ms, ms, false),
];

/// The difference of `new` to `old` as a table.
pub fn compare(old: &Report, new: &Report) -> String {
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| writeln!(text, "{words}").expect("a String takes everything");
    for (what, before, after) in differences(old, new) {
        line(format_args!("not the same: {what} was {before}, is {after}"));
    }
    line(format_args!("{:<14} {:>22} {:>22} {:>10}", "median ± noise", "before", "now", "change"));
    for (name, figure, show, more_is_better) in FIGURES {
        let (before, now) = (old.spread(figure), new.spread(figure));
        let cell = |spread: Spread| format!("{} ± {:.1} %", show(spread.median), spread.percent());
        let change = if before.median > 0.0 { (now.median / before.median - 1.0) * 100.0 } else { 0.0 };
        let verdict = Verdict::of(before, now, more_is_better).words();
        line(format_args!("{name:<14} {:>22} {:>22} {change:>+8.1} %  {verdict}", cell(before), cell(now)));
    }
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let (before, now) = (old.peak_memory_bytes, new.peak_memory_bytes);
    let change = (now as f64 / before.max(1) as f64 - 1.0) * 100.0;
    line(format_args!("{:<14} {:>22} {:>22} {change:>+8.1} %", "peak memory", mib(before), mib(now)));
    text
}

/// What makes two runs hard to compare.
fn differences(old: &Report, new: &Report) -> Vec<(&'static str, String, String)> {
    let (a, b) = (&old.setup, &new.setup);
    let pairs = [
        ("the actor", old.actor.name(), new.actor.name()),
        ("what is behind it", a.backend.clone(), b.backend.clone()),
        ("the batch", a.batch.to_string(), b.batch.to_string()),
        ("the rate", format!("{:?}", a.rate), format!("{:?}", b.rate)),
        ("the delay", ms(a.delay_ms), ms(b.delay_ms)),
        ("the throttle", format!("{:?}", a.throttle), format!("{:?}", b.throttle)),
        ("the failures", format!("{} %", a.fail_percent), format!("{} %", b.fail_percent)),
        ("the input", format!("{:?}", a.input), format!("{:?}", b.input)),
        ("the seed", a.seed.to_string(), b.seed.to_string()),
        ("the number of cores", a.cores.to_string(), b.cores.to_string()),
    ];
    pairs.into_iter().filter(|(_, a, b)| a != b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::tests::report;

    #[test]
    fn the_median_and_the_quartiles_are_interpolated() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter());
        assert_eq!(spread, Spread { median: 2.5, noise: 0.75 });
        assert_eq!(Spread::of(std::iter::empty()), Spread { median: 0.0, noise: 0.0 });
    }

    #[test]
    fn a_difference_counts_only_when_it_is_larger_than_both_noises() {
        let spread = |median, noise| Spread { median, noise };
        assert_eq!(Verdict::of(spread(100.0, 3.0), spread(105.0, 3.0), true), Verdict::Noise);
        assert_eq!(Verdict::of(spread(100.0, 3.0), spread(107.0, 3.0), true), Verdict::Better);
        assert_eq!(Verdict::of(spread(100.0, 3.0), spread(107.0, 3.0), false), Verdict::Worse);
    }

    #[test]
    fn a_steady_gain_is_better_and_a_gain_among_jitter_is_noise() {
        let steady = compare(&report(10_000, 0), &report(12_000, 0));
        let line = steady.lines().find(|line| line.starts_with("records/s")).unwrap();
        assert!(line.contains("+20.0 %  better"), "{steady}");
        let noisy = compare(&report(10_000, 80), &report(11_000, 80));
        let line = noisy.lines().find(|line| line.starts_with("records/s")).unwrap();
        assert!(line.ends_with("within the noise"), "{noisy}");
    }

    #[test]
    fn runs_of_another_kind_are_named() {
        let (old, mut new) = (report(10_000, 0), report(10_000, 0));
        new.setup.batch = 100;
        assert!(compare(&old, &new).starts_with("not the same: the batch was 500, is 100\n"));
    }
}
