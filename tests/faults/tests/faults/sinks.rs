//! Stores, the database and the clock misbehave.

use std::time::Duration;

use snowmelt_faults::schedule::Outside;
use snowmelt_faults::{Call, Schedule, Storm, Trouble};

fn survives(storms: Vec<Storm>, outside: Vec<(Duration, Outside)>) {
    let schedule = Schedule { events: (40, 80), storms, outside, ..Schedule::default() };
    println!("{:?}", schedule.run().expect("every promise is kept"));
}

fn storm(call: Call, nth: u32, times: u32, trouble: Trouble) -> Storm {
    Storm { call, nth, times, trouble }
}

#[test]
fn a_sink_that_is_down_for_a_while() {
    survives(
        vec![storm(Call::Object, 2, 4, Trouble::Unavailable), storm(Call::Put, 2, 4, Trouble::Unavailable)],
        vec![],
    );
}

#[test]
fn a_slow_sink() {
    let slow = Trouble::Slow(Duration::from_millis(40));
    survives(vec![storm(Call::Object, 1, 1000, slow), storm(Call::Put, 1, 1000, slow)], vec![]);
}

#[test]
fn a_sink_that_never_answers_once() {
    survives(vec![storm(Call::Object, 2, 2, Trouble::Silent), storm(Call::Put, 3, 1, Trouble::Silent)], vec![]);
}

#[test]
fn a_full_disk() {
    survives(vec![storm(Call::Object, 2, 3, Trouble::DiskFull), storm(Call::Put, 2, 3, Trouble::DiskFull)], vec![]);
}

#[test]
fn an_object_that_was_stored_though_the_store_said_no() {
    survives(vec![storm(Call::Object, 1, 6, Trouble::DoneAndUnavailable)], vec![]);
}

#[test]
fn a_put_of_which_only_the_first_entries_are_taken() {
    survives(vec![storm(Call::Put, 1, 6, Trouble::Refused(2)), storm(Call::Put, 8, 2, Trouble::Refused(0))], vec![]);
}

#[test]
fn checkpoints_that_are_refused() {
    survives(
        vec![
            storm(Call::Checkpoint, 1, 3, Trouble::Unavailable),
            storm(Call::Checkpoint, 6, 3, Trouble::DoneAndUnavailable),
        ],
        vec![],
    );
}

#[test]
fn leases_that_are_lost() {
    survives(vec![storm(Call::Checkpoint, 2, 6, Trouble::Lost)], vec![]);
}

#[test]
fn a_lease_table_that_never_answers_once() {
    survives(
        vec![storm(Call::Checkpoint, 2, 1, Trouble::Silent), storm(Call::Acquire, 1, 2, Trouble::Unavailable)],
        vec![],
    );
}

#[test]
fn a_clock_that_is_set_forward_and_back() {
    let ms = Duration::from_millis;
    survives(
        vec![],
        vec![(ms(10), Outside::SetClock(7200)), (ms(40), Outside::SetClock(-7200)), (ms(80), Outside::SetClock(0))],
    );
}

#[test]
fn a_database_that_cuts_connections_and_stands_still() {
    let ms = Duration::from_millis;
    survives(
        vec![],
        vec![
            (ms(20), Outside::CutConnections),
            (ms(40), Outside::LockTable(ms(400))),
            (ms(500), Outside::CutConnections),
        ],
    );
}
