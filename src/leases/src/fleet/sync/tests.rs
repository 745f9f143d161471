use super::super::row::tests::{row, rows};
use super::*;

const MAX: u128 = u128::MAX;

/// Shards as `id: parents`, open ones with a `+` before.
fn shards(texts: &[&str]) -> Vec<ShardInfo> {
    let shard = |text: &&str| {
        let (id, parents) = text.split_once(':').unwrap_or((*text, ""));
        let parents = parents.split_whitespace().map(str::to_owned).collect();
        let (id, closed) = id.strip_prefix('+').map_or((id, true), |id| (id, false));
        ShardInfo { id: id.to_owned(), parents, range: None, closed }
    };
    texts.iter().map(shard).collect()
}

/// Rows of `ids` that are being read, and those that are done with a `!` before.
fn leases(ids: &[&str], listed: &[ShardInfo]) -> Rows {
    rows(ids.iter().map(|id| {
        let (id, checkpoint) = match id.strip_prefix('!') {
            Some(id) => (id, Position::ShardEnd),
            None => (*id, Position::at(1)),
        };
        let parents = listed.iter().find(|info| info.id == id).map(|info| info.parents.clone()).unwrap_or_default();
        Row { checkpoint, parents, ..row(id, "w", 1) }
    }))
}

fn texts(made: &[(ShardInfo, Position)]) -> Vec<String> {
    made.iter().map(|(shard, position)| format!("{} {position}", shard.id)).collect()
}

fn made(leased: &[&str], listed: &[ShardInfo], initial: &Position) -> Vec<String> {
    texts(&missing(&leases(leased, listed), listed, initial).unwrap())
}

/// The worked example of the specification.
fn example() -> Vec<ShardInfo> {
    shards(&["0", "1", "2", "3", "+4", "5", "6: 0 1", "7: 2 3", "+8: 6 7", "+9: 5", "+10: 5"])
}

#[test]
fn the_worked_example_of_the_specification() {
    let listed = example();
    assert_eq!(made(&["4", "5", "7"], &listed, &Position::Latest), ["6 LATEST"]);
    assert_eq!(made(&["4", "5", "7"], &listed, &Position::TrimHorizon), ["0 TRIM_HORIZON", "1 TRIM_HORIZON"]);
    let timestamp = Position::AtTimestampMs(5);
    assert_eq!(made(&["4", "5", "7"], &listed, &timestamp), ["0 AT_TIMESTAMP(5)", "1 AT_TIMESTAMP(5)"]);
}

#[test]
fn a_first_start_begins_open_shards_at_latest_and_the_oldest_at_the_trim_horizon() {
    let listed = example();
    assert_eq!(made(&[], &listed, &Position::Latest), ["4 LATEST", "8 LATEST", "9 LATEST", "10 LATEST"]);
    let oldest: Vec<String> = (0..6).map(|id| format!("{id} TRIM_HORIZON")).collect();
    assert_eq!(made(&[], &listed, &Position::TrimHorizon), oldest);
    // Shards whose parents are listed no more are the oldest.
    assert_eq!(made(&[], &shards(&["6: 0 1", "+8: 6 7"]), &Position::TrimHorizon), ["6 TRIM_HORIZON"]);
}

#[test]
fn what_holders_make_at_their_shards_ends_is_left_to_them_level_by_level() {
    let listed = example();
    for initial in [Position::Latest, Position::TrimHorizon] {
        assert!(made(&["0", "1", "2", "3", "4", "5"], &listed, &initial).is_empty());
        assert!(made(&["!0", "!1", "6", "7", "4", "5"], &listed, &initial).is_empty());
        assert!(made(&["4", "8", "9", "10"], &listed, &initial).is_empty());
    }
    assert_eq!(made(&["4", "8", "9"], &listed, &Position::Latest), ["10 LATEST"], "nothing is known of before");
}

