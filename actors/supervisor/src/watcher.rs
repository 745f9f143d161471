//! Watches the tree: takes a sample every so often and tells rates, what is stuck and since when, and the bottleneck. It knows
//! no clock: samples and questions come with their time.

use std::collections::{BTreeMap, VecDeque};

use snowmelt_runtime::GroupId;
use snowmelt_runtime::observe::{Activity, Reading, Snapshot};

use crate::report::{ActorReport, Bottleneck, FailureReport, GroupReport, MailboxReport, Phase, PipelineReport};
use crate::status::{GroupState, GroupStatus, PipelineStatus, Totals, Tree};

/// Over how long rates are taken.
const RATE_WINDOW_MS: u64 = 5_000;
/// Over how long growing lag is seen, and how long samples are kept.
const LAG_WINDOW_MS: u64 = 20_000;
/// Samples kept of a group, however often they are taken.
const MAX_SAMPLES: usize = 64;
/// Lag below this is none, and growth by less is noise.
const LAG_NOISE_MS: u64 = 5_000;
/// A group's growing lag is told at most this often.
const TELL_EVERY_MS: u64 = 60_000;
/// Reading comes back at least this often when all is well, so no heartbeat is taken to be shorter.
const MIN_PATIENCE_MS: u64 = 2_000;
/// A mailbox that is fuller than this keeps the sender waiting sooner or later.
const FULL: f64 = 0.5;

/// What is remembered of a node's groups.
#[derive(Debug, Default)]
pub struct Watcher {
    groups: BTreeMap<GroupId, History>,
}

/// A group whose lag grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Falling {
    /// Which group.
    pub group: GroupId,
    /// How far it is behind, in milliseconds.
    pub lag_ms: u64,
    /// By how much more than before, in milliseconds.
    pub grown_ms: u64,
    /// Who keeps the others waiting.
    pub bottleneck: Option<Bottleneck>,
}

#[derive(Debug, Default)]
struct History {
    samples: VecDeque<Sample>,
    /// By actor: batches handled, and when that number last changed or nothing was queued.
    moved: BTreeMap<String, (u64, u64)>,
    told_ms: Option<u64>,
}

#[derive(Debug)]
struct Sample {
    at_ms: u64,
    lag_ms: Option<u64>,
    actors: BTreeMap<String, (Totals, f64)>,
}

/// One actor at one moment.
struct Seen {
    name: String,
    now: Snapshot,
    totals: Totals,
    mailbox: Option<MailboxReport>,
}

fn seen(group: &GroupStatus) -> Vec<Seen> {
    let alive = group.state.has_actors();
    let look = |observed: &snowmelt_runtime::observe::Observed| Seen {
        name: observed.actor.clone(),
        now: observed.stats.snapshot(),
        totals: group.totals(observed),
        mailbox: observed.mailbox.as_ref().map(|mailbox| MailboxReport {
            bytes: if alive { mailbox.bytes_held() } else { 0 },
            limit_bytes: mailbox.limits().bytes,
            batches: if alive { mailbox.batches_held() } else { 0 },
            limit_batches: mailbox.limits().batches,
        }),
    };
    group.actors.iter().rev().map(look).collect()
}

fn reading(actors: &[Seen]) -> Option<Reading> {
    actors.iter().find_map(|actor| actor.now.reading)
}

/// Waiting that still goes on is not in the counters yet.
fn with_ongoing(seen: &Seen, now_ms: u64) -> Totals {
    let ongoing = now_ms.saturating_sub(seen.now.since_ms).saturating_mul(1000);
    let mut totals = seen.totals;
    match seen.now.activity {
        Activity::WaitingForRoom => totals.room_micros += ongoing,
        Activity::WaitingOutside => totals.outside_micros += ongoing,
        Activity::Idle | Activity::Busy => {}
    }
    totals
}

/// What an actor did in the last seconds, by the second.
#[derive(Debug, Clone, Copy, Default)]
struct Rates {
    records: f64,
    bytes: f64,
    room: f64,
    outside: f64,
    fill: f64,
}

