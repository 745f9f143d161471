//! Every role fails in every way at every stage of its life.

use std::time::Duration;

use snowmelt_faults::schedule::{ROLES, is_worker};
use snowmelt_faults::{Schedule, Strike, all};
use snowmelt_runtime::fault::{Fault, Moment, Turn};

/// So many that each writer of shard 0 gets a third batch however few and full its batches are on a slow machine: three of the
/// eight keys are in shard 0 of the raw stream, about half of all in that of the enriched one, and a batch has at most 23 records
/// (one short of full, and a page).
const EVENTS: (u32, u32) = (120, 60);

#[derive(Debug, Clone, Copy)]
enum Stage {
    First,
    Midway,
    Drain,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    role: (&'static str, &'static str),
    fault: Fault,
    stage: Stage,
    moment: Moment,
}

fn cases(fault: Fault) -> Vec<Case> {
    let mut cases = Vec::new();
    for role in ROLES {
        for stage in [Stage::First, Stage::Midway, Stage::Drain] {
            for moment in [Moment::Before, Moment::After] {
                cases.push(Case { role, fault, stage, moment });
            }
        }
    }
    cases
}

fn run(case: Case) -> anyhow::Result<()> {
    let (app, actor) = case.role;
    let (turn, nth) = match case.stage {
        Stage::First => (if is_worker(actor) { Turn::Step } else { Turn::Message }, 1),
        Stage::Midway => (if is_worker(actor) { Turn::Step } else { Turn::Message }, 3),
        Stage::Drain => (Turn::Drain, 1),
    };
    let strike = Strike { app, shard: Some(0), actor, turn, moment: case.moment, nth, times: 1, fault: case.fault };
    let schedule = Schedule {
        events: EVENTS,
        strikes: vec![strike],
        drain_at: matches!(case.stage, Stage::Drain).then_some(40),
        others_undisturbed: true,
        ..Schedule::default()
    };
    let verdict = schedule.run()?;
    anyhow::ensure!(verdict.struck == 1, "the fault did not happen");
    println!("{case:?}: {verdict:?}");
    Ok(())
}

fn every_role_survives(fault: Fault) {
    let failed = all(&cases(fault), |case| format!("{case:?}"), run);
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_role_survives_an_error() {
    every_role_survives(Fault::Error);
}

#[test]
fn every_role_survives_a_panic() {
    every_role_survives(Fault::Panic);
}

#[test]
fn every_role_survives_a_future_that_never_ends() {
    every_role_survives(Fault::Hang);
}

#[test]
fn every_role_survives_a_blocked_event_loop() {
    every_role_survives(Fault::Block(Duration::from_millis(2000)));
}
