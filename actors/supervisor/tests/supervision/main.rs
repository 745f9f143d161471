//! Supervision under fire: restart with back-off, limits, escalation, hangs, leases, operators' commands.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod world;

use std::time::{Duration, Instant};

use snowmelt_runtime::fault::Fault;
use snowmelt_runtime::supervise::RestartPolicy;
use snowmelt_runtime::{Clock, Failure};
use snowmelt_supervisor::GroupState;
use snowmelt_supervisor::node::NodeState;
use snowmelt_supervisor::report::Phase;
use snowmelt_supervisor::shard::Command;

use world::{DISCOVER, DRAIN, HEARTBEAT, World};

fn borne(max_restarts: usize) -> RestartPolicy {
    RestartPolicy { max_restarts, ..RestartPolicy::default() }
}

fn until_ms(state: &GroupState) -> i64 {
    let GroupState::BackingOff { until_ms } = state else { panic!("not backing off: {state:?}") };
    *until_ms
}

#[actix::test]
async fn a_failed_group_waits_for_its_back_off_and_other_shards_never_notice() {
    for fault in [Fault::Error, Fault::Panic] {
        let world = World::of(&["0", "1"], borne(10), borne(3)).await;
        world.script.fail("0", "sink", fault);
        world.until(|| matches!(world.group("0").state, GroupState::BackingOff { .. })).await;
        let failed = world.group("0");
        assert_eq!((failed.restarts, failed.generation), (1, 1));
        assert_eq!(failed.last_failure.unwrap().actor, "sink");
        world.goes_on("1").await;

        let wait = until_ms(&failed.state) - world.clock.now_ms();
        world
            .clock
            .advance(Duration::from_millis(u64::try_from(wait).unwrap()).saturating_sub(Duration::from_millis(2)));
        world.settle().await;
        assert_eq!(world.group("0").generation, 1, "not before its time");
        world.clock.advance(Duration::from_millis(4));
        world.until(|| world.is("0", &GroupState::Running)).await;
        assert_eq!(world.group("0").generation, 2);
        world.goes_on("0").await;
        let other = world.group("1");
        assert_eq!((other.generation, other.restarts, other.last_failure), (1, 0, None));
    }
}

#[actix::test]
async fn failures_past_the_limit_climb_from_shard_to_pipeline_to_node_and_other_shards_never_notice() {
    let world = World::of(&["0", "1"], borne(2), borne(1)).await;
    world.script.spoil("0");
    world.script.fail("0", "sink", Fault::Error);
    world.until_moving(Duration::from_millis(200), || *world.state.borrow() != NodeState::Running).await;
    let state = world.state.borrow().clone();
    assert_eq!(state, NodeState::Failed { pipeline: "p".into(), failure: Failure::message("no such table") });
    // Twice until the shard gave up: two borne and one too many, each time.
    assert_eq!(world.group("0").restarts, 6);
    assert_eq!(world.group("0").state, GroupState::GaveUp);
    let (_, pipeline) = world.tree.pipelines().remove(0);
    assert_eq!((pipeline.restarts, pipeline.gave_up), (2, true));
    let other = world.group("1");
    assert_eq!((other.generation, other.restarts), (1, 0));
    world.goes_on("1").await;
}

#[actix::test]
async fn failures_far_apart_are_forgiven() {
    let world = World::of(&["0"], borne(1), borne(0)).await;
    for generation in 2..6 {
        world.clock.advance(Duration::from_secs(700));
        world.goes_on("0").await;
        world.script.fail("0", "sink", Fault::Panic);
        world.until_moving(Duration::from_millis(20), || world.group("0").generation == generation).await;
        world.until(|| world.is("0", &GroupState::Running)).await;
    }
    assert_eq!(*world.state.borrow(), NodeState::Running);
}

