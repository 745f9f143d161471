//! The shop itself: its visitors, its clock, and the plan by which events go bad.

use std::collections::VecDeque;

use crate::request::{Draft, get, post};
use crate::spoil::{spoil, spoils_request};
use crate::visitor::Visitor;
use crate::{BadKind, ShopConfig, ShopRequest};

/// How many visitors are in the shop at the same time.
pub(crate) const CROWD: usize = 48;
/// The most events in one POST.
const LARGEST_BATCH: usize = 10;

/// The requests of a web shop, without end or up to [`ShopConfig::events`]; see the crate's documentation.
pub struct Shop {
    config: ShopConfig,
    rng: fastrand::Rng,
    now_ms: i64,
    crowd: Vec<Visitor>,
    ready: VecDeque<ShopRequest>,
    played: u64,
    spoilt: u64,
}

impl Shop {
    /// Opens the shop; nobody is in it yet.
    pub fn new(config: ShopConfig) -> Self {
        let rng = fastrand::Rng::with_seed(config.seed);
        let now_ms = config.start_ms;
        Self { config, rng, now_ms, crowd: Vec::with_capacity(CROWD), ready: VecDeque::new(), played: 0, spoilt: 0 }
    }

    /// Lets one visitor visit one page, and readies the requests which that makes.
    fn play(&mut self) {
        self.now_ms += i64::from(self.rng.u32(0..=self.config.pause_ms.saturating_mul(2)));
        let at = if self.crowd.len() < CROWD {
            self.crowd.push(Visitor::arrive(&mut self.rng));
            self.crowd.len() - 1
        } else {
            self.rng.usize(..self.crowd.len())
        };
        if self.crowd[at].has_left() {
            if self.rng.u8(..5) < 2 {
                self.crowd[at].come_back(&mut self.rng);
            } else {
                self.crowd[at] = Visitor::arrive(&mut self.rng);
            }
        }
        let mut drafts = self.crowd[at].visit(&mut self.rng);
        let left = self.config.events - self.played;
        drafts.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        self.send(at, drafts);
    }

    /// Groups the events of one page visit into requests.
    fn send(&mut self, at: usize, drafts: Vec<Draft>) {
        let visitor = &self.crowd[at];
        let setup = visitor.setup;
        let sent_ms = self.now_ms + i64::from(self.rng.u32(5..400));
        let mut batch = Vec::with_capacity(LARGEST_BATCH);
        let mut batch_size = self.rng.usize(1..=LARGEST_BATCH);
        for (n, mut draft) in drafts.into_iter().enumerate() {
            let bad = next_bad(&mut self.played, &mut self.spoilt, self.config.bad_percent);
            if let Some(bad) = bad {
                spoil(&mut draft, bad);
            }
            draft.seal(setup, &self.config.app_id, self.now_ms + n as i64, sent_ms);
            match bad {
                Some(BadKind::UnknownPath) => self.ready.push_back(get(visitor, "/com.snowmelt.shop/v0", &draft)),
                Some(BadKind::BrokenPayload) => self.ready.push_back(post(visitor, std::slice::from_ref(&draft))),
                _ if !setup.post || bad.is_some_and(spoils_request) => {
                    self.ready.push_back(get(visitor, "/i", &draft));
                }
                _ => {
                    batch.push(draft);
                    if batch.len() == batch_size {
                        self.ready.push_back(post(visitor, &batch));
                        batch.clear();
                        batch_size = self.rng.usize(1..=LARGEST_BATCH);
                    }
                }
            }
        }
        if !batch.is_empty() {
            self.ready.push_back(post(visitor, &batch));
        }
    }
}

impl Iterator for Shop {
    type Item = ShopRequest;

    fn next(&mut self) -> Option<ShopRequest> {
        while self.ready.is_empty() && self.played < self.config.events {
            self.play();
        }
        self.ready.pop_front()
    }
}

/// Counts one more event and says whether it has to be bad, so that bad ones are spread evenly and exact in number.
fn next_bad(played: &mut u64, spoilt: &mut u64, percent: f64) -> Option<BadKind> {
    const WHOLE: u128 = 1_000_000;
    let share = (percent.clamp(0.0, 100.0) * 10_000.0).round() as u128;
    *played += 1;
    let due = u128::from(*played) * share / WHOLE > u128::from(*spoilt);
    due.then(|| {
        let kind = BadKind::ALL[(*spoilt % BadKind::ALL.len() as u64) as usize];
        *spoilt += 1;
        kind
    })
}
