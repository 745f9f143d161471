//! The report as text: a tree for terminals and for pipes.

use std::fmt::Write;

use snowmelt_runtime::observe::Activity;
use snowmelt_supervisor::report::{ActorReport, GroupReport, MailboxReport, Phase};
use snowmelt_supervisor::watcher::seconds;

use super::{lag, percent, rate};
use crate::definition::units::show_bytes;
use crate::run::operator::report::{NodeReport, SpoolReport};

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// With colours or without.
    pub const fn new(colours: bool) -> Self {
        Self(colours)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    fn faint(self, text: &str) -> String {
        self.with("2", text)
    }
}

/// Draws the tree; with its actors if asked for.
pub fn render(report: &NodeReport, actors: bool, paint: Paint) -> String {
    let mut out = String::new();
    let ready = if report.ready { paint.good("ready") } else { paint.bad("not ready") };
    line(&mut out, format_args!("snowmelt {}, up {}, {ready}", report.version, seconds(report.uptime_ms)));
    for collector in &report.collectors {
        let state = match &collector.reason {
            _ if collector.ready => paint.good("takes records"),
            reason => paint.bad(&format!("takes no records: {}", reason.as_deref().unwrap_or("unknown"))),
        };
        line(&mut out, format_args!("{}  stream {} {state}", paint.strong(&collector.collector), collector.stream));
        if let Some(spool) = &collector.spool {
            spool_line(&mut out, spool, paint);
        }
    }
    for registry in &report.registries {
        let state = match &registry.reason {
            _ if registry.ready => paint.good("schema registry"),
            reason => paint.bad(&format!("schema registry: {}", reason.as_deref().unwrap_or("unknown"))),
        };
        line(&mut out, format_args!("{}  {state}", paint.strong(&registry.registry)));
    }
    let width = report.pipelines.iter().flat_map(|p| &p.groups).map(|group| group.shard.len()).max().unwrap_or(0);
    for pipeline in &report.pipelines {
        let rate = rate(pipeline.records_per_s);
        line(&mut out, format_args!("{}  {rate} records/s", paint.strong(&pipeline.pipeline)));
        for reason in &pipeline.reasons {
            line(&mut out, format_args!("  {}", paint.bad(reason)));
        }
        for (index, group) in pipeline.groups.iter().enumerate() {
            let last = index + 1 == pipeline.groups.len();
            group_lines(&mut out, group, last, width, actors, report.at_ms, paint);
        }
    }
    out
}

fn spool_line(out: &mut String, spool: &SpoolReport, paint: Paint) {
    let bytes = |bytes: u64| show_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
    let waits = match spool.oldest_age_ms {
        0 => "nothing waits".to_owned(),
        age => format!("the oldest record waits {}", seconds(age)),
    };
    let trouble = spool
        .stream_trouble
        .as_ref()
        .map_or_else(String::new, |reason| paint.warn(&format!("; the stream takes none: {reason}")));
    line(out, format_args!("  spool {} of {}, {waits}{trouble}", bytes(spool.bytes), bytes(spool.max_bytes)));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a string takes everything");
}

fn group_lines(
    out: &mut String,
    group: &GroupReport,
    last: bool,
    width: usize,
    actors: bool,
    now_ms: i64,
    paint: Paint,
) {
    let (branch, stem) = if last { ("└─", "  ") } else { ("├─", "│ ") };
    let word = format!("{:<11}", group.state.word());
    let word = match group.state {
        Phase::Running | Phase::Ended if group.ready => paint.good(&word),
        Phase::Starting | Phase::Draining | Phase::Paused => paint.warn(&word),
        _ => paint.bad(&word),
    };
    line(
        out,
        format_args!(
            "{branch} {:<width$}  {word}  lag {:<8}  {:>6} records/s  {:>9}/s  {} pending  {}  {}",
            group.shard,
            lag(group.lag_ms),
            rate(group.records_per_s),
            show_bytes(group.bytes_per_s as usize),
            group.pending_batches,
            count(group.restarts, "restart"),
            paint.faint(&format!("generation {}", group.generation)),
        ),
    );
    for reason in &group.reasons {
        line(out, format_args!("{stem}   {}", paint.bad(reason)));
    }
    if let Some(bottleneck) = &group.bottleneck {
        line(out, format_args!("{stem}   bottleneck: {}, {}", paint.warn(&bottleneck.actor), bottleneck.reason));
    }
    if let Some(failure) = &group.last_failure {
        let ago = seconds(u64::try_from(now_ms - failure.at_ms).unwrap_or(0));
        line(out, format_args!("{stem}   last failure {ago} ago: {}: {}", failure.actor, failure.message));
    }
    if actors {
        let width = group.actors.iter().map(|actor| actor.actor.len()).max().unwrap_or(0);
        for actor in &group.actors {
            line(out, format_args!("{stem}   {}", actor_line(actor, width, paint)));
        }
    }
}

fn actor_line(actor: &ActorReport, width: usize, paint: Paint) -> String {
    let held = match &actor.mailbox {
        Some(mailbox) => {
            let text = format!("{:>4} full", percent(mailbox.fill()));
            if mailbox.fill() > 0.5 { paint.warn(&text) } else { text }
        }
        None => "         ".to_owned(),
    };
    let of_room = format!("room {:>5}", percent(actor.waiting_for_room));
    let outside = format!("outside {:>5}", percent(actor.waiting_outside));
    format!(
        "{:<width$}  {held}  {:<15}  {:>6} records/s  waits: {of_room} {outside}  {} records{}",
        actor.actor,
        doing(actor.activity),
        rate(actor.records_per_s),
        actor.records,
        actor.mailbox.map_or_else(String::new, held_of),
    )
}

