//! A worker of a simulated fleet: ours, with the real rules, or one that behaves as the Kinesis Client Library's do.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use snowmelt_leases::fleet::{
    AtEnd, Cleaning, Holes, Kind, Outcome, Row, Rows, Rules, StealBackoff, Take, Timing, Watch, adopt, at_shard_end,
    clean, decide, judge, missing, unfinished_parent,
};
use snowmelt_leases::{Position, ShardInfo};

use crate::kcl::{self, Version};
use crate::stream::Stream;
use crate::table::{Answer, Change, Request};

pub const FAILOVER_MS: u64 = 10_000;
/// Our period between two looks at the table, and a KCL worker's.
pub const PERIOD_MS: u64 = 5_000;
pub const KCL_PERIOD_MS: u64 = (FAILOVER_MS + 25) * 2;
/// Without a sign of life for so many failover times a lease is renewed no more.
pub const SILENT: u64 = 2;
const FLUSH_MS: u64 = 1_500;
const CHECKPOINT_MS: u64 = 5_000;
const CLEAN_MS: u64 = 20_000;
const HOLES_MS: u64 = 30_000;
const SILENCE_MS: u64 = 1_000;
const REFUSED_MS: u64 = 6 * FAILOVER_MS;

/// A machine's clock: it started at some time, and runs a little too fast or too slow.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub offset_ms: u64,
    pub rate: f64,
}

impl Clock {
    pub fn at(&self, true_ms: u64) -> u64 {
        self.offset_ms + (true_ms as f64 * self.rate) as u64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Ours,
    Kcl(Version),
}

/// Why a request was made.
#[derive(Clone, Debug)]
pub enum Purpose {
    Round {
        listed: Vec<ShardInfo>,
    },
    Reread(Take),
    Take(Take),
    /// A take whose answer was lost.
    TakeCheck(Row),
    Held {
        shard: String,
        epoch: u64,
        change: Change,
    },
    Ending {
        shard: String,
        epoch: u64,
    },
    Delete {
        shard: String,
        epoch: u64,
    },
    Nothing,
}

/// What a worker does that others can see, for the checks.
#[derive(Clone, Debug)]
pub enum Act {
    Begins { shard: String, latest: bool },
    Delivers { shard: String, from: u64, to: u64 },
    Silent { shard: String, since_ms: u64 },
}

#[derive(Default)]
pub struct Out {
    pub send: Vec<(Request, Purpose)>,
    pub acts: Vec<Act>,
}

pub struct Held {
    epoch: u64,
    pub row: Row,
    sent_ms: u64,
    due_ms: u64,
    reads_from_ms: u64,
    unanswered: Vec<(u64, Row)>,
    busy: bool,
    pub begun: bool,
    /// The group may write no more.
    pub shut: bool,
    /// Records delivered.
    done: u64,
    flush_ms: u64,
    checkpoint_ms: u64,
    heard_ms: u64,
    stuck_until_ms: u64,
    hand_over_ms: Option<u64>,
    ending: VecDeque<Request>,
    ending_busy: bool,
    clean_ms: u64,
}

pub struct Worker {
    pub name: String,
    pub style: Style,
    pub clock: Clock,
    pub rules: Rules,
    initial: Position,
    timing: Timing,
    rng: Rng,
    watch: Watch,
    view: Rows,
    pub held: BTreeMap<String, Held>,
    backoff: StealBackoff,
    refused: BTreeMap<String, u64>,
    holes: Holes,
    holes_ms: u64,
    want_sync: bool,
    first: bool,
    scanning: bool,
    round_ms: u64,
    epochs: u64,
    pub leaving: bool,
}

impl Worker {
    pub fn new(
        name: String,
        style: Style,
        clock: Clock,
        rules: Rules,
        initial: Position,
        true_ms: u64,
        seed: u64,
    ) -> Self {
        let mut rng = Rng::with_seed(seed);
        let now = clock.at(true_ms);
        Self {
            name,
            style,
            clock,
            rules,
            initial,
            timing: Timing { failover_ms: FAILOVER_MS, silent_failovers: SILENT },
            watch: Watch::default(),
            view: Rows::new(),
            held: BTreeMap::new(),
            backoff: StealBackoff::new(FAILOVER_MS),
            refused: BTreeMap::new(),
            holes: Holes::default(),
            holes_ms: now + rng.u64(0..HOLES_MS),
            want_sync: false,
            first: true,
            scanning: false,
            round_ms: now + rng.u64(0..3_000),
            epochs: 0,
            leaving: false,
            rng,
        }
    }

