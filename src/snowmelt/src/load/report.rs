//! The figures of a run: as a table for people, as JSON for `--compare`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::args::{Actor, LoadArgs, Until};
use super::compare::Spread;
use super::engine::{ActorUse, Seen};
use super::measure::{Measured, Slice};
use super::recipes;

/// Share of the asked rate from which it counts as held.
const HELD: f64 = 0.98;
/// From this share of the time on, in percent, a full mailbox or a wait is what holds the run up.
const MOSTLY: f64 = 50.0;

/// Everything that is known of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version that ran.
    pub snowmelt: String,
    /// Which actor.
    pub actor: Actor,
    /// How it was loaded.
    pub setup: Setup,
    /// The figures.
    pub measured: Measured,
    /// The rate that was asked for, and what came of it.
    pub rate: Option<Rate>,
    /// The actors, the last of the chain first.
    pub actors: Vec<ActorUse>,
    /// Share of the time that the load generator waited for room, 0 to 100; `None` when the actor fetches its load.
    pub generator_waited_percent: Option<f64>,
    /// The most memory held at once, in bytes, the input included.
    pub peak_memory_bytes: u64,
    /// What else was counted.
    pub outputs: Option<Counted>,
    /// Records refused for good.
    pub refused: u64,
    /// Batches still under way when the run was given up.
    pub left_over: usize,
    /// Where it saturates, in words.
    pub saturation: String,
}

/// What a run has to have in common with another to be compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// What stands behind the actor.
    pub backend: String,
    /// Records in one batch.
    pub batch: u32,
    /// Records a second, when asked for.
    pub rate: Option<u32>,
    /// Records in all, when asked for.
    pub records: Option<u64>,
    /// Seconds, when records were not asked for.
    pub seconds: Option<f64>,
    /// The stand-in's delay in milliseconds.
    pub delay_ms: f64,
    /// What the stand-in takes in a second.
    pub throttle: Option<u32>,
    /// Percent of the stand-in's calls that fail.
    pub fail_percent: f64,
    /// The file that was fed.
    pub input: Option<String>,
    /// Bytes of the input in memory.
    pub input_bytes: usize,
    /// The seed of the input and the failures.
    pub seed: u64,
    /// Threads for CPU work.
    pub cores: usize,
}

/// Something counted besides the records that were fed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// What.
    pub what: String,
    /// How many.
    pub count: u64,
}

/// A rate that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Records a second.
    pub asked: u32,
    /// Records a second that were done.
    pub got: f64,
    /// Whether that is as much, but for 2 %.
    pub held: bool,
}

impl Setup {
    /// What `args` ask for, completed by the recipe.
    pub fn new(args: &LoadArgs, actor: Actor, backend: String, input_bytes: usize, cores: usize) -> Self {
        let seconds = match args.until() {
            Until::Records(_) => None,
            Until::Elapsed(duration) => Some(duration.as_secs_f64()),
        };
        Self {
            backend,
            batch: args.batch.unwrap_or(recipes::of(actor).batch),
            rate: args.rate,
            records: args.records,
            seconds,
            delay_ms: args.delay.unwrap_or_default().as_secs_f64() * 1e3,
            throttle: args.throttle,
            fail_percent: args.fail.unwrap_or_default(),
            input: args.input.as_ref().map(|path| path.display().to_string()),
            input_bytes,
            seed: args.seed,
            cores,
        }
    }
}

impl Rate {
    /// What came of `asked` records a second, when so many were done for what was sent in `seconds`.
    fn of(asked: u32, records: u64, seconds: f64) -> Self {
        // The last batch of a number of records is sent before its time is over.
        let seconds = seconds.max(records as f64 / f64::from(asked)).max(1e-9);
        let got = records as f64 / seconds;
        Self { asked, got, held: got >= f64::from(asked) * HELD }
    }
}

impl Report {
    /// The report of a run.
    pub fn new(actor: Actor, setup: Setup, seen: Seen) -> Self {
        let rate = setup.rate.map(|asked| Rate::of(asked, seen.measured.records, seen.scheduled_seconds));
        Self {
            snowmelt: env!("CARGO_PKG_VERSION").to_owned(),
            saturation: saturation(actor, &seen, rate.as_ref()),
            actor,
            setup,
            measured: seen.measured,
            rate,
            actors: seen.actors,
            generator_waited_percent: seen.generator_waited_percent,
            peak_memory_bytes: seen.peak_memory,
            outputs: seen.outputs.map(|(what, count)| Counted { what: what.to_owned(), count }),
            refused: seen.refused,
            left_over: seen.left_over,
        }
    }