fn held_of(mailbox: MailboxReport) -> String {
    if mailbox.batches == 0 {
        return String::new();
    }
    let (held, limit) = (show_bytes(mailbox.bytes), show_bytes(mailbox.limit_bytes));
    format!("  holds {} of {} batches, {held} of {limit}", mailbox.batches, mailbox.limit_batches)
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// What an actor does, in two words.
pub fn doing(activity: Activity) -> &'static str {
    match activity {
        Activity::Idle => "idle",
        Activity::Busy => "busy",
        Activity::WaitingForRoom => "waits for room",
        Activity::WaitingOutside => "waits outside",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A node with a shard that goes well and one that does not.
    pub(crate) fn example() -> NodeReport {
        let group = |shard: &str| {
            serde_json::json!({
                "pipeline": "enrich", "shard": shard, "state": "running", "until_ms": null, "ready": true, "reasons": [],
                "generation": 1, "restarts": 0, "last_failure": null, "lag_ms": 0, "pending_batches": 2,
                "records_per_s": 12345.6, "bytes_per_s": 2_000_000.0, "bottleneck": null,
                "actors": [
                    { "actor": "shard-reader", "activity": "waiting_for_room", "activity_ms": 5, "records": 700, "bytes": 9,
                      "batches": 3, "records_per_s": 12345.6, "bytes_per_s": 1.0, "waiting_for_room": 0.25,
                      "waiting_outside": 0.5, "waiting_for_room_micros": 1, "waiting_outside_micros": 1, "mailbox": null },
                    { "actor": "enricher", "activity": "busy", "activity_ms": 5, "records": 690, "bytes": 9,
                      "batches": 3, "records_per_s": 12000.0, "bytes_per_s": 1.0, "waiting_for_room": 0.0,
                      "waiting_outside": 0.0, "waiting_for_room_micros": 1, "waiting_outside_micros": 1,
                      "mailbox": { "bytes": 1024, "limit_bytes": 8192, "batches": 3, "limit_batches": 4 } },
                ],
            })
        };
        let mut bad = group("shard-1");
        bad["state"] = "backing_off".into();
        bad["until_ms"] = 12_000.into();
        bad["ready"] = false.into();
        bad["reasons"] = serde_json::json!(["starts again in 2.0 s: enricher failed: panic: poison"]);
        bad["restarts"] = 1.into();
        bad["last_failure"] = serde_json::json!({
            "at_ms": 5_000, "actor": "enricher", "kind": "panic", "message": "panic: poison"
        });
        bad["bottleneck"] = serde_json::json!({ "actor": "enricher", "reason": "works 99 % of the time" });
        serde_json::from_value(serde_json::json!({
            "version": "1.2.3", "at_ms": 10_000, "uptime_ms": 200_000, "ready": false,
            "pipelines": [{ "pipeline": "enrich", "ready": false, "reasons": [], "restarts": 0, "records_per_s": 12345.6,
                            "groups": [group("shard-0"), bad] }],
            "collectors": [
                { "collector": "web", "stream": "raw", "ready": false, "reason": "disk full" },
                { "collector": "web", "stream": "bad-1", "ready": true, "reason": null,
                  "spool": { "answers": true, "bytes": 2048, "max_bytes": 4096, "oldest_age_ms": 3000, "drained_records": 7,
                             "stream_trouble": "throttled" } },
            ],
            "registries": [
                { "registry": "iglu", "ready": true, "reason": null },
                { "registry": "iglu-2", "ready": false, "reason": "no database" },
            ],
        }))
        .unwrap()
    }

    #[test]
    fn the_tree_shows_every_group_with_what_is_wrong() {
        let text = render(&example(), false, Paint::new(false));
        let expected = "\
snowmelt 1.2.3, up 3 min, not ready
web  stream raw takes no records: disk full
web  stream bad-1 takes records
  spool 2 KiB of 4 KiB, the oldest record waits 3.0 s; the stream takes none: throttled
iglu  schema registry
iglu-2  schema registry: no database
enrich  12.3k records/s
├─ shard-0  running      lag none       12.3k records/s    1.9 MiB/s  2 pending  0 restarts  generation 1
└─ shard-1  backing off  lag none       12.3k records/s    1.9 MiB/s  2 pending  1 restart  generation 1
     starts again in 2.0 s: enricher failed: panic: poison
     bottleneck: enricher, works 99 % of the time
     last failure 5.0 s ago: enricher: panic: poison
";
        assert_eq!(text, expected);
        let reasons = example().all_reasons();
        assert_eq!(reasons.len(), 3, "{reasons:?}");
        assert_eq!(reasons[2], "iglu-2: no database");
    }

    #[test]
    fn actors_are_shown_when_asked_for_and_colours_only_when_wanted() {
        let plain = render(&example(), true, Paint::new(false));
        assert!(plain.contains("enricher      75 % full  busy"), "{plain}");
        assert!(plain.contains("holds 3 of 4 batches, 1 KiB of 8 KiB"), "{plain}");
        assert!(!plain.contains('\x1b'));
        assert!(render(&example(), true, Paint::new(true)).contains("\x1b[31mnot ready\x1b[0m"));
    }
}