    fn ours(&self) -> bool {
        self.style == Style::Ours
    }

    /// Whether the lease is this worker's, as far as it knows.
    pub fn holds(&self, shard: &str, true_ms: u64) -> bool {
        let now = self.clock.at(true_ms);
        self.held.get(shard).is_some_and(|held| !self.timing.is_lost(held.sent_ms, now))
    }

    /// Whether a write of the shard's group would pass its fence.
    pub fn fence_is_open(&self, shard: &str, true_ms: u64) -> bool {
        let now = self.clock.at(true_ms);
        self.held.get(shard).is_some_and(|held| self.may_write(held, now))
    }

    fn may_write(&self, held: &Held, now: u64) -> bool {
        let in_time = match self.style {
            Style::Ours => now < self.timing.fence_until_ms(held.sent_ms),
            Style::Kcl(_) => !self.timing.is_lost(held.sent_ms, now),
        };
        held.begun && !held.shut && in_time
    }

    pub fn refuses(&self, shard: &str, true_ms: u64) -> bool {
        self.refused.get(shard).is_some_and(|until_ms| *until_ms > self.clock.at(true_ms))
    }

    /// How long the shard's group has not been heard of.
    pub fn silent_ms(&self, shard: &str, true_ms: u64) -> u64 {
        self.held.get(shard).map_or(0, |held| self.clock.at(true_ms) - held.heard_ms)
    }

    /// Leases of shards not yet done.
    pub fn load(&self) -> usize {
        self.held.values().filter(|held| !held.row.is_ended()).count()
    }

    /// The group of one of its shards says nothing for a while.
    pub fn get_stuck(&mut self, true_ms: u64, for_ms: u64) {
        let now = self.clock.at(true_ms);
        let reading: Vec<&mut Held> = self.held.values_mut().filter(|held| held.begun).collect();
        if let Some(held) = self.rng.choice(reading) {
            held.stuck_until_ms = now + for_ms;
        }
    }

    /// Stops for good: takes nothing more, stores what is done, gives up.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    fn update(&self, known: &Row, change: Change) -> Request {
        Request::Update { known: known.clone(), change, owners: self.ours() }
    }

    pub fn tick(&mut self, stream: &Stream, true_ms: u64, out: &mut Out) {
        let now = self.clock.at(true_ms);
        if now >= self.round_ms && !self.scanning && !self.leaving {
            self.scanning = true;
            // The listing is from before the scan: what follows of a shard that is not in it can't be mistaken for the first.
            out.send.push((Request::Scan, Purpose::Round { listed: stream.listing() }));
        }
        if now >= self.holes_ms {
            self.holes_ms = now + HOLES_MS * 4 / 5 + self.rng.u64(0..HOLES_MS * 2 / 5);
            self.want_sync |= !self.view.is_empty() && self.holes.check(&self.view);
        }
        let lost: Vec<String> = self
            .held
            .iter()
            .filter(|(_, held)| self.timing.is_lost(held.sent_ms, now))
            .map(|(id, _)| id.clone())
            .collect();
        for shard in lost {
            self.held.remove(&shard);
        }
        let shards: Vec<String> = self.held.keys().cloned().collect();
        for shard in shards {
            let mut held = self.held.remove(&shard).unwrap();
            self.tend(&shard, &mut held, stream, true_ms, now, out);
            self.held.insert(shard, held);
        }
    }

