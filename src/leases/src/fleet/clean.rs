//! Which rows of shards that are done may go.

use crate::{Position, ShardInfo};

use super::{Row, Rows};

/// What may become of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaning {
    /// Delete it, if it is still as it was seen.
    Delete,
    /// Keep it.
    Keep,
    /// It does not say which shards followed: ask the stream, by reading the shard (8.4), and note the answer.
    AskChildren,
}

/// Whether the row of a shard may be deleted by its holder. Spec: kinesis-leases 8.4.
///
/// Only at SHARD_END, when every shard that followed has a lease with a position of its own and the rows of the shards before it
/// are gone: what is deleted earlier makes a KCL peer's sync create leases that skip data. A follower without a lease keeps the
/// row, unless the stream has forgotten both. `listed` is the stream's listing; an empty one says nothing.
pub fn clean(row: &Row, rows: &Rows, listed: &[ShardInfo]) -> Cleaning {
    if !row.is_ended() || row.parents.iter().any(|parent| rows.contains_key(parent)) {
        return Cleaning::Keep;
    }
    let is_listed = |shard: &str| listed.is_empty() || listed.iter().any(|info| info.id == shard);
    let follows = |parents: &[String]| parents.contains(&row.shard);
    let mut children: Vec<&str> = row.children.iter().map(String::as_str).collect();
    children.extend(listed.iter().filter(|info| follows(&info.parents)).map(|info| info.id.as_str()));
    children.extend(rows.values().filter(|other| follows(&other.parents)).map(|other| other.shard.as_str()));
    if children.is_empty() {
        return if is_listed(&row.shard) { Cleaning::AskChildren } else { Cleaning::Delete };
    }
    let has_begun = |child: &&str| match rows.get(*child) {
        Some(child) => !matches!(child.checkpoint, Position::TrimHorizon | Position::AtTimestampMs(_)),
        None => !is_listed(&row.shard) && !is_listed(child),
    };
    if children.iter().all(has_begun) { Cleaning::Delete } else { Cleaning::Keep }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{row, rows};
    use super::*;

    fn at(shard: &str, parents: &[&str], checkpoint: Position) -> Row {
        let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
        Row { checkpoint, parents, ..row(shard, "me", 1) }
    }

    fn ended(shard: &str, parents: &[&str], children: &[&str]) -> Row {
        let children = children.iter().map(|&child| child.to_owned()).collect();
        Row { children, ..at(shard, parents, Position::ShardEnd) }
    }

    fn listed(shards: &[(&str, &[&str])]) -> Vec<ShardInfo> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let info = |&(id, parents): &(&str, &[&str])| ShardInfo {
            id: id.to_owned(),
            parents: owned(parents),
            range: None,
            closed: true,
        };
        shards.iter().map(info).collect()
    }

    #[test]
    fn a_row_goes_once_every_child_has_a_position_of_its_own() {
        let parent = ended("p", &[], &["a", "b"]);
        let stream = listed(&[("p", &[]), ("a", &["p"]), ("b", &["p"])]);
        for (b, expected) in [
            (Position::TrimHorizon, Cleaning::Keep),
            (Position::AtTimestampMs(5), Cleaning::Keep),
            (Position::at(7), Cleaning::Delete),
            (Position::ShardEnd, Cleaning::Delete),
        ] {
            let table = rows([parent.clone(), at("a", &["p"], Position::at(9)), at("b", &["p"], b.clone())]);
            assert_eq!(clean(&parent, &table, &stream), expected, "{b}");
        }
        let table = rows([parent.clone(), at("a", &["p"], Position::at(9))]);
        assert_eq!(clean(&parent, &table, &stream), Cleaning::Keep, "a child without a lease");
        let open = at("p", &[], Position::at(5));
        assert_eq!(clean(&open, &rows([open.clone()]), &[]), Cleaning::Keep, "not at its end");
    }

    #[test]
    fn a_row_waits_for_its_own_parents_to_go() {
        let child = ended("c", &["p"], &["g"]);
        let table = rows([ended("p", &[], &["c"]), child.clone(), at("g", &["c"], Position::at(1))]);
        assert_eq!(clean(&child, &table, &[]), Cleaning::Keep);
        assert_eq!(clean(&table["p"], &table, &[]), Cleaning::Delete);
    }

    #[test]
    fn children_that_the_row_does_not_name_are_found_or_asked_for() {
        let parent = ended("p", &[], &[]);
        let begun = at("a", &["p"], Position::at(1));
        assert_eq!(clean(&parent, &rows([parent.clone(), begun.clone()]), &[]), Cleaning::Delete, "by the rows");
        let stream = listed(&[("p", &[]), ("a", &["p"]), ("b", &["p"])]);
        assert_eq!(clean(&parent, &rows([parent.clone(), begun]), &stream), Cleaning::Keep, "by the listing");
        let alone = rows([parent.clone()]);
        assert_eq!(clean(&parent, &alone, &listed(&[("p", &[])])), Cleaning::AskChildren);
        assert_eq!(clean(&parent, &alone, &[]), Cleaning::AskChildren, "an empty listing says nothing");
        assert_eq!(clean(&parent, &alone, &listed(&[("other", &[])])), Cleaning::Delete, "past its retention");
        let named = ended("p", &[], &["a"]);
        let stream = listed(&[("other", &[])]);
        assert_eq!(clean(&named, &rows([named.clone()]), &stream), Cleaning::Delete, "all of it past its retention");
        let stream = listed(&[("a", &[])]);
        assert_eq!(clean(&named, &rows([named.clone()]), &stream), Cleaning::Keep, "the child is still to be read");
    }
}
