//! What became of a write whose condition failed.

use super::Row;

/// What a row found after a failed condition means to the holder who wrote. Spec: kinesis-leases 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This one of the writes whose answers are not known has made the row: go on from what was found, counted from when that
    /// write was sent. During a hand-off ([`Row::is_handed_over_by`]) drain as well.
    Landed(usize),
    /// A hand-off to another worker has begun and nothing else: take over the owners, drain, and write again.
    HandOff,
    /// The row is as it was known: the condition failed for something that is over. Write again.
    Unchanged,
    /// Another worker has the lease, or nobody.
    Stolen,
    /// Another process of the same name writes the row: give the lease up here, and say so loudly (17.9).
    Twin,
    /// The row is gone: the lease is lost, and the shards want a sync.
    Gone,
}

/// Judges the row found after a write of the holder `me` failed its condition.
///
/// `known` is the row as the holder knew it. `sent` are the rows that its writes from `known` would have made, of those writes
/// only whose answer is not known, oldest first: what a service has certainly refused can't have landed. A client that repeats
/// requests by itself does not know of the write that failed either. All of them have `known`'s counter as their condition, so at
/// most one landed.
///
/// Fields that others may note at any time (children, hash range) are not compared.
pub fn judge(known: &Row, sent: &[Row], found: Option<&Row>, me: &str) -> Outcome {
    let Some(found) = found else { return Outcome::Gone };
    if found.actual_owner() != Some(me) {
        // A give-up that landed leaves another owner, or none: what was wanted.
        return match sent.iter().position(|sent| sent.actual_owner() != Some(me) && is_same(sent, found)) {
            Some(landed) => Outcome::Landed(landed),
            None => Outcome::Stolen,
        };
    }
    if found.counter == known.counter {
        let handed = found.is_handed_over_by(me) && !known.is_handed_over_by(me);
        return if handed { Outcome::HandOff } else { Outcome::Unchanged };
    }
    // A leader's start of a hand-off changes the owners and not the counter: it may have come after the write.
    let landed = |sent: &Row| {
        let owners =
            Row { owner: found.owner.clone(), checkpoint_owner: found.checkpoint_owner.clone(), ..sent.clone() };
        sent.actual_owner() == Some(me) && is_same(if found.is_handed_over_by(me) { &owners } else { sent }, found)
    };
    sent.iter().position(landed).map_or(Outcome::Twin, Outcome::Landed)
}

/// Whether the row has everything that a write would have made.
fn is_same(sent: &Row, found: &Row) -> bool {
    sent.counter == found.counter
        && sent.owner == found.owner
        && sent.checkpoint_owner == found.checkpoint_owner
        && sent.checkpoint == found.checkpoint
        && sent.pending == found.pending
        && sent.owner_switches == found.owner_switches
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::*;
    use crate::Position;

    #[test]
    fn a_write_that_landed_is_known_by_its_counter_and_everything_it_sets() {
        let known = row("s", "me", 7);
        let renewal = known.renewed();
        let checkpoint = known.checkpointed(Position::at(5), None);
        let sent = [renewal.clone(), checkpoint.clone()];
        assert_eq!(judge(&known, &sent, Some(&renewal), "me"), Outcome::Landed(0));
        assert_eq!(judge(&known, &sent, Some(&checkpoint), "me"), Outcome::Landed(1));
        let noted = Row { children: vec!["c".to_owned()], range: Some((0, 9)), ..renewal };
        assert_eq!(judge(&known, &sent, Some(&noted), "me"), Outcome::Landed(0), "others note children and ranges");
        let other = Row { checkpoint: Position::at(6), ..checkpoint };
        assert_eq!(judge(&known, &sent, Some(&other), "me"), Outcome::Twin);
    }

    #[test]
    fn our_name_on_a_counter_that_no_write_of_ours_explains_is_a_twin() {
        let known = row("s", "me", 7);
        for (sent, found) in [(vec![], 8), (vec![known.renewed()], 9), (vec![known.renewed()], 6)] {
            assert_eq!(judge(&known, &sent, Some(&row("s", "me", found)), "me"), Outcome::Twin, "{found}");
        }
        assert_eq!(judge(&known, &[], Some(&known), "me"), Outcome::Unchanged);
    }

    #[test]
    fn another_owner_none_and_a_missing_row_are_losses() {
        let known = row("s", "me", 7);
        let sent = [known.renewed()];
        assert_eq!(judge(&known, &sent, Some(&known.taken_by("you")), "me"), Outcome::Stolen);
        assert_eq!(judge(&known, &sent, Some(&known.given_up()), "me"), Outcome::Stolen);
        assert_eq!(judge(&known, &sent, None, "me"), Outcome::Gone);
        assert_eq!(judge(&known, &[known.given_up()], Some(&known.given_up()), "me"), Outcome::Landed(0));
    }

    #[test]
    fn a_hand_off_keeps_the_lease_and_is_seen_whether_the_write_landed_or_not() {
        let known = row("s", "me", 7);
        let handed = |row: Row| Row { owner: Some("you".to_owned()), checkpoint_owner: Some("me".to_owned()), ..row };
        let begun = handed(known.clone());
        assert_eq!(judge(&known, &[known.renewed()], Some(&begun), "me"), Outcome::HandOff);
        assert_eq!(judge(&known, &[known.renewed()], Some(&handed(known.renewed())), "me"), Outcome::Landed(0));
        assert_eq!(judge(&begun, &[], Some(&begun), "me"), Outcome::Unchanged, "known before");
        assert_eq!(judge(&begun, &[begun.renewed()], Some(&begun.renewed()), "me"), Outcome::Landed(0));
        assert_eq!(judge(&begun, &[], Some(&begun.given_up()), "me"), Outcome::Stolen);
    }
}