    /// Median and spread of the slices.
    pub fn spread(&self, figure: impl Fn(&Slice) -> f64) -> Spread {
        Spread::of(self.measured.slices.iter().map(figure))
    }
}

/// Names the actor that holds the run up: the last of the chain whose mailbox is full most of the time, since all before
/// it only wait; else whoever waits for the outside; else nobody.
fn saturation(actor: Actor, seen: &Seen, rate: Option<&Rate>) -> String {
    let full = |used: &&ActorUse| used.mailbox.is_some_and(|mailbox| mailbox.full_percent >= MOSTLY);
    if let Some(used) = seen.actors.iter().find(full) {
        let percent = used.mailbox.map_or(0.0, |mailbox| mailbox.full_percent);
        let why = if used.waiting_outside_percent >= MOSTLY {
            format!("it waited for what is behind it {:.0} %", used.waiting_outside_percent)
        } else {
            format!(
                "it worked {:.0} %",
                (100.0 - used.waiting_outside_percent - used.waiting_for_room_percent).max(0.0)
            )
        };
        return format!("{}: its mailbox was full {percent:.0} % of the time, {why}", used.actor);
    }
    if rate.is_some_and(|rate| rate.held) {
        return "nowhere: every mailbox had room at this rate".to_owned();
    }
    if let Some(used) = seen.actors.iter().find(|used| used.waiting_outside_percent >= MOSTLY) {
        return format!(
            "{}: it waited for what is outside {:.0} % of the time",
            used.actor, used.waiting_outside_percent
        );
    }
    match actor {
        Actor::Collector if seen.refused > 0 => "the stream behind the collector: it refused records".to_owned(),
        Actor::Collector => {
            "the collector and the load generator share the cores; all connections wait for answers".to_owned()
        }
        Actor::Checkpointer => "checkpointer itself: here it stores at most once a millisecond".to_owned(),
        _ => format!("{} itself: the mailboxes behind it had room", actor.name()),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (measured, setup) = (&self.measured, &self.setup);
        writeln!(f, "{}, {}, batches of {}", self.actor.name(), behind(setup), setup.batch)?;
        let records = self.spread(|slice| slice.records_per_second);
        let cpu = self.spread(|slice| slice.cpu_micros_per_record);
        row(
            f,
            "throughput",
            &format!(
                "{} records/s, {:.1} MB/s",
                thousands(measured.records_per_second()),
                measured.megabytes_per_second()
            ),
        )?;
        row(
            f,
            "",
            &format!(
                "{} records in {:.2} s; slices {}",
                thousands(measured.records as f64),
                measured.seconds,
                records.show("records/s")
            ),
        )?;
        if let Some(outputs) = &self.outputs {
            let rate = thousands(outputs.count as f64 / measured.seconds);
            row(f, "", &format!("{} {}, {rate} a second", thousands(outputs.count as f64), outputs.what))?;
        }
        row(f, "CPU", &format!("{:.2} µs a record; slices {}", measured.cpu_micros_per_record, cpu.show("µs")))?;
        let latency = &measured.latency_ms;
        let from = if setup.rate.is_some() { "from when it was due" } else { "from when it could be sent" };
        row(
            f,
            "latency",
            &format!(
                "p50 {}, p90 {}, p99 {}, p99.9 {}, longest {}, {from}",
                ms(latency.p50),
                ms(latency.p90),
                ms(latency.p99),
                ms(latency.p999),
                ms(latency.max)
            ),
        )?;
        row(
            f,
            "memory",
            &format!(
                "{:.0} MiB at most, {:.0} MiB of them input",
                mib(self.peak_memory_bytes as f64),
                mib(setup.input_bytes as f64)
            ),
        )?;
        if let Some(rate) = &self.rate {
            let verdict = if rate.held { "held" } else { "not held" };
            row(
                f,
                "rate",
                &format!("{} asked, {} done: {verdict}", thousands(f64::from(rate.asked)), thousands(rate.got)),
            )?;
        }
        if self.refused > 0 {
            row(f, "refused", &format!("{} records", thousands(self.refused as f64)))?;
        }
        if self.left_over > 0 {
            row(f, "left over", &format!("{} batches were not done 30 s after the end", self.left_over))?;
        }
        row(f, "saturation", &self.saturation)?;
        self.table(f)
    }
}