    /// Does for one lease what is due.
    fn tend(&mut self, shard: &str, held: &mut Held, stream: &Stream, true_ms: u64, now: u64, out: &mut Out) {
        let stuck = now < held.stuck_until_ms;
        if !stuck {
            held.heard_ms = now;
        }
        let write = |held: &mut Held, change: Change, out: &mut Out, this: &Self| {
            held.busy = true;
            let purpose = Purpose::Held { shard: shard.to_owned(), epoch: held.epoch, change: change.clone() };
            out.send.push((this.update(&held.row, change), purpose));
        };
        if self.ours() && held.row.is_handed_over_by(&self.name) {
            held.shut = true;
            let at = *held.hand_over_ms.get_or_insert(now + SILENCE_MS);
            if now >= at && !held.busy {
                write(held, Change::GiveUp, out, self);
            }
            return;
        }
        if held.busy {
            return;
        }
        if self.leaving {
            held.shut = true;
            let done = Position::at(held.done);
            let store = held.begun && !held.row.is_ended() && held.done > 0 && held.row.checkpoint < done;
            let change = if store && held.unanswered.is_empty() { Change::Checkpoint(done) } else { Change::GiveUp };
            write(held, change, out, self);
            return;
        }
        if now >= held.due_ms {
            if self.ours() && self.timing.is_silent(held.heard_ms, now) {
                out.acts.push(Act::Silent { shard: shard.to_owned(), since_ms: now - held.heard_ms });
                self.refused.insert(shard.to_owned(), now + REFUSED_MS);
                return;
            }
            write(held, Change::Renew, out, self);
            return;
        }
        if stuck || held.shut {
            return;
        }
        if held.row.is_ended() {
            self.clean_up(shard, held, stream, now, out);
            return;
        }
        if !held.begun {
            let fence = !self.ours() || now < self.timing.fence_until_ms(held.sent_ms);
            if fence && now >= held.reads_from_ms && unfinished_parent(&held.row, &self.view).is_none() {
                held.begun = true;
                held.done = match &held.row.checkpoint {
                    Position::At { sequence, .. } => sequence.parse().unwrap(),
                    Position::Latest => stream.records(shard, true_ms),
                    _ => 0,
                };
                let latest = held.row.checkpoint == Position::Latest;
                out.acts.push(Act::Begins { shard: shard.to_owned(), latest });
            }
            return;
        }
        if now >= held.flush_ms && self.may_write(held, now) {
            held.flush_ms = now + FLUSH_MS;
            let there = stream.records(shard, true_ms);
            if there > held.done {
                out.acts.push(Act::Delivers { shard: shard.to_owned(), from: held.done, to: there });
                held.done = there;
            }
            if stream.total(shard) == Some(held.done) && !held.ending_busy {
                self.end(shard, held, stream, out);
                return;
            }
        }
        if now >= held.checkpoint_ms && held.done > 0 && Position::at(held.done) > held.row.checkpoint {
            held.checkpoint_ms = now + CHECKPOINT_MS;
            write(held, Change::Checkpoint(Position::at(held.done)), out, self);
        }
    }

    /// The steps of a shard's end, one request at a time, each repeated with all before it when it fails.
    fn end(&mut self, shard: &str, held: &mut Held, stream: &Stream, out: &mut Out) {
        if held.ending.is_empty() {
            match at_shard_end(shard, &[], &self.view, &stream.listing(), &self.initial) {
                Ok(AtEnd::Create { leases, children }) => {
                    let rows = leases.iter().map(|(info, position)| Request::Create(Row::new(info, position.clone())));
                    held.ending = rows.collect();
                    held.ending.push_back(Request::NoteChildren { shard: shard.to_owned(), children });
                }
                Ok(AtEnd::WaitFor { .. }) => return,
                Err(error) => panic!("{error}"),
            }
        }
        self.next_step(shard, held, out);
    }

    fn next_step(&mut self, shard: &str, held: &mut Held, out: &mut Out) {
        if let Some(step) = held.ending.front() {
            held.ending_busy = true;
            out.send.push((step.clone(), Purpose::Ending { shard: shard.to_owned(), epoch: held.epoch }));
        } else if !held.busy {
            held.busy = true;
            let change = Change::Checkpoint(Position::ShardEnd);
            let purpose = Purpose::Held { shard: shard.to_owned(), epoch: held.epoch, change: change.clone() };
            out.send.push((self.update(&held.row, change), purpose));
        }
    }

    fn clean_up(&mut self, shard: &str, held: &mut Held, stream: &Stream, now: u64, out: &mut Out) {
        if now < held.clean_ms {
            return;
        }
        held.clean_ms = now + CLEAN_MS;
        if clean(&held.row, &self.view, &stream.listing()) == Cleaning::Delete {
            held.busy = true;
            let purpose = Purpose::Delete { shard: shard.to_owned(), epoch: held.epoch };
            out.send.push((Request::Delete(held.row.clone()), purpose));
        }
    }

