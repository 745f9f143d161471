//! A run as a picture: throughput over time, and the percentiles of latency. Plain SVG, no font or script from outside.

use std::fmt::Write;

use super::measure::Measured;
use super::report::{Report, ms, thousands};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 760.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 30.0;
const PANEL: f64 = 260.0;
/// Where the two panels begin.
const TOPS: [f64; 2] = [90.0, 440.0];
const LINE: &str = "#1f6fb2";
/// The percentiles with a mark of their own below the curve of latency.
const MARKS: [f64; 6] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99];

/// Draws a run.
pub fn draw(report: &Report) -> String {
    let mut svg = Svg::new();
    let measured = &report.measured;
    let title =
        format!("snowmelt load {}: {}, batches of {}", report.actor.name(), report.setup.backend, report.setup.batch);
    svg.text(LEFT, 32.0, "start", 20.0, &title);
    let summary = format!(
        "{} records/s, {:.1} MB/s, {:.2} µs CPU a record, p50 {}, p99 {}",
        thousands(measured.records_per_second()),
        measured.megabytes_per_second(),
        measured.cpu_micros_per_record,
        ms(measured.latency_ms.p50),
        ms(measured.latency_ms.p99)
    );
    svg.text(LEFT, 54.0, "start", 14.0, &summary);
    throughput(&mut svg, report);
    latency(&mut svg, measured);
    svg.finish()
}

fn throughput(svg: &mut Svg, report: &Report) {
    let points = &report.measured.timeline;
    svg.text(LEFT, TOPS[0] - 10.0, "start", 14.0, "Throughput, records/s, over time in seconds");
    let asked = report.rate.as_ref().map_or(0.0, |rate| f64::from(rate.asked));
    let highest = points.iter().map(|point| point.records_per_second).fold(asked, f64::max);
    let step = round_step(highest);
    let top = (highest / step).ceil().max(1.0) * step;
    let seconds = report.measured.seconds.max(1e-3);
    let x = |at: f64| LEFT + at / seconds * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| TOPS[0] + PANEL * (1.0 - value / top);
    let mut value = 0.0;
    while value <= top * 1.001 {
        svg.grid(y(value), &thousands(value));
        value += step;
    }
    let time_step = round_step(seconds);
    let mut at = 0.0;
    while at <= seconds * 1.001 {
        svg.text(
            x(at),
            TOPS[0] + PANEL + 20.0,
            "middle",
            12.0,
            format!("{at:.3}").trim_end_matches('0').trim_end_matches('.'),
        );
        at += time_step;
    }
    if asked > 0.0 {
        svg.line(LEFT, y(asked), WIDTH - RIGHT, y(asked), "#b2451f", "6 4");
        svg.text(WIDTH - RIGHT, y(asked) - 6.0, "end", 12.0, "rate asked for");
    }
    svg.curve(points.iter().map(|point| (x(point.seconds.min(seconds)), y(point.records_per_second))));
}

/// Both axes are logarithmic: each nine of a percentile takes the same width, so that the slow end can be seen.
fn latency(svg: &mut Svg, measured: &Measured) {
    svg.text(LEFT, TOPS[1] - 10.0, "start", 14.0, "Latency by percentile");
    let values = measured.percentiles.iter().map(|(_, millis)| *millis).filter(|millis| *millis > 0.0);
    let (lowest, highest) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    if lowest > highest {
        return;
    }
    let ticks = log_ticks(lowest, highest);
    let (bottom, top) = (ticks[0].log10(), ticks[ticks.len() - 1].log10());
    let y = |millis: f64| TOPS[1] + PANEL * (1.0 - (millis.log10().max(bottom) - bottom) / (top - bottom));
    for tick in ticks {
        svg.grid(y(tick), &label(tick));
    }
    for mark in MARKS {
        let at = nines(mark);
        svg.line(at, TOPS[1], at, TOPS[1] + PANEL, "#ddd", "");
        svg.text(at, TOPS[1] + PANEL + 20.0, "middle", 12.0, &format!("p{mark}"));
    }
    svg.text(nines(100.0), TOPS[1] + PANEL + 20.0, "middle", 12.0, "max");
    svg.curve(measured.percentiles.iter().map(|(percent, millis)| (nines(*percent), y(*millis))));
}