impl Report {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.actors.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:<18} {:>12} {:>9} {:>8} {:>9} {:>14} {:>12}",
            "actor", "records", "mailbox", "highest", "full", "wait for room", "wait outside"
        )?;
        if let Some(waited) = self.generator_waited_percent {
            writeln!(
                f,
                "{:<18} {:>12} {:>9} {:>8} {:>9} {waited:>12.0} % {:>12}",
                "load generator", "", "", "", "", ""
            )?;
        }
        // As events go: the first of the chain first.
        for used in self.actors.iter().rev() {
            let [mean, max, full] = match used.mailbox {
                Some(mailbox) => [mailbox.mean_percent, mailbox.max_percent, mailbox.full_percent]
                    .map(|percent| format!("{percent:.0} %")),
                None => [const { String::new() }; 3],
            };
            writeln!(
                f,
                "{:<18} {:>12} {mean:>9} {max:>8} {full:>9} {:>12.0} % {:>10.0} %",
                used.actor,
                thousands(used.records as f64),
                used.waiting_for_room_percent,
                used.waiting_outside_percent
            )?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "  {name:<11} {text}")
}

fn behind(setup: &Setup) -> String {
    let mut text = setup.backend.clone();
    if setup.delay_ms > 0.0 {
        text.push_str(&format!(", {} a call", ms(setup.delay_ms)));
    }
    if let Some(throttle) = setup.throttle {
        text.push_str(&format!(", at most {} a second", thousands(f64::from(throttle))));
    }
    if setup.fail_percent > 0.0 {
        text.push_str(&format!(", {} % of calls fail", setup.fail_percent));
    }
    text
}

fn mib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

/// Milliseconds with as many digits as say something.
pub fn ms(millis: f64) -> String {
    match millis {
        m if m >= 1000.0 => format!("{:.2} s", m / 1000.0),
        m if m >= 100.0 => format!("{m:.0} ms"),
        m if m >= 10.0 => format!("{m:.1} ms"),
        m if m >= 1.0 => format!("{m:.2} ms"),
        m => format!("{:.0} µs", m * 1000.0),
    }
}

/// A whole number in groups of three digits.
pub fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::load::engine::MailboxUse;
    use crate::load::measure::Timeline;

    /// A run of ten seconds at a steady `rate`, with a full mailbox.
    pub fn report(rate: u64, jitter: u64) -> Report {
        let mut timeline = Timeline::new();
        for n in 0..1000 {
            let more = if n / 100 % 2 == 0 { jitter } else { 0 };
            timeline.completed(n * 10_000 + 9_000, 5_000 + n, rate / 100 + more, 1000);
            timeline.used(n * 10_000 + 9_000, rate / 50);
        }
        let writer = ActorUse {
            actor: "stream-writer".to_owned(),
            records: rate * 10,
            mailbox: Some(MailboxUse { mean_percent: 95.0, max_percent: 100.0, full_percent: 93.0 }),
            waiting_for_room_percent: 0.0,
            waiting_outside_percent: 88.0,
        };
        let batcher = ActorUse { actor: "batcher".to_owned(), waiting_for_room_percent: 90.0, ..writer.clone() };
        let seen = Seen {
            measured: timeline.measured(10_000_000),
            scheduled_seconds: 10.0,
            actors: vec![writer, batcher],
            generator_waited_percent: Some(90.0),
            peak_memory: 100 << 20,
            outputs: Some(("events", rate * 20)),
            refused: 0,
            left_over: 0,
        };
        let setup = Setup {
            backend: "stand-in".to_owned(),
            batch: 500,
            rate: Some(20_000),
            records: None,
            seconds: Some(10.0),
            delay_ms: 5.0,
            throttle: None,
            fail_percent: 0.0,
            input: None,
            input_bytes: 30 << 20,
            seed: 1,
            cores: 2,
        };
        Report::new(Actor::StreamWriter, setup, seen)
    }

    #[test]
    fn the_last_full_mailbox_of_the_chain_is_named() {
        let report = report(10_000, 0);
        assert_eq!(
            report.saturation,
            "stream-writer: its mailbox was full 93 % of the time, it waited for what is behind it 88 %"
        );
        assert!(!report.rate.as_ref().unwrap().held);
    }

    #[test]
    fn a_report_says_all_that_matters() {
        let text = report(10_000, 0).to_string();
        for words in [
            "10,000 records/s",
            "100,000 records in 10.00 s",
            "200,000 events, 20,000 a second",
            "2.00 µs a record",
            "p99 ",
            "100 MiB at most, 30 MiB of them input",
            "20,000 asked, 10,000 done: not held",
            "from when it was due",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
    }

    #[test]
    fn a_report_survives_json() {
        let report = report(10_000, 10);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap().measured.slices.len(), 10);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0.0, 999.0, 1000.0, 1_234_567.0].map(thousands));
    }
}