#[actix::test]
async fn a_lost_lease_ends_the_group_here_without_a_restart_until_the_shard_is_found_again() {
    let world = World::of(&["0", "1"], borne(0), borne(0)).await;
    world.script.lose_lease("0");
    world.order(Some("0"), Command::Restart).await;
    world.until(|| world.is("0", &GroupState::LeaseLost)).await;
    let generation = world.group("0").generation;
    world.clock.advance(Duration::from_secs(120));
    world.settle().await;
    let lost = world.group("0");
    assert_eq!((lost.state, lost.generation, lost.restarts), (GroupState::LeaseLost, generation, 0));
    assert!(matches!(lost.last_failure.unwrap().failure, Failure::LeaseLost { .. }));
    world.clock.advance(DISCOVER);
    world.until(|| world.is("0", &GroupState::Running)).await;
    world.goes_on("0").await;
    assert_eq!(world.group("1").generation, 1);
}

#[actix::test]
async fn a_lease_that_another_has_when_a_group_is_to_be_built_is_lost_and_no_failure() {
    let world = World::of(&["0", "1"], borne(0), borne(0)).await;
    world.script.take_lease("0");
    world.order(Some("0"), Command::Restart).await;
    world.until(|| world.is("0", &GroupState::LeaseLost)).await;
    assert_eq!(world.group("0").restarts, 0);
    world.clock.advance(DISCOVER);
    world.until(|| world.is("0", &GroupState::Running)).await;
    world.goes_on("0").await;
    assert_eq!(world.group("1").generation, 1);
}

#[actix::test]
async fn a_future_that_never_ends_is_a_hang_and_the_group_is_built_again() {
    let world = World::of(&["0", "1"], borne(10), borne(3)).await;
    world.script.fail("0", "sink", Fault::Hang);
    world.settle().await;
    world.clock.advance(HEARTBEAT / 2);
    world.settle().await;
    assert_eq!(world.group("0").restarts, 0, "within its heartbeat");
    world.until_moving(Duration::from_millis(500), || world.group("0").generation == 2).await;
    let failure = world.group("0").last_failure.unwrap();
    assert_eq!(failure.actor, "sink");
    assert!(matches!(failure.failure, Failure::Hang { stuck_ms } if stuck_ms > 30_000), "{failure:?}");
    world.goes_on("0").await;
    assert_eq!(world.group("1").restarts, 0);
}

#[actix::test]
async fn a_blocked_event_loop_is_a_hang_and_the_group_goes_on_with_another() {
    let world = World::of(&["0", "1"], borne(10), borne(3)).await;
    let blocked = Duration::from_secs(6);
    world.script.fail("0", "sink", Fault::Block(blocked));
    world.settle().await;
    let began = Instant::now();
    world.until_moving(Duration::from_millis(500), || world.group("0").generation == 2).await;
    world.until(|| world.is("0", &GroupState::Running)).await;
    world.goes_on("0").await;
    assert!(began.elapsed() < blocked, "the old event loop is still blocked");
    assert!(matches!(world.group("0").last_failure.unwrap().failure, Failure::Hang { .. }));
    assert_eq!(world.group("1").restarts, 0);
    world.goes_on("1").await;
}

#[actix::test]
async fn a_drain_that_takes_too_long_is_given_up_and_the_rest_is_read_again() {
    let world = World::of(&["0"], borne(10), borne(3)).await;
    world.script.stall("0", true);
    world.until(|| world.group("0").ledger.unwrap().progress().pending > 3).await;
    world.order(None, Command::Drain).await;
    world.until(|| world.is("0", &GroupState::Draining)).await;
    world.clock.advance(DRAIN - Duration::from_secs(1));
    world.settle().await;
    assert_eq!(world.group("0").state, GroupState::Draining);
    world.until_moving(Duration::from_millis(100), || world.is("0", &GroupState::Stopped)).await;
    world.until(|| *world.state.borrow() == NodeState::Stopped).await;
    world.script.stall("0", false);
    world.order(None, Command::Resume).await;
    world.until(|| world.is("0", &GroupState::Running)).await;
    assert_eq!(*world.state.borrow(), NodeState::Running, "a later drain must not take this stop for its own");
    world.goes_on("0").await;
}