/// A round number of milliseconds without digits that say nothing.
fn label(millis: f64) -> String {
    match millis {
        m if m >= 999.5 => format!("{:.0} s", m / 1000.0),
        m if m >= 0.9995 => format!("{m:.0} ms"),
        m => format!("{:.0} µs", m * 1000.0),
    }
}

/// Where a percentile stands: by the number of its nines, 100 at five.
fn nines(percent: f64) -> f64 {
    let share = ((100.0 - percent) / 100.0).max(1e-5);
    LEFT - share.log10() / 5.0 * (WIDTH - LEFT - RIGHT)
}

/// Two or more values of 1, 2 or 5 times a power of ten, or of powers alone where those are many, that enclose the span.
fn log_ticks(lowest: f64, highest: f64) -> Vec<f64> {
    let (first, last) = (lowest.log10().floor() as i32, highest.log10().ceil() as i32 + 1);
    let factors: &[f64] = if last - first > 4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all = (first..=last).flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
    let all: Vec<f64> = all.collect();
    let from = all.iter().rposition(|tick| *tick <= lowest).unwrap_or_default();
    let until = all.iter().position(|tick| *tick >= highest).unwrap_or(all.len() - 1).max(from + 1);
    all[from..=until].to_vec()
}

/// A step of 1, 2 or 5 times a power of ten that gives about five of them.
fn round_step(span: f64) -> f64 {
    let raw = (span / 5.0).max(1e-9);
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= raw * 0.999).unwrap_or(10.0);
    factor * power
}

struct Svg(String);

impl Svg {
    fn new() -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        ))
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{element}").expect("a String takes everything");
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, size: f64, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>"
        ));
    }

    fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, colour: &str, dashes: &str) {
        self.push(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" stroke-dasharray=\"{dashes}\"/>"
        ));
    }

    fn grid(&mut self, y: f64, label: &str) {
        self.line(LEFT, y, WIDTH - RIGHT, y, "#ddd", "");
        self.text(LEFT - 8.0, y + 4.0, "end", 12.0, label);
    }

    fn curve(&mut self, points: impl Iterator<Item = (f64, f64)>) {
        let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.push(format_args!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{LINE}\" stroke-width=\"2\"/>"));
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::tests::report;

    #[test]
    fn every_point_lies_within_the_picture() {
        for report in [report(10_000, 0), report(100, 90), report(3_000_000, 1000)] {
            let svg = draw(&report);
            let lines: Vec<&str> = svg.lines().filter(|line| line.starts_with("<polyline")).collect();
            assert_eq!(lines.len(), 2);
            for line in lines {
                let points = line.split('"').nth(1).unwrap();
                assert!(points.split(' ').count() >= 20);
                for point in points.split(' ') {
                    let (x, y) = point.split_once(',').unwrap();
                    let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                    assert!((LEFT - 1.0..=WIDTH - RIGHT + 1.0).contains(&x) && (0.0..=HEIGHT).contains(&y), "{point}");
                }
            }
        }
    }

    #[test]
    fn ticks_enclose_the_span() {
        assert_eq!(log_ticks(21.0, 24.0), [20.0, 50.0]);
        assert_eq!(log_ticks(0.5, 90.0), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(log_ticks(0.2, 30_000.0).len(), 7);
        assert_eq!(log_ticks(10.0, 10.0), [10.0, 20.0]);
    }

    #[test]
    fn steps_are_round() {
        let steps = [9.7, 100.0, 83_000.0, 0.4].map(round_step);
        for (step, wanted) in steps.into_iter().zip([2.0, 20.0, 20_000.0, 0.1]) {
            assert!((step / wanted - 1.0).abs() < 1e-9, "{step} {wanted}");
        }
    }
}