impl History {
    fn rates(&self, actor: &Seen, now_ms: u64) -> Rates {
        let window = self.samples.iter().filter(|sample| sample.at_ms + RATE_WINDOW_MS >= now_ms);
        let mut fills = vec![actor.mailbox.map_or(0.0, |mailbox| mailbox.fill())];
        let mut first = None;
        for (at_ms, (totals, fill)) in window.filter_map(|sample| Some((sample.at_ms, sample.actors.get(&actor.name)?)))
        {
            first.get_or_insert((at_ms, *totals));
            fills.push(*fill);
        }
        let fill = fills.iter().sum::<f64>() / fills.len() as f64;
        let Some((at_ms, before)) = first.filter(|(at_ms, _)| *at_ms < now_ms) else {
            return Rates { fill, ..Rates::default() };
        };
        let seconds = (now_ms - at_ms) as f64 / 1000.0;
        let after = with_ongoing(actor, now_ms);
        let rate = |after: u64, before: u64| after.saturating_sub(before) as f64 / seconds;
        // More digits would say more than is known.
        let rounded = |value: f64, digits: f64| (value * digits).round() / digits;
        let share = |after: u64, before: u64| rounded((rate(after, before) / 1e6).min(1.0), 1000.0);
        Rates {
            records: rounded(rate(after.records, before.records), 10.0),
            bytes: rate(after.bytes, before.bytes).round(),
            room: share(after.room_micros, before.room_micros),
            outside: share(after.outside_micros, before.outside_micros),
            fill,
        }
    }

    fn note(&mut self, group: &GroupStatus, now_ms: u64) {
        let actors = seen(group);
        let lag_ms = reading(&actors).map(|reading| reading.lag_at(now_ms));
        self.moved.retain(|name, _| actors.iter().any(|actor| actor.name == *name));
        for actor in &actors {
            let moved = self.moved.entry(actor.name.clone()).or_insert((actor.totals.batches, now_ms));
            if moved.0 != actor.totals.batches || actor.mailbox.is_none_or(|mailbox| mailbox.batches == 0) {
                *moved = (actor.totals.batches, now_ms);
            }
        }
        let actors = actors
            .iter()
            .map(|actor| {
                let fill = actor.mailbox.map_or(0.0, |mailbox| mailbox.fill());
                (actor.name.clone(), (with_ongoing(actor, now_ms), fill))
            })
            .collect();
        self.samples.push_back(Sample { at_ms: now_ms, lag_ms, actors });
        while self.samples.len() > MAX_SAMPLES
            || self.samples.front().is_some_and(|sample| sample.at_ms + LAG_WINDOW_MS < now_ms)
        {
            self.samples.pop_front();
        }
    }

    /// By how much lag grew over the window, once the window is full.
    fn growth(&self) -> Option<(u64, u64)> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        if last.at_ms - first.at_ms < LAG_WINDOW_MS / 2 {
            return None;
        }
        let (before, lag) = (first.lag_ms?, last.lag_ms?);
        let grown = lag.saturating_sub(before);
        (lag > LAG_NOISE_MS && grown > LAG_NOISE_MS).then_some((lag, grown))
    }

    /// Why a running group makes no progress, though it has work.
    fn stuck(&self, group: &GroupStatus, actors: &[Seen], now_ms: u64) -> Vec<String> {
        let heartbeat_ms = u64::try_from(group.heartbeat.as_millis()).unwrap_or(u64::MAX);
        let patience_ms = heartbeat_ms.max(MIN_PATIENCE_MS);
        let mut reasons: Vec<String> = actors
            .iter()
            .filter(|actor| actor.mailbox.is_some_and(|mailbox| mailbox.batches > 0))
            .filter_map(|actor| {
                let (batches, since_ms) = self.moved.get(&actor.name)?;
                let still_ms = now_ms.saturating_sub(*since_ms);
                let stuck = *batches == actor.totals.batches && still_ms > patience_ms;
                stuck.then(|| {
                    format!("{} has finished nothing for {} ({})", actor.name, seconds(still_ms), doing(actor))
                })
            })
            .collect();
        match reading(actors) {
            None if group.ledger.is_some() => reasons.push("has read nothing since it started".to_owned()),
            Some(reading) if now_ms.saturating_sub(reading.at_ms) > patience_ms => {
                let silent = seconds(now_ms - reading.at_ms);
                reasons.push(format!("has read nothing for {silent}"));
            }
            _ => {}
        }
        reasons
    }
}

