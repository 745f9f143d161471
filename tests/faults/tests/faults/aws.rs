//! The same faults where streams are Kinesis's, leases DynamoDB's and objects S3's, on stand-ins.

use std::time::Duration;

use snowmelt_faults::schedule::{ROLES, is_worker};
use snowmelt_faults::{Call, Schedule, Storm, Strike, Trouble, all};
use snowmelt_runtime::fault::{Fault, Moment, Turn};

/// Schedules from seeds that a run plays, unless `SNOWMELT_AWS_SCHEDULES` says otherwise.
const SCHEDULES: u64 = 6;

#[derive(Debug, Clone)]
enum Case {
    Role(&'static str, &'static str, Fault),
    Storm(Storm),
    Seed(u64),
}

fn schedule(case: &Case) -> Schedule {
    match case {
        Case::Role(app, actor, fault) => {
            let turn = if is_worker(actor) { Turn::Step } else { Turn::Message };
            let strike =
                Strike { app, shard: Some(0), actor, turn, moment: Moment::After, nth: 1, times: 1, fault: *fault };
            Schedule { events: (60, 20), strikes: vec![strike], others_undisturbed: true, ..Schedule::default() }
        }
        Case::Storm(storm) => Schedule { events: (60, 20), storms: vec![*storm], ..Schedule::default() },
        Case::Seed(seed) => Schedule::drawn(*seed),
    }
}

fn run(case: Case) -> anyhow::Result<()> {
    let must_strike = matches!(case, Case::Role(..));
    let Some(verdict) = schedule(&case).run_on_aws()? else { return Ok(()) };
    anyhow::ensure!(!must_strike || verdict.struck == 1, "the fault did not happen");
    println!("{case:?}: {verdict:?}");
    Ok(())
}

fn hold(cases: &[Case]) {
    let failed = all(cases, |case| format!("{case:?}"), run);
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

#[test]
fn every_role_survives_a_panic_on_aws() {
    hold(&ROLES.map(|(app, actor)| Case::Role(app, actor, Fault::Panic)));
}

#[test]
fn calls_to_aws_that_fail_are_slow_or_are_done_though_they_failed() {
    let storm = |call, trouble| Case::Storm(Storm { call, nth: 1, times: 3, trouble });
    hold(&[
        storm(Call::Read, Trouble::Unavailable),
        storm(Call::Put, Trouble::Refused(3)),
        storm(Call::Put, Trouble::DoneAndUnavailable),
        storm(Call::Checkpoint, Trouble::DoneAndUnavailable),
        storm(Call::Object, Trouble::DoneAndUnavailable),
        storm(Call::Acquire, Trouble::Slow(Duration::from_millis(300))),
    ]);
}

#[test]
fn schedules_of_random_faults_lose_nothing_on_aws() {
    let asked = std::env::var("SNOWMELT_AWS_SCHEDULES").ok();
    let count = asked.map_or(SCHEDULES, |text| text.parse().expect("SNOWMELT_AWS_SCHEDULES is a number"));
    let seeds: Vec<Case> = (1..=count).map(Case::Seed).collect();
    hold(&seeds);
}