#[test]
fn what_follows_a_shard_that_is_done_or_gone_is_read_from_its_first_record() {
    let listed = example();
    for initial in [Position::Latest, Position::TrimHorizon, Position::AtTimestampMs(5)] {
        // 5 is done and the leases of what followed are gone.
        let from_first = ["9 TRIM_HORIZON", "10 TRIM_HORIZON"];
        assert_eq!(made(&["4", "!5", "8"], &listed, &initial), from_first);
        // 5 was being read when its records went: it is listed no more, and its row is still there.
        let without: Vec<ShardInfo> = listed.iter().filter(|info| info.id != "5").cloned().collect();
        assert_eq!(made(&["4", "5", "8"], &without, &initial), from_first);
        // Only the row of a grandparent is left, which names a shard that is listed no more.
        let mut table = leases(&["!a"], &[]);
        table.get_mut("a").unwrap().children = vec!["b".to_owned()];
        let made = missing(&table, &shards(&["+c: b"]), &initial).unwrap();
        assert_eq!(texts(&made), ["c TRIM_HORIZON"]);
        // A row between was deleted by hand: it is made again, and what follows it is made at its end.
        let chain = shards(&["a", "b: a", "+c: b"]);
        assert_eq!(texts(&missing(&leases(&["!a"], &chain), &chain, &initial).unwrap()), ["b TRIM_HORIZON"]);
    }
}

#[test]
fn long_chains_are_walked_and_ancestors_come_first() {
    let mut listed = shards(&["s0"]);
    for level in 1..5_000 {
        listed.extend(shards(&[&format!("s{level}: s{}", level - 1)]));
    }
    listed.last_mut().unwrap().closed = false;
    assert_eq!(made(&[], &listed, &Position::TrimHorizon), ["s0 TRIM_HORIZON"]);
    assert_eq!(made(&["!s2500"], &listed, &Position::Latest), ["s2501 TRIM_HORIZON"]);
}

#[test]
fn listings_that_can_not_be_are_refused() {
    let open_parent = InconsistentListing::OpenParent { parent: "a".to_owned(), child: "b".to_owned() };
    let refused = |listed: &[ShardInfo]| missing(&Rows::new(), listed, &Position::Latest).unwrap_err();
    assert_eq!(refused(&shards(&["+a", "+b: a"])), open_parent);
    assert!(matches!(refused(&shards(&["+a: b", "b: a"])), InconsistentListing::Cycle { .. }));
    assert_eq!(refused(&[]), InconsistentListing::Hole { from: 0, to: MAX });
    let mut half = shards(&["+a", "b"]);
    (half[0].range, half[1].range) = (Some((0, 9)), Some((10, MAX)));
    assert_eq!(refused(&half), InconsistentListing::Hole { from: 10, to: MAX }, "only open shards are read on");
    assert!(missing(&leases(&["x"], &[]), &half, &Position::Latest).is_ok(), "not a first start");
    assert!(missing(&leases(&["x"], &[]), &[], &Position::Latest).unwrap().is_empty());
}

fn end(shard: &str, children: &[&str], leased: &[&str], listed: &[&str], initial: &Position) -> AtEnd {
    let listed = shards(listed);
    at_shard_end(shard, &shards(children), &leases(leased, &listed), &listed, initial).unwrap()
}

fn create(leases: &[&str], children: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    (owned(leases), owned(children))
}

fn created(end: AtEnd) -> (Vec<String>, Vec<String>) {
    match end {
        AtEnd::Create { leases, children } => (texts(&leases), children),
        AtEnd::WaitFor { parent } => panic!("waits for {parent}"),
    }
}

#[test]
fn a_shard_that_was_split_makes_its_children_at_their_first_record() {
    let both = create(&["b TRIM_HORIZON", "c TRIM_HORIZON"], &["b", "c"]);
    // Whether the listing is from before the split or after.
    for listed in [&["+a"][..], &["a", "+b: a", "+c: a"]] {
        assert_eq!(created(end("a", &["+b: a", "+c: a"], &["a"], listed, &Position::Latest)), both);
    }
    let listed = ["a", "+b: a", "+c: a"];
    assert_eq!(created(end("a", &[], &["a"], &listed, &Position::Latest)), both, "from the listing");
    let rest = create(&["c TRIM_HORIZON"], &["b", "c"]);
    assert_eq!(created(end("a", &[], &["a", "b"], &listed, &Position::Latest)), rest, "again after a crash");
    assert_eq!(created(end("gone", &[], &["gone"], &["+x"], &Position::Latest)), create(&[], &[]), "past retention");
}