    pub fn answer(&mut self, purpose: Purpose, sent_true_ms: u64, answer: Answer, true_ms: u64, out: &mut Out) {
        let now = self.clock.at(true_ms);
        // Ours count from before the request was sent; a KCL worker from when it was answered.
        let sent_ms = if self.ours() { self.clock.at(sent_true_ms) } else { now };
        match (purpose, answer) {
            (Purpose::Round { listed }, Answer::Scanned(rows)) => {
                self.round_over(now);
                self.look(rows, &listed, now, now - self.clock.at(sent_true_ms), out);
            }
            (Purpose::Round { .. }, _) => self.round_over(now),
            (Purpose::Reread(mut take), Answer::Found(found)) => {
                let still_wanted = take.refresh(found);
                if still_wanted {
                    self.take(take, out);
                }
            }
            (Purpose::Take(take), Answer::Written(row)) => self.took(&take, row, sent_ms, now),
            (Purpose::Take(take), Answer::Unknown) if self.ours() => {
                out.send.push((Request::Get(take.row.shard.clone()), Purpose::TakeCheck(take.row)));
            }
            (Purpose::TakeCheck(known), Answer::Found(Some(row))) => {
                let landed = row.counter == known.counter + 1 && row.actual_owner() == Some(&self.name);
                if landed && !self.held.contains_key(&row.shard) && !self.leaving {
                    // A process of the same name may have written just that: who writes the next has it.
                    self.take(Take { row, kind: Kind::Adopt }, out);
                }
            }
            (Purpose::Held { shard, epoch, change }, answer) => {
                let Some(mut held) = self.held.remove(&shard) else { return };
                if held.epoch != epoch || self.written(&shard, &mut held, change, sent_ms, answer, now) {
                    self.held.insert(shard, held);
                }
            }
            (Purpose::Ending { shard, epoch }, answer) => {
                let Some(mut held) = self.held.remove(&shard) else { return };
                if held.epoch == epoch {
                    held.ending_busy = false;
                    match answer {
                        Answer::Unknown => held.ending.clear(),
                        _ => {
                            if let Some(Request::Create(row)) = held.ending.pop_front() {
                                self.view.entry(row.shard.clone()).or_insert(row);
                            }
                            if self.may_write(&held, now) {
                                self.next_step(&shard, &mut held, out);
                            }
                        }
                    }
                }
                self.held.insert(shard, held);
            }
            (Purpose::Delete { shard, epoch }, answer) => {
                let Some(held) = self.held.get_mut(&shard).filter(|held| held.epoch == epoch) else { return };
                held.busy = false;
                match answer {
                    Answer::Written(_) | Answer::Refused(None) => {
                        self.held.remove(&shard);
                        self.view.remove(&shard);
                    }
                    _ => held.due_ms = now,
                }
            }
            _ => {}
        }
    }

    fn round_over(&mut self, now: u64) {
        self.scanning = false;
        self.round_ms = match self.style {
            Style::Ours => Timing::next_round_ms(PERIOD_MS, now, &mut self.rng),
            Style::Kcl(_) => now + KCL_PERIOD_MS,
        };
    }