fn doing(actor: &Seen) -> &'static str {
    match actor.now.activity {
        Activity::Idle => "idle",
        Activity::Busy => "busy",
        Activity::WaitingForRoom => "waiting for room in the mailbox after it",
        Activity::WaitingOutside => "waiting for an outside system",
    }
}

/// A time as people read it.
pub fn seconds(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{:.1} s", ms as f64 / 1e3),
        10_000..120_000 => format!("{} s", ms / 1000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// The actor that keeps the others waiting: its mailbox is the fullest and it does not itself wait for the next. Without a
/// full mailbox reading itself is slower than what comes.
fn bottleneck(actors: &[(&Seen, Rates)], lag_ms: Option<u64>) -> Option<Bottleneck> {
    let full = actors
        .iter()
        .filter(|(actor, rates)| actor.mailbox.is_some() && rates.fill > FULL && rates.room < 0.5)
        .max_by(|(_, a), (_, b)| a.fill.total_cmp(&b.fill));
    let behind = lag_ms.is_some_and(|lag| lag > LAG_NOISE_MS);
    let reader = || actors.iter().find(|(actor, rates)| behind && actor.now.reading.is_some() && rates.room < 0.5);
    let (actor, rates) = full.or_else(reader)?;
    let share = |share: f64| (share * 100.0).round();
    let reason = if rates.outside > 0.5 {
        format!("waits for outside systems {} % of the time", share(rates.outside))
    } else {
        format!("works {} % of the time", share((1.0 - rates.outside - rates.room).max(0.0)))
    };
    Some(Bottleneck { actor: actor.name.clone(), reason })
}

impl Watcher {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a sample at `now_ms` of the monotonic clock, once a second or so. Gives the groups whose lag grows, each at
    /// most once a minute.
    pub fn sample(&mut self, tree: &Tree, now_ms: u64) -> Vec<Falling> {
        let groups = tree.groups();
        self.groups.retain(|id, _| groups.iter().any(|group| group.id == *id));
        let mut falling = Vec::new();
        for group in &groups {
            let history = self.groups.entry(group.id.clone()).or_default();
            history.note(group, now_ms);
            let due = history.told_ms.is_none_or(|told| told + TELL_EVERY_MS <= now_ms);
            if group.state == GroupState::Running
                && due
                && let Some((lag_ms, grown_ms)) = history.growth()
            {
                history.told_ms = Some(now_ms);
                let bottleneck = self.group(group, now_ms, 0).bottleneck;
                falling.push(Falling { group: group.id.clone(), lag_ms, grown_ms, bottleneck });
            }
        }
        falling
    }

    /// All pipelines at `now_ms` of the monotonic clock and `wall_ms` since the epoch.
    pub fn report(&self, tree: &Tree, now_ms: u64, wall_ms: i64) -> Vec<PipelineReport> {
        let mut groups = tree.groups();
        tree.pipelines()
            .into_iter()
            .map(|(name, status)| {
                let own = groups.extract_if(.., |group| group.id.pipeline == name);
                let groups: Vec<GroupReport> = own.map(|group| self.group(&group, now_ms, wall_ms)).collect();
                let reasons = reasons_of(&status);
                PipelineReport {
                    ready: reasons.is_empty() && groups.iter().all(|group| group.ready),
                    reasons,
                    restarts: status.restarts,
                    records_per_s: groups.iter().map(|group| group.records_per_s).sum(),
                    groups,
                    pipeline: name,
                }
            })
            .collect()
    }

    fn group(&self, group: &GroupStatus, now_ms: u64, wall_ms: i64) -> GroupReport {
        let nothing = History::default();
        let history = self.groups.get(&group.id).unwrap_or(&nothing);
        let actors = seen(group);
        let rated: Vec<(&Seen, Rates)> = actors
            .iter()
            .map(|actor| {
                (actor, if group.state.has_actors() { history.rates(actor, now_ms) } else { Rates::default() })
            })
            .collect();
        let lag_ms = reading(&actors).map(|reading| reading.lag_at(now_ms));
        let until_ms = match group.state {
            GroupState::BackingOff { until_ms } => Some(until_ms),
            _ => None,
        };
        let last_failure = group.last_failure.as_ref().map(FailureReport::from);
        let reasons = match &group.state {
            GroupState::Running => history.stuck(group, &actors, now_ms),
            GroupState::Ended | GroupState::LeaseLost => Vec::new(),
            GroupState::Paused => vec!["paused by the operator".to_owned()],
            GroupState::Stopped => vec!["stopped by the operator".to_owned()],
            GroupState::Starting | GroupState::Draining => vec![Phase::from(&group.state).word().to_owned()],
            GroupState::BackingOff { until_ms } => {
                let wait = seconds(u64::try_from(until_ms - wall_ms).unwrap_or(0));
                vec![format!("starts again in {wait}{}", because(last_failure.as_ref()))]
            }
            GroupState::GaveUp => vec![format!("gave up{}", because(last_failure.as_ref()))],
        };
        let of_reader = |pick: fn(&Rates) -> f64| {
            rated.iter().find(|(actor, _)| actor.now.reading.is_some()).or(rated.first()).map_or(0.0, |(_, r)| pick(r))
        };
        GroupReport {
            pipeline: group.id.pipeline.clone(),
            shard: group.id.shard.clone(),
            state: Phase::from(&group.state),
            until_ms,
            ready: reasons.is_empty(),
            reasons,
            generation: group.generation,
            restarts: group.restarts,
            last_failure,
            lag_ms,
            pending_batches: group.ledger.as_ref().map_or(0, |ledger| ledger.progress().pending),
            records_per_s: of_reader(|rates| rates.records),
            bytes_per_s: of_reader(|rates| rates.bytes),
            bottleneck: if group.state == GroupState::Running { bottleneck(&rated, lag_ms) } else { None },
            actors: rated.iter().map(|(actor, rates)| actor_report(actor, *rates, group, now_ms)).collect(),
        }
    }
}

fn because(failure: Option<&FailureReport>) -> String {
    failure.map_or_else(String::new, |failure| format!(": {} failed: {}", failure.actor, failure.message))
}

fn reasons_of(status: &PipelineStatus) -> Vec<String> {
    let mut reasons = Vec::new();
    if status.gave_up {
        reasons.push("gave up: its shards failed too often".to_owned());
    }
    match &status.unlisted {
        Some((_, failure)) => reasons.push(format!("its shards can't be listed: {failure}")),
        None if !status.listed => reasons.push("its shards are not listed yet".to_owned()),
        None => {}
    }
    reasons
}

fn actor_report(actor: &Seen, rates: Rates, group: &GroupStatus, now_ms: u64) -> ActorReport {
    let alive = group.state.has_actors();
    ActorReport {
        actor: actor.name.clone(),
        activity: if alive { actor.now.activity } else { Activity::Idle },
        activity_ms: if alive { now_ms.saturating_sub(actor.now.since_ms) } else { 0 },
        records: actor.totals.records,
        bytes: actor.totals.bytes,
        batches: actor.totals.batches,
        records_per_s: rates.records,
        bytes_per_s: rates.bytes,
        waiting_for_room: rates.room,
        waiting_outside: rates.outside,
        waiting_for_room_micros: actor.totals.room_micros,
        waiting_outside_micros: actor.totals.outside_micros,
        mailbox: actor.mailbox,
    }
}