#[actix::test]
async fn an_operators_restart_is_no_failure_even_when_the_drain_does_not_end() {
    let world = World::of(&["0"], borne(0), borne(0)).await;
    world.order(None, Command::Restart).await;
    world.until(|| world.group("0").generation == 2 && world.is("0", &GroupState::Running)).await;
    world.script.stall("0", true);
    world.until(|| world.group("0").ledger.unwrap().progress().pending > 3).await;
    world.order(Some("0"), Command::Restart).await;
    world.until_moving(Duration::from_millis(500), || world.group("0").generation == 3).await;
    world.script.stall("0", false);
    world.until(|| world.is("0", &GroupState::Running)).await;
    world.goes_on("0").await;
    assert_eq!(world.group("0").restarts, 0);
}

#[actix::test]
async fn a_stopped_shard_is_started_by_restart_as_by_resume_and_only_once() {
    let world = World::of(&["0", "1"], borne(0), borne(0)).await;
    for (generation, command) in [(2, Command::Resume), (3, Command::Restart)] {
        world.order(Some("0"), Command::Drain).await;
        world.until(|| world.is("0", &GroupState::Stopped)).await;
        world.order(Some("0"), command).await;
        world.order(Some("0"), Command::Resume).await;
        world.until(|| world.is("0", &GroupState::Running)).await;
        world.settle().await;
        assert_eq!(world.group("0").generation, generation);
    }
    // Changed one's mind while it drained: it runs again after it.
    world.script.stall("0", true);
    world.order(Some("0"), Command::Drain).await;
    world.order(Some("0"), Command::Resume).await;
    world.script.stall("0", false);
    world.until(|| world.group("0").generation == 4 && world.is("0", &GroupState::Running)).await;
    assert_eq!(world.group("1").generation, 1);
}

#[actix::test]
async fn a_paused_group_reads_nothing_and_keeps_its_actors_over_restarts_until_it_is_resumed() {
    let mut world = World::of(&["0", "1"], borne(10), borne(3)).await;
    world.order(None, Command::Pause).await;
    world.until(|| world.is("0", &GroupState::Paused)).await;
    world.settle().await;
    let seen = world.script.seen("0");
    world.settle().await;
    assert_eq!((world.script.seen("0"), world.group("0").generation), (seen, 1));
    assert_eq!(world.look().groups[0].reasons, ["paused by the operator"]);

    world.order(Some("0"), Command::Restart).await;
    world.until(|| world.group("0").generation == 2 && world.is("0", &GroupState::Paused)).await;
    // A shard that is found while the whole pipeline is paused is paused too.
    world.script.add("2");
    world.clock.advance(DISCOVER);
    world.until(|| world.is("2", &GroupState::Paused)).await;
    // Not even in the moment between its reader's start and the group's.
    world.settle().await;
    assert_eq!((world.script.seen("0"), world.script.seen("2")), (seen, 0));

    world.order(None, Command::Resume).await;
    for shard in ["0", "1", "2"] {
        world.until(|| world.is(shard, &GroupState::Running)).await;
        world.goes_on(shard).await;
    }
    assert_eq!(world.group("1").generation, 1);
    assert_eq!(world.group("0").restarts, 0);
}