    /// A whole scan has arrived.
    fn look(&mut self, rows: Rows, listed: &[ShardInfo], now: u64, took_ms: u64, out: &mut Out) {
        self.watch.see(&rows, now);
        if rows.is_empty() || std::mem::take(&mut self.want_sync) {
            match missing(&rows, listed, &self.initial) {
                Ok(made) => {
                    for (info, position) in made {
                        out.send.push((Request::Create(Row::new(&info, position)), Purpose::Nothing));
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        let mut view = rows;
        // Rows of leases that are held are newer here than in any scan.
        for (shard, held) in &self.held {
            if view.contains_key(shard) {
                view.insert(shard.clone(), held.row.clone());
            }
        }
        self.view = view;
        if self.leaving {
            return;
        }
        let takes = self.choose(now);
        self.refused.retain(|_, until_ms| *until_ms > now);
        for take in takes {
            if self.held.contains_key(&take.row.shard) || self.refused.contains_key(&take.row.shard) {
                continue;
            }
            if take.kind == Kind::Steal && took_ms > self.timing.renew_every_ms() / 2 {
                out.send.push((Request::Get(take.row.shard.clone()), Purpose::Reread(take)));
            } else {
                self.take(take, out);
            }
        }
    }

    fn choose(&mut self, now: u64) -> Vec<Take> {
        if std::mem::take(&mut self.first) {
            return adopt(&self.view, &self.name, &self.rules);
        }
        let steal_at_once = self.rules.steal_at_once;
        match self.style {
            Style::Ours => {
                let rules = Rules { steal_at_once: self.backoff.allowed(steal_at_once, now), ..self.rules };
                decide(&self.view, &self.watch, &self.name, &rules, now, &mut self.rng).take
            }
            Style::Kcl(version) => kcl::choose(
                version,
                &self.view,
                &self.watch,
                &self.name,
                FAILOVER_MS,
                steal_at_once,
                now,
                &mut self.rng,
            ),
        }
    }

    fn take(&mut self, take: Take, out: &mut Out) {
        out.send.push((self.update(&take.row, Change::Take(self.name.clone())), Purpose::Take(take)));
    }

    fn took(&mut self, take: &Take, row: Row, sent_ms: u64, now: u64) {
        if take.kind == Kind::Steal {
            self.backoff.stole(&row.shard, now);
        }
        self.epochs += 1;
        let reads_from_ms = if self.ours() { self.timing.reads_from_ms(take.kind, now) } else { now };
        let held = Held {
            epoch: self.epochs,
            sent_ms,
            due_ms: self.timing.first_due_ms(sent_ms, &mut self.rng),
            reads_from_ms,
            unanswered: Vec::new(),
            busy: false,
            begun: false,
            shut: false,
            done: 0,
            flush_ms: now,
            checkpoint_ms: now + CHECKPOINT_MS,
            heard_ms: now,
            stuck_until_ms: 0,
            hand_over_ms: None,
            ending: VecDeque::new(),
            ending_busy: false,
            clean_ms: now + self.rng.u64(0..CLEAN_MS),
            row,
        };
        self.view.insert(take.row.shard.clone(), held.row.clone());
        self.held.insert(take.row.shard.clone(), held);
    }

    /// An answer to a write of a lease that is held; false when the lease is over.
    fn written(
        &mut self,
        shard: &str,
        held: &mut Held,
        change: Change,
        sent_ms: u64,
        answer: Answer,
        now: u64,
    ) -> bool {
        held.busy = false;
        match answer {
            // Given up: whatever came of it.
            _ if change == Change::GiveUp => false,
            Answer::Written(row) => {
                self.adopt_row(shard, held, row, sent_ms);
                true
            }
            Answer::Refused(found) => {
                let sent: Vec<Row> = held.unanswered.iter().map(|(_, row)| row.clone()).collect();
                match judge(&held.row, &sent, found.as_ref(), &self.name) {
                    Outcome::Landed(index) => {
                        let (sent_ms, _) = held.unanswered[index];
                        self.adopt_row(shard, held, found.unwrap(), sent_ms);
                        held.due_ms = now;
                        true
                    }
                    Outcome::HandOff => {
                        held.row = found.unwrap();
                        true
                    }
                    Outcome::Unchanged => true,
                    Outcome::Stolen => {
                        self.backoff.lost(shard, now, &mut self.rng);
                        self.view.extend(found.map(|row| (shard.to_owned(), row)));
                        false
                    }
                    Outcome::Twin => false,
                    Outcome::Gone => {
                        self.view.remove(shard);
                        false
                    }
                }
            }
            _ => {
                // The KCL looks whether it landed after renewals only.
                if self.ours() || change == Change::Renew {
                    held.unanswered.push((sent_ms, change.of(&held.row)));
                }
                held.due_ms = self.timing.retry_due_ms(now, &mut self.rng);
                true
            }
        }
    }

    fn adopt_row(&mut self, shard: &str, held: &mut Held, row: Row, sent_ms: u64) {
        held.sent_ms = held.sent_ms.max(sent_ms);
        held.due_ms = self.timing.next_due_ms(sent_ms, &mut self.rng);
        held.unanswered.clear();
        self.view.insert(shard.to_owned(), row.clone());
        held.row = row;
    }
}
