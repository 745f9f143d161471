use super::super::row::tests::{row, rows};
use super::*;
use crate::Position;

const F: u64 = 10_000;
const NOW: u64 = 1_000_000;

fn rules() -> Rules {
    Rules { failover_ms: F, max_leases: usize::MAX, steal_at_once: usize::MAX, priority: true }
}

/// A table with so many rows an owner, `""` for none, each as old as given.
fn table(owners: &[(&str, usize, u64)]) -> (Rows, Watch) {
    let mut all: Vec<(Row, u64)> = Vec::new();
    for &(owner, number, age_ms) in owners {
        for _ in 0..number {
            all.push((row(&format!("s{:03}", all.len()), owner, 5), age_ms));
        }
    }
    let mut watch = Watch::default();
    // A change of the counter sets the time, whoever the owner is.
    let mut ages: Vec<u64> = all.iter().map(|(_, age_ms)| *age_ms).collect();
    ages.sort_unstable_by(|a, b| b.cmp(a));
    watch.see(&rows(all.iter().map(|(row, _)| Row { counter: 0, ..row.clone() })), 0);
    for age in ages {
        let now = |(row, age_ms): &(Row, u64)| Row { counter: if *age_ms >= age { 5 } else { 0 }, ..row.clone() };
        watch.see(&rows(all.iter().map(now)), NOW - age);
    }
    (rows(all.into_iter().map(|(row, _)| row)), watch)
}

fn decided(owners: &[(&str, usize, u64)], rules: &Rules) -> Decision {
    let (rows, watch) = table(owners);
    decide(&rows, &watch, "me", rules, NOW, &mut Rng::with_seed(7))
}

fn kinds(decision: &Decision) -> (usize, usize, usize) {
    let of = |kind| decision.take.iter().filter(|take| take.kind == kind).count();
    (of(Kind::Free), of(Kind::Expired), of(Kind::Steal))
}