#[actix::test]
async fn a_pipeline_is_ready_only_while_its_groups_make_progress() {
    let mut world = World::of(&["0", "1"], borne(10), borne(3)).await;
    world.goes_on("0").await;
    world.goes_on("1").await;
    let report = world.look();
    assert!(report.ready, "{report:?}");

    world.script.stall("0", true);
    world.until(|| world.group("0").ledger.unwrap().progress().pending > 4).await;
    world.look();
    for _ in 0..HEARTBEAT.as_secs() + 5 {
        world.clock.advance(Duration::from_secs(1));
        world.goes_on("1").await;
        world.look();
    }
    let report = world.look();
    assert!(!report.ready);
    let stuck = &report.groups[0];
    assert!(stuck.reasons.iter().any(|reason| reason.starts_with("sink has finished nothing for")), "{stuck:?}");
    assert!(stuck.reasons.iter().any(|reason| reason.starts_with("has read nothing for")), "{stuck:?}");
    assert!(stuck.lag_ms.unwrap() > 30_000, "{stuck:?}");
    let bottleneck = stuck.bottleneck.clone().unwrap();
    assert_eq!((bottleneck.actor.as_str(), bottleneck.reason.contains("outside")), ("sink", true), "{bottleneck:?}");
    assert!(report.groups[1].ready, "{:?}", report.groups[1]);

    world.script.stall("0", false);
    // First what was queued, then what is read anew.
    world.goes_on("0").await;
    world.goes_on("0").await;
    world.goes_on("0").await;
    let report = world.look();
    assert!(report.ready, "{report:?}");
}

#[actix::test]
async fn growing_lag_is_told_with_its_bottleneck_once_a_minute() {
    let mut world = World::of(&["0"], borne(10), borne(3)).await;
    world.goes_on("0").await;
    world.script.stall("0", true);
    world.until(|| world.group("0").ledger.unwrap().progress().pending > 4).await;
    let mut told = Vec::new();
    for _ in 0..90 {
        world.clock.advance(Duration::from_secs(1));
        let now_ms = world.clock.monotonic_ms();
        told.extend(world.watcher.sample(&world.tree, now_ms));
    }
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0].bottleneck.as_ref().unwrap().actor, "sink");
}

#[actix::test]
async fn a_group_that_backs_off_is_not_ready_and_says_why() {
    let mut world = World::of(&["0"], borne(10), borne(3)).await;
    world.script.fail("0", "sink", Fault::Panic);
    world.until(|| matches!(world.group("0").state, GroupState::BackingOff { .. })).await;
    let report = world.look();
    let group = &report.groups[0];
    assert_eq!((report.ready, group.state), (false, Phase::BackingOff));
    assert!(group.reasons[0].contains("sink failed: panic: injected panic"), "{group:?}");
}

#[actix::test]
async fn counters_are_sums_over_all_generations() {
    let mut world = World::of(&["0"], borne(10), borne(3)).await;
    world.goes_on("0").await;
    world.order(None, Command::Drain).await;
    world.until(|| world.is("0", &GroupState::Stopped)).await;
    let before = world.look().groups[0].actors[0].records;
    assert!(before > 0);
    world.order(None, Command::Resume).await;
    world.goes_on("0").await;
    assert!(world.look().groups[0].actors[0].records > before);
}

#[actix::test]
async fn a_restart_after_a_panic_takes_no_time_but_its_back_off() {
    let at_once = RestartPolicy { base: Duration::ZERO, cap: Duration::ZERO, ..borne(10_000) };
    let world = World::on(Clock::system(), &["0"], at_once, borne(3)).await;
    let mut times = Vec::new();
    for _ in 0..20 {
        world.goes_on("0").await;
        let before = world.group("0").generation;
        world.script.fail("0", "shard-reader", Fault::Panic);
        // Polled without a pause: a sleep would be longer than what is measured.
        let failed = loop {
            if world.group("0").restarts == before {
                break Instant::now();
            }
            tokio::task::yield_now().await;
        };
        while !(world.group("0").generation > before && world.group("0").state == GroupState::Running) {
            tokio::task::yield_now().await;
        }
        times.push(failed.elapsed());
    }
    times.sort_unstable();
    println!("from a failure to the next running group: median {:?}, longest {:?}", times[10], times[19]);
    // Under a millisecond on an idle machine; the bench `restart` measures. Here only what can't be noise.
    assert!(times[10] < Duration::from_millis(50), "{times:?}");
}
