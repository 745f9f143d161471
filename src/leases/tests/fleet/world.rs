//! A fleet on virtual time: events, the network, faults.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use fastrand::Rng;
use snowmelt_leases::Position;
use snowmelt_leases::fleet::{Kind, Row, Rules};

use crate::checks::{Checks, ORPHANED_MS};
use crate::kcl::Version;
use crate::stream::Stream;
use crate::table::{Answer, Change, Request, Table};
use crate::worker::{Act, Clock, FAILOVER_MS, KCL_PERIOD_MS, Out, PERIOD_MS, Purpose, Style, Worker};

/// When a request without an answer is given up.
const TIMEOUT_MS: u64 = 2_500;
const SCAN_TIMEOUT_MS: u64 = 10_000;
const CHECK_MS: u64 = 2_000;
/// A fleet that has not settled so long after the last fault never does.
const NEVER_MS: u64 = 3_600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Crash,
    Pause,
    Cut,
    ThrottleScans,
    Stuck,
    Join,
    Leave,
    Twin,
    Split,
    Merge,
    HandOff,
}

enum Event {
    Tick(usize),
    Land { worker: usize, request: Request, purpose: Purpose, sent_ms: u64, back_ms: Option<u64>, answered: bool },
    Answer { worker: usize, purpose: Purpose, sent_ms: u64, answer: Answer },
    Start { name: String, style: Style },
    Fault(Fault),
    Check,
}

struct Entry {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

struct Slot {
    worker: Worker,
    alive: bool,
    paused_until: u64,
    cut_until: u64,
    throttled_until: u64,
    /// Since when nothing has gone wrong for it.
    well_since: u64,
    /// Since when it has had room for a shard that is not done.
    roomy_since: u64,
}

/// What a fleet did.
#[derive(Default)]
pub struct Report {
    pub broken: Option<String>,
    pub steals: u64,
    pub takes: u64,
    pub longest_orphaned_ms: u64,
    /// From the last change to the last steal.
    pub settled_in_ms: u64,
}

pub struct World {
    now: u64,
    number: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    rng: Rng,
    stream: Stream,
    table: Table,
    slots: Vec<Slot>,
    checks: Checks,
    rules: Rules,
    initial: Position,
    calm_ms: u64,
    capped: bool,
    kcl: bool,
    names: usize,
    last_change_ms: u64,
    last_steal_ms: u64,
    report: Report,
    trace: bool,
}

impl World {
    pub fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let capped = rng.u8(0..100) < 12;
        let kcl = rng.u8(0..100) < 40;
        let rules = Rules {
            failover_ms: FAILOVER_MS,
            max_leases: if capped { rng.usize(1..6) } else { usize::MAX },
            steal_at_once: [1, 4, 16][rng.usize(0..3)],
            priority: true,
        };
        let calm_ms = rng.u64(120_000..420_000);
        let mut world = Self {
            now: 0,
            number: 0,
            queue: BinaryHeap::new(),
            stream: Stream::new(rng.usize(1..13)),
            table: Table::default(),
            slots: Vec::new(),
            checks: Checks::default(),
            rules,
            initial: if rng.bool() { Position::TrimHorizon } else { Position::Latest },
            calm_ms,
            capped,
            kcl,
            names: 0,
            last_change_ms: 0,
            last_steal_ms: 0,
            report: Report::default(),
            trace,
            rng,
        };
        for _ in 0..world.rng.usize(1..6) {
            world.plan_start(Style::Ours, 5_000);
        }
        if kcl {
            let version = if world.rng.bool() { Version::One } else { Version::Two };
            for _ in 0..world.rng.usize(1..4) {
                world.plan_start(Style::Kcl(version), 5_000);
            }
        }
        let faults = [
            Fault::Crash,
            Fault::Crash,
            Fault::Pause,
            Fault::Pause,
            Fault::Cut,
            Fault::Cut,
            Fault::ThrottleScans,
            Fault::Stuck,
            Fault::Join,
            Fault::Leave,
            Fault::Twin,
            Fault::Split,
            Fault::Split,
            Fault::Merge,
            Fault::HandOff,
        ];
        for _ in 0..world.rng.usize(2..14) {
            let fault = faults[world.rng.usize(0..faults.len())];
            let at = world.rng.u64(15_000..world.calm_ms);
            world.push(at, Event::Fault(fault));
        }
        world.push(CHECK_MS, Event::Check);
        world
    }