#[test]
fn a_merge_is_made_by_the_first_parent_at_its_end_once_both_have_leases() {
    let listed = ["a", "b", "+c: a b"];
    let child = create(&["c TRIM_HORIZON"], &["c"]);
    assert_eq!(created(end("a", &[], &["a", "b"], &listed, &Position::Latest)), child);
    assert_eq!(created(end("a", &["+c: a b"], &["a", "b"], &["+a", "+b"], &Position::Latest)), child, "old listing");
    assert_eq!(created(end("a", &[], &["a"], &["a", "+c: a b"], &Position::Latest)), child, "the other is gone");
    // The other will be made by the holder of the shard before it.
    let listed = ["a", "q", "b: q", "+c: a b"];
    let waits = AtEnd::WaitFor { parent: "b".to_owned() };
    assert_eq!(end("a", &[], &["a", "q"], &listed, &Position::Latest), waits);
    // Nobody will make it.
    let with_other = create(&["b LATEST", "c TRIM_HORIZON"], &["c"]);
    assert_eq!(created(end("a", &[], &["a"], &listed, &Position::Latest)), with_other);
    let with_oldest = create(&["q TRIM_HORIZON", "c TRIM_HORIZON"], &["c"]);
    assert_eq!(created(end("a", &[], &["a"], &listed, &Position::TrimHorizon)), with_oldest);
}

#[test]
fn an_open_shard_has_no_end() {
    let listed = shards(&["+a", "+x"]);
    let refused = at_shard_end("a", &[], &leases(&["a"], &listed), &listed, &Position::Latest);
    assert_eq!(refused, Err(InconsistentListing::StillOpen { shard: "a".to_owned() }));
}

#[test]
fn a_child_waits_for_all_its_parents_that_have_rows() {
    let listed = shards(&["a", "b", "+c: a b"]);
    for (leased, waits_for) in [
        (&["a", "b", "c"][..], Some("a")),
        (&["!a", "b", "c"], Some("b")),
        (&["!a", "!b", "c"], None),
        (&["!a", "c"], None),
        (&["b", "c"], Some("b")),
    ] {
        let table = leases(leased, &listed);
        assert_eq!(unfinished_parent(&table["c"], &table), waits_for, "{leased:?}");
    }
}

#[test]
fn ranges_cover_all_keys_or_the_first_hole_is_named() {
    let half = MAX / 2;
    for (ranges, expected) in [
        (vec![], Cover::Hole { from: 0, to: MAX }),
        (vec![Some((0, MAX))], Cover::Whole),
        (vec![Some((half + 1, MAX)), Some((0, half))], Cover::Whole),
        (vec![Some((0, half)), Some((half, MAX)), Some((5, 6))], Cover::Whole),
        (vec![Some((0, half)), Some((0, 9)), Some((half + 3, MAX))], Cover::Hole { from: half + 1, to: half + 2 }),
        (vec![Some((1, MAX))], Cover::Hole { from: 0, to: 0 }),
        (vec![Some((0, MAX - 1))], Cover::Hole { from: MAX, to: MAX }),
        (vec![Some((0, half)), None], Cover::Unknown),
    ] {
        assert_eq!(cover(ranges.iter().copied()), expected, "{ranges:?}");
    }
}

#[test]
fn a_hole_seen_three_times_running_wants_a_sync_and_other_holes_begin_anew() {
    let with = |ranges: &[(&str, (u128, u128))]| {
        rows(ranges.iter().map(|(id, range)| Row { range: Some(*range), ..row(id, "w", 1) }))
    };
    let hole = with(&[("a", (0, 9))]);
    let other = with(&[("a", (0, 7))]);
    let whole = with(&[("a", (0, 9)), ("b", (10, MAX))]);
    let mut holes = Holes::default();
    let mut check = |rows: &Rows| holes.check(rows);
    assert_eq!([check(&hole), check(&hole), check(&whole)], [false, false, false]);
    assert_eq!([check(&hole), check(&hole), check(&other)], [false, false, false]);
    assert_eq!([check(&other), check(&other)], [false, true]);
    assert_eq!([check(&other), check(&other), check(&other)], [false, false, true]);
    assert!(check(&Rows::new()));
    // What is done holds no keys; what has no range says nothing.
    let mut done = whole.clone();
    done.get_mut("b").unwrap().checkpoint = Position::ShardEnd;
    assert_eq!([check(&done), check(&done), check(&done)], [false, false, true]);
    let unknown = rows([row("a", "w", 1)]);
    assert_eq!([check(&unknown), check(&unknown), check(&unknown)], [false, false, false]);
    let mut listed = shards(&["+a", "+b"]);
    listed[0].range = Some((0, 9));
    assert_eq!(ranges_to_fill(&unknown, &listed), [("a".to_owned(), (0, 9))]);
    assert!(ranges_to_fill(&hole, &listed).is_empty());
}