/// A worker, how many rows it has, and for how long those have stood still.
type Owned = (&'static str, usize, u64);

#[test]
fn targets_follow_from_leases_and_workers_that_hold_live_ones() {
    // Leases by owner, then workers, target and what this worker lacks.
    let cases: [(&[Owned], usize, usize, usize); 8] = [
        (&[], 1, 1, 1),
        (&[("", 1, 0)], 1, 1, 1),
        (&[("a", 1, 0)], 2, 1, 1),
        (&[("a", 5, 0)], 2, 3, 3),
        (&[("a", 5, 0), ("b", 1, 0)], 3, 2, 2),
        (&[("a", 4, 0), ("me", 4, 0)], 2, 4, 0),
        // The dead are no workers, but theirs are leases.
        (&[("dead", 6, F + 1), ("a", 3, 0)], 2, 5, 5),
        (&[("a", 1, 0), ("b", 1, 0), ("c", 1, 0)], 4, 1, 1),
    ];
    for (owners, workers, target, needed) in cases {
        let decision = decided(owners, &rules());
        assert_eq!((decision.workers, decision.target, decision.needed), (workers, target, needed), "{owners:?}");
    }
}

#[test]
fn what_nobody_holds_is_taken_up_to_the_target_and_no_steal_beside_it() {
    let decision = decided(&[("a", 5, 0), ("", 2, 0), ("dead", 1, F + 1)], &rules());
    assert_eq!((decision.target, decision.expired, decision.very_old), (4, 3, 0));
    let (free, expired, stolen) = kinds(&decision);
    assert_eq!((free + expired, stolen), (3, 0));
    let decision = decided(&[("me", 2, 0), ("a", 2, 0), ("", 2, 0)], &rules());
    assert_eq!(kinds(&decision), (1, 0, 0), "up to the target");
    let decision = decided(&[("me", 3, 0), ("a", 1, 0), ("", 1, 0)], &rules());
    assert_eq!(kinds(&decision), (0, 0, 0), "at the target it is left to others");
}

#[test]
fn very_old_rows_go_first_whatever_the_target_says_and_not_beyond_the_cap() {
    let owners = [("me", 4, 0), ("dead", 3, 3 * F + 1), ("late", 2, F + 1)];
    assert_eq!(kinds(&decided(&owners, &rules())), (0, 3, 0));
    assert_eq!(kinds(&decided(&owners, &Rules { max_leases: 6, ..rules() })), (0, 2, 0));
    let without = decided(&owners, &Rules { priority: false, ..rules() });
    assert_eq!(without.take.len(), without.needed, "as the KCL 1.x does it");
    // Never renewed counts as very old.
    let table = rows([row("new", "", 0)]);
    let mut watch = Watch::default();
    watch.see(&table, NOW);
    let decision = decide(&table, &watch, "me", &rules(), NOW, &mut Rng::with_seed(1));
    assert_eq!((decision.very_old, kinds(&decision)), (1, (1, 0, 0)));
}

#[test]
fn without_room_for_the_very_old_the_round_goes_on_and_takes_nothing_beyond_the_cap() {
    let rules = Rules { max_leases: 2, ..rules() };
    let decision = decided(&[("me", 2, 0), ("dead", 3, 4 * F)], &rules);
    assert_eq!((decision.take.len(), decision.target, decision.spillover), (0, 2, 3));
    // A very old row at its end needs no room.
    let (mut table, watch) = table(&[("me", 2, 0), ("dead", 3, 4 * F)]);
    table.get_mut("s004").unwrap().checkpoint = Position::ShardEnd;
    let decision = decide(&table, &watch, "me", &rules, NOW, &mut Rng::with_seed(1));
    assert_eq!(decision.take.iter().map(|take| take.row.shard.as_str()).collect::<Vec<_>>(), ["s004"]);
}

#[test]
fn rows_at_their_end_count_for_the_balance_and_not_for_the_cap() {
    let (mut table, watch) = table(&[("me", 3, 0), ("a", 6, 0)]);
    for shard in ["s000", "s001", "s003"] {
        table.get_mut(shard).unwrap().checkpoint = Position::ShardEnd;
    }
    let rules = Rules { max_leases: 2, ..rules() };
    let decision = decide(&table, &watch, "me", &rules, NOW, &mut Rng::with_seed(1));
    assert_eq!((decision.leases, decision.target, decision.needed), (9, 4, 1), "two done, and room for two");
    assert_eq!(kinds(&decision), (0, 0, 1));
}

#[test]
fn stealing_is_from_one_worker_with_most_and_leaves_it_its_target() {
    // Leases by owner, most at once, then how many are stolen.
    let cases: [(&[Owned], usize, usize); 9] = [
        (&[("a", 6, 0)], 9, 3),
        (&[("a", 6, 0)], 1, 1),
        (&[("a", 6, 0)], 0, 0),
        (&[("a", 9, 0), ("b", 3, 0)], 9, 4),
        // Just the target each: one, for who lacks more than one.
        (&[("a", 2, 0), ("b", 2, 0), ("c", 2, 0)], 9, 1),
        (&[("me", 1, 0), ("a", 2, 0), ("b", 2, 0), ("c", 2, 0)], 9, 0),
        (&[("a", 1, 0), ("b", 1, 0)], 9, 0),
        (&[("me", 2, 0), ("a", 3, 0)], 9, 0),
        (&[("me", 1, 0), ("a", 3, 0)], 9, 1),
    ];
    for (owners, steal_at_once, expected) in cases {
        let decision = decided(owners, &Rules { steal_at_once, ..rules() });
        assert_eq!(kinds(&decision), (0, 0, expected), "{owners:?}");
        assert!(decision.take.iter().all(|take| take.row.owner == decision.take[0].row.owner), "{owners:?}");
    }
    assert_eq!(kinds(&decided(&[("a", 9, 0)], &Rules { max_leases: 2, ..rules() })), (0, 0, 2), "the cap");
}

#[test]
fn a_row_under_hand_off_counts_for_who_has_it_and_is_taken_only_once_it_has_expired() {
    let (mut table, watch) = table(&[("a", 2, 0), ("me", 2, 0)]);
    // Named for us, still the other's.
    for shard in ["s002", "s003"] {
        table.get_mut(shard).unwrap().checkpoint_owner = Some("a".to_owned());
    }
    let decision = decide(&table, &watch, "me", &rules(), NOW, &mut Rng::with_seed(3));
    assert_eq!((decision.workers, decision.needed), (2, 2), "none is ours yet");
    let stolen: Vec<_> = decision.take.iter().map(|take| take.row.shard.as_str()).collect();
    assert!(!stolen.is_empty() && stolen.iter().all(|shard| ["s000", "s001"].contains(shard)), "{stolen:?}");
    let decision = decide(&table, &watch, "me", &rules(), NOW + F + 1, &mut Rng::with_seed(3));
    assert_eq!(kinds(&decision), (0, 4, 0));
}

#[test]
fn at_start_the_rows_of_our_name_are_adopted_but_for_those_under_hand_off() {
    let (mut table, _) = table(&[("me", 4, 0), ("a", 1, 0)]);
    table.get_mut("s000").unwrap().checkpoint_owner = Some("me".to_owned());
    table.get_mut("s001").unwrap().checkpoint = Position::ShardEnd;
    let adopted =
        |rules: &Rules| -> Vec<String> { adopt(&table, "me", rules).into_iter().map(|take| take.row.shard).collect() };
    assert_eq!(adopted(&rules()), ["s001", "s002", "s003"]);
    assert_eq!(adopted(&Rules { max_leases: 1, ..rules() }), ["s001", "s002"]);
}

#[test]
fn a_row_read_again_is_still_stolen_from_its_victim_only_and_taken_only_if_nothing_happened() {
    let take = |kind| Take { row: row("s", "a", 5), kind };
    for (kind, found, wanted) in [
        (Kind::Steal, Some(row("s", "a", 6)), true),
        (Kind::Steal, Some(row("s", "b", 6)), false),
        (Kind::Steal, Some(row("s", "", 6)), false),
        (Kind::Expired, Some(row("s", "a", 5)), true),
        (Kind::Expired, Some(row("s", "a", 6)), false),
        (Kind::Steal, None, false),
    ] {
        let mut take = take(kind);
        assert_eq!(take.refresh(found.clone()), wanted, "{kind:?} {found:?}");
        assert!(!wanted || Some(take.row) == found);
    }
    let handed = Row { checkpoint_owner: Some("a".to_owned()), ..row("s", "a", 6) };
    assert!(!take(Kind::Steal).refresh(Some(handed)));
}

#[test]
fn who_loses_again_and_again_what_it_has_just_stolen_pauses_longer_each_time() {
    let mut rng = Rng::with_seed(5);
    let mut backoff = StealBackoff::new(F);
    backoff.lost("never stolen", 0, &mut rng);
    assert_eq!(backoff.allowed(4, 0), 4);
    backoff.stole("old", 0);
    backoff.lost("old", 6 * F + 1, &mut rng);
    assert_eq!(backoff.allowed(4, 6 * F + 1), 4, "it was kept for a while");
    let mut now = 100 * F;
    for (least, most) in [(F, 2 * F), (2 * F, 4 * F), (4 * F, 8 * F), (8 * F, 16 * F), (8 * F, 16 * F)] {
        backoff.stole("a", now);
        backoff.stole("b", now);
        backoff.lost("a", now + 1, &mut rng);
        backoff.lost("b", now + 2, &mut rng);
        assert_eq!((backoff.allowed(4, now + least), backoff.allowed(4, now + 3 + most)), (0, 4), "{least}");
        now += 3 + most;
    }
    now += 40 * F;
    backoff.stole("a", now);
    backoff.lost("a", now, &mut rng);
    assert_eq!(backoff.allowed(4, now + 2 * F), 4, "forgotten after a while");
}
