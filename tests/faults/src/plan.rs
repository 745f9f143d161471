//! Faults of actors: who fails when and how.

use std::sync::{Mutex, PoisonError};

use snowmelt_runtime::GroupId;
use snowmelt_runtime::fault::{Fault, FaultHook, Moment, Turn};

/// One actor's failure at one of its turns.
#[derive(Debug, Clone)]
pub struct Strike {
    /// Beginning of the pipeline's name.
    pub app: &'static str,
    /// The shard's number; any when absent.
    pub shard: Option<u32>,
    /// Beginning of the actor's name.
    pub actor: &'static str,
    /// The kind of turn.
    pub turn: Turn,
    /// Before or after its work.
    pub moment: Moment,
    /// The first such turn that fails, from 1.
    pub nth: u32,
    /// How many in a row fail.
    pub times: u32,
    /// How.
    pub fault: Fault,
}

/// All strikes of a schedule, and which of them have happened.
#[derive(Default)]
pub struct Faults {
    strikes: Vec<(Strike, Mutex<(u32, u32)>)>,
}

impl Faults {
    /// Nothing has happened yet.
    pub fn new(strikes: Vec<Strike>) -> Self {
        Self { strikes: strikes.into_iter().map(|strike| (strike, Mutex::default())).collect() }
    }

    /// How many faults have happened.
    pub fn happened(&self) -> u32 {
        self.strikes.iter().map(|(_, state)| state.lock().unwrap_or_else(PoisonError::into_inner).1).sum()
    }
}

/// The number at the end of a shard's id.
pub fn shard_number(shard: &str) -> Option<u32> {
    shard.rsplit('-').next()?.parse().ok()
}

impl FaultHook for Faults {
    fn fault(&self, group: &GroupId, actor: &str, turn: Turn, moment: Moment) -> Option<Fault> {
        for (strike, state) in &self.strikes {
            let meant = strike.turn == turn
                && strike.moment == moment
                && actor.starts_with(strike.actor)
                && group.pipeline.starts_with(strike.app)
                && (strike.shard.is_none() || strike.shard == shard_number(&group.shard));
            if !meant {
                continue;
            }
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 += 1;
            if state.0 >= strike.nth && state.0 < strike.nth + strike.times {
                state.1 += 1;
                return Some(strike.fault);
            }
        }
        None
    }
}