    fn plan_start(&mut self, style: Style, within_ms: u64) {
        self.names += 1;
        let name = format!("{}{}", if style == Style::Ours { "ours" } else { "kcl" }, self.names);
        let at = self.now + self.rng.u64(0..within_ms);
        self.push(at, Event::Start { name, style });
    }

    fn push(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.queue.push(Reverse(Entry { at, number: self.number, event }));
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>8} {}", self.now, what());
        }
    }

    fn changed(&mut self) {
        self.last_change_ms = self.now;
    }

    /// Runs until the fleet has settled, or something is broken.
    pub fn run(mut self) -> Report {
        while let Some(Reverse(entry)) = self.queue.pop() {
            self.now = entry.at;
            self.step(entry.event);
            if let Some(broken) = self.checks.broken.take() {
                self.report.broken = Some(broken);
                break;
            }
            let begun = self.now.min(self.calm_ms).max(self.last_change_ms);
            if self.now > self.calm_ms
                && self.now > begun.max(self.calm_ms) + self.settles_in() + 6 * self.slowest_period()
            {
                self.report.broken = self.unbalanced();
                break;
            }
            if self.now > self.calm_ms + NEVER_MS {
                self.report.broken = Some(format!("at {} ms: the fleet does not come to rest", self.now));
                break;
            }
        }
        self.report.longest_orphaned_ms = self.checks.longest_orphaned_ms;
        self.report.settled_in_ms = self.last_steal_ms.saturating_sub(self.last_change_ms.max(self.calm_ms));
        self.report
    }

    fn slowest_period(&self) -> u64 {
        if self.kcl { KCL_PERIOD_MS } else { PERIOD_MS * 6 / 5 }
    }

    /// After the last change nothing is stolen any more once everybody has had so many rounds as it lacks leases at most, a few
    /// more for races, and those who were paused in their stealing have come back.
    fn settles_in(&self) -> u64 {
        let workers = self.workers().len().max(1);
        let target = self.table.rows.len().div_ceil(workers) as u64;
        16 * FAILOVER_MS + (target + 6) * self.slowest_period()
    }

    fn workers(&self) -> BTreeMap<&str, usize> {
        let alive = self.slots.iter().filter(|slot| slot.alive);
        alive.map(|slot| (slot.worker.name.as_str(), 0)).collect()
    }

    /// What is wrong with the shares of a fleet at rest.
    fn unbalanced(&self) -> Option<String> {
        let mut counts = self.workers();
        if counts.is_empty() {
            return None;
        }
        let target = self.table.rows.len().div_ceil(counts.len()).max(1);
        for row in self.table.rows.values() {
            match row.actual_owner().and_then(|owner| counts.get_mut(owner)) {
                Some(count) => *count += 1,
                None if self.capped => {}
                None => return Some(format!("{} belongs to {:?} at rest", row.shard, row.actual_owner())),
            }
        }
        let fair = counts.values().all(|count| (target.saturating_sub(1)..=target).contains(count));
        (!fair && !self.capped).then(|| format!("target {target}, at rest {counts:?}"))
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Start { name, style } => self.start(name, style),
            Event::Fault(fault) => self.fault(fault),
            Event::Check => {
                self.check_orphans();
                self.push(self.now + CHECK_MS, Event::Check);
            }
            Event::Tick(worker) => {
                if let Some(event) = self.when_awake(worker, Event::Tick(worker)) {
                    drop(event);
                    let mut out = Out::default();
                    self.slots[worker].worker.tick(&self.stream, self.now, &mut out);
                    self.done(worker, out);
                    let next = self.now + self.rng.u64(150..350);
                    self.push(next, Event::Tick(worker));
                    let slot = &mut self.slots[worker];
                    if slot.worker.leaving && slot.worker.held.is_empty() {
                        slot.alive = false;
                        self.changed();
                    }
                }
            }
            Event::Land { worker, request, purpose, sent_ms, back_ms, answered } => {
                let slot = &self.slots[worker];
                if slot.cut_until > self.now {
                    // It never came; the sender finds out by its time-out.
                    if answered {
                        let timeout = timeout(&request);
                        self.unknown(worker, purpose, sent_ms, timeout);
                    }
                    return;
                }
                let answer = self.land(worker, &request, &purpose);
                if let (true, Some(back_ms)) = (answered, back_ms) {
                    self.push(self.now + back_ms, Event::Answer { worker, purpose, sent_ms, answer });
                } else if answered {
                    self.unknown(worker, purpose, sent_ms, timeout(&request));
                }
            }
            Event::Answer { worker, purpose, sent_ms, answer } => {
                let event = Event::Answer { worker, purpose, sent_ms, answer };
                if let Some(Event::Answer { purpose, sent_ms, answer, .. }) = self.when_awake(worker, event) {
                    if matches!(answer, Answer::Unknown) {
                        self.slots[worker].well_since = self.now;
                    }
                    let mut out = Out::default();
                    self.slots[worker].worker.answer(purpose, sent_ms, answer, self.now, &mut out);
                    self.done(worker, out);
                }
            }
        }
    }

    /// The event again, unless its process is gone, or stopped: then it comes later.
    fn when_awake(&mut self, worker: usize, event: Event) -> Option<Event> {
        let slot = &self.slots[worker];
        if !slot.alive {
            return None;
        }
        if slot.paused_until > self.now {
            let until = slot.paused_until;
            self.push(until, event);
            return None;
        }
        Some(event)
    }

    fn unknown(&mut self, worker: usize, purpose: Purpose, sent_ms: u64, timeout_ms: u64) {
        let at = (sent_ms + timeout_ms).max(self.now);
        self.push(at, Event::Answer { worker, purpose, sent_ms, answer: Answer::Unknown });
    }

    /// A request reaches the table.
    fn land(&mut self, worker: usize, request: &Request, purpose: &Purpose) -> Answer {
        let before = match request {
            Request::Update { known: row, .. } | Request::Delete(row) => self.table.rows.get(&row.shard).cloned(),
            _ => None,
        };
        let answer = self.table.apply(request);
        let Answer::Written(row) = &answer else { return answer };
        self.checks.landed(request, before.as_ref(), &self.table.rows, &self.stream, self.now);
        let name = self.slots[worker].worker.name.clone();
        match (request, purpose) {
            (Request::Update { change: Change::Take(_), .. }, Purpose::Take(take)) => {
                let from = before.as_ref().and_then(|row| row.actual_owner().map(str::to_owned));
                self.say(|| format!("{name} takes {} from {from:?}: {:?}", row.shard, take.kind));
                self.report.takes += 1;
                if take.kind == Kind::Steal {
                    self.report.steals += 1;
                    self.last_steal_ms = self.now;
                    let calm = self.last_change_ms.max(self.calm_ms);
                    if self.now > calm + self.settles_in() {
                        let what = format!("{name} steals {} {} ms after the last change", row.shard, self.now - calm);
                        self.checks.fail(self.now, what);
                    }
                    let handed = before.as_ref().is_some_and(|row| row.checkpoint_owner.is_some());
                    if handed && self.slots[worker].worker.style == Style::Ours {
                        self.checks.fail(self.now, format!("{name} steals {} which is handed over", row.shard));
                    }
                } else {
                    self.changed();
                }
            }
            (Request::Update { change: Change::Renew, .. }, _) => {
                let worker = &self.slots[worker].worker;
                let (shard, style) = (row.shard.clone(), worker.style);
                let silent_ms = worker.silent_ms(&shard, self.now);
                if style == Style::Ours {
                    self.checks.renewed_after_silence(&shard, silent_ms, self.now);
                }
            }
            (Request::Update { change: Change::GiveUp, .. } | Request::Create(_) | Request::Delete(_), _) => {
                self.say(|| format!("{name}: {request:?}"));
                self.changed();
            }
            (Request::Update { change: Change::Checkpoint(Position::ShardEnd), .. }, _) => {
                self.say(|| format!("{name} has ended {}", row.shard));
                self.changed();
            }
            _ => {}
        }
        answer
    }

    /// What a worker wants to send, and what it did.
    fn done(&mut self, worker: usize, out: Out) {
        for act in out.acts {
            let name = self.slots[worker].worker.name.clone();
            let ours = self.slots[worker].worker.style == Style::Ours;
            match act {
                Act::Begins { shard, latest } => {
                    self.say(|| format!("{name} begins {shard}"));
                    if ours {
                        self.checks.begins(&shard, latest, &self.table.rows, &self.stream, self.now);
                        self.check_fence(worker, &shard);
                    } else if latest {
                        self.checks.begins(&shard, latest, &self.table.rows, &self.stream, self.now);
                    }
                }
                Act::Delivers { shard, from, to } => {
                    self.checks.delivers(&name, &shard, from, to, self.now);
                    if ours {
                        self.check_fence(worker, &shard);
                    }
                }
                Act::Silent { shard, since_ms } => {
                    self.say(|| format!("{name}: the group of {shard} is silent for {since_ms} ms"));
                    self.changed();
                }
            }
        }
        for (request, purpose) in out.send {
            self.send(worker, request, purpose);
        }
    }

    /// No two of ours may write what they have of one shard.
    fn check_fence(&mut self, worker: usize, shard: &str) {
        let open =
            |slot: &Slot| slot.alive && slot.worker.style == Style::Ours && slot.worker.fence_is_open(shard, self.now);
        let both: Vec<&str> =
            self.slots.iter().filter(|slot| open(slot)).map(|slot| slot.worker.name.as_str()).collect();
        if !open(&self.slots[worker]) || both.len() > 1 {
            self.checks.fail(self.now, format!("{shard} may be written by {both:?}"));
        }
    }

    fn send(&mut self, worker: usize, request: Request, purpose: Purpose) {
        let (now, disturbed) = (self.now, self.now < self.calm_ms);
        let scan = matches!(request, Request::Scan);
        let slow = self.rng.u8(0..100) < if scan { 5 } else { 2 };
        let way = |rng: &mut Rng| if slow { rng.u64(200..1_500) } else { rng.u64(3..60) };
        let (to, back) = (way(&mut self.rng), way(&mut self.rng));
        let fate = if disturbed { self.rng.u16(0..1_000) } else { 1_000 };
        let timeout = timeout(&request);
        let throttled = scan && self.slots[worker].throttled_until > now;
        let land = |request, purpose, back_ms, answered| Event::Land {
            worker,
            request,
            purpose,
            sent_ms: now,
            back_ms,
            answered,
        };
        match fate {
            // Never sent, or throttled.
            _ if throttled || self.slots[worker].cut_until > now => {
                let after = if throttled { to } else { timeout };
                self.unknown(worker, purpose, now, after);
            }
            0..12 => self.unknown(worker, purpose, now, to),
            // It arrives, the answer does not.
            12..27 => self.push(now + to, land(request, purpose, None, true)),
            // It arrives after its sender has given up.
            27..33 => {
                let late = self.rng.u64(timeout..timeout + 15_000);
                self.unknown(worker, purpose.clone(), now, timeout);
                self.push(now + late, land(request, purpose, None, false));
            }
            _ => self.push(now + to, land(request, purpose, Some(back), true)),
        }
    }

    fn start(&mut self, name: String, style: Style) {
        self.say(|| format!("{name} starts"));
        let clock = Clock { offset_ms: self.rng.u64(0..10_000_000), rate: 1.0 + (self.rng.f64() - 0.5) * 0.013 };
        let rules = match style {
            Style::Ours => self.rules,
            Style::Kcl(_) => Rules { max_leases: usize::MAX, ..self.rules },
        };
        let seed = self.rng.u64(..);
        let worker = Worker::new(name, style, clock, rules, self.initial.clone(), self.now, seed);
        self.slots.push(Slot {
            worker,
            alive: true,
            paused_until: 0,
            cut_until: 0,
            throttled_until: 0,
            well_since: self.now,
            roomy_since: self.now,
        });
        self.changed();
        self.push(self.now, Event::Tick(self.slots.len() - 1));
    }

    fn fault(&mut self, fault: Fault) {
        self.changed();
        match fault {
            Fault::Join => return self.plan_start(Style::Ours, 1_000),
            Fault::Split => {
                self.say(|| "a shard is split".to_owned());
                return self.stream.split(self.now, &mut self.rng);
            }
            Fault::Merge => {
                self.say(|| "two shards are merged".to_owned());
                return self.stream.merge(self.now, &mut self.rng);
            }
            _ => {}
        }
        let alive: Vec<usize> = (0..self.slots.len()).filter(|&at| self.slots[at].alive).collect();
        let Some(at) = self.rng.choice(alive.iter().copied()) else { return };
        let (now, end) = (self.now, self.calm_ms);
        self.say(|| format!("{fault:?} of {}", self.slots[at].worker.name));
        let lasts = now + self.rng.u64(500..45_000);
        let slot = &mut self.slots[at];
        match fault {
            Fault::Pause => (slot.paused_until, slot.well_since) = (lasts.min(end), lasts.min(end)),
            Fault::Cut => (slot.cut_until, slot.well_since) = (lasts.min(end), lasts.min(end)),
            Fault::ThrottleScans => (slot.throttled_until, slot.well_since) = (lasts.min(end), lasts.min(end)),
            Fault::Stuck => slot.worker.get_stuck(now, (lasts - now) * 2),
            Fault::Leave if alive.len() > 1 && slot.worker.style == Style::Ours => slot.worker.leave(),
            Fault::Crash | Fault::Leave if alive.len() > 1 => {
                slot.alive = false;
                let (name, style) = (slot.worker.name.clone(), slot.worker.style);
                match self.rng.u8(0..3) {
                    0 => {}
                    1 => self.push(lasts, Event::Start { name, style }),
                    _ => self.plan_start(style, 30_000),
                }
            }
            Fault::Twin if slot.worker.style == Style::Ours => {
                let name = slot.worker.name.clone();
                self.push(now + 1, Event::Start { name, style: Style::Ours });
            }
            // A leader of the KCL 3 wants a lease for another worker.
            Fault::HandOff if !self.kcl => {
                let owned: Vec<_> = self
                    .table
                    .rows
                    .values_mut()
                    .filter(|row| row.owner.is_some() && row.checkpoint_owner.is_none())
                    .collect();
                if let Some(row) = self.rng.choice(owned) {
                    row.checkpoint_owner = row.owner.replace("leader's choice".to_owned());
                }
            }
            _ => {}
        }
    }

    fn check_orphans(&mut self) {
        let now = self.now;
        for slot in &mut self.slots {
            let worker = &slot.worker;
            // What a twin of the same name holds takes room too: neither can tell its rows from the other's.
            let of_name = |row: &&Row| row.actual_owner() == Some(&worker.name) && !row.is_ended();
            let load = worker.load().max(self.table.rows.values().filter(of_name).count());
            if load >= worker.rules.max_leases {
                slot.roomy_since = now;
            }
        }
        let slots = &self.slots;
        let is_held = |shard: &str| slots.iter().any(|slot| slot.alive && slot.worker.holds(shard, now));
        let could_take = |row: &Row| {
            let able = slots.iter().find(|slot| {
                slot.alive
                    && slot.worker.style == Style::Ours
                    && !slot.worker.leaving
                    && slot.well_since + ORPHANED_MS < now
                    && (row.is_ended() || slot.roomy_since + ORPHANED_MS < now)
                    // A refusal that has just ended is no time in which it could have been taken.
                    && !slot.worker.refuses(&row.shard, now.saturating_sub(ORPHANED_MS))
            })?;
            Some(able.worker.name.clone())
        };
        self.checks.orphans(&self.table.rows, is_held, could_take, now);
    }
}

fn timeout(request: &Request) -> u64 {
    if matches!(request, Request::Scan) { SCAN_TIMEOUT_MS } else { TIMEOUT_MS }
}
